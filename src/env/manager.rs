//! All environments of a program, by name.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::config::{Config, DefaultSelection, Origin, Problem, Sources, Token};
use super::{Environment, EnvironmentError, LOCAL};
use crate::rpc::methods::process::never_pass;
use crate::suggest::closest;

/// An environment, and where it was defined.
#[derive(Clone)]
pub struct Listed {
    /// With its id.
    pub environment: Arc<Environment>,
    /// Where it was defined.
    pub origin: Origin,
    /// How it is reached, free of secrets.
    pub address: String,
}

/// All environments of a program: each exists once, and none ever stands in for another.
pub struct EnvironmentManager {
    /// This machine first, if it is one of them; then in the order of the files.
    environments: Vec<Listed>,
    /// The place of the default.
    default: Option<usize>,
    sources: Sources,
}

impl EnvironmentManager {
    /// Those that are configured, and `local` if this machine is one of them.
    ///
    /// # Errors
    /// This machine is included but not given, two have the same id, or the default is none of
    /// them.
    pub fn new(config: Config, local: Option<Arc<Environment>>) -> Result<Self, EnvironmentError> {
        let mut environments = Vec::with_capacity(config.environments.len() + 1);
        if config.include_local {
            environments.push(Listed {
                environment: local.ok_or(Problem::NoLocal)?,
                origin: Origin::BuiltIn,
                address: "this machine".to_owned(),
            });
        }
        let mut ids = HashSet::new();
        for definition in config.environments {
            let id = &*definition.id;
            if id.is_empty() {
                return Err(Problem::EmptyId.into());
            }
            if id == LOCAL {
                return Err(Problem::LocalId.into());
            }
            if !ids.insert(id.to_owned()) {
                return Err(Problem::DuplicateId(id.to_owned()).into());
            }
            if let Some(Token::Variable(name)) = definition.transport.token() {
                never_pass(name);
            }
            environments.push(Listed {
                origin: definition.origin.clone(),
                address: definition.transport.to_string(),
                environment: Arc::new(Environment::new(definition)),
            });
        }
        let default = match config.default {
            DefaultSelection::Disabled => None,
            DefaultSelection::Id(id) => match find(&environments, &id) {
                Some(at) => Some(at),
                None => return Err(Problem::NoSuchDefault(id).into()),
            },
        };
        Ok(Self {
            environments,
            default,
            sources: config.sources,
        })
    }

    /// The id of the default; none if whoever wants an environment must name it.
    pub fn default_environment_id(&self) -> Option<&str> {
        let default = &self.environments[self.default?];
        Some(default.environment.id())
    }

    /// The default; none as there.
    pub fn default_environment(&self) -> Option<Arc<Environment>> {
        let default = &self.environments[self.default?];
        Some(Arc::clone(&default.environment))
    }

    /// What a user of the default may use: that first, then all others in their order. Nothing if
    /// there is no default.
    pub fn default_environment_ids(&self) -> Vec<&str> {
        let Some(default) = self.default_environment_id() else {
            return Vec::new();
        };
        let others = self.ids().filter(|id| *id != default);
        std::iter::once(default).chain(others).collect()
    }

    /// The one of that id, the same each time.
    ///
    /// # Errors
    /// There is none; the error knows those that there are.
    pub fn get(&self, id: &str) -> Result<Arc<Environment>, EnvironmentError> {
        match find(&self.environments, id) {
            Some(at) => Ok(Arc::clone(&self.environments[at].environment)),
            None => Err(EnvironmentError::Unknown(UnknownEnvironment {
                id: Some(id.to_owned()),
                known: self.ids().map(str::to_owned).collect(),
            })),
        }
    }

    /// The one of that id, or the default.
    ///
    /// # Errors
    /// There is none.
    pub fn select(&self, id: Option<&str>) -> Result<Arc<Environment>, EnvironmentError> {
        match id {
            Some(id) => self.get(id),
            None => self.default_environment().ok_or_else(|| {
                EnvironmentError::Unknown(UnknownEnvironment {
                    id: None,
                    known: self.ids().map(str::to_owned).collect(),
                })
            }),
        }
    }

    /// What they were read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// All of them: this machine first, then in the order of the files.
    pub fn environments(&self) -> &[Listed] {
        &self.environments
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.environments.iter().map(|each| each.environment.id())
    }
}

fn find(environments: &[Listed], id: &str) -> Option<usize> {
    environments
        .iter()
        .position(|each| each.environment.id() == id)
}

/// An environment was asked for that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEnvironment {
    /// What was asked for; none for the default.
    pub id: Option<String>,
    /// The ids that there are.
    pub known: Vec<String>,
}

impl fmt::Display for UnknownEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => {
                write!(f, "environment `{id}` is not configured")?;
                if let Some(meant) = closest(id, self.known.iter().map(String::as_str)) {
                    write!(f, "; did you mean `{meant}`?")?;
                }
            }
            None => f.write_str("no environment is the default; name one")?,
        }
        if self.known.is_empty() {
            f.write_str("\nno environment is configured")
        } else {
            write!(f, "\nconfigured are: {}", self.known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;

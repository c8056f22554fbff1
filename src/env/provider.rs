//! Who knows which environments there are.

use std::sync::Arc;

use super::config::home::Variables;
use super::config::{Config, ConfigError, Definition, Origin, Problem, Transport};
use super::{Environment, EnvironmentError, LOCAL};

/// The variable for one remote environment, where there is no file.
const URL_VARIABLE: &str = "CODEX_EXEC_SERVER_URL";

/// The id of the environment that the variable defines.
const REMOTE: &str = "remote";

/// Which environment is meant when none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultSelection {
    /// None: whoever wants one must name it.
    Disabled,
    /// The one of this id.
    Id(String),
}

/// An environment, and where it was defined.
#[derive(Clone)]
pub struct Provided {
    /// With its id.
    pub environment: Arc<Environment>,
    /// Where it was defined.
    pub origin: Origin,
    /// How it is reached, free of secrets.
    pub address: String,
}

/// All that a provider knows at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// In the order in which they are shown; without this machine.
    pub environments: Vec<Provided>,
    /// Which one is meant when none is named.
    pub default: DefaultSelection,
    /// Whether this machine is an environment too.
    pub include_local: bool,
}

/// Who knows which environments there are.
pub trait EnvironmentProvider {
    /// What it knows, at once and whole, so that the default fits the environments.
    ///
    /// # Errors
    /// It cannot tell.
    fn snapshot(&self) -> Result<Snapshot, EnvironmentError>;
}

/// The environments of a file.
pub struct FileProvider {
    config: Config,
}

impl FileProvider {
    /// Those of this file.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

impl EnvironmentProvider for FileProvider {
    fn snapshot(&self) -> Result<Snapshot, EnvironmentError> {
        Ok(Snapshot {
            environments: self.config.environments.iter().map(provide).collect(),
            default: self.config.default.clone(),
            include_local: self.config.include_local,
        })
    }
}

/// The environment of `CODEX_EXEC_SERVER_URL`, in place of this machine or besides nothing.
pub struct UrlProvider {
    /// Trimmed; none if unset or blank.
    value: Option<String>,
}

impl UrlProvider {
    /// That of this value, which is taken as it is: a wrong URL is an error when it is used.
    pub fn new(value: Option<&str>) -> Self {
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        Self {
            value: value.map(str::to_owned),
        }
    }

    /// That of the variable.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn from_variables(variables: Variables<'_>) -> Result<Self, ConfigError> {
        match variables(URL_VARIABLE).map(std::ffi::OsString::into_string) {
            None => Ok(Self::new(None)),
            Some(Ok(value)) => Ok(Self::new(Some(&value))),
            Some(Err(_)) => Err(Problem::Variable(URL_VARIABLE).into()),
        }
    }
}

impl EnvironmentProvider for UrlProvider {
    fn snapshot(&self) -> Result<Snapshot, EnvironmentError> {
        let Some(value) = &self.value else {
            return Ok(Snapshot {
                environments: Vec::new(),
                default: DefaultSelection::Id(LOCAL.to_owned()),
                include_local: true,
            });
        };
        if value.eq_ignore_ascii_case("none") {
            return Ok(Snapshot {
                environments: Vec::new(),
                default: DefaultSelection::Disabled,
                include_local: false,
            });
        }
        let definition = Definition {
            id: REMOTE.to_owned(),
            transport: Transport::from_url(value),
            connect_timeout: Definition::DEFAULT_TIMEOUT,
            initialize_timeout: Definition::DEFAULT_TIMEOUT,
            origin: Origin::Variable(URL_VARIABLE),
        };
        Ok(Snapshot {
            environments: vec![provide(&definition)],
            default: DefaultSelection::Id(REMOTE.to_owned()),
            include_local: false,
        })
    }
}

fn provide(definition: &Definition) -> Provided {
    Provided {
        environment: Arc::new(Environment::new(definition.clone())),
        origin: definition.origin.clone(),
        address: definition.transport.to_string(),
    }
}

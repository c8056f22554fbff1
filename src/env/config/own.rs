//! `exec-server.toml`: what is ours alone, beside the file that Codex reads too.
//!
//! A table adds our keys to the environment of that id in `environments.toml`, or defines an
//! environment that is not there.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::document::{Item, Lines, seconds, validate};
use super::{Config, ConfigError, Definition, Position, Problem, Token, Transport};
use crate::net::Trust;
use crate::suggest::closest;

/// The file's name in its directory.
pub(super) const NAME: &str = "exec-server.toml";

/// The keys of an environment that the reference does not have.
pub(super) const KEYS: &[&str] = &[
    "bearer_token_env",
    "bearer_token_file",
    "ca_file",
    "pin",
    "allow_local_users",
];

/// Whether a path is that of such a file.
pub(super) fn is_own(path: &Path) -> bool {
    path.ends_with(NAME)
}

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Option<Spanned<String>>,
    #[serde(default)]
    environments: BTreeMap<Spanned<String>, Table>,
}

/// One `[environments.ID]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: Option<Spanned<String>>,
    program: Option<Spanned<String>>,
    args: Option<Spanned<Vec<String>>>,
    env: Option<Spanned<BTreeMap<String, String>>>,
    cwd: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "seconds")]
    connect_timeout_sec: Option<Spanned<Duration>>,
    #[serde(default, deserialize_with = "seconds")]
    initialize_timeout_sec: Option<Spanned<Duration>>,
    bearer_token_env: Option<Spanned<String>>,
    bearer_token_file: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    pin: Option<Spanned<String>>,
    allow_local_users: Option<Spanned<bool>>,
}

/// The keys of a table that are ours alone.
struct Ours {
    bearer_token_env: Option<Spanned<String>>,
    bearer_token_file: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    pin: Option<Spanned<String>>,
    allow_local_users: Option<Spanned<bool>>,
}

impl Table {
    /// What an `[[environments]]` of that id would say, and the rest.
    fn split(self, id: Spanned<String>) -> (Item, Ours) {
        let item = Item {
            id,
            _skills: None,
            url: self.url,
            auth_bearer_token: None,
            program: self.program,
            args: self.args,
            env: self.env,
            cwd: self.cwd,
            connect_timeout_sec: self.connect_timeout_sec,
            initialize_timeout_sec: self.initialize_timeout_sec,
        };
        let ours = Ours {
            allow_local_users: self.allow_local_users,
            bearer_token_env: self.bearer_token_env,
            bearer_token_file: self.bearer_token_file,
            ca_file: self.ca_file,
            pin: self.pin,
        };
        (item, ours)
    }
}

/// Adds what stands in the file at `path` to what `environments.toml` says.
///
/// # Errors
/// It is wrong, or says again what stands there.
pub(crate) fn add(
    config: &mut Config,
    bytes: &[u8],
    path: &Path,
    directory: &Path,
) -> Result<(), ConfigError> {
    let lines = Lines::new(path, bytes);
    let document: Document = lines.document()?;
    let mut tables: Vec<_> = document.environments.into_iter().collect();
    tables.sort_by_key(|(id, _)| id.span().start);
    let ids = config.environments.iter().map(|it| it.id.clone());
    let defined_there: HashMap<_, _> = ids.enumerate().map(|(at, id)| (id, at)).collect();
    for (id, table) in tables {
        let (item, ours) = table.split(id);
        match defined_there.get(item.id.get_ref()) {
            Some(at) => {
                let definition = &mut config.environments[*at];
                if let Some((key, span)) = first_key(&item) {
                    let problem = Problem::DefinedElsewhere {
                        id: definition.id.clone(),
                        key,
                        origin: definition.origin.to_string(),
                    };
                    return Err(problem.at(lines.position(span.start)));
                }
                ours.add(definition, &lines, directory)?;
            }
            None => {
                let defined = validate(&item, &lines, Some(directory));
                let mut definition =
                    defined.map_err(|error| unknown(error, &config.environments))?;
                ours.add(&mut definition, &lines, directory)?;
                config.environments.push(definition);
            }
        }
    }
    if let Some(default) = &document.default {
        config.default = config.selected(default, &lines)?;
    }
    Ok(())
}

/// The error, with what may have been meant by a table that defines nothing.
fn unknown(error: ConfigError, known: &[Definition]) -> ConfigError {
    let Problem::NotOne(id) = &error.problem else {
        return error;
    };
    let mut remedy = "it is not in environments.toml".to_owned();
    if let Some(meant) = closest(id, known.iter().map(|known| &*known.id)) {
        remedy += &format!("; did you mean `{meant}`?");
    }
    ConfigError {
        remedy: Some(remedy),
        ..error
    }
}

/// The first key that a definition elsewhere has, or would have.
fn first_key(item: &Item) -> Option<(&'static str, Range<usize>)> {
    let keys = [
        ("url", item.url.as_ref().map(Spanned::span)),
        ("program", item.program.as_ref().map(Spanned::span)),
        ("args", item.args.as_ref().map(Spanned::span)),
        ("env", item.env.as_ref().map(Spanned::span)),
        ("cwd", item.cwd.as_ref().map(Spanned::span)),
        (
            "connect_timeout_sec",
            item.connect_timeout_sec.as_ref().map(Spanned::span),
        ),
        (
            "initialize_timeout_sec",
            item.initialize_timeout_sec.as_ref().map(Spanned::span),
        ),
    ];
    keys.into_iter()
        .find_map(|(key, span)| span.map(|span| (key, span)))
}

/// A value, and the key by which it was given.
struct Given<T> {
    key: &'static str,
    value: T,
    at: Position,
}

impl Ours {
    fn add(
        &self,
        definition: &mut Definition,
        lines: &Lines<'_>,
        directory: &Path,
    ) -> Result<(), ConfigError> {
        let id = definition.id.clone();
        if let Some(Given { key, value, at }) = self.token(&id, lines, directory)? {
            let (Transport::WebSocket { token, .. } | Transport::Unix { token, .. }) =
                &mut definition.transport
            else {
                return Err(Problem::NeedsUrl { id, key }.at(at));
            };
            if token.replace(value).is_some() {
                let origin = definition.origin.to_string();
                return Err(Problem::SecondToken { id, origin }.at(at));
            }
        }
        if let Some(Given { key, value, at }) = self.trust(&id, lines, directory)? {
            match &mut definition.transport {
                Transport::WebSocket { url, trust, .. } if url.starts_with("wss://") => {
                    *trust = value;
                }
                _ => return Err(Problem::NeedsTls { id, key }.at(at)),
            }
        }
        if let Some(given) = &self.allow_local_users {
            match &mut definition.transport {
                Transport::Unix {
                    allows_local_users, ..
                } => *allows_local_users = *given.get_ref(),
                _ => {
                    let at = lines.position(given.span().start);
                    return Err(Problem::NeedsSocket(definition.id.clone()).at(at));
                }
            }
        }
        Ok(())
    }

    fn token(
        &self,
        id: &str,
        lines: &Lines<'_>,
        directory: &Path,
    ) -> Result<Option<Given<Token>>, ConfigError> {
        let position = |value: &Spanned<String>| lines.position(value.span().start);
        match (&self.bearer_token_env, &self.bearer_token_file) {
            (None, None) => Ok(None),
            (Some(name), None) => {
                let (key, text) = ("bearer_token_env", name.get_ref());
                if text.is_empty() || text.contains(['=', '\0']) {
                    return Err(unusable(id, key, position(name)));
                }
                let (value, at) = (Token::Variable(text.clone()), position(name));
                Ok(Some(Given { key, value, at }))
            }
            (None, Some(path)) => {
                let (key, at) = ("bearer_token_file", position(path));
                let value = Token::File(file(id, key, path, lines, directory)?);
                Ok(Some(Given { key, value, at }))
            }
            (Some(first), Some(second)) => {
                let problem = Problem::SecondToken {
                    id: id.to_owned(),
                    origin: position(first).to_string(),
                };
                Err(problem.at(position(second)))
            }
        }
    }

    fn trust(
        &self,
        id: &str,
        lines: &Lines<'_>,
        directory: &Path,
    ) -> Result<Option<Given<Trust>>, ConfigError> {
        let position = |value: &Spanned<String>| lines.position(value.span().start);
        match (&self.ca_file, &self.pin) {
            (None, None) => Ok(None),
            (Some(path), None) => {
                let (key, at) = ("ca_file", position(path));
                let value = Trust::File(file(id, key, path, lines, directory)?);
                Ok(Some(Given { key, value, at }))
            }
            (None, Some(pin)) => {
                let (key, at) = ("pin", position(pin));
                match pin.get_ref().parse() {
                    Ok(pin) => {
                        let value = Trust::Pin(pin);
                        Ok(Some(Given { key, value, at }))
                    }
                    Err(why) => {
                        let id = id.to_owned();
                        Err(Problem::NoFingerprint { id, why }.at(at))
                    }
                }
            }
            (Some(_), Some(pin)) => Err(Problem::PinAndFile(id.to_owned()).at(position(pin))),
        }
    }
}

fn unusable(id: &str, key: &'static str, at: Position) -> ConfigError {
    let id = id.to_owned();
    Problem::Unusable { id, key }.at(at)
}

/// A file that a key names; a relative path starts at ours.
fn file(
    id: &str,
    key: &'static str,
    path: &Spanned<String>,
    lines: &Lines<'_>,
    directory: &Path,
) -> Result<PathBuf, ConfigError> {
    if path.get_ref().is_empty() || path.get_ref().contains('\0') {
        return Err(unusable(id, key, lines.position(path.span().start)));
    }
    Ok(directory.join(path.get_ref()))
}

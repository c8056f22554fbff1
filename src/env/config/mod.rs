//! `environments.toml`: where work can run, as a person wrote it down.
//!
//! [`home`] says which file is meant, `document` knows its keys and what they must not be. Every
//! mistake is found before any environment exists, and comes with the reference's words, so that
//! what looks for them finds them, and with the place in the file.
//!
//! Beyond the reference's keys a url may be `unix:///PATH`, and `bearer_token_env`
//! names the variable with the token for a server that wants one. A file with
//! these is ours alone: the reference refuses keys that it does not know.

mod document;
mod error;
pub mod home;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::redact::{redacted, redacted_in_place};

use document::{Document, Lines};
pub use error::{ConfigError, Problem};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Which environment is meant when none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultSelection {
    /// None: whoever wants one must name it.
    Disabled,
    /// The one of this id.
    Id(String),
}

/// The environments that are configured: what a file says, or the variable in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In the order of the file; without this machine.
    pub environments: Vec<Definition>,
    /// Which one is meant when none is named.
    pub default: DefaultSelection,
    /// Whether this machine is an environment too.
    pub include_local: bool,
}

/// A remote environment, as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub id: String,
    /// How it is reached.
    pub transport: Transport,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the handshake may take then.
    pub initialize_timeout: Duration,
    /// Where this stands.
    pub origin: Origin,
}

impl Definition {
    /// How long connecting, and then the handshake, may take unless something else is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How an environment is reached. `Display` shows neither arguments, nor variables, nor what
/// may be secret in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket {
        /// Of `ws` or `wss`; what came from a variable may be anything.
        url: String,
        /// The variable that holds the token to log in with.
        bearer_token_env: Option<String>,
    },
    /// A websocket on a unix socket.
    Unix {
        /// Of the socket; absolute.
        path: PathBuf,
        bearer_token_env: Option<String>,
    },
    /// A program that speaks on its standard input and output.
    Program {
        /// Looked for on PATH if it has no `/`.
        program: String,
        args: Vec<String>,
        /// Added to what it inherits.
        env: BTreeMap<String, String>,
        /// Where it is started; absolute; none is where we are.
        cwd: Option<PathBuf>,
    },
}

impl Transport {
    /// What a URL leads to that nobody has looked at: a socket of this machine, or a websocket.
    pub(crate) fn from_url(url: &str) -> Self {
        match url.strip_prefix("unix://") {
            Some(path) => Self::Unix {
                path: PathBuf::from(path),
                bearer_token_env: None,
            },
            None => Self::WebSocket {
                url: url.to_owned(),
                bearer_token_env: None,
            },
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket { url, .. } => f.write_str(&redacted(url)),
            Self::Unix { path, .. } => write!(f, "unix://{}", path.display()),
            Self::Program { program, .. } => {
                let name = Path::new(program).file_name();
                let name = name.map_or(program.into(), |name| name.to_string_lossy());
                write!(f, "stdio command `{name}`")
            }
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub path: PathBuf,
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        write!(f, "{}:{line}:{column}", path.display())
    }
}

/// Where an environment was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(Position),
    /// In this environment variable.
    Variable(&'static str),
    /// Nowhere: it is this machine.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(position) => position.fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::BuiltIn => f.write_str("built in"),
        }
    }
}

impl Config {
    /// Reads a file; none if nothing is there.
    ///
    /// # Errors
    /// It is there, but cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        // Messages and relative directories shall not depend on where we are later.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // Looked at without following a link: one that leads nowhere is no missing file.
        match path.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Problem::Inspect(path.clone(), error.to_string()).into()),
        }
        let bytes =
            read_at_most(path).map_err(|error| Problem::Read(path.clone(), error.to_string()))?;
        Self::parse(&bytes, path, path.parent()).map(Some)
    }

    /// Reads what stands in a file at `path`; a relative `cwd` starts at `directory`.
    ///
    /// # Errors
    /// It is wrong.
    pub fn parse(bytes: &[u8], path: &Path, directory: Option<&Path>) -> Result<Self, ConfigError> {
        let lines = Lines::new(path, bytes);
        let text = str::from_utf8(bytes).map_err(|error| {
            let problem = Problem::Read(path.to_owned(), error.to_string());
            problem.at(lines.position(error.valid_up_to()))
        })?;
        let document: Document = toml::from_str(text)
            .map_err(|error| Problem::Parse(path.to_owned(), explain(error)))?;

        let mut environments: Vec<Definition> = Vec::with_capacity(document.environments.len());
        for item in &document.environments {
            let definition = document::validate(item, &lines, directory)?;
            if environments.iter().any(|before| before.id == definition.id) {
                let problem = Problem::DuplicateId(definition.id);
                return Err(problem.at(lines.position(item.id.span().start)));
            }
            environments.push(definition);
        }
        let include_local = document.include_local.unwrap_or(true);
        Ok(Self {
            default: select_default(&document, &environments, include_local, &lines)?,
            environments,
            include_local,
        })
    }
}

fn select_default(
    document: &Document,
    environments: &[Definition],
    include_local: bool,
    lines: &Lines<'_>,
) -> Result<DefaultSelection, ConfigError> {
    let Some(default) = &document.default else {
        return Ok(if include_local {
            DefaultSelection::Id(super::LOCAL.to_owned())
        } else {
            DefaultSelection::Disabled
        });
    };
    let id = default.get_ref().trim();
    if id.eq_ignore_ascii_case("none") {
        return Ok(DefaultSelection::Disabled);
    }
    let is_configured = (include_local && id == super::LOCAL)
        || environments.iter().any(|environment| environment.id == id);
    let problem = if id.is_empty() {
        Problem::EmptyDefault
    } else if is_configured {
        return Ok(DefaultSelection::Id(id.to_owned()));
    } else {
        Problem::UnknownDefault(id.to_owned())
    };
    Err(problem.at(lines.position(default.span().start)))
}

/// The parser's block with the place, then its words, then where in the tables, which the parser
/// tells only where it cannot show a block.
fn explain(mut error: toml::de::Error) -> String {
    let block = redacted_in_place(&error.to_string());
    error.set_input(None);
    let words = error.to_string();
    let tables = words.strip_prefix(error.message()).unwrap_or_default();
    format!("{}{tables}", block.trim_end())
        .trim_end()
        .to_owned()
}

fn read_at_most(path: &PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path)?.take(LARGEST + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        let message = format!("it is larger than {LARGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

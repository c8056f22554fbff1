//! What can be wrong with the configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Position, home, own};
use crate::net::NoFingerprint;

/// What is wrong with the configuration, and where. `Display` has the reference's words first where
/// that makes the same of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problem: Problem,
    /// Where, unless the problem itself says it or there is no file.
    pub at: Option<Box<Position>>,
    /// What to write instead, and where.
    pub remedy: Option<String>,
}

impl ConfigError {
    /// The same, where the file at `path` has what the reference does not know: `table` is what our
    /// file beside it has to say.
    pub(super) fn for_own_file(self, path: &Path, table: &str) -> Self {
        let file = path.with_file_name(own::NAME);
        let remedy = format!(
            "Codex refuses that here; it belongs into {}:\n{table}",
            file.display()
        );
        Self {
            remedy: Some(remedy),
            ..self
        }
    }

    /// Whether the reference reads the same, and says the same of it.
    fn is_references(&self) -> bool {
        let path = match &self.problem {
            Problem::Home { .. }
            | Problem::Noise(_)
            | Problem::Missing(_)
            | Problem::Empty(_)
            | Problem::OtherAuthor(..)
            | Problem::RelativeHome(..)
            | Problem::Variable(_)
            | Problem::Unusable { .. }
            | Problem::NoTime { .. }
            | Problem::DefinedElsewhere { .. }
            | Problem::SecondToken { .. }
            | Problem::NeedsTls { .. }
            | Problem::NeedsSocket(_)
            | Problem::NoFingerprint { .. }
            | Problem::PinAndFile(_) => return false,
            Problem::Inspect(path, _) | Problem::Read(path, _) | Problem::Parse(path, _) => {
                Some(path)
            }
            _ => self.at.as_ref().map(|at| &at.path),
        };
        path.is_none_or(|path| !own::is_own(path))
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            at: None,
            remedy: None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_references() {
            f.write_str("exec-server protocol error: ")?;
        }
        self.problem.fmt(f)?;
        if let Some(position) = &self.at {
            write!(f, " (at {position})")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "\n{remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// What is wrong. URLs in it are free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A directory of configuration was named that is none.
    Home {
        /// What lives there: `codex` or `exec-server`.
        owner: &'static str,
        /// Which says so.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
        /// Whether something else is there.
        exists: bool,
    },
    /// Variables ask for a transport that we do not have; the field names one of them.
    Noise(&'static str),
    /// The named file is not there.
    Missing(PathBuf),
    /// The named directory has no file of ours.
    Empty(PathBuf),
    /// Whether the file is there cannot be told.
    Inspect(PathBuf, String),
    /// The file cannot be read.
    Read(PathBuf, String),
    /// Somebody else can have written the file.
    OtherAuthor(PathBuf, String),
    /// This variable names a directory of configuration in the current one, which is ignored; the
    /// file of ours that is in there.
    RelativeHome(&'static str, PathBuf),
    /// The file is no TOML, or its keys and values are of the wrong kind. The text has the place.
    Parse(PathBuf, String),
    /// This variable is not UTF-8.
    Variable(&'static str),
    /// An id of no characters, or of blanks alone.
    EmptyId,
    /// An id with blanks around it.
    SurroundedId(String),
    /// An id that means something else.
    ReservedId(String),
    /// An id of more than 64 bytes.
    LongId(String),
    /// An id with characters that it must not have.
    IdCharacters(String),
    /// A key that only a program can have.
    NeedsProgram(String),
    /// A key that only a url can have.
    NeedsUrl { id: String, key: &'static str },
    /// Both url and program, or neither.
    NotOne(String),
    /// A url of blanks.
    EmptyUrl,
    /// A url of another kind.
    UrlScheme(String),
    /// A url that is none.
    InvalidUrl {
        /// Without secrets.
        url: String,
        why: String,
    },
    /// A program of blanks.
    EmptyProgram(String),
    /// A relative directory, where nothing says relative to what.
    RelativeCwd(String),
    /// A text for a program with a NUL byte inside, or a variable's name that is none.
    Unusable { id: String, key: &'static str },
    /// A value that cannot be sent as a header.
    HeaderValue,
    /// A token for a server elsewhere, which would go there in clear text.
    Plaintext,
    /// What a definition in the other file says, or has to say.
    DefinedElsewhere {
        id: String,
        key: &'static str,
        /// Where it is defined.
        origin: String,
    },
    /// A token where there is one already.
    SecondToken { id: String, origin: String },
    /// A certificate to believe, where there is none.
    NeedsTls { id: String, key: &'static str },
    /// Other users who may be the server, where that is not on a Unix socket.
    NeedsSocket(String),
    /// A pin that is no fingerprint.
    NoFingerprint { id: String, why: NoFingerprint },
    /// Two certificates to believe.
    PinAndFile(String),
    /// No time at all.
    NoTime { id: String, key: &'static str },
    /// A second environment of that id.
    DuplicateId(String),
    /// A default of blanks.
    EmptyDefault,
    /// A default that is not there.
    UnknownDefault(String),
    /// A provider wants this machine as an environment, where it is none.
    NoLocal,
    /// A provider brings an environment under the name of this machine.
    LocalId,
    /// A provider's default is not there.
    NoSuchDefault(String),
}

impl Problem {
    /// The error that has this problem there.
    pub fn at(self, position: Position) -> ConfigError {
        ConfigError {
            problem: self,
            at: Some(Box::new(position)),
            remedy: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home {
                owner,
                variable,
                path,
                exists,
            } => {
                let what = if *exists {
                    "is not a directory"
                } else {
                    "does not exist"
                };
                write!(
                    f,
                    "Error finding {owner} home: {variable} points to {path:?}, but that path {what}"
                )
            }
            Self::Noise(variable) => write!(
                f,
                "environment registry configuration error: {variable} is set, but Noise \
                 environments are not supported; unset it, or name a file with --config"
            ),
            Self::Missing(path) => {
                let path = path.display();
                write!(
                    f,
                    "failed to read environment config `{path}`: no such file"
                )
            }
            Self::Empty(path) => write!(
                f,
                "neither {} nor {} is in `{}`",
                home::NAME,
                own::NAME,
                path.display()
            ),
            Self::Inspect(path, why) => {
                let path = path.display();
                write!(f, "failed to inspect environment config `{path}`: {why}")
            }
            Self::Read(path, why) => {
                let path = path.display();
                write!(f, "failed to read environment config `{path}`: {why}")
            }
            Self::OtherAuthor(path, why) => {
                let path = path.display();
                write!(
                    f,
                    "environment config `{path}` is not read, as another user can have written it: {why}"
                )
            }
            Self::RelativeHome(variable, path) => write!(
                f,
                "{variable} is a relative path, which counts for nothing, yet `{}` is there; make it \
                 an absolute one, or unset it",
                path.display()
            ),
            Self::Parse(path, why) => {
                let (path, why) = (path.display(), why.trim_end());
                write!(f, "failed to parse environment config `{path}`: {why}")
            }
            Self::Variable(name) => write!(f, "{name} is not UTF-8"),
            Self::EmptyId => f.write_str("environment id cannot be empty"),
            Self::SurroundedId(id) => write!(
                f,
                "environment id `{id}` must not contain surrounding whitespace"
            ),
            Self::ReservedId(id) => write!(f, "environment id `{id}` is reserved"),
            Self::LongId(id) => write!(
                f,
                "environment id `{id}` cannot be longer than 64 characters"
            ),
            Self::IdCharacters(id) => write!(
                f,
                "environment id `{id}` must contain only ASCII letters, numbers, '-' or '_'"
            ),
            Self::NeedsProgram(id) => {
                write!(f, "environment `{id}` args, env, and cwd require program")
            }
            Self::NeedsUrl { id, key } => write!(f, "environment `{id}` {key} requires url"),
            Self::NotOne(id) => write!(
                f,
                "environment `{id}` must set exactly one of url or program"
            ),
            Self::EmptyUrl => f.write_str("environment url cannot be empty"),
            Self::UrlScheme(url) => {
                write!(f, "environment url `{url}` must use ws:// or wss://")
            }
            Self::InvalidUrl { url, why } => write!(f, "environment url `{url}` is invalid: {why}"),
            Self::EmptyProgram(id) => write!(f, "environment `{id}` program cannot be empty"),
            Self::RelativeCwd(id) => write!(f, "environment `{id}` cwd must be absolute"),
            Self::Unusable { id, key } => write!(
                f,
                "environment `{id}` {key} has characters that the system does not allow there"
            ),
            Self::HeaderValue => {
                f.write_str("invalid value for exec-server WebSocket header `authorization`")
            }
            Self::Plaintext => f.write_str(crate::net::dial::PLAINTEXT),
            Self::DefinedElsewhere { id, key, origin } => write!(
                f,
                "`{key}` of environment `{id}` belongs where it is defined, at {origin}; \
                 {} only adds {} to it",
                own::NAME,
                own::KEYS.join(", ")
            ),
            Self::SecondToken { id, origin } => {
                write!(f, "environment `{id}` has a token already, at {origin}")
            }
            Self::NeedsTls { id, key } => {
                write!(f, "environment `{id}` {key} requires a url with wss://")
            }
            Self::NeedsSocket(id) => write!(
                f,
                "environment `{id}` allow_local_users requires a url with unix://"
            ),
            Self::NoFingerprint { id, why } => write!(f, "environment `{id}` pin: {why}"),
            Self::PinAndFile(id) => write!(
                f,
                "environment `{id}` must not set both pin and ca_file: with a pin no other certificate counts"
            ),
            Self::NoTime { id, key } => write!(
                f,
                "environment `{id}` {key} must be more than 0; leave it out for 10 seconds"
            ),
            Self::DuplicateId(id) => write!(f, "environment id `{id}` is duplicated"),
            Self::EmptyDefault => f.write_str("default environment id cannot be empty"),
            Self::UnknownDefault(id) => {
                write!(f, "default environment `{id}` is not configured")
            }
            Self::NoLocal => f.write_str("local environment requires configured runtime paths"),
            Self::LocalId => {
                f.write_str("environment id `local` is reserved for EnvironmentManager")
            }
            Self::NoSuchDefault(id) => {
                write!(f, "default environment `{id}` is not configured")
            }
        }
    }
}

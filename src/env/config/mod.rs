//! Where work can run, as a person wrote it down: in `environments.toml`, which the reference reads
//! too, and in `exec-server.toml` beside it.
//!
//! [`home`] says which files are meant. `document` knows the keys of the first one and what they must
//! not be, `own` those of the second. The reference refuses keys that it does not know, so all that
//! it does not have is in the second. Every mistake is found before any environment exists, with its
//! place in the file, and in the reference's words where that makes the same of it.

mod document;
mod error;
pub mod home;
pub(crate) mod own;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::net::Trust;
use crate::net::redact::redacted;
use crate::sys::secret_file;

use document::{Document, Lines};
pub use error::{ConfigError, Problem};

/// Which environment is meant when none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultSelection {
    /// None: whoever wants one must name it.
    Disabled,
    /// The one of this id.
    Id(String),
}

/// The environments that are configured: what the files say, or the variable in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In the order of the files, those of `environments.toml` first; without this machine.
    pub environments: Vec<Definition>,
    /// Which one is meant when none is named.
    pub default: DefaultSelection,
    /// Whether this machine is an environment too.
    pub include_local: bool,
    /// What was read.
    pub sources: Sources,
}

/// What a configuration was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The directories in which files were looked for, unless one was named.
    pub directories: Vec<PathBuf>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |paths: &[PathBuf], word: &str| {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            paths.join(word)
        };
        match (&self.files[..], &self.directories[..]) {
            ([], []) => f.write_str("none, and no home to look in"),
            ([], directories) => {
                let places = listed(directories, " or ");
                write!(f, "neither {} nor {} is in {places}", home::NAME, own::NAME)
            }
            (files, _) => f.write_str(&listed(files, " and ")),
        }
    }
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

/// How an environment is reached. `Display` and `Debug` show neither arguments, nor variables, nor
/// tokens, nor what may be secret in a URL.
#[derive(Clone, PartialEq, Eq)]
pub enum Transport {
    WebSocket {
        /// Of `ws` or `wss`; what came from a variable may be anything.
        url: String,
        /// What to log in with.
        token: Option<Token>,
        /// Whose certificate is believed.
        trust: Trust,
    },
    /// A websocket on a unix socket.
    Unix {
        /// Of the socket; absolute.
        path: PathBuf,
        token: Option<Token>,
        /// Whether any user of this machine may be the server, not only ours or root.
        allows_local_users: bool,
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

/// Where the token for a server is that asks for one.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// Here.
    Text(String),
    /// In this variable.
    Variable(String),
    /// In this file.
    File(PathBuf),
}

impl Transport {
    /// What is logged in with, where anything is.
    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::WebSocket { token, .. } | Self::Unix { token, .. } => token.as_ref(),
            Self::Program { .. } => None,
        }
    }

    /// What a URL leads to that nobody has looked at: a socket of this machine, or a websocket.
    pub fn from_url(url: &str, token: Option<Token>) -> Self {
        match url.strip_prefix("unix://") {
            Some(path) => Self::Unix {
                path: PathBuf::from(path),
                token,
                allows_local_users: false,
            },
            None => Self::WebSocket {
                url: url.to_owned(),
                token,
                trust: Trust::Usual,
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

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
    /// What holds where nothing is configured: this machine alone.
    pub(crate) fn local_only() -> Self {
        Self {
            environments: Vec::new(),
            default: DefaultSelection::Id(super::LOCAL.to_owned()),
            include_local: true,
            sources: Sources::default(),
        }
    }

    /// Reads one file, of the form that its name says.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = &absolute(path);
        if !exists(path)? {
            return Err(Problem::Missing(path.clone()).into());
        }
        // Whoever names a file may mean the output of a command.
        let bytes = trusted(path, secret_file::read)?;
        let directory = path.parent();
        let mut config = match own::is_own(path) {
            true => Self::local_only(),
            false => Self::parse(&bytes, path, directory)?,
        };
        if own::is_own(path) {
            own::add(
                &mut config,
                &bytes,
                path,
                directory.unwrap_or(Path::new("/")),
            )?;
        }
        config.sources.files.push(path.clone());
        Ok(config)
    }

    /// Reads the files of a directory; none if it has neither.
    ///
    /// # Errors
    /// One is there, but cannot be read or is wrong, or they contradict each other.
    pub fn read_directory(directory: &Path) -> Result<Option<Self>, ConfigError> {
        // Messages and relative directories shall not depend on where we are later.
        let directory = &absolute(directory);
        let [shared, own] = [home::NAME, own::NAME].map(|name| directory.join(name));
        let (has_shared, has_own) = (exists(&shared)?, exists(&own)?);
        if !has_shared && !has_own {
            return Ok(None);
        }
        let read = |path: &PathBuf| trusted(path, secret_file::read_regular);
        let mut config = match has_shared {
            true => Self::parse(&read(&shared)?, &shared, Some(directory))?,
            false => Self::local_only(),
        };
        if has_own {
            own::add(&mut config, &read(&own)?, &own, directory)?;
        }
        let files = [(has_shared, shared), (has_own, own)];
        config.sources = Sources {
            directories: vec![directory.clone()],
            files: files
                .into_iter()
                .filter_map(|(is_there, path)| is_there.then_some(path))
                .collect(),
        };
        Ok(Some(config))
    }

    /// Reads what stands in an `environments.toml` at `path`; a relative `cwd` starts at `directory`.
    ///
    /// # Errors
    /// It is wrong.
    pub fn parse(bytes: &[u8], path: &Path, directory: Option<&Path>) -> Result<Self, ConfigError> {
        let lines = Lines::new(path, bytes);
        let document: Document = lines.document()?;
        let mut config = Self::local_only();
        let mut ids = HashSet::new();
        for item in &document.environments {
            let definition = document::validate(item, &lines, directory)?;
            if !ids.insert(item.id.get_ref()) {
                let problem = Problem::DuplicateId(definition.id);
                return Err(problem.at(lines.position(item.id.span().start)));
            }
            config.environments.push(definition);
        }
        config.include_local = document.include_local.unwrap_or(true);
        config.default = match &document.default {
            Some(default) => config.selected(default, &lines)?,
            None if config.include_local => DefaultSelection::Id(super::LOCAL.to_owned()),
            None => DefaultSelection::Disabled,
        };
        Ok(config)
    }

    /// What a key `default` means.
    fn selected(
        &self,
        default: &Spanned<String>,
        lines: &Lines<'_>,
    ) -> Result<DefaultSelection, ConfigError> {
        let id = default.get_ref().trim();
        if id.eq_ignore_ascii_case("none") {
            return Ok(DefaultSelection::Disabled);
        }
        let mut environments = self.environments.iter();
        let is_configured = (self.include_local && id == super::LOCAL)
            || environments.any(|environment| environment.id == id);
        let problem = if id.is_empty() {
            Problem::EmptyDefault
        } else if is_configured {
            return Ok(DefaultSelection::Id(id.to_owned()));
        } else {
            Problem::UnknownDefault(id.to_owned())
        };
        Err(problem.at(lines.position(default.span().start)))
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The content of a file that nobody else can have written.
fn trusted(
    path: &Path,
    read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, ConfigError> {
    if let Some(why) = secret_file::other_author(path) {
        return Err(Problem::OtherAuthor(path.to_owned(), why).into());
    }
    read(path).map_err(|error| Problem::Read(path.to_owned(), error.to_string()).into())
}

/// Whether something is there. A link that leads nowhere is no missing file, nor is what would be
/// behind such a link.
fn exists(path: &Path) -> Result<bool, ConfigError> {
    let inspect = |why: String| Problem::Inspect(path.to_owned(), why).into();
    match path.symlink_metadata() {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(inspect(error.to_string())),
    }
    for directory in path.ancestors().skip(1) {
        match directory.symlink_metadata() {
            Ok(there) if there.is_symlink() && !directory.exists() => {
                let link = directory.display();
                return Err(inspect(format!("`{link}` is a link that leads nowhere")));
            }
            Ok(_) => break,
            Err(_) => {}
        }
    }
    Ok(false)
}

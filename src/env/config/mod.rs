//! `environments.toml`: where work can run, as a person wrote it down.
//!
//! [`home`] says which file is meant, `document` knows its keys, `item` and this
//! module what they must not be. Every mistake is found before any environment
//! exists, and comes with the reference's words, so that what looks for them finds
//! them, and with the place in the file.
//!
//! Beyond the reference's keys a url may be `unix:///PATH`, and `bearer_token_env`
//! names the variable with the token for a server that wants one. A file with
//! these is ours alone: the reference refuses keys that it does not know.

mod document;
mod error;
pub mod home;
mod item;
mod position;
mod transport;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toml_test;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use document::Document;
pub use error::{ConfigError, Problem};
pub use position::{Origin, Position};
pub use transport::{Definition, Transport};

use position::Lines;

use crate::net::redact::redacted_in_place;

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
            let definition = item::validate(item, &lines, directory)?;
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

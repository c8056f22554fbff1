//! The configuration files of the client's software on this machine, as it wants to read them from
//! afar: which there are, and what each says of the keys that are wanted.
//!
//! From the weakest to the strongest: the machine's, the user's, those of a trusted project from
//! its top down to the directory that is worked in, and what an administrator has put above all.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::capability_roots::read_at_most;
use super::files::FileError;
use super::toml_text;
use crate::rpc::methods::discovery::{ConfigLayer, ConfigStack, KeyPath};
use crate::rpc::path_uri::to_uri;

/// Where the machine's files are.
const SYSTEM: &str = "/etc/codex";
/// The largest file that is read, in bytes.
const MAX_FILE: usize = 1024 * 1024;
/// The most directories of a project that are looked into.
const MAX_PROJECT_LAYERS: usize = 32;

/// Why the configuration cannot be told. `Display` begins as the reference's.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, FileError),
    /// The file is no TOML; line and column, both from 1, and why.
    Malformed(PathBuf, usize, usize, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to load executor-local config: ")?;
        match self {
            Self::Unreadable(path, FileError::TooLargeToRead) => {
                write!(f, "{}: it has more than {MAX_FILE} bytes", path.display())
            }
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Malformed(path, line, column, why) => {
                write!(f, "{}:{line}:{column}: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// What the files say of `keys`, for work in `cwd`; `home` is where the user's is.
pub(crate) fn config(
    home: Option<&Path>,
    cwd: &Path,
    keys: &[KeyPath<'_>],
) -> Result<ConfigStack, ConfigError> {
    let mut stack = ConfigStack::default();
    if keys.is_empty() {
        return Ok(stack);
    }
    let system = Path::new(SYSTEM);
    let file = |directory: &Path| directory.join("config.toml");
    if add(&mut stack, "system", &file(system), keys)?.is_some() {
        stack.cloud_insertion_index = stack.layers.len();
    }
    let user = match home {
        Some(home) => add(&mut stack, "user", &file(home), keys)?,
        None => None,
    };
    for directory in project(cwd, &user.unwrap_or_default()) {
        let own = directory.join(".codex");
        if home != Some(&own) {
            add(&mut stack, "project", &file(&own), keys)?;
        }
    }
    let managed = system.join("managed_config.toml");
    add(&mut stack, "legacy managed_config.toml", &managed, keys)?;
    Ok(stack)
}

/// What an administrator requires of `keys`.
pub(crate) fn requirements(keys: &[KeyPath<'_>]) -> Result<ConfigStack, ConfigError> {
    let mut stack = ConfigStack::default();
    if !keys.is_empty() {
        let file = Path::new(SYSTEM).join("requirements.toml");
        add(&mut stack, "", &file, keys)?;
        stack.cloud_insertion_index = stack.layers.len();
    }
    Ok(stack)
}

/// Adds what a file says, if it says anything of the keys. The whole of the file, if it is there.
fn add(
    stack: &mut ConfigStack,
    whose: &str,
    path: &Path,
    keys: &[KeyPath<'_>],
) -> Result<Option<Table>, ConfigError> {
    let Some(table) = read(path)? else {
        return Ok(None);
    };
    let mut wanted = Table::new();
    for key in keys {
        select(&table, &key.keys, &mut wanted);
    }
    if !wanted.is_empty() {
        let shown = path.display();
        stack.layers.push(ConfigLayer {
            source: match whose {
                "" => shown.to_string(),
                whose => format!("{whose} ({shown})"),
            },
            base_dir: to_uri(path.parent().unwrap_or(path)),
            toml: toml_text::to_text(&wanted),
        });
    }
    Ok(Some(table))
}

/// A file as TOML; none if it is not there.
fn read(path: &Path) -> Result<Option<Table>, ConfigError> {
    let bytes = match read_at_most(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(ConfigError::Unreadable(path.to_owned(), error)),
    };
    let malformed = |at: usize, why: &str| {
        let before = &bytes[..at.min(bytes.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count();
        ConfigError::Malformed(path.to_owned(), line, column, why.to_owned())
    };
    let text = str::from_utf8(&bytes)
        .map_err(|error| malformed(error.valid_up_to(), "it is not UTF-8"))?;
    match text.parse() {
        Ok(table) => Ok(Some(table)),
        Err(error) => {
            let at = toml::de::Error::span(&error).map_or(0, |span| span.start);
            Err(malformed(at, error.message()))
        }
    }
}

/// Copies what is at a path of keys, if anything is.
fn select(from: &Table, keys: &[Cow<'_, str>], into: &mut Table) {
    let Some((first, rest)) = keys.split_first() else {
        return;
    };
    match from.get(&**first) {
        None => {}
        Some(Value::Table(inner)) if !rest.is_empty() => {
            let mut found = match into.remove(&**first) {
                Some(Value::Table(known)) => known,
                _ => Table::new(),
            };
            select(inner, rest, &mut found);
            if !found.is_empty() {
                into.insert(first.to_string(), Value::Table(found));
            }
        }
        // Keys behind a value that has none lead to the value.
        Some(value) => {
            into.insert(first.to_string(), value.clone());
        }
    }
}

/// The directories of a project that may have a file, from its top down; none unless the user
/// trusts the project.
fn project(cwd: &Path, user: &Table) -> Vec<PathBuf> {
    let top = cwd.ancestors().find(|it| it.join(".git").exists());
    let top = top.unwrap_or(cwd);
    let is_trusted = |path: &Path| {
        let level = || {
            user.get("projects")?
                .get(path.to_str()?)?
                .get("trust_level")
        };
        level().and_then(Value::as_str) == Some("trusted")
    };
    if !is_trusted(top) && !is_trusted(cwd) {
        return Vec::new();
    }
    let within = cwd.ancestors().take_while(|it| it.starts_with(top));
    let mut directories: Vec<_> = within.map(Path::to_owned).collect();
    directories.reverse();
    directories.truncate(MAX_PROJECT_LAYERS);
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(table: &str, paths: &[&[&str]]) -> String {
        let table: Table = table.parse().unwrap();
        let mut wanted = Table::new();
        for path in paths {
            let keys: Vec<Cow<'_, str>> = path.iter().map(|key| (*key).into()).collect();
            select(&table, &keys, &mut wanted);
        }
        toml_text::to_text(&wanted)
    }

    #[test]
    fn no_more_is_told_than_was_asked_for() {
        let table = "a = 1\n[b]\nc = 2\nd = 3\n[b.e]\nf = 4\n";
        for (paths, told) in [
            (&[&["a"][..]][..], "a = 1\n"),
            (
                &[&["b", "c"], &["b", "e", "f"]],
                "[b]\nc = 2\n\n[b.e]\nf = 4\n",
            ),
            (&[&["b", "e"], &["b", "e", "f"]], "[b.e]\nf = 4\n"),
            (&[&["a", "deeper"]], "a = 1\n"),
            (&[&["x"], &["b", "x"], &["b", "e", "x"]], ""),
        ] {
            assert_eq!(selected(table, paths), told, "{paths:?}");
        }
    }

    #[test]
    fn a_project_is_looked_into_only_if_it_is_trusted() {
        let user: Table = "[projects.\"/w\"]\ntrust_level = \"trusted\"\n[projects.\"/v\"]\n\
                           trust_level = \"untrusted\""
            .parse()
            .unwrap();
        let found = |cwd: &str| project(Path::new(cwd), &user);
        assert_eq!(found("/w"), [PathBuf::from("/w")]);
        for other in ["/v", "/w/sub", "/x"] {
            assert!(found(other).is_empty(), "{other}");
        }
    }
}

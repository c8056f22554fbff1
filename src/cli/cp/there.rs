//! An environment as a side.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::side::{Abilities, BLOCK, Block, Blocks, CopyError, Found, Side};
use crate::env::{Environment, EnvironmentError, EnvironmentFacts, FileKind, OpenFile, OpenFor};
use crate::rpc::client::ClientError;
use crate::rpc::error::ErrorKind;

/// Files of an environment.
pub(super) struct There {
    environment: Arc<dyn Environment>,
    abilities: Abilities,
}

impl There {
    /// Those of this one, which has told about itself.
    pub(super) fn new(environment: Arc<dyn Environment>, facts: &EnvironmentFacts) -> Self {
        let knows = |name: &str| facts.extensions.iter().any(|known| known == name);
        let abilities = Abilities {
            renames: knows("fs/rename"),
            sets_modes: knows("fs/setPermissions"),
            makes_links: knows("fs/symlink"),
            reads_links: knows("fs/readLink"),
            updates: knows("fs/open.update"),
        };
        Self {
            environment,
            abilities,
        }
    }

    fn result<T>(&self, path: &Path, result: Result<T, EnvironmentError>) -> Result<T, CopyError> {
        result.map_err(|error| explained(&self.name(path), error))
    }
}

/// The error of a file, unless the environment itself is lost.
fn explained(name: &str, error: EnvironmentError) -> CopyError {
    let is_lost = match &error {
        EnvironmentError::Remote {
            error: ClientError::Protocol(_),
            ..
        } => false,
        error => error.code().is_none(),
    };
    match is_lost {
        true => CopyError::Lost(error),
        false => CopyError::of(name, words(&error)),
    }
}

/// What the other side said, without what is of no use to a person.
fn words(error: &EnvironmentError) -> String {
    let text = error.to_string();
    let text = match text.split_once("): ") {
        Some((start, rest)) if start.starts_with("exec-server rejected request (") => rest,
        _ => &text,
    };
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The wire has texts only.
fn text(path: &Path, name: impl Display) -> Result<&str, CopyError> {
    let why = "the name is not UTF-8, which this environment needs";
    path.to_str().ok_or_else(|| CopyError::of(name, why))
}

impl Side for There {
    fn name(&self, path: &Path) -> String {
        format!("{}:{}", self.environment.id(), path.display())
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError> {
        let files = self.environment.files();
        let found = match files.metadata(text(path, self.name(path))?, follows) {
            Err(error) if error.is_not_found() => return Ok(None),
            found => self.result(path, found)?,
        };
        Ok(Some(Found {
            kind: match found.is_symlink && !follows {
                true => FileKind::Symlink,
                false => found.kind,
            },
            is_link: found.is_symlink,
            size: found.size,
            modified_ms: Some(found.modified_ms),
            mode: found.mode,
        }))
    }

    fn list(&self, directory: &Path) -> Result<Vec<(OsString, FileKind)>, CopyError> {
        let files = self.environment.files();
        let entries = files.read_directory(text(directory, self.name(directory))?);
        let entries = self.result(directory, entries)?;
        let named = entries
            .into_iter()
            .map(|entry| (entry.name.into(), entry.kind));
        Ok(named.collect())
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        let files = self.environment.files();
        let real = files.canonicalize(text(path, self.name(path))?);
        self.result(path, real).map(PathBuf::from)
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        let files = self.environment.files();
        let target = files.read_link(text(path, self.name(path))?);
        self.result(path, target).map(PathBuf::from)
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        let (name, files) = (self.name(path), self.environment.files());
        let made = files.symlink(text(target, &name)?, text(path, &name)?);
        self.result(path, made)
    }

    fn make_directory(&self, path: &Path) -> Result<(), CopyError> {
        let files = self.environment.files();
        let made = files.create_directory(text(path, self.name(path))?);
        self.result(path, made)
    }

    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, CopyError> {
        let files = self.environment.files();
        let data = files.read(text(path, self.name(path))?);
        self.result(path, data)
    }

    fn write_whole(&self, path: &Path, data: &[u8]) -> Result<(), CopyError> {
        let files = self.environment.files();
        let written = files.write(text(path, self.name(path))?, data, false);
        self.result(path, written)
    }

    fn open(&self, path: &Path, purpose: OpenFor) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let name = self.name(path);
        let files = self.environment.files();
        match files.open(text(path, &name)?, purpose) {
            Ok(file) => Ok(Some(Box::new(OpenThere { name, file }))),
            // As 0.130 has it.
            Err(error) if error.code() == Some(ErrorKind::UnknownMethod.code().into()) => Ok(None),
            Err(error) => Err(explained(&name, error)),
        }
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), CopyError> {
        let files = self.environment.files();
        let set = files.set_permissions(text(path, self.name(path))?, mode);
        self.result(path, set)
    }

    fn set_modified(&self, _: &Path, _: i64) -> Result<(), CopyError> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let (name, files) = (self.name(to), self.environment.files());
        let renamed = files.rename(text(from, &name)?, text(to, &name)?);
        self.result(to, renamed)
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        let files = self.environment.files();
        let removed = files.remove(text(path, self.name(path))?);
        self.result(path, removed)
    }
}

/// An open file of an environment.
struct OpenThere {
    name: String,
    file: Box<dyn OpenFile>,
}

impl Blocks for OpenThere {
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError> {
        let read = self.file.read_block(offset, BLOCK);
        let read = read.map_err(|error| explained(&self.name, error))?;
        block.set(read.data);
        Ok(read.is_last)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError> {
        let written = self.file.write_block(offset, data);
        written.map_err(|error| explained(&self.name, error))
    }

    fn close(self: Box<Self>) -> Result<(), CopyError> {
        let Self { name, file } = *self;
        file.close().map_err(|error| explained(&name, error))
    }
}

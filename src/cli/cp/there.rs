//! An environment as a side.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::again::again;
use super::reopened::Opening;
use super::side::{Abilities, Blocks, CopyError, Found, Names, Side};
use crate::env::{Environment, EnvironmentError, EnvironmentFacts, FileKind, FileSystem, OpenFor};
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

    /// Asks for something that can be done twice.
    fn ask<T>(
        &self,
        path: &Path,
        call: impl Fn(&dyn FileSystem) -> Result<T, EnvironmentError>,
    ) -> Result<T, CopyError> {
        let answer = again(|| call(self.environment.files()));
        answer.map_err(|error| explained(&self.name(path), error))
    }
}

/// The error of a file, unless the environment itself is lost.
pub(super) fn explained(name: &str, error: EnvironmentError) -> CopyError {
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
        let wanted = text(path, self.name(path))?;
        let found = self.ask(path, |files| match files.metadata(wanted, follows) {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        })?;
        Ok(found.map(|found| Found {
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

    fn list(&self, directory: &Path) -> Result<Names, CopyError> {
        let wanted = text(directory, self.name(directory))?;
        let listing = self.ask(directory, |files| files.read_directory(wanted))?;
        let named = listing.entries.into_iter();
        Ok(Names {
            known: named.map(|entry| (entry.name.into(), entry.kind)).collect(),
            unnamed: listing.unnamed,
        })
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.canonicalize(wanted))
            .map(PathBuf::from)
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.read_link(wanted))
            .map(PathBuf::from)
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        let name = self.name(path);
        let (target, wanted) = (text(target, &name)?, text(path, &name)?);
        // Where the first of two was done, the second finds the name taken, as by another's.
        self.ask(path, |files| files.symlink(target, wanted))
    }

    fn make_directory(&self, path: &Path) -> Result<(), CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.create_directory(wanted))
    }

    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.read(wanted))
    }

    fn write_whole(&self, path: &Path, data: &[u8]) -> Result<(), CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.write(wanted, data, false))
    }

    fn open(&self, path: &Path, purpose: OpenFor) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let name = self.name(path);
        let opening = Opening {
            environment: Arc::clone(&self.environment),
            path: text(path, &name)?.to_owned(),
            name,
            purpose,
            updates: self.abilities.updates,
        };
        match opening.open() {
            Ok(file) => Ok(Some(Box::new(file))),
            // As 0.130 has it.
            Err(error) if error.code() == Some(ErrorKind::UnknownMethod.code().into()) => Ok(None),
            Err(error) => Err(explained(&self.name(path), error)),
        }
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.set_permissions(wanted, mode))
    }

    fn set_modified(&self, _: &Path, _: i64) -> Result<(), CopyError> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let name = self.name(to);
        let (old, new) = (text(from, &name)?, text(to, &name)?);
        let files = self.environment.files();
        let mut was_lost = false;
        let renamed = again(|| match files.rename(old, new) {
            // The one whose answer was lost has been done.
            Err(error) if was_lost && error.is_not_found() => files.metadata(new, false).map(drop),
            renamed => {
                was_lost |= matches!(&renamed, Err(error) if error.is_disconnect());
                renamed
            }
        });
        renamed.map_err(|error| explained(&name, error))
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        let wanted = text(path, self.name(path))?;
        self.ask(path, |files| files.remove(wanted))
    }
}

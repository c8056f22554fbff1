//! An environment as a side.
//!
//! Where something is copied to, the directory that all is in is found once, by its path without
//! links, and from then on the server is told to follow none. Ours refuses one anywhere in a path;
//! the reference does for whole files and directories only, and 0.130 not at all.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::again::again;
use super::reopened::Opening;
use super::side::{Abilities, Blocks, CopyError, Found, Purpose, Settings, Side};
use crate::env::{
    Environment, EnvironmentError, EnvironmentFacts, FileKind, Links, Listing, OpenFor,
};
use crate::rpc::client::{ClientError, ExecServerClient};
use crate::rpc::error::ErrorKind;
use crate::visible::Visible;

/// Files of an environment.
pub(super) struct RemoteFs {
    environment: Arc<Environment>,
    client: ExecServerClient,
    abilities: Abilities,
    base: Option<Base>,
}

/// The directory that all is in.
struct Base {
    path: PathBuf,
    /// The same without links; none where the server cannot tell.
    real: Option<String>,
}

impl RemoteFs {
    /// Those of this one, which has told about itself.
    pub(super) fn new(
        environment: Arc<Environment>,
        facts: &EnvironmentFacts,
    ) -> Result<Self, EnvironmentError> {
        let knows = |name: &str| facts.extensions.iter().any(|known| known == name);
        let abilities = Abilities {
            renames: knows("fs/rename"),
            sets_modes: knows("fs/setPermissions"),
            makes_links: knows("fs/symlink"),
            reads_links: knows("fs/readLink"),
            updates: knows("fs/open.update"),
        };
        let client = environment.client()?.clone();
        Ok(Self {
            environment,
            client,
            abilities,
            base: None,
        })
    }

    /// Asks for something that can be done twice.
    fn ask<T>(
        &self,
        path: &Path,
        call: impl Fn(&ExecServerClient, &str) -> Result<T, ClientError>,
    ) -> Result<T, CopyError> {
        let wanted = self.wanted(path)?;
        let answer = again(|| call(&self.client, &wanted));
        answer.map_err(|error| self.explained(path, error))
    }

    /// The path as the server gets it: the wire has texts only.
    fn wanted<'a>(&self, path: &'a Path) -> Result<Cow<'a, str>, CopyError> {
        let why = "the name is not UTF-8, which this environment needs";
        let text = |path: &'a Path| {
            path.to_str()
                .ok_or_else(|| CopyError::of(self.name(path), why))
        };
        let Some((base, real)) = self.real_base() else {
            return text(path).map(Cow::Borrowed);
        };
        match path.strip_prefix(base) {
            Ok(rest) if rest.as_os_str().is_empty() => Ok(real.to_owned().into()),
            Ok(rest) => Ok(format!("{}/{}", real.trim_end_matches('/'), text(rest)?).into()),
            Err(_) => Err(CopyError::of(
                self.name(path),
                "it is outside of what is copied",
            )),
        }
    }

    fn explained(&self, path: &Path, error: ClientError) -> CopyError {
        explained(&self.name(path), &self.environment, error)
    }

    fn real_base(&self) -> Option<(&Path, &str)> {
        let base = self.base.as_ref()?;
        Some((&base.path, base.real.as_deref()?))
    }

    fn links(&self) -> Links {
        match self.real_base() {
            Some(_) => Links::Refuse,
            None => Links::Follow,
        }
    }

    fn set_mode(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError> {
        match mode {
            Some(mode) => self.ask(path, |files, path| {
                files.set_permissions(path, mode, self.links())
            }),
            None => Ok(()),
        }
    }
}

/// The error of a file, unless the environment itself is lost.
pub(super) fn explained(name: &str, environment: &Environment, error: ClientError) -> CopyError {
    let is_lost = !matches!(error, ClientError::Protocol(_)) && error.code().is_none();
    let error = environment.error(error);
    match is_lost {
        true => CopyError::Lost(error),
        false => CopyError::of(name, Visible(words(&error))),
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

fn is_unknown_method(error: &ClientError) -> bool {
    error.code() == Some(ErrorKind::UnknownMethod.code().into())
}

impl Side for RemoteFs {
    fn name(&self, path: &Path) -> String {
        Visible(format_args!("{}:{}", self.environment.id(), path.display())).to_string()
    }

    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn below(&self, directory: &Path) -> Result<Box<dyn Side>, CopyError> {
        let real = self.ask(directory, |files, path| match files.canonicalize(path) {
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            real => real.map(Some),
        })?;
        Ok(Box::new(Self {
            environment: Arc::clone(&self.environment),
            client: self.client.clone(),
            abilities: self.abilities,
            base: Some(Base {
                path: directory.to_owned(),
                real,
            }),
        }))
    }

    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError> {
        let found = self.ask(path, |files, path| match files.metadata(path, follows) {
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

    fn list(&self, directory: &Path) -> Result<Listing, CopyError> {
        self.ask(directory, |files, path| files.read_directory(path))
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        self.ask(path, |files, path| files.canonicalize(path))
            .map(PathBuf::from)
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        self.ask(path, |files, path| files.read_link(path))
            .map(PathBuf::from)
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        let why = "a link to what is not UTF-8, which this environment needs";
        let target = target.to_str();
        let target = target.ok_or_else(|| CopyError::of(self.name(path), why))?;
        // Where the first of two was done, the second finds the name taken, as by another's.
        self.ask(path, |files, path| {
            files.symlink(target, path, self.links())
        })
    }

    fn make_directory(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError> {
        self.ask(path, |files, path| {
            files.create_directory(path, self.links())
        })?;
        self.set_mode(path, mode)
    }

    fn read_whole(&self, path: &Path, _: Option<usize>) -> Result<Vec<u8>, CopyError> {
        self.ask(path, |files, path| files.read_file(path))
    }

    fn write_whole(
        &self,
        path: &Path,
        _: Purpose,
        data: &[u8],
        settings: Settings,
    ) -> Result<(), CopyError> {
        self.ask(path, |files, path| {
            files.write_file(path, data, false, self.links())
        })?;
        self.set_mode(path, settings.mode)
    }

    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let opening = Opening {
            environment: Arc::clone(&self.environment),
            client: self.client.clone(),
            path: self.wanted(path)?.into_owned(),
            name: self.name(path),
            purpose: match purpose {
                Purpose::Reading => OpenFor::Reading,
                Purpose::NewPart | Purpose::InPlace => OpenFor::Replacing,
                Purpose::OldPart => OpenFor::Updating,
            },
            links: self.links(),
            updates: self.abilities.updates,
        };
        match opening.open() {
            Ok(file) => Ok(Some(Box::new(file))),
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            Err(error) => Err(self.explained(path, error)),
        }
    }

    fn settle_directory(&self, path: &Path, settings: Settings) -> Result<(), CopyError> {
        self.set_mode(path, settings.mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let (old, new) = (self.wanted(from)?, self.wanted(to)?);
        let files = &self.client;
        let mut was_lost = false;
        let renamed = again(|| match files.rename(&old, &new, self.links()) {
            // The one whose answer was lost has been done.
            Err(error) if was_lost && error.is_not_found() => files.metadata(&new, false).map(drop),
            renamed => {
                was_lost |= matches!(&renamed, Err(error) if error.is_disconnect());
                renamed
            }
        });
        renamed.map_err(|error| self.explained(to, error))
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        self.ask(path, |files, path| files.remove(path))
    }
}

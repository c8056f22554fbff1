//! An environment as a side.
//!
//! Where something is copied to, the directory that all is in is found once, by its path without
//! links, and from then on the server is told to follow none. Ours refuses one anywhere in a path;
//! the reference does for whole files and directories only, and 0.130 not at all.
//!
//! The client makes a lost websocket again and takes the session up, but what was under way on it
//! fails: a server may have done it or not. Of what a copy asks for, all can be done twice, and is
//! asked for [`again`]. A handle is gone with its connection, so an open file is opened anew by its
//! path, once for all who use it. What must not happen is that the path means another file by then:
//! one that is read has to look as it did, and one that is written has to hold all that its server
//! has acknowledged.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::side::{Abilities, BLOCK, Block, Blocks, CopyError, Found, Purpose, Settings, Side};
use crate::env::{
    Environment, EnvironmentError, EnvironmentFacts, FileKind, FileMetadata, Links, Listing,
    OpenFor,
};
use crate::rpc::client::{ClientError, ExecServerClient, OpenFile};
use crate::rpc::error::ErrorKind;
use crate::sys::sync::Mutex;
use crate::visible::Visible;

/// For how long one thing is asked for again and again: longer than the client's window of 45 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two attempts, so that a server that hangs up at once does not keep us busy.
const PAUSE: Duration = Duration::from_millis(50);

/// Files of an environment.
pub(crate) struct RemoteFs {
    remote: Arc<Remote>,
    base: Option<Base>,
}

/// The environment, which all its files share.
struct Remote {
    environment: Arc<Environment>,
    client: ExecServerClient,
    abilities: Abilities,
}

/// The directory that all is in.
struct Base {
    path: PathBuf,
    /// The same without links; none where the server cannot tell.
    real: Option<String>,
}

impl RemoteFs {
    /// Those of this one, which has told about itself.
    pub(crate) fn new(
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
            remote: Arc::new(Remote {
                environment,
                client,
                abilities,
            }),
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
        let answer = again(|| call(&self.remote.client, &wanted));
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
        self.remote.explained(&self.name(path), error)
    }

    /// The error of writing for this purpose.
    fn of_writing(&self, path: &Path, purpose: Purpose, error: ClientError) -> CopyError {
        let errno = error.errno().filter(|_| purpose == Purpose::NewPart);
        self.explained(path, error).of_replacing(errno)
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

impl Remote {
    /// The error of a file, unless the environment itself is lost.
    fn explained(&self, name: &str, error: ClientError) -> CopyError {
        let is_lost = !matches!(error, ClientError::Protocol(_)) && error.code().is_none();
        let error = self.environment.error(error);
        match is_lost {
            true => CopyError::Lost(error),
            false => CopyError::of(name, Visible(words(&error))),
        }
    }
}

impl Side for RemoteFs {
    fn name(&self, path: &Path) -> String {
        Visible(format_args!(
            "{}:{}",
            self.remote.environment.id(),
            path.display()
        ))
        .to_string()
    }

    fn abilities(&self) -> Abilities {
        self.remote.abilities
    }

    fn below(&self, directory: &Path) -> Result<Box<dyn Side>, CopyError> {
        let real = self.ask(directory, |files, path| match files.canonicalize(path) {
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            real => real.map(Some),
        })?;
        Ok(Box::new(Self {
            remote: Arc::clone(&self.remote),
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
        purpose: Purpose,
        data: &[u8],
        settings: Settings,
    ) -> Result<(), CopyError> {
        let wanted = self.wanted(path)?;
        let written = again(|| {
            let files = &self.remote.client;
            files.write_file(&wanted, data, false, self.links())
        });
        written.map_err(|error| self.of_writing(path, purpose, error))?;
        self.set_mode(path, settings.mode)
    }

    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let opening = Opening {
            remote: Arc::clone(&self.remote),
            path: self.wanted(path)?.into_owned(),
            name: self.name(path),
            purpose: match purpose {
                Purpose::Reading => OpenFor::Reading,
                Purpose::NewPart | Purpose::InPlace | Purpose::Over => OpenFor::Replacing,
                Purpose::OldPart => OpenFor::Updating,
            },
            links: self.links(),
        };
        match opening.open() {
            Ok(file) => Ok(Some(Box::new(file))),
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            Err(error) => Err(self.of_writing(path, purpose, error)),
        }
    }

    fn settle_directory(&self, path: &Path, settings: Settings) -> Result<(), CopyError> {
        self.set_mode(path, settings.mode)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let (old, new) = (self.wanted(from)?, self.wanted(to)?);
        let files = &self.remote.client;
        let mut was_lost = false;
        let renamed = again(|| match files.replace(&old, &new, self.links()) {
            // The one whose answer was lost has been done.
            Err(error) if was_lost && error.is_not_found() => files.metadata(&new, false).map(drop),
            renamed => {
                was_lost |= matches!(&renamed, Err(error) if error.is_disconnect());
                renamed
            }
        });
        renamed.map_err(|error| self.of_writing(to, Purpose::NewPart, error))
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        self.ask(path, |files, path| files.remove(path))
    }
}

/// A file that is opened, and opened anew when its connection was lost.
struct Opening {
    remote: Arc<Remote>,
    /// For a person.
    name: String,
    path: String,
    purpose: OpenFor,
    links: Links,
}

/// An open file of an environment.
struct OpenRemote {
    opening: Opening,
    /// How a file that is read looked at first.
    looked: Option<FileMetadata>,
    state: Mutex<State>,
}

struct State {
    file: Arc<OpenFile>,
    /// Counts how often it was opened.
    generation: u64,
    /// The end of the furthest block that was acknowledged.
    written: u64,
    /// When a block last got through.
    last_good: Instant,
}

/// Why a file is not opened anew.
enum ReopenError {
    Client(ClientError),
    Other(&'static str),
}

impl From<ClientError> for ReopenError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Opening {
    /// Opens it for the first time.
    fn open(self) -> Result<OpenRemote, ClientError> {
        let file = again(|| self.open_for(self.purpose))?;
        let looked = match self.purpose {
            OpenFor::Reading => Some(again(|| self.look())?),
            OpenFor::Replacing | OpenFor::Updating => None,
        };
        Ok(OpenRemote {
            opening: self,
            looked,
            state: Mutex::new(State {
                file: Arc::new(file),
                generation: 0,
                written: 0,
                last_good: Instant::now(),
            }),
        })
    }

    fn open_for(&self, purpose: OpenFor) -> Result<OpenFile, ClientError> {
        self.remote.client.open(&self.path, purpose, self.links)
    }

    fn explained(&self, error: ClientError) -> CopyError {
        self.remote.explained(&self.name, error)
    }

    fn look(&self) -> Result<FileMetadata, ClientError> {
        self.remote.client.metadata(&self.path, true)
    }
}

impl OpenRemote {
    /// Does something with the file, anew when its connection was lost on the way.
    fn ask<T>(&self, call: impl Fn(&OpenFile) -> Result<T, ClientError>) -> Result<T, CopyError> {
        let begun = Instant::now();
        loop {
            let (file, generation) = {
                let state = self.state.lock();
                (Arc::clone(&state.file), state.generation)
            };
            let error = match call(&file) {
                Ok(value) => {
                    self.state.lock().last_good = Instant::now();
                    return Ok(value);
                }
                Err(error) => error,
            };
            drop(file);
            // Others may get their blocks through, while this one is unlucky.
            let since = begun.max(self.state.lock().last_good);
            if !self.can_reopen() || !error.is_disconnect() || since.elapsed() > PATIENCE {
                return Err(self.opening.explained(error));
            }
            self.reopen(generation)?;
        }
    }

    fn can_reopen(&self) -> bool {
        self.opening.purpose == OpenFor::Reading || self.opening.remote.abilities.updates
    }

    /// Opens it anew, unless somebody else has; who comes meanwhile waits for that.
    fn reopen(&self, generation: u64) -> Result<(), CopyError> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Ok(());
        }
        match self.opened_anew(state.written) {
            Ok(file) => {
                state.file = Arc::new(file);
                state.generation += 1;
                Ok(())
            }
            Err(ReopenError::Client(error)) => Err(self.opening.explained(error)),
            Err(ReopenError::Other(why)) => Err(CopyError::of(&self.opening.name, why)),
        }
    }

    fn opened_anew(&self, written: u64) -> Result<OpenFile, ReopenError> {
        let open = |purpose| again(|| self.opening.open_for(purpose));
        match &self.looked {
            Some(looked) => {
                let file = open(OpenFor::Reading)?;
                if again(|| self.opening.look())? != *looked {
                    let why = "it was changed while its connection was lost; copy it again";
                    return Err(ReopenError::Other(why));
                }
                Ok(file)
            }
            None => {
                // Opening would make it.
                let size = again(|| self.opening.look())?.size.unwrap_or(0);
                if size < written {
                    let why = "what was written is gone since its connection was lost; copy it \
                               again";
                    return Err(ReopenError::Other(why));
                }
                Ok(open(OpenFor::Updating)?)
            }
        }
    }
}

impl Blocks for OpenRemote {
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError> {
        let read = self.ask(|file| file.read_block(offset, BLOCK))?;
        block.set(read.data);
        Ok(read.is_last)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError> {
        self.ask(|file| file.write_block(offset, data))?;
        let mut state = self.state.lock();
        state.written = state.written.max(offset + data.len() as u64);
        Ok(())
    }

    fn settle(&self, settings: Settings) -> Result<(), CopyError> {
        let Some(mode) = settings.mode else {
            return Ok(());
        };
        let opening = &self.opening;
        let Opening { path, links, .. } = opening;
        let set = again(|| opening.remote.client.set_permissions(path, mode, *links));
        set.map_err(|error| opening.explained(error))
    }

    fn close(self: Box<Self>) -> Result<(), CopyError> {
        let can_reopen = self.can_reopen();
        let Self { opening, state, .. } = *self;
        let state = state.into_inner();
        let closed = match Arc::into_inner(state.file) {
            Some(file) => file.close(),
            None => Ok(()),
        };
        match closed {
            // Every block was acknowledged, and a file that is closed with its connection is
            // closed; what is left to be known is whether it is still the one.
            Err(error) if can_reopen && error.is_disconnect() => {
                let found = again(|| opening.look());
                let found = found.map_err(|error| opening.explained(error))?;
                if found.size.is_some_and(|size| size < state.written) {
                    let why = "what was written is gone since its connection was lost";
                    return Err(CopyError::of(&opening.name, why));
                }
                Ok(())
            }
            closed => closed.map_err(|error| opening.explained(error)),
        }
    }
}

/// Asks until there is an answer, be it an error. A connection that cannot be had any more is one.
fn again<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_disconnect() && begun.elapsed() < PATIENCE => {
                thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_is_a_reason_to_ask_again() {
        let mut outcomes = vec![
            Err(ClientError::Connect("refused".to_owned())),
            Err(ClientError::Disconnected("cut".to_owned())),
            Err(ClientError::Disconnected("cut".to_owned())),
        ];
        let outcome: Result<(), _> = again(|| outcomes.pop().unwrap());
        assert_eq!(outcome, Err(ClientError::Connect("refused".to_owned())));
        assert!(outcomes.is_empty());
    }
}

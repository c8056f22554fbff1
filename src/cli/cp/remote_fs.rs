//! An environment as a side.
//!
//! Where something is copied to, the directory that all is in is found once, by its path without
//! links, and from then on the server is told to follow none. Ours refuses one anywhere in a path;
//! the reference does for whole files and directories only, and 0.130 not at all.
//!
//! The client makes a lost websocket again and takes the session up, but what was under way on it
//! fails: a server may have done it or not. Of what a copy asks for, all can be done twice, and is
//! asked for [again](Attempts::again). A handle is gone with its connection, so an open file is opened
//! anew by its path, once for all who use it. What must not happen is that the path means another file by then:
//! one that is read has to look as it did, and one that is written has to hold all that its server
//! has acknowledged.
//!
//! What a server has no room for at the moment, since others copy too, it refuses as busy before it has
//! begun. That is asked for again as well, with longer and longer pauses ([`Attempts`]).

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::progress::Progress;
use super::side::{
    Abilities, Attributes, BLOCK, Block, Blocks, CopyError, Found, Purpose, ReadBlock, Side,
};
use super::transfer::CHANGED;
use crate::env::{
    Environment, EnvironmentError, EnvironmentFacts, FileKind, FileMetadata, Links, Listing,
    NewMetadata, OpenFor,
};
use crate::rpc::client::{ClientError, ExecServerClient, OpenFile};
use crate::rpc::error::ErrorKind;
use crate::rpc::path_uri::to_uri;
use crate::sys::sync::Mutex;
use crate::visible::Visible;

/// For how long one thing is asked for again and again: longer than the client's window of 45 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a server must know that keeps what it is given.
const KEEPING: [&str; 4] = [
    "fs/createDirectory.permissions",
    "fs/open.create",
    "fs/setMetadata",
    "fs/writeFile.metadata",
];
/// Zeros in a row that are worth another request.
const LEAST_HOLE: usize = 64 * 1024;
/// Between two attempts, so that a server that hangs up at once does not keep us busy.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause of those that double while a server is busy.
const LONG_PAUSE: Duration = Duration::from_millis(800);
/// How long a server may be busy before that is told.
const BUSY: Duration = Duration::from_millis(2500);

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
    /// Whether it takes names, and targets of links, that are not UTF-8.
    takes_odd_names: bool,
    attempts: Attempts,
}

/// What is asked for again.
struct Attempts {
    /// What the environment is called.
    name: String,
    progress: Arc<Progress>,
    /// Whether it was told that the server is busy.
    has_told: AtomicBool,
    /// When a request last got through.
    last_good: Mutex<Instant>,
}

/// The directory that all is in.
struct Base {
    path: PathBuf,
    /// The same without links; none where the server cannot tell.
    real: Option<PathBuf>,
}

impl RemoteFs {
    /// Those of this one, which has told about itself.
    pub(crate) fn new(
        environment: Arc<Environment>,
        facts: &EnvironmentFacts,
        progress: &Arc<Progress>,
    ) -> Result<Self, EnvironmentError> {
        let knows = |name: &str| facts.extensions.iter().any(|known| known == name);
        let abilities = Abilities {
            renames: knows("fs/rename"),
            sets_modes: knows("fs/setPermissions"),
            takes_metadata: KEEPING.iter().all(|name| knows(name)),
            makes_links: knows("fs/symlink"),
            reads_links: knows("fs/readLink"),
            updates: knows("fs/open.update"),
            makes_hard_links: knows("fs/hardLink"),
            has_attributes: knows("fs/getMetadata.attributes")
                && knows("fs/setMetadata.attributes"),
        };
        let client = environment.client()?.clone();
        Ok(Self {
            remote: Arc::new(Remote {
                attempts: Attempts::new(environment.id(), progress),
                environment,
                client,
                abilities,
                takes_odd_names: knows("fs/readDirectory.fileNameBase64")
                    && knows("fs/symlink.targetBase64"),
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
        let answer = self.again(|| call(&self.remote.client, &wanted));
        answer.map_err(|error| self.explained(path, error))
    }

    /// Asks until there is an answer.
    fn again<T>(&self, ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        self.remote.attempts.again(ask)
    }

    /// The path as the server gets it: the wire has texts only, and what is none is in a URI.
    fn wanted<'a>(&self, path: &'a Path) -> Result<Cow<'a, str>, CopyError> {
        let Some((base, real)) = self.real_base() else {
            return match path.to_str() {
                Some(text) => Ok(text.into()),
                None => self.odd(path, path).map(Cow::Owned),
            };
        };
        let rest = path
            .strip_prefix(base)
            .map_err(|_| CopyError::of(self.name(path), "it is outside of what is copied"))?;
        let whole = match rest.as_os_str().is_empty() {
            true => real.to_owned(),
            false => real.join(rest),
        };
        match whole.into_os_string().into_string() {
            Ok(text) => Ok(text.into()),
            Err(odd) => self.odd(path, odd.as_ref()).map(Cow::Owned),
        }
    }

    /// A path that is not UTF-8, as the server gets it.
    fn odd(&self, path: &Path, whole: &Path) -> Result<String, CopyError> {
        if self.remote.takes_odd_names {
            return Ok(to_uri(whole));
        }
        let why = "the name is not UTF-8, which this environment needs";
        Err(CopyError::of(self.name(path), why))
    }

    fn explained(&self, path: &Path, error: ClientError) -> CopyError {
        self.remote.explained(&self.name(path), error)
    }

    fn opening(
        &self,
        path: &Path,
        purpose: OpenFor,
        version: Option<String>,
    ) -> Result<Opening, CopyError> {
        Ok(Opening {
            remote: Arc::clone(&self.remote),
            path: self.wanted(path)?.into_owned(),
            name: self.name(path),
            purpose,
            version,
            links: self.links(),
        })
    }

    /// The error of writing for this purpose.
    fn of_writing(&self, path: &Path, purpose: Purpose, error: ClientError) -> CopyError {
        let errno = error.errno().filter(|_| purpose == Purpose::NewPart);
        self.explained(path, error).of_replacing(errno)
    }

    fn real_base(&self) -> Option<(&Path, &Path)> {
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
        let errno = errno_of(&error);
        let error = self.environment.error(error);
        match is_lost {
            true => CopyError::Lost(error),
            false => CopyError::of(name, Visible(words(&error))).of_room(errno),
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
            modified: Some(found.modified),
            mode: found.mode,
            version: found.version,
            is_sparse: found.is_sparse,
            id: found.id,
            links: found.links.unwrap_or(1),
        }))
    }

    fn list(&self, directory: &Path) -> Result<Listing, CopyError> {
        self.ask(directory, |files, path| files.read_directory(path))
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        self.ask(path, |files, path| files.canonicalize(path))
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        self.ask(path, |files, path| files.read_link(path))
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        let why = "a link to what is not UTF-8, which this environment needs";
        if target.to_str().is_none() && !self.remote.takes_odd_names {
            return Err(CopyError::of(self.name(path), why));
        }
        // Where the first of two was done, the second finds the name taken, as by another's.
        self.ask(path, |files, path| {
            files.symlink(target, path, self.links())
        })
    }

    fn attributes(&self, path: &Path) -> Result<Attributes, CopyError> {
        self.ask(path, |files, path| files.attributes(path))
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> Result<(), CopyError> {
        self.ask(path, |files, path| {
            files.set_attributes(path, attributes, self.links())
        })
    }

    fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), CopyError> {
        let old = self.wanted(existing)?;
        self.ask(path, |files, path| {
            files.hard_link(&old, path, self.links())
        })
    }

    fn make_directory(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError> {
        if self.remote.abilities.takes_metadata {
            return self.ask(path, |files, path| {
                files.create_directory_as(path, self.links(), mode)
            });
        }
        self.ask(path, |files, path| {
            files.create_directory(path, self.links())
        })?;
        self.set_mode(path, mode)
    }

    fn read_whole(
        &self,
        path: &Path,
        found: &Found,
        _: Option<usize>,
    ) -> Result<Vec<u8>, CopyError> {
        let version = found.version_to_read();
        self.ask(path, |files, path| files.read_file_of(path, version))
    }

    fn write_whole(
        &self,
        path: &Path,
        purpose: Purpose,
        data: &[u8],
        new: NewMetadata,
    ) -> Result<(), CopyError> {
        let wanted = self.wanted(path)?;
        let (files, links) = (&self.remote.client, self.links());
        if self.remote.abilities.takes_metadata && purpose == Purpose::NewPart {
            let made = self.remote.attempts.making(|was_lost| match was_lost {
                false => files.create_file(&wanted, data, new, links),
                // Nobody else knows its name: it is what we have begun.
                true => files
                    .write_file(&wanted, data, false, links)
                    .and_then(|()| files.set_metadata(&wanted, new, links)),
            });
            return made.map_err(|error| self.of_writing(path, purpose, error));
        }
        let written = self.again(|| files.write_file(&wanted, data, false, links));
        written.map_err(|error| self.of_writing(path, purpose, error))?;
        self.set_mode(path, new.permissions)
    }

    fn open_source(
        &self,
        path: &Path,
        found: &Found,
    ) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let version = found.version_to_read().map(str::to_owned);
        let opening = self.opening(path, OpenFor::Reading, version)?;
        match opening.open() {
            Ok(file) => Ok(Some(Box::new(file))),
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            Err(error) => Err(self.explained(path, error)),
        }
    }

    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let takes_metadata = self.remote.abilities.takes_metadata;
        let purpose_there = match purpose {
            Purpose::NewPart if takes_metadata => OpenFor::Creating,
            Purpose::NewPart | Purpose::InPlace | Purpose::Over => OpenFor::Replacing,
            Purpose::OldPart => OpenFor::Updating,
        };
        let opening = self.opening(path, purpose_there, None)?;
        match opening.open() {
            Ok(file) => Ok(Some(Box::new(file))),
            // As 0.130 has it.
            Err(error) if is_unknown_method(&error) => Ok(None),
            Err(error) => Err(self.of_writing(path, purpose, error)),
        }
    }

    fn settle_directory(&self, path: &Path, new: NewMetadata) -> Result<(), CopyError> {
        match self.remote.abilities.takes_metadata {
            true => self.ask(path, |files, path| {
                files.set_metadata(path, new, self.links())
            }),
            false => self.set_mode(path, new.permissions),
        }
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let (old, new) = (self.wanted(from)?, self.wanted(to)?);
        let files = &self.remote.client;
        let mut was_lost = false;
        let renamed = self.again(|| match files.replace(&old, &new, self.links()) {
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
    /// What the version of a file to be read must be, where its server tells that.
    version: Option<String>,
    links: Links,
}

/// An open file of an environment.
struct OpenRemote {
    opening: Opening,
    /// How a file that is read looked at first, where its server tells no version.
    looked: Option<FileMetadata>,
    state: Mutex<State>,
}

struct State {
    file: Arc<OpenFile>,
    /// Counts how often it was opened.
    generation: u64,
    /// The end of the furthest block that was acknowledged.
    written: u64,
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
        let file = self.remote.attempts.making(|was_lost| {
            self.open_for(match self.purpose {
                // Nobody else knows its name: it is what we have made.
                OpenFor::Creating if was_lost => OpenFor::Replacing,
                purpose => purpose,
            })
        })?;
        let is_unknown = self.purpose == OpenFor::Reading && self.version.is_none();
        let looked = match is_unknown {
            true => Some(self.again(|| self.look())?),
            false => None,
        };
        Ok(OpenRemote {
            opening: self,
            looked,
            state: Mutex::new(State {
                file: Arc::new(file),
                generation: 0,
                written: 0,
            }),
        })
    }

    fn open_for(&self, purpose: OpenFor) -> Result<OpenFile, ClientError> {
        let (files, version) = (&self.remote.client, self.version.as_deref());
        files.open_of(&self.path, purpose, self.links, version)
    }

    fn explained(&self, error: ClientError) -> CopyError {
        self.remote.explained(&self.name, error)
    }

    fn again<T>(&self, ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        self.remote.attempts.again(ask)
    }

    fn look(&self) -> Result<FileMetadata, ClientError> {
        self.remote.client.metadata(&self.path, true)
    }
}

impl OpenRemote {
    /// Does something with the file, anew when its connection was lost on the way; also whether the
    /// server was busy at first.
    fn ask<T>(
        &self,
        call: impl Fn(&OpenFile) -> Result<T, ClientError>,
    ) -> Result<(T, bool), CopyError> {
        let attempts = &self.opening.remote.attempts;
        let mut request = Request::new();
        loop {
            let (file, generation) = {
                let state = self.state.lock();
                (Arc::clone(&state.file), state.generation)
            };
            let error = match call(&file) {
                Ok(value) => {
                    attempts.got_through();
                    return Ok((value, request.was_busy()));
                }
                Err(error) => error,
            };
            drop(file);
            let is_lost = error.is_disconnect();
            // Others may get their blocks through, while this one is unlucky.
            request.begun = request.begun.max(*attempts.last_good.lock());
            if is_lost && !self.can_reopen() || !attempts.go_on(&mut request, &error) {
                return Err(self.opening.explained(error));
            }
            if is_lost {
                self.reopen(generation)?;
            }
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
        let open = |purpose| self.opening.again(|| self.opening.open_for(purpose));
        match (&self.looked, self.opening.purpose) {
            (Some(looked), _) => {
                let file = open(OpenFor::Reading)?;
                if self.opening.again(|| self.opening.look())? != *looked {
                    return Err(ReopenError::Other(CHANGED));
                }
                Ok(file)
            }
            (None, OpenFor::Reading) => Ok(open(OpenFor::Reading)?),
            (None, _) => {
                // Opening would make it.
                let size = self
                    .opening
                    .again(|| self.opening.look())?
                    .size
                    .unwrap_or(0);
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
    fn read(
        &self,
        offset: u64,
        skips_holes: bool,
        block: &mut Block,
    ) -> Result<ReadBlock, CopyError> {
        let (read, _) = self.ask(|file| match skips_holes {
            true => file.read_block_or_hole(offset, BLOCK),
            false => file.read_block(offset, BLOCK),
        })?;
        block.set(read.data);
        Ok(ReadBlock {
            is_last: read.is_last,
            hole_until: read.data_at,
        })
    }

    fn least_hole(&self) -> usize {
        LEAST_HOLE
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<bool, CopyError> {
        let ((), was_busy) = self.ask(|file| file.write_block(offset, data))?;
        let mut state = self.state.lock();
        state.written = state.written.max(offset + data.len() as u64);
        Ok(was_busy)
    }

    fn settle(&self, new: NewMetadata) -> Result<(), CopyError> {
        if new == NewMetadata::default() {
            return Ok(());
        }
        let opening = &self.opening;
        let Opening { path, links, .. } = opening;
        let files = &opening.remote.client;
        let set =
            opening.again(
                || match (opening.remote.abilities.takes_metadata, new.permissions) {
                    (true, _) => files.set_metadata(path, new, *links),
                    (false, Some(mode)) => files.set_permissions(path, mode, *links),
                    (false, None) => Ok(()),
                },
            );
        set.map_err(|error| opening.explained(error))
    }

    fn close(self: Box<Self>) -> Result<(), CopyError> {
        let can_reopen = self.can_reopen();
        let Self {
            opening,
            looked,
            state,
        } = *self;
        let state = state.into_inner();
        if opening.purpose == OpenFor::Reading {
            // What was only read has nothing to lose.
            drop(state);
            let Some(looked) = looked else {
                return Ok(());
            };
            let found = opening
                .again(|| opening.look())
                .map_err(|error| opening.explained(error))?;
            return match found == looked {
                true => Ok(()),
                false => Err(CopyError::of(&opening.name, CHANGED)),
            };
        }
        let closed = match Arc::into_inner(state.file) {
            Some(file) => file.close(),
            None => Ok(()),
        };
        match closed {
            // Every block was acknowledged, and a file that is closed with its connection is
            // closed; what is left to be known is whether it is still the one.
            Err(error) if can_reopen && error.is_disconnect() => {
                let found = opening.again(|| opening.look());
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

/// How often one thing was asked for.
struct Request {
    begun: Instant,
    /// When the server was busy for the first time.
    busy_since: Option<Instant>,
    pause: Duration,
}

impl Request {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            busy_since: None,
            pause: PAUSE,
        }
    }

    fn was_busy(&self) -> bool {
        self.busy_since.is_some()
    }
}

impl Attempts {
    fn new(name: &str, progress: &Arc<Progress>) -> Self {
        Self {
            name: name.to_owned(),
            progress: Arc::clone(progress),
            has_told: AtomicBool::new(false),
            last_good: Mutex::new(Instant::now()),
        }
    }

    /// A request got through.
    fn got_through(&self) {
        *self.last_good.lock() = Instant::now();
    }

    /// Whether a request is made again, after a pause: its connection was lost, or the server is busy,
    /// and it is not hopeless yet.
    fn go_on(&self, request: &mut Request, error: &ClientError) -> bool {
        let is_busy = error.is_busy();
        let since = match is_busy {
            // Others have the room at the moment.
            true => request.begun.max(*self.last_good.lock()),
            false => request.begun,
        };
        if !(is_busy || error.is_disconnect()) || since.elapsed() >= PATIENCE {
            return false;
        }
        thread::sleep(request.pause);
        if is_busy {
            let busy_since = request.busy_since.get_or_insert_with(Instant::now);
            if busy_since.elapsed() >= BUSY && !self.has_told.swap(true, Ordering::Relaxed) {
                self.progress.say(format_args!(
                    "`{}` is busy; going on when it has room, unless it has none for {} s",
                    self.name,
                    PATIENCE.as_secs()
                ));
            }
            request.pause = LONG_PAUSE.min(request.pause * 2);
        }
        true
    }

    /// Asks until there is an answer, be it an error. A connection that cannot be had any more is one.
    fn again<T>(&self, mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let mut request = Request::new();
        loop {
            match ask() {
                Ok(value) => {
                    self.got_through();
                    return Ok(value);
                }
                Err(error) if !self.go_on(&mut request, &error) => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Makes something whose name must be free, as [`Attempts::again`]; `make` is told whether the
    /// answer to an earlier attempt was lost, and the name is there: it was made then.
    fn making<T>(
        &self,
        mut make: impl FnMut(bool) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut was_lost = false;
        self.again(|| match make(false) {
            Err(error) if was_lost && errno_of(&error) == Some(libc::EEXIST) => make(true),
            made => {
                was_lost |= matches!(&made, Err(error) if error.is_disconnect());
                made
            }
        })
    }
}

/// The number of the system's error; the reference has it in its words only.
fn errno_of(error: &ClientError) -> Option<i32> {
    let told = |error: &ClientError| match error {
        ClientError::Rejected { message, .. } => {
            let (_, number) = message.rsplit_once("(os error ")?;
            number.strip_suffix(')')?.parse().ok()
        }
        _ => None,
    };
    error.errno().or_else(|| told(error))
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
    use crate::cli::output::Speaker;
    use crate::rpc::client::RejectionData;

    /// What comes of these outcomes, one an attempt, and how many were left.
    fn asked(mut outcomes: Vec<Result<(), ClientError>>) -> (Result<(), ClientError>, usize) {
        let progress = Arc::new(Progress::new(Speaker("cp"), true));
        outcomes.reverse();
        let attempts = Attempts::new("there", &progress);
        let outcome = attempts.again(|| outcomes.pop().unwrap());
        (outcome, outcomes.len())
    }

    #[test]
    fn a_lost_connection_and_a_busy_server_are_reasons_to_ask_again() {
        let lost = || Err(ClientError::Disconnected("cut".to_owned()));
        let rejected = |kind: ErrorKind| {
            Err(ClientError::Rejected {
                code: kind.code().into(),
                message: String::new(),
                data: RejectionData::default(),
            })
        };
        let busy = || rejected(ErrorKind::Busy);
        let refused = || Err(ClientError::Connect("refused".to_owned()));
        assert_eq!(
            asked(vec![lost(), lost(), refused(), Ok(())]),
            (refused(), 1)
        );
        assert_eq!(asked(vec![busy(), lost(), busy(), Ok(())]), (Ok(()), 0));
        let failed = || rejected(ErrorKind::Failed);
        assert_eq!(asked(vec![busy(), failed(), Ok(())]), (failed(), 1));
    }
}

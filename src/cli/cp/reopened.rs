//! An open file of an environment that outlives its connection.
//!
//! A handle is gone with its connection, so the file is opened anew by its path, once for all who
//! use it. A block can be read and written twice. What must not happen is that the path means
//! another file by then: one that is read has to look as it did, and one that is written has to
//! hold all that its server has acknowledged.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::again::{PATIENCE, again};
use super::remote_fs::explained;
use super::side::{BLOCK, Block, Blocks, CopyError, Settings};
use crate::env::{Environment, FileMetadata, Links, OpenFor};
use crate::rpc::client::{ClientError, ExecServerClient, OpenFile};
use crate::sys::sync::Mutex;

type Answer<T> = Result<T, ClientError>;

/// What is opened.
pub(super) struct Opening {
    pub(super) environment: Arc<Environment>,
    pub(super) client: ExecServerClient,
    /// For a person.
    pub(super) name: String,
    pub(super) path: String,
    pub(super) purpose: OpenFor,
    pub(super) links: Links,
    /// Whether a file that is written can be opened without being emptied.
    pub(super) updates: bool,
}

/// An open file of an environment.
pub(super) struct OpenThere {
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
    pub(super) fn open(self) -> Answer<OpenThere> {
        let file = again(|| self.open_for(self.purpose))?;
        let looked = match self.purpose {
            OpenFor::Reading => Some(again(|| self.look())?),
            OpenFor::Replacing | OpenFor::Updating => None,
        };
        Ok(OpenThere {
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

    fn open_for(&self, purpose: OpenFor) -> Answer<OpenFile> {
        self.client.open(&self.path, purpose, self.links)
    }

    fn explained(&self, error: ClientError) -> CopyError {
        explained(&self.name, &self.environment, error)
    }

    fn look(&self) -> Answer<FileMetadata> {
        self.client.metadata(&self.path, true)
    }
}

impl OpenThere {
    /// Does something with the file, anew when its connection was lost on the way.
    fn ask<T>(&self, call: impl Fn(&OpenFile) -> Answer<T>) -> Result<T, CopyError> {
        let begun = Instant::now();
        loop {
            let (file, generation) = {
                let state = self.state();
                (Arc::clone(&state.file), state.generation)
            };
            let error = match call(&file) {
                Ok(value) => {
                    self.state().last_good = Instant::now();
                    return Ok(value);
                }
                Err(error) => error,
            };
            drop(file);
            // Others may get their blocks through, while this one is unlucky.
            let since = begun.max(self.state().last_good);
            if !self.can_reopen() || !error.is_disconnect() || since.elapsed() > PATIENCE {
                return Err(self.opening.explained(error));
            }
            self.reopen(generation)?;
        }
    }

    fn can_reopen(&self) -> bool {
        self.opening.purpose == OpenFor::Reading || self.opening.updates
    }

    /// Opens it anew, unless somebody else has; who comes meanwhile waits for that.
    fn reopen(&self, generation: u64) -> Result<(), CopyError> {
        let mut state = self.state();
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Blocks for OpenThere {
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError> {
        let read = self.ask(|file| file.read_block(offset, BLOCK))?;
        block.set(read.data);
        Ok(read.is_last)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError> {
        self.ask(|file| file.write_block(offset, data))?;
        let mut state = self.state();
        state.written = state.written.max(offset + data.len() as u64);
        Ok(())
    }

    fn settle(&self, settings: Settings) -> Result<(), CopyError> {
        let Some(mode) = settings.mode else {
            return Ok(());
        };
        let opening = &self.opening;
        let Opening { path, links, .. } = opening;
        let set = again(|| opening.client.set_permissions(path, mode, *links));
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

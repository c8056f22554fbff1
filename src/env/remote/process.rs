//! A program that runs elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::named;
use crate::env::{Confined, EnvironmentError, ProcessEvent, RunningProcess, TerminalSize};
use crate::rpc::client::{ClientError, RemoteProcess};

pub(super) struct RunningRemote {
    /// The environment's.
    id: Arc<str>,
    process: RemoteProcess,
}

impl RunningRemote {
    pub(super) fn new(id: &Arc<str>, process: RemoteProcess) -> Self {
        Self {
            id: Arc::clone(id),
            process,
        }
    }

    fn tell<T>(&self, outcome: Result<T, ClientError>) -> Result<T, EnvironmentError> {
        outcome.map_err(|error| named(&self.id, error))
    }
}

impl RunningProcess for RunningRemote {
    fn next_event(&self, timeout: Duration) -> Result<Option<ProcessEvent>, EnvironmentError> {
        self.tell(self.process.next_event(timeout))
    }

    fn confined(&self) -> Option<&Confined> {
        self.process.confined()
    }

    fn write(&self, data: &[u8]) -> Result<(), EnvironmentError> {
        self.tell(self.process.write(data))
    }

    fn close_stdin(&self) -> Result<(), EnvironmentError> {
        self.tell(self.process.close_stdin())
    }

    fn resize(&self, size: TerminalSize) -> Result<(), EnvironmentError> {
        self.tell(self.process.resize(size))
    }

    fn signal(&self, name: &str) -> Result<(), EnvironmentError> {
        self.tell(self.process.signal(name))
    }

    fn terminate(&self, grace: Duration) -> Result<(), EnvironmentError> {
        self.tell(self.process.terminate(grace))
    }
}

//! An environment behind a transport.

use super::config::Definition;
use super::{
    Command, Environment, EnvironmentError, EnvironmentFacts, FileSystem, HttpRequest,
    HttpResponse, RunningProcess,
};
use crate::rpc::client::ClientError;

/// An environment behind a transport; connects on first use.
pub struct RemoteEnvironment {
    definition: Definition,
}

impl RemoteEnvironment {
    /// One that is reached as defined. Does not connect yet.
    pub fn new(definition: Definition) -> Self {
        Self { definition }
    }

    fn unreachable<T>(&self) -> Result<T, EnvironmentError> {
        Err(EnvironmentError::Remote {
            id: self.definition.id.clone(),
            error: ClientError::Connect(format!(
                "cannot connect to {}: there is no client yet",
                self.definition.transport
            )),
        })
    }
}

impl Environment for RemoteEnvironment {
    fn id(&self) -> &str {
        &self.definition.id
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn facts(&self) -> Result<EnvironmentFacts, EnvironmentError> {
        self.unreachable()
    }

    fn start(&self, _: &Command) -> Result<Box<dyn RunningProcess>, EnvironmentError> {
        self.unreachable()
    }

    fn files(&self) -> &dyn FileSystem {
        self
    }

    fn http(&self, _: &HttpRequest) -> Result<HttpResponse, EnvironmentError> {
        self.unreachable()
    }
}

impl FileSystem for RemoteEnvironment {
    fn read(&self, _: &str) -> Result<Vec<u8>, EnvironmentError> {
        self.unreachable()
    }
    fn write(&self, _: &str, _: &[u8], _: bool) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn create_directory(&self, _: &str) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn metadata(&self, _: &str, _: bool) -> Result<super::FileMetadata, EnvironmentError> {
        self.unreachable()
    }
    fn read_directory(&self, _: &str) -> Result<Vec<super::DirectoryEntry>, EnvironmentError> {
        self.unreachable()
    }
    fn remove(&self, _: &str) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn copy(&self, _: &str, _: &str, _: bool) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn canonicalize(&self, _: &str) -> Result<String, EnvironmentError> {
        self.unreachable()
    }
    fn rename(&self, _: &str, _: &str) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn set_permissions(&self, _: &str, _: u32) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn symlink(&self, _: &str, _: &str) -> Result<(), EnvironmentError> {
        self.unreachable()
    }
    fn open(
        &self,
        _: &str,
        _: super::OpenFor,
    ) -> Result<Box<dyn super::OpenFile>, EnvironmentError> {
        self.unreachable()
    }
}

//! Files elsewhere.

use std::sync::Arc;

use super::{RemoteEnvironment, named};
use crate::env::{
    EnvironmentError, FileBlock, FileMetadata, FileSystem, Links, Listing, OpenFile, OpenFor,
};
use crate::rpc::client::{ClientError, ExecServerClient, RemoteFile};

type Result<T> = std::result::Result<T, EnvironmentError>;
type Answer<T> = std::result::Result<T, ClientError>;

impl RemoteEnvironment {
    fn ask<T>(&self, call: impl FnOnce(&ExecServerClient) -> Answer<T>) -> Result<T> {
        call(self.client()?).map_err(|error| self.error(error))
    }
}

impl FileSystem for RemoteEnvironment {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.ask(|client| client.read_file(path))
    }

    fn write(&self, path: &str, data: &[u8], is_atomic: bool, links: Links) -> Result<()> {
        self.ask(|client| client.write_file(path, data, is_atomic, links))
    }

    fn create_directory(&self, path: &str, links: Links) -> Result<()> {
        self.ask(|client| client.create_directory(path, links))
    }

    fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata> {
        self.ask(|client| client.metadata(path, follows_links))
    }

    fn read_directory(&self, path: &str) -> Result<Listing> {
        self.ask(|client| client.read_directory(path))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.ask(|client| client.remove(path))
    }

    fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<()> {
        self.ask(|client| client.copy(from, to, is_recursive))
    }

    fn canonicalize(&self, path: &str) -> Result<String> {
        self.ask(|client| client.canonicalize(path))
    }

    fn rename(&self, from: &str, to: &str, links: Links) -> Result<()> {
        self.ask(|client| client.rename(from, to, links))
    }

    fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<()> {
        self.ask(|client| client.set_permissions(path, mode, links))
    }

    fn read_link(&self, path: &str) -> Result<String> {
        self.ask(|client| client.read_link(path))
    }

    fn symlink(&self, target: &str, path: &str, links: Links) -> Result<()> {
        self.ask(|client| client.symlink(target, path, links))
    }

    fn open(&self, path: &str, purpose: OpenFor, links: Links) -> Result<Box<dyn OpenFile>> {
        let file = self.ask(|client| client.open(path, purpose, links))?;
        Ok(Box::new(OpenRemote {
            id: Arc::clone(&self.id),
            file,
        }))
    }
}

struct OpenRemote {
    /// The environment's.
    id: Arc<str>,
    file: RemoteFile,
}

impl OpenFile for OpenRemote {
    fn read_block(&self, offset: u64, len: usize) -> Result<FileBlock> {
        let block = self.file.read_block(offset, len);
        block.map_err(|error| named(&self.id, error))
    }

    fn write_block(&self, offset: u64, data: &[u8]) -> Result<()> {
        let written = self.file.write_block(offset, data);
        written.map_err(|error| named(&self.id, error))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { id, file } = *self;
        file.close().map_err(|error| named(&id, error))
    }
}

//! What every place offers where work can run: processes, files and HTTP.

use std::time::Duration;

use super::EnvironmentError;
pub use crate::rpc::client::types::{
    Command, Confined, Denial, DenyingRule, EnvironmentFacts, Exit, FileBlock, FileKind,
    FileMetadata, HttpRequest, HttpResponse, Links, Listing, Names, OpenFor, PolicyFacts,
    ProcessEvent, SandboxFacts, Stream, TerminalSize,
};

/// A place where processes run and files live: this machine, or one behind a transport.
///
/// Nothing that is asked of one is ever done in another. Every call ends within a time limit
/// of the environment's, or of the caller where it takes one.
pub trait Environment: Send + Sync {
    /// Its name in `environments.toml`; `local` is this machine.
    fn id(&self) -> &str;

    /// Whether it has a transport.
    fn is_remote(&self) -> bool;

    /// What it tells about itself; connects if need be.
    ///
    /// # Errors
    /// It cannot be reached.
    fn facts(&self) -> Result<EnvironmentFacts, EnvironmentError>;

    /// The confinement that its programs get at best; none if it does not tell, as the reference.
    /// It may have to be found out first, which takes some seconds at most.
    ///
    /// # Errors
    /// It cannot be reached.
    fn sandbox(&self) -> Result<Option<SandboxFacts>, EnvironmentError>;

    /// Why the connection is away at the moment, while it is being taken up again.
    fn outage(&self) -> Option<String> {
        None
    }

    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be reached, or it refuses.
    fn start(&self, command: &Command) -> Result<Box<dyn RunningProcess>, EnvironmentError>;

    /// Its files.
    fn files(&self) -> &dyn FileSystem;

    /// Makes a request on its network.
    ///
    /// # Errors
    /// It cannot be reached, or the request failed.
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, EnvironmentError>;
}

/// A program that was started. Dropping it does not end the program: `terminate` does, and the
/// end of its session.
pub trait RunningProcess: Send + Sync {
    /// The next event in order; none if nothing happens within `timeout`. After
    /// [`ProcessEvent::Closed`] nothing comes any more.
    ///
    /// # Errors
    /// The connection is lost for good; what became of the program is not known.
    fn next_event(&self, timeout: Duration) -> Result<Option<ProcessEvent>, EnvironmentError>;

    /// The confinement in force, if one was asked for.
    fn confined(&self) -> Option<&Confined>;

    /// Writes to its standard input or terminal; returns when that is accepted.
    ///
    /// # Errors
    /// Its input is closed, or the connection is lost.
    fn write(&self, data: &[u8]) -> Result<(), EnvironmentError>;

    /// Ends its standard input. An extension: the reference servers refuse.
    ///
    /// # Errors
    /// The server does not know it, or the connection is lost.
    fn close_stdin(&self) -> Result<(), EnvironmentError>;

    /// Gives its terminal another size. An extension, as [`RunningProcess::close_stdin`].
    ///
    /// # Errors
    /// As there.
    fn resize(&self, size: TerminalSize) -> Result<(), EnvironmentError>;

    /// Sends its group a signal by its name without `SIG`.
    ///
    /// # Errors
    /// There is no such signal, or the connection is lost.
    fn signal(&self, name: &str) -> Result<(), EnvironmentError>;

    /// Ends its group: TERM, and KILL after `grace`; KILL at once where that is zero.
    ///
    /// # Errors
    /// The connection is lost.
    fn terminate(&self, grace: Duration) -> Result<(), EnvironmentError>;
}

/// The files of an environment. Paths are absolute.
pub trait FileSystem: Send + Sync {
    /// All bytes of a file, up to 512 MiB.
    ///
    /// # Errors
    /// The file's, or the connection's; so for all that follow.
    fn read(&self, path: &str) -> Result<Vec<u8>, EnvironmentError>;

    /// Makes or replaces a file; with `is_atomic` at once or not at all.
    fn write(
        &self,
        path: &str,
        data: &[u8],
        is_atomic: bool,
        links: Links,
    ) -> Result<(), EnvironmentError>;

    /// Makes a directory, with those above it.
    fn create_directory(&self, path: &str, links: Links) -> Result<(), EnvironmentError>;

    /// What is there; a link is looked behind if `follows_links`, and otherwise of the kind
    /// [`FileKind::Symlink`].
    fn metadata(&self, path: &str, follows_links: bool) -> Result<FileMetadata, EnvironmentError>;

    /// The names in a directory; links are of the kind [`FileKind::Symlink`].
    fn read_directory(&self, path: &str) -> Result<Listing, EnvironmentError>;

    /// Removes a file or a tree; that nothing is there is no error.
    fn remove(&self, path: &str) -> Result<(), EnvironmentError>;

    /// Copies within the environment.
    fn copy(&self, from: &str, to: &str, is_recursive: bool) -> Result<(), EnvironmentError>;

    /// The path without links and dots.
    fn canonicalize(&self, path: &str) -> Result<String, EnvironmentError>;

    /// Renames within a file system, over what is there. An extension.
    fn rename(&self, from: &str, to: &str, links: Links) -> Result<(), EnvironmentError>;

    /// Sets permission bits. An extension.
    fn set_permissions(&self, path: &str, mode: u32, links: Links) -> Result<(), EnvironmentError>;

    /// Makes a symbolic link. An extension.
    fn symlink(&self, target: &str, path: &str, links: Links) -> Result<(), EnvironmentError>;

    /// What a symbolic link says. An extension.
    fn read_link(&self, path: &str) -> Result<String, EnvironmentError>;

    /// Opens a file for blocks.
    fn open(
        &self,
        path: &str,
        purpose: OpenFor,
        links: Links,
    ) -> Result<Box<dyn OpenFile>, EnvironmentError>;
}

/// An open file. Several threads may ask for blocks at once, so that latency does not set the
/// speed. Dropping it closes it.
pub trait OpenFile: Send + Sync {
    /// Up to `len` bytes, 1 MiB at most, from `offset` on.
    ///
    /// # Errors
    /// The file's, or the connection's.
    fn read_block(&self, offset: u64, len: usize) -> Result<FileBlock, EnvironmentError>;

    /// Writes 1 byte to 1 MiB at `offset`.
    ///
    /// # Errors
    /// The file's, or the connection's.
    fn write_block(&self, offset: u64, data: &[u8]) -> Result<(), EnvironmentError>;

    /// Closes it and says whether that went well.
    ///
    /// # Errors
    /// What was written may not be there.
    fn close(self: Box<Self>) -> Result<(), EnvironmentError>;
}

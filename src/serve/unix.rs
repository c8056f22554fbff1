//! A listening socket in the file system, for who shares it: a sidecar, or ssh that forwards it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::log;
use crate::oneshot;
use crate::sys::socket::listen_unix;

/// A server that is asked whether it lives may take so long to say it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket, and the file that leads to it; the file goes with it.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: after us, another server may have put its own file there.
    file: (u64, u64),
}

impl UnixSocket {
    /// Listens at `path`, in place of a socket that nobody listens on any more.
    ///
    /// # Errors
    /// Something else is there (`AddrInUse`), or the system says why.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        clear(path)?;
        // To change it afterwards would change whatever is at `path` by then.
        let listener = listen_unix(path, 0o600)?;
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(socket, _)| socket)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Removes what a server that was killed has left at `path`.
fn clear(path: &Path) -> io::Result<()> {
    let taken = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            taken("a file that is no socket is there")
        }
        Ok(_) if is_deserted(path) => fs::remove_file(path),
        Ok(_) => taken("another server listens there"),
    }
}

/// Whether a socket has no listener. One that takes no connections has, so it is asked on a thread
/// that may get stuck.
fn is_deserted(path: &Path) -> bool {
    let (sender, receiver) = oneshot::channel();
    let path = path.to_owned();
    thread::spawn(move || {
        let refused = UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        // Whoever asked may have lost patience.
        sender.send(refused);
    });
    receiver.wait(Some(PATIENCE)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("exec-server-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_file_is_for_us_alone_and_goes_with_the_socket() {
        let path = scratch("alone");
        let socket = UnixSocket::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        assert!(socket.accept().is_ok());
        assert!(socket.accept().is_err());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_deserted_socket_is_replaced() {
        let path = scratch("deserted");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = UnixSocket::bind(&path).unwrap();
        let second = UnixSocket::bind(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        // What another has put in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(first);
        let third = UnixSocket::bind(&path).unwrap_err();
        assert_eq!(third.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
    }
}

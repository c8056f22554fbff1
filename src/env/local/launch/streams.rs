//! The streams of a process that is to be started: pipes, a socket or a terminal.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::{ProcessSpec, StartError};
use crate::env::local::output::Stream;
use crate::sys::pty::{self, WindowSize};
use crate::sys::socket::set_nonblocking;

/// The child's ends of its streams, where `None` is one that is at its end, and ours.
pub(super) struct Streams {
    pub(super) child: [Option<OwnedFd>; 3],
    pub(super) outputs: Vec<(Stream, Arc<File>)>,
    pub(super) stdin: Option<File>,
    pub(super) terminal: Option<Arc<File>>,
}

impl Streams {
    pub(super) fn open(spec: &ProcessSpec) -> Result<Self, StartError> {
        let opened = match spec.terminal {
            Some(size) => Self::open_terminal(size),
            None => Self::open_pipes(spec),
        };
        let what = if spec.terminal.is_some() {
            "a terminal"
        } else {
            "a pipe"
        };
        opened.map_err(|error| StartError::Resources(what, error))
    }

    fn open_terminal(size: WindowSize) -> io::Result<Self> {
        let pty = pty::open(size)?;
        let master = Arc::new(File::from(pty.master));
        Ok(Self {
            child: [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave].map(Some),
            outputs: vec![(Stream::Pty, Arc::clone(&master))],
            stdin: None,
            terminal: Some(master),
        })
    }

    fn open_pipes(spec: &ProcessSpec) -> io::Result<Self> {
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        let (child_stdin, stdin) = if let Some(socket) = &spec.socket {
            (Some(socket.try_clone()?), None)
        } else if spec.pipe_stdin {
            let (reader, writer) = io::pipe()?;
            set_nonblocking(writer.as_fd())?;
            (
                Some(OwnedFd::from(reader)),
                Some(File::from(OwnedFd::from(writer))),
            )
        } else {
            (None, None)
        };
        Ok(Self {
            child: [child_stdin, Some(child_stdout), Some(child_stderr)],
            outputs: vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)],
            stdin,
            terminal: None,
        })
    }
}

/// A pipe whose reading end, ours, does not wait.
fn output_pipe() -> io::Result<(Arc<File>, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(reader.as_fd())?;
    Ok((Arc::new(File::from(OwnedFd::from(reader))), writer.into()))
}

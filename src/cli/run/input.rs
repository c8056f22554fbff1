//! Our standard input on its way to the command.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::Running;
use super::escape::{Escape, Typed};
use crate::cli::notice::Speaker;
use crate::rpc::error::ErrorKind;
use crate::sys::event::WakeEvent;
use crate::sys::poll::{self, PollFd, READABLE};

/// What goes out in one request at most. While a request is on its way more comes in, so a slow
/// link gets large ones and a fast one gets every key at once.
const MOST: usize = 1 << 20;

/// Our standard input.
pub(super) struct Input {
    from: File,
    buffer: Vec<u8>,
    filled: usize,
    is_at_end: bool,
    /// Whether the command has a terminal.
    is_for_terminal: bool,
}

impl Input {
    /// Takes it over, for a command with or without a terminal; nothing is read yet.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn open(is_for_terminal: bool) -> io::Result<Self> {
        Ok(Self {
            from: File::from(io::stdin().as_fd().try_clone_to_owned()?),
            buffer: Vec::new(),
            filled: 0,
            is_at_end: false,
            is_for_terminal,
        })
    }

    /// Whether it ends without a byte, as `/dev/null` does. Waits for nothing.
    pub(super) fn is_empty(&mut self) -> bool {
        self.take_what_is_there();
        self.is_at_end && self.filled == 0
    }

    /// Reads as long as there is something to be read at once, and room.
    fn take_what_is_there(&mut self) {
        while !self.is_at_end && self.filled < MOST {
            let mut readable = [PollFd::new(self.from.as_fd(), READABLE)];
            let waited = poll::wait(&mut readable, Some(Duration::ZERO));
            if waited.is_err() || !readable[0].is_ready() {
                return;
            }
            if self.filled == self.buffer.len() {
                let size = (self.buffer.len() * 2).clamp(64 << 10, MOST);
                self.buffer.resize(size, 0);
            }
            match self.from.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A terminal that is gone, say: nothing more will come.
                Err(_) => self.is_at_end = true,
            }
        }
    }

    /// Passes everything on until its end, the command's, or until `done` is set.
    /// With `escape` it looks for `~.` and calls `leave` then.
    pub(super) fn forward(
        mut self,
        to: &Running,
        done: &WakeEvent,
        mut escape: Option<Escape>,
        speaker: Speaker,
        leave: impl FnOnce(),
    ) {
        loop {
            if !self.is_at_end && self.filled == 0 {
                let mut ready = [
                    PollFd::new(self.from.as_fd(), READABLE),
                    PollFd::new(done.as_fd(), READABLE),
                ];
                if poll::wait(&mut ready, None).is_err() || ready[1].is_ready() {
                    return;
                }
            }
            self.take_what_is_there();
            let read = &self.buffer[..self.filled];
            let sent = match escape.as_mut().map(|escape| escape.take(read)) {
                Some(Typed::Leave) => return leave(),
                Some(Typed::Text(text)) if text.is_empty() => Ok(()),
                Some(Typed::Text(text)) => to.write(&text),
                None if read.is_empty() => Ok(()),
                None => to.write(read),
            };
            self.filled = 0;
            // The command reads no more; a lost connection is the main thread's to tell.
            if sent.is_err() {
                return;
            }
            if self.is_at_end {
                return end_input(to, self.is_for_terminal, speaker);
            }
        }
    }
}

fn end_input(to: &Running, is_terminal: bool, speaker: Speaker) {
    /// What a terminal takes for the end of input, at the start of a line.
    const END_KEY: &[u8] = &[4];
    let ended = to.close_stdin();
    let is_unknown =
        ended.is_err_and(|error| error.code() == Some(ErrorKind::UnknownMethod.code().into()));
    if is_unknown && is_terminal {
        // Should that fail, the command has ended or the main thread will tell.
        let _ = to.write(END_KEY);
    } else if is_unknown {
        speaker.say(
            "this server cannot pass on the end of input; a command that waits for it \
             waits for ever\n\
             put the input into a file there, or use -n if it needs none",
        );
    }
}

/// Starts the thread that forwards; it ends with the process at the latest.
pub(super) fn spawn(
    input: Input,
    to: Arc<Running>,
    done: Arc<WakeEvent>,
    escape: Option<Escape>,
    speaker: Speaker,
    leave: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || input.forward(&to, &done, escape, speaker, leave))
}

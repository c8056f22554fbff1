//! Our standard streams: input on its way to the command, and its output on the way to ours.
//!
//! `~.` is how to leave when the other side does not answer.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::cli::output::Speaker;
use crate::rpc::client::Process;
use crate::rpc::error;
use crate::sys::poll::{self, PollFd, READABLE, WRITABLE, WakeEvent};

/// What goes out in one request at most. While a request is on its way more comes in, so a slow
/// link gets large ones and a fast one gets every key at once.
const MOST: usize = 1 << 20;

/// Our standard input.
pub(crate) struct Input {
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
    pub(crate) fn open(is_for_terminal: bool) -> io::Result<Self> {
        Ok(Self {
            from: File::from(io::stdin().as_fd().try_clone_to_owned()?),
            buffer: Vec::new(),
            filled: 0,
            is_at_end: false,
            is_for_terminal,
        })
    }

    /// Whether it ends without a byte, as `/dev/null` does. Waits for nothing.
    pub(crate) fn is_empty(&mut self) -> bool {
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
                // Zeroed by the allocator, so that pages without input are never touched.
                let mut larger = vec![0; (self.buffer.len() * 2).clamp(64 << 10, MOST)];
                larger[..self.filled].copy_from_slice(&self.buffer);
                self.buffer = larger;
            }
            match self.from.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_at_end = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A terminal that is gone, say: nothing more will come.
                Err(_) => self.is_at_end = true,
            }
        }
    }

    /// Starts the thread that passes everything on until its end, the command's, or until `done` is
    /// set. With `escape` it looks for `~.` and calls `leave` then.
    pub(crate) fn forward_on_thread(
        self,
        to: Arc<Process>,
        done: Arc<WakeEvent>,
        escape: Option<Escape>,
        speaker: Speaker,
        leave: impl FnOnce() + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || self.forward(&to, &done, escape, speaker, leave))
    }

    fn forward(
        mut self,
        to: &Process,
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

fn end_input(to: &Process, is_terminal: bool, speaker: Speaker) {
    /// What a terminal takes for the end of input, at the start of a line.
    const END_KEY: &[u8] = &[4];
    let ended = to.close_stdin();
    let is_unknown = ended
        .is_err_and(|error| error.code() == Some(error::ErrorKind::UnknownMethod.code().into()));
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

/// One of our streams. Everything goes out at once and as it is: a buffer of ours would only
/// delay what the command has flushed.
pub(crate) struct Output(File);

impl Output {
    /// Takes over a stream.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(crate) fn new(stream: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(File::from(stream.try_clone_to_owned()?)))
    }

    /// Writes everything, waiting for a slow reader.
    ///
    /// # Errors
    /// The reader is gone, or the disk is full.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match self.0.write(data) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares the stream with us may have made it so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll::wait(&mut [PollFd::new(self.0.as_fd(), WRITABLE)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What was typed on a terminal, on its way to the other side.
#[derive(Debug)]
pub(crate) struct Escape {
    place: Place,
}

/// Where in a line the next character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind a tilde at the start, which is held back until it is clear what it means.
    Tilde,
    Inside,
}

/// What came of a piece of input.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// To be passed on.
    Text(Vec<u8>),
    /// To leave, now.
    Leave,
}

impl Escape {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Start,
        }
    }

    /// Takes what was typed.
    fn take(&mut self, typed: &[u8]) -> Typed {
        let mut text = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.place, byte) {
                (Place::Tilde, b'.') => return Typed::Leave,
                (Place::Start, b'~') => {
                    self.place = Place::Tilde;
                    continue;
                }
                // The second of two is the one that is meant.
                (Place::Tilde, b'~') => {}
                (Place::Tilde, _) => text.push(b'~'),
                (Place::Start | Place::Inside, _) => {}
            }
            text.push(byte);
            self.place = match byte {
                b'\r' | b'\n' => Place::Start,
                _ => Place::Inside,
            };
        }
        Typed::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> Option<String> {
        let mut escape = Escape::new();
        let mut text = Vec::new();
        for piece in pieces {
            match escape.take(piece.as_bytes()) {
                Typed::Text(more) => text.extend(more),
                Typed::Leave => return None,
            }
        }
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_tilde_and_a_dot_at_the_start_of_a_line_leave() {
        for pieces in [&["~."][..], &["~", "."], &["ls\r~."], &["a\n", "~", ".b"]] {
            assert_eq!(typed(pieces), None, "{pieces:?}");
        }
    }

    #[test]
    fn everything_else_is_passed_on() {
        for (pieces, text) in [
            (&["ls ~.\r"][..], "ls ~.\r"),
            (&["~~.\r"], "~.\r"),
            (&["~", "a"], "~a"),
            (&["~\r~~"], "~\r~"),
            (&["x~", "."], "x~."),
        ] {
            assert_eq!(typed(pieces).as_deref(), Some(text), "{pieces:?}");
        }
    }
}

//! The server's end of a helper.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::rpc::message::RequestId;
use crate::rpc::transport::MAX_MESSAGE;
use crate::sys::pass;

/// The longest request: a message, with its method and id written anew.
pub(super) const MAX_REQUEST: usize = MAX_MESSAGE + 4096;
/// The longest answer that is held whole.
const MAX_ANSWER: usize = 2 * MAX_MESSAGE;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How long a helper may take nothing of its request.
const SEND: Duration = Duration::from_secs(60);
/// How long a read sleeps between looks at the deadline.
const TICK: Duration = Duration::from_secs(1);

/// Why a helper has not answered.
#[derive(Debug)]
pub(super) enum ChannelError {
    /// It is gone.
    Ended,
    /// It has not answered, or not taken its request, for so long.
    Silent(Duration),
    /// It says what it should not.
    Nonsense(&'static str),
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it has ended"),
            Self::Silent(limit) => write!(f, "it has not answered within {} s", limit.as_secs()),
            Self::Nonsense(what) => f.write_str(what),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// A request as a helper gets it: its length in four bytes, then its JSON.
#[derive(Debug)]
pub(in crate::serve) struct Framed(Vec<u8>);

impl Framed {
    /// Frames a request.
    pub(in crate::serve) fn new(id: RequestId<'_>, method: &str, params: &str) -> Self {
        let parts = [
            "{\"id\":",
            id.as_json(),
            ",\"method\":\"",
            method,
            "\",\"params\":",
            params,
            "}",
        ];
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut framed = Vec::with_capacity(4 + len);
        // A message has at most 64 MiB, and the id was part of it.
        framed.extend_from_slice(&(len as u32).to_le_bytes());
        for part in parts {
            framed.extend_from_slice(part.as_bytes());
        }
        Self(framed)
    }

    /// The request.
    pub(in crate::serve) fn json(&self) -> &[u8] {
        &self.0[4..]
    }

    /// Bytes of memory that it holds.
    pub(in crate::serve) fn bytes(&self) -> usize {
        self.0.capacity()
    }
}

/// The server's end of the socket to one helper.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    chunk: Box<[u8]>,
    /// What has come of the present answer.
    answer: Vec<u8>,
    /// Up to where it is known to have no end.
    searched: usize,
    passed: Option<OwnedFd>,
}

impl Channel {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(SEND))?;
        Ok(Self {
            socket,
            chunk: vec![0; CHUNK].into(),
            answer: Vec::new(),
            searched: 0,
            passed: None,
        })
    }

    /// Waits for the empty line that says that the helper has come up.
    pub(super) fn await_ready(&mut self, limit: Duration) -> Result<(), ChannelError> {
        let deadline = Instant::now() + limit;
        while self.answer.is_empty() {
            self.fill(deadline, limit)?;
        }
        let is_greeting = self.answer == b"\n";
        self.answer.clear();
        if is_greeting {
            Ok(())
        } else {
            Err(ChannelError::Nonsense("it did not say that it is ready"))
        }
    }

    /// Hands a request over. A helper that takes nothing of it for a minute has failed.
    pub(super) fn send(&mut self, request: &Framed) -> Result<(), ChannelError> {
        self.answer.clear();
        self.searched = 0;
        self.passed = None;
        (&self.socket)
            .write_all(&request.0)
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ChannelError::Ended,
                io::ErrorKind::WouldBlock => ChannelError::Silent(SEND),
                _ => ChannelError::Io(error),
            })
    }

    /// Waits for the whole answer, or with `most` for its first so many bytes; whether it is whole.
    pub(super) fn receive(
        &mut self,
        limit: Duration,
        most: Option<usize>,
    ) -> Result<bool, ChannelError> {
        let deadline = Instant::now() + limit;
        loop {
            if self.has_end()? {
                return Ok(true);
            }
            if most.is_some_and(|most| self.answer.len() >= most) {
                return Ok(false);
            }
            if self.answer.len() > MAX_ANSWER {
                return Err(ChannelError::Nonsense("its answer does not end"));
            }
            self.fill(deadline, limit)?;
        }
    }

    /// What has come of the answer, without its end.
    pub(super) fn answer(&self) -> &[u8] {
        self.answer.strip_suffix(b"\n").unwrap_or(&self.answer)
    }

    /// Forgets the first `count` bytes of the answer.
    pub(super) fn consume(&mut self, count: usize) {
        self.answer.drain(..count);
        self.searched = self.searched.saturating_sub(count);
    }

    /// The file that has come with the answer.
    pub(super) fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }

    /// Gives back memory that only a long answer has needed.
    pub(super) fn shrink(&mut self) {
        if self.answer.capacity() > CHUNK {
            self.answer = Vec::new();
        }
    }

    fn has_end(&mut self) -> Result<bool, ChannelError> {
        let end = memchr::memchr(b'\n', &self.answer[self.searched..]);
        match end {
            None => {
                self.searched = self.answer.len();
                Ok(false)
            }
            Some(end) if self.searched + end + 1 == self.answer.len() => Ok(true),
            Some(_) => Err(ChannelError::Nonsense("it says more than it is asked")),
        }
    }

    fn fill(&mut self, deadline: Instant, limit: Duration) -> Result<(), ChannelError> {
        loop {
            // One that says a little now and then has no more time than one that is silent.
            if Instant::now() >= deadline {
                return Err(ChannelError::Silent(limit));
            }
            match pass::receive(self.socket.as_fd(), &mut self.chunk) {
                Ok((0, _)) => return Err(ChannelError::Ended),
                Ok((count, passed)) => {
                    let mut said = &self.chunk[..count];
                    if passed.is_some() {
                        if self.passed.is_some() {
                            return Err(ChannelError::Nonsense("it passes more than one file"));
                        }
                        self.passed = passed;
                        // The line that it travels on.
                        said = said.strip_suffix(b"\n").unwrap_or(said);
                    }
                    self.answer.extend_from_slice(said);
                    return Ok(());
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::ConnectionReset => return Err(ChannelError::Ended),
                    _ => return Err(ChannelError::Io(error)),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::message::UNKNOWN_ID;
    use crate::sys::pass::send_descriptor;
    use std::io::Read;
    use std::thread;

    const LIMIT: Duration = Duration::from_secs(20);

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::new(ours).unwrap(), theirs)
    }

    #[test]
    fn a_request_arrives_with_its_length() {
        let (mut channel, mut helper) = pair();
        let request = Framed::new(UNKNOWN_ID, "fs/walk", "[1,\n2]");
        assert_eq!(
            request.json(),
            b"{\"id\":-1,\"method\":\"fs/walk\",\"params\":[1,\n2]}"
        );
        channel.send(&request).unwrap();
        let mut len = [0; 4];
        helper.read_exact(&mut len).unwrap();
        let mut json = vec![0; u32::from_le_bytes(len) as usize];
        helper.read_exact(&mut json).unwrap();
        assert_eq!(json, request.json());
    }

    #[test]
    fn a_file_comes_before_its_answer() {
        let (mut channel, mut helper) = pair();
        let (file, _other) = UnixStream::pair().unwrap();
        send_descriptor(helper.as_fd(), b'\n', file.as_fd()).unwrap();
        helper.write_all(b"{}\n").unwrap();
        assert!(channel.receive(LIMIT, None).unwrap());
        assert_eq!(channel.answer(), b"{}");
        assert!(channel.take_passed().is_some());
        assert!(channel.take_passed().is_none());
    }

    #[test]
    fn a_long_answer_comes_in_parts() {
        let (mut channel, mut helper) = pair();
        let writer = thread::spawn(move || {
            helper.write_all(&[b'x'; 300_000]).unwrap();
            helper.write_all(b"\n").unwrap();
        });
        let mut len = 0;
        while !channel.receive(LIMIT, Some(100_000)).unwrap() {
            len += channel.answer().len();
            channel.consume(channel.answer().len());
        }
        assert_eq!(len + channel.answer().len(), 300_000);
        writer.join().unwrap();
    }

    #[test]
    fn one_that_never_comes_to_an_end_has_no_more_time_than_one_that_is_silent() {
        let (mut channel, mut helper) = pair();
        let writer = thread::spawn(move || while helper.write_all(b"x").is_ok() {});
        let received = channel.receive(Duration::from_millis(20), None);
        assert!(matches!(received, Err(ChannelError::Silent(_))));
        drop(channel);
        writer.join().unwrap();
    }

    #[test]
    fn a_helper_that_fails_is_known_by_how() {
        let (mut channel, helper) = pair();
        assert!(matches!(
            channel.receive(Duration::from_millis(1), None),
            Err(ChannelError::Silent(_))
        ));
        drop(helper);
        assert!(matches!(
            channel.receive(LIMIT, None),
            Err(ChannelError::Ended)
        ));
        let request = Framed::new(UNKNOWN_ID, "fs/walk", "{}");
        assert!(matches!(channel.send(&request), Err(ChannelError::Ended)));
        let (mut channel, mut helper) = pair();
        helper.write_all(b"{}\n{}\n").unwrap();
        assert!(matches!(
            channel.receive(LIMIT, None),
            Err(ChannelError::Nonsense(_))
        ));
        let (mut channel, mut helper) = pair();
        helper.write_all(b"hello\n").unwrap();
        assert!(matches!(
            channel.await_ready(LIMIT),
            Err(ChannelError::Nonsense(_))
        ));
    }
}

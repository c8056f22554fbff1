//! `process/run`: a process that is asked for, and answered, once.
//!
//! It is started as by `process/start`, but its events go to a [`Collector`] in the place of the
//! connection, which answers the request with them when the last has come.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::process::{begin, sandbox_type};
use crate::env::local::{Collecting, Event, Process, ProcessExit, Stream, Subscriber, WriteError};
use crate::memory::{self, Kind, Reserved, UNCOUNTED};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::process::{MissingBytes, RunParams};
use crate::rpc::transport::{Flush, Offer};
use crate::sandbox::denial::Denial;
use crate::sandbox::launcher::Level;
use crate::serve::metrics::{Flow, METRICS};
use crate::serve::notify::{Notifications, write_exit, write_exit_extensions};
use crate::serve::reply::Responder;
use crate::serve::services::Call;
use crate::serve::session::new_id;
use crate::sys::poll::Waker;
use crate::sys::sync::Mutex;

/// Bytes of each stream that are kept unless the client says otherwise.
const DEFAULT_OUTPUT: usize = 1024 * 1024;
/// The most that it may ask for: both streams fit into a message.
const MOST_OUTPUT: usize = 16 * 1024 * 1024;

/// `process/run`.
pub(crate) fn run(call: &Call<'_>, params: RunParams<'_>) -> Result<(), RpcError> {
    let stdin = params.stdin.as_deref().map(base64::decode).transpose();
    let stdin = stdin.map_err(|error| RpcError::invalid_params(error.to_string()))?;
    let most = match params.max_output_bytes {
        None => DEFAULT_OUTPUT,
        Some(bytes) => usize::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes <= MOST_OUTPUT)
            .ok_or_else(|| {
                RpcError::invalid_params(format!(
                    "maxOutputBytes must not be more than {MOST_OUTPUT}"
                ))
            })?,
    };
    let id = match &params.process_id {
        Some(id) => id.clone().into_owned(),
        None => new_id().map_err(|error| {
            RpcError::failed(format!(
                "cannot make a process id: no random bytes: {error}"
            ))
        })?,
    };
    let collecting = call.services.host.collect(2 * most).ok_or_else(|| {
        let message = "the output of too many process/run requests is being kept; \
                       wait for their answers, then try again";
        RpcError::new(ErrorKind::Busy, message)
    })?;
    let mut start = params.start(id);
    start.pipe_stdin |= stdin.is_some();
    let collector = Arc::new(Collector::new(call, most, collecting));
    let audience = Arc::clone(&collector);
    let feed = |process: &Arc<Process>| match stdin {
        Some(stdin) => {
            METRICS.flowed(Flow::Input, stdin.len());
            feed(process, stdin)
        }
        None => Ok(()),
    };
    begin(
        call,
        start,
        Some(audience),
        feed,
        move |outcome| match outcome {
            Ok(level) => collector.started(level),
            Err(error) => collector.fail(&error),
        },
    )
}

/// Gives a process that has not started yet all of its input.
fn feed(process: &Process, stdin: Vec<u8>) -> Result<(), RpcError> {
    let refused = Arc::new(Mutex::new(None::<WriteError>));
    let told = Arc::clone(&refused);
    let reply = move |outcome: Result<_, WriteError>| *told.lock() = outcome.err();
    process.write(None, stdin, Box::new(reply));
    if let Some(error) = refused.lock().take() {
        return Err(error.into());
    }
    process.close_stdin();
    Ok(())
}

/// The beginning and the end of what one stream has carried.
#[derive(Debug)]
struct Captured {
    most: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    counted: Reserved,
}

impl Captured {
    fn new(most: usize) -> Self {
        Self {
            most,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
            counted: Reserved::none(Kind::Output),
        }
    }

    /// Takes what comes next: the first half of what may be kept for good, the second as long as
    /// nothing newer needs the room.
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.most / 2).saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        let limit = self.most - self.most / 2;
        let rest = &rest[rest.len().saturating_sub(limit)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(limit);
        self.tail.drain(..excess);
        let len = self.tail.len() + rest.len();
        if len > self.tail.capacity() {
            // Doubling beyond the limit would take twice the memory that was asked for.
            let capacity = (self.tail.capacity() * 2).min(limit).max(len);
            self.tail.reserve_exact(capacity - self.tail.len());
        }
        self.tail.extend(rest);
        let held = self.head.capacity() + self.tail.capacity();
        if held != self.counted.bytes() {
            self.counted.count(held);
        }
    }

    /// How many bytes are kept.
    fn kept(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn write(self, out: &mut Vec<u8>) {
        let offset = self.head.len();
        let mut kept = self.head;
        kept.extend(self.tail);
        out.extend_from_slice(b"{\"dataBase64\":\"");
        out.reserve(base64::encoded_len(kept.len()) + 128);
        base64::encode_into(&kept, out);
        out.extend_from_slice(b"\",\"totalBytes\":");
        number(out, self.total as i64);
        let missing = self.total - kept.len() as u64;
        if missing > 0 {
            out.extend_from_slice(b",\"missing\":");
            let (offset, bytes) = (offset as u64, missing);
            json(out, &MissingBytes { offset, bytes });
        }
        out.push(b'}');
    }
}

/// Keeps what a process tells, and answers the request for it at its end.
struct Collector {
    responder: Responder,
    connection: Notifications,
    collected: Mutex<Collected>,
}

struct Collected {
    begun: Instant,
    level: Option<Level>,
    stdout: Captured,
    stderr: Captured,
    exit: Option<Exited>,
    /// Room in the server's memory, until the answer is given.
    _room: Option<Collecting>,
}

struct Exited {
    exit: ProcessExit,
    denial: Option<Denial>,
    after: Duration,
}

impl Collected {
    fn new(most: usize, room: Option<Collecting>) -> Self {
        Self {
            begun: Instant::now(),
            level: None,
            stdout: Captured::new(most),
            stderr: Captured::new(most),
            exit: None,
            _room: room,
        }
    }

    /// Room for the answer, until the connection has it and counts it; if there is none, the waker
    /// will be set when there may be.
    fn room_to_answer(&self, waker: &Waker) -> Option<Reserved> {
        let bytes = base64::encoded_len(self.stdout.kept() + self.stderr.kept());
        if bytes <= UNCOUNTED {
            return Some(Reserved::none(Kind::Answers));
        }
        // One that is larger than there can be room for has at least all of it.
        let bytes = bytes.min(Kind::Answers.share() / 2);
        Reserved::of(Kind::Answers, bytes).or_else(|| {
            memory::remember(waker);
            Reserved::of(Kind::Answers, bytes)
        })
    }

    /// The result of the request.
    fn write(self, out: &mut Vec<u8>, process_id: &str) {
        out.extend_from_slice(b"{\"processId\":");
        json(out, process_id);
        out.extend_from_slice(b",\"sandboxType\":");
        json(out, sandbox_type(self.level.as_ref()));
        if let Some(level) = &self.level {
            out.extend_from_slice(b",\"sandboxLevel\":");
            json(out, &level.json());
        }
        // It comes before the last event.
        if let Some(Exited {
            exit,
            denial,
            after,
        }) = &self.exit
        {
            write_exit(out, exit);
            if !exit.timed_out {
                out.extend_from_slice(b",\"timedOut\":false");
            }
            write_exit_extensions(out, exit, denial.as_ref());
            out.extend_from_slice(b",\"durationMs\":");
            number(out, i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        }
        out.extend_from_slice(b",\"stdout\":");
        self.stdout.write(out);
        out.extend_from_slice(b",\"stderr\":");
        self.stderr.write(out);
        out.push(b'}');
    }
}

impl Collector {
    fn new(call: &Call<'_>, most: usize, room: Collecting) -> Self {
        Self {
            responder: call.responder(),
            connection: Notifications(Arc::clone(call.outbound)),
            collected: Mutex::new(Collected::new(most, Some(room))),
        }
    }

    /// The process runs.
    fn started(&self, level: Option<Level>) {
        let mut collected = self.collected.lock();
        collected.begun = Instant::now();
        collected.level = level;
    }

    /// It does not, and no event will come.
    fn fail(&self, error: &RpcError) {
        self.responder.fail(error);
        self.responder.flush();
    }
}

impl Subscriber for Collector {
    fn offer(&self, process_id: &str, event: &Event<'_>, waker: &Waker) -> Offer {
        let mut collected = self.collected.lock();
        match event {
            Event::Output(chunk) => {
                METRICS.flowed(Flow::Output, chunk.bytes.len());
                match chunk.stream {
                    Stream::Stdout | Stream::Pty => collected.stdout.push(&chunk.bytes),
                    Stream::Stderr => collected.stderr.push(&chunk.bytes),
                }
            }
            Event::Exited { exit, denial, .. } => {
                collected.exit = Some(Exited {
                    exit: *exit,
                    denial: denial.cloned(),
                    after: collected.begun.elapsed(),
                });
            }
            Event::Closed { .. } => {
                // It may be large.
                if !self.connection.has_room(waker) {
                    return Offer::Full;
                }
                let Some(_room) = collected.room_to_answer(waker) else {
                    return Offer::Full;
                };
                // The process is remembered for a while, and this with it.
                let all = std::mem::replace(&mut *collected, Collected::new(0, None));
                self.responder.write(|out| all.write(out, process_id));
            }
        }
        Offer::Taken
    }

    fn is_the_only_one(&self) -> bool {
        true
    }

    fn has_room(&self, waker: &Waker) -> bool {
        self.connection.has_room(waker)
    }

    fn flush(&self) -> bool {
        self.connection.flush()
    }

    fn flush_duty(&self) -> Flush {
        self.connection.flush_duty()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.connection.fd()
    }

    fn give_up_duty(&self) {
        self.connection.give_up_duty();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is kept of these pieces.
    fn kept(most: usize, pieces: &[&[u8]]) -> Value {
        let mut captured = Captured::new(most);
        for piece in pieces {
            captured.push(piece);
            assert!(captured.head.len() + captured.tail.len() <= most);
        }
        let mut out = Vec::new();
        captured.write(&mut out);
        let mut kept: Value = serde_json::from_slice(&out).unwrap();
        let data = base64::decode(kept["dataBase64"].as_str().unwrap()).unwrap();
        kept["dataBase64"] = String::from_utf8(data).unwrap().into();
        kept
    }

    #[test]
    fn the_first_and_the_last_are_kept_and_what_is_missing_is_told() {
        let whole = |text: &str| json!({"dataBase64": text, "totalBytes": text.len()});
        let cut = |text: &str, offset: u64, bytes: u64, total: u64| {
            json!({"dataBase64": text, "totalBytes": total,
                "missing": {"offset": offset, "bytes": bytes}})
        };
        assert_eq!(kept(6, &[]), whole(""));
        assert_eq!(kept(6, &[b"abcdef"]), whole("abcdef"));
        assert_eq!(kept(6, &[b"a", b"bcde", b"f"]), whole("abcdef"));
        assert_eq!(kept(6, &[b"abcdefg"]), cut("abcefg", 3, 1, 7));
        assert_eq!(
            kept(6, &[b"ab", b"cdefgh", b"i", b"j"]),
            cut("abchij", 3, 4, 10)
        );
        assert_eq!(kept(5, &[b"abcdefgh"]), cut("abfgh", 2, 3, 8));
        assert_eq!(kept(1, &[b"ab", b"cd"]), cut("d", 0, 3, 4));
        assert_eq!(kept(0, &[b"ab", b""]), cut("", 0, 2, 2));
    }
}

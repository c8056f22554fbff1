//! The server's end of a helper ([`Channel`]), the helpers that wait for the next request
//! ([`Pool`]), and what holds one to the connection that it works for ([`HelperCancel`]).
//!
//! A helper that works listens to nobody, for up to an hour. When its connection is gone, so is who
//! asked, and it is ended through the event that its thread polls anyway. One that has answered
//! works for nobody, and waits in the pool for any connection: it is let go before it gets there.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::rpc::message::RequestId;
use crate::rpc::transport::MAX_MESSAGE;
use crate::sandbox::policy::{Policy, Purpose};
use crate::sys::pass;
use crate::sys::poll::WakeEvent;
use crate::sys::sync::Mutex;

/// The longest request: a message, with its method and id written anew.
pub(crate) const MAX_REQUEST: usize = MAX_MESSAGE + 4096;
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
pub(crate) enum ChannelError {
    /// It is gone.
    Ended,
    /// It has not answered, or not taken its request, for so long.
    Silent(Duration),
    /// It says what it should not.
    Nonsense(&'static str),
    /// There is no memory for its answer.
    NoRoom,
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it has ended"),
            Self::Silent(limit) => write!(f, "it has not answered within {} s", limit.as_secs()),
            Self::Nonsense(what) => f.write_str(what),
            Self::NoRoom => f.write_str("its answer needs more memory than is free"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// A request as a helper gets it: its length in four bytes, then its JSON.
#[derive(Debug)]
pub(crate) struct Framed(Vec<u8>);

impl Framed {
    /// Frames a request; none where there is no memory for it.
    pub(crate) fn new(id: RequestId<'_>, method: &str, params: &str) -> Option<Self> {
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
        let mut framed = Vec::new();
        framed.try_reserve_exact(4 + len).ok()?;
        // A message has at most 64 MiB, and the id was part of it.
        framed.extend_from_slice(&(len as u32).to_le_bytes());
        for part in parts {
            framed.extend_from_slice(part.as_bytes());
        }
        Some(Self(framed))
    }

    /// The request.
    pub(crate) fn json(&self) -> &[u8] {
        &self.0[4..]
    }
}

/// The server's end of the socket to one helper.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
    chunk: Box<[u8]>,
    /// What has come of the present answer.
    answer: Vec<u8>,
    /// For that.
    room: Reserved,
    /// Up to where it is known to have no end.
    searched: usize,
    passed: Option<OwnedFd>,
}

impl Channel {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(SEND))?;
        Ok(Self {
            socket,
            chunk: vec![0; CHUNK].into(),
            answer: Vec::new(),
            room: Reserved::none(Kind::Answers),
            searched: 0,
            passed: None,
        })
    }

    /// Waits for the empty line that says that the helper has come up.
    pub(crate) fn await_ready(&mut self, limit: Duration) -> Result<(), ChannelError> {
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
    pub(crate) fn send(&mut self, request: &Framed) -> Result<(), ChannelError> {
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
    pub(crate) fn receive(
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
    pub(crate) fn answer(&self) -> &[u8] {
        self.answer.strip_suffix(b"\n").unwrap_or(&self.answer)
    }

    /// Forgets the first `count` bytes of the answer.
    pub(crate) fn consume(&mut self, count: usize) {
        self.answer.drain(..count);
        self.searched = self.searched.saturating_sub(count);
    }

    /// The file that has come with the answer.
    pub(crate) fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }

    /// Gives back memory that only a long answer has needed.
    pub(crate) fn shrink(&mut self) {
        if self.answer.capacity() > CHUNK {
            self.answer = Vec::new();
            self.room.set(0);
        }
    }

    /// Makes sure of memory for so many bytes more.
    fn has_room(&mut self, count: usize) -> bool {
        let len = self.answer.len() + count;
        if len <= self.answer.capacity() {
            return true;
        }
        let larger = len + len / 8;
        let its = larger.saturating_sub(UNCOUNTED);
        let more = larger - self.answer.len();
        self.room.set(its) && self.answer.try_reserve_exact(more).is_ok()
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
                    let said = said.len();
                    if !self.has_room(said) {
                        return Err(ChannelError::NoRoom);
                    }
                    self.answer.extend_from_slice(&self.chunk[..said]);
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

/// How many are kept.
pub(crate) const MAX_IDLE: usize = 8;
/// How long one is kept without a request.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// Helpers without work, by the policy that they run under. One that works is with its request
/// and not here, so that no request waits for another's.
pub(crate) struct Pool<H> {
    state: Mutex<State<H>>,
}

struct State<H> {
    /// The one that has waited longest is the first.
    idle: Vec<Idle<H>>,
    is_closed: bool,
}

struct Idle<H> {
    policy: Arc<Policy>,
    helper: H,
    since: Instant,
}

impl<H> Default for Pool<H> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                idle: Vec::new(),
                is_closed: false,
            }),
        }
    }
}

impl<H> Pool<H> {
    /// Takes one of this policy: the one that has worked last.
    pub(crate) fn take(&self, policy: &Arc<Policy>) -> Option<H> {
        let mut state = self.state.lock();
        let found = state.idle.iter().rposition(|idle| idle.policy == *policy)?;
        Some(state.idle.remove(found).helper)
    }

    /// Keeps one for the next request. The one that has waited longest makes way.
    pub(crate) fn put(&self, policy: Arc<Policy>, helper: H, now: Instant) {
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            return drop(helper);
        }
        let oldest = (state.idle.len() >= MAX_IDLE).then(|| state.idle.remove(0));
        state.idle.push(Idle {
            policy,
            helper,
            since: now,
        });
        // Ending one takes a system call or two, which nobody need wait for.
        drop(state);
        drop(oldest);
    }

    /// Drops those that have waited for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        let expired = state
            .idle
            .iter()
            .take_while(|idle| now.saturating_duration_since(idle.since) >= IDLE)
            .count();
        let expired: Vec<_> = state.idle.drain(..expired).collect();
        drop(state);
        drop(expired);
    }

    /// Whether any waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().idle.is_empty()
    }

    /// Drops all, and what is still to come.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }
}

/// What of a connection's requests is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    All,
    /// What changes something: nobody hears of it, but who comes back expects it.
    Changes,
    /// Nothing any more.
    Nothing,
}

impl Wanted {
    fn includes(self, purpose: Purpose) -> bool {
        match self {
            Self::All => true,
            Self::Changes => purpose == Purpose::Write,
            Self::Nothing => false,
        }
    }
}

/// One connection's hold on the helper that works for it.
pub(crate) struct HelperCancel(Mutex<Hold>);

struct Hold {
    wanted: Wanted,
    /// What for, and what ends it.
    at_work: Option<(Purpose, Arc<WakeEvent>)>,
}

impl HelperCancel {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Hold {
            wanted: Wanted::All,
            at_work: None,
        }))
    }

    /// From now on no more than this is wanted: a helper that works for anything else ends.
    pub(crate) fn shorten(&self, wanted: Wanted) {
        let mut state = self.0.lock();
        state.wanted = wanted;
        let unwanted = state
            .at_work
            .take_if(|(purpose, _)| !wanted.includes(*purpose));
        if let Some((_, stop)) = unwanted {
            stop.set();
        }
    }

    /// Whether anybody wants what is to be done now.
    pub(crate) fn wants(&self, purpose: Purpose) -> bool {
        self.0.lock().wanted.includes(purpose)
    }

    /// Holds the helper that is to work now; `stop` ends it. False when nobody wants that any more.
    pub(crate) fn hold(&self, purpose: Purpose, stop: &Arc<WakeEvent>) -> bool {
        let mut state = self.0.lock();
        let is_wanted = state.wanted.includes(purpose);
        state.at_work = is_wanted.then(|| (purpose, Arc::clone(stop)));
        is_wanted
    }

    /// Lets the helper go, which may then work for others. False when it was told to end.
    pub(crate) fn release(&self) -> bool {
        self.0.lock().at_work.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::thread;

    use crate::rpc::message::UNKNOWN_ID;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;
    use crate::sys::pass::send_descriptor;
    use crate::sys::poll::{self, PollFd, READABLE};

    const LIMIT: Duration = Duration::from_secs(20);

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::new(ours).unwrap(), theirs)
    }

    #[test]
    fn a_request_arrives_with_its_length() {
        let (mut channel, mut helper) = pair();
        let request = Framed::new(UNKNOWN_ID, "fs/walk", "[1,\n2]").unwrap();
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
        let request = Framed::new(UNKNOWN_ID, "fs/walk", "{}").unwrap();
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

    fn policy(path: &str) -> Arc<Policy> {
        let json = format!(
            r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
            "type":"restricted","entries":[
            {{"path":{{"type":"path","path":"{path}"}},"access":"read"}}]}}}},
            "windowsSandboxLevel":"disabled"}}"#
        );
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        Arc::new(Policy::parse(&json, &context).unwrap())
    }

    #[test]
    fn a_helper_is_given_to_its_own_policy_only() {
        let pool = Pool::default();
        let now = Instant::now();
        pool.put(policy("/a"), 1, now);
        pool.put(policy("/b"), 2, now);
        pool.put(policy("/a"), 3, now);
        assert_eq!(pool.take(&policy("/c")), None);
        assert_eq!(pool.take(&policy("/a")), Some(3));
        assert_eq!(pool.take(&policy("/a")), Some(1));
        assert_eq!(pool.take(&policy("/a")), None);
        assert_eq!(pool.take(&policy("/b")), Some(2));
        assert!(pool.is_empty());
    }

    #[test]
    fn the_ninth_takes_the_place_of_the_one_that_has_waited_longest() {
        let pool = Pool::default();
        let now = Instant::now();
        for number in 0..8 {
            pool.put(policy(&format!("/{number}")), number, now);
        }
        // Used again, so it is no longer the oldest.
        let first = pool.take(&policy("/0")).unwrap();
        pool.put(policy("/0"), first, now);
        pool.put(policy("/8"), 8, now);
        assert_eq!(pool.take(&policy("/1")), None);
        for number in [0, 2, 3, 4, 5, 6, 7, 8] {
            assert_eq!(pool.take(&policy(&format!("/{number}"))), Some(number));
        }
    }

    #[test]
    fn those_that_wait_for_long_are_dropped() {
        let pool = Pool::default();
        let start = Instant::now();
        let helper = Arc::new(());
        pool.put(policy("/a"), Arc::clone(&helper), start);
        pool.put(policy("/b"), Arc::clone(&helper), start + IDLE / 2);
        pool.sweep(start + IDLE - Duration::from_millis(1));
        assert_eq!(Arc::strong_count(&helper), 3);
        pool.sweep(start + IDLE);
        assert_eq!(Arc::strong_count(&helper), 2);
        assert!(pool.take(&policy("/a")).is_none());
        pool.sweep(start + IDLE * 2);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_closed_pool_keeps_nothing() {
        let pool = Pool::default();
        let helper = Arc::new(());
        pool.put(policy("/a"), Arc::clone(&helper), Instant::now());
        pool.close();
        pool.put(policy("/a"), Arc::clone(&helper), Instant::now());
        assert_eq!(Arc::strong_count(&helper), 1);
    }

    fn event() -> Arc<WakeEvent> {
        Arc::new(WakeEvent::new().unwrap())
    }

    fn is_set(event: &WakeEvent) -> bool {
        let mut fds = [PollFd::new(event.as_fd(), READABLE)];
        poll::wait(&mut fds, Some(Duration::ZERO)).unwrap();
        fds[0].is_ready()
    }

    #[test]
    fn a_change_outlasts_what_only_looks() {
        for (purpose, last) in [
            (Purpose::Read, Wanted::Changes),
            (Purpose::Write, Wanted::Nothing),
        ] {
            let (cancel, stop) = (HelperCancel::new(), event());
            assert!(cancel.hold(purpose, &stop));
            for wanted in [Wanted::Changes, Wanted::Nothing] {
                cancel.shorten(wanted);
                assert!(!is_set(&stop) || wanted == Wanted::Nothing || last == wanted);
                assert!(is_set(&stop) || last != wanted);
            }
            assert!(!cancel.release(), "it is no helper for others");
            assert!(!cancel.hold(purpose, &event()));
        }
    }

    #[test]
    fn one_that_was_let_go_is_not_ended() {
        let (cancel, stop) = (HelperCancel::new(), event());
        assert!(cancel.hold(Purpose::Write, &stop));
        assert!(cancel.release());
        cancel.shorten(Wanted::Nothing);
        assert!(!is_set(&stop));
    }
}

//! All streams of a rendezvous, and the way of every frame.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::destination::Destination;
use super::frame::{Body, Frame, MAX_REASON};
use super::stream::Stream;
use crate::log;
use crate::rpc::transport::{Goodbye, Outbound};
use crate::serve::injector::{Injector, ShutdownHook};
use crate::sys::poll::{self, PollFd, READABLE, WRITABLE, WakeEvent, Waker};
use crate::sys::sync::{Condvar, Mutex};

/// Streams at once; the reference's number.
const MAX_STREAMS: usize = 128;
/// Sleep of the pump when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// Sleep of the pump between the last messages.
const LEAVING_TICK: Duration = Duration::from_millis(5);
/// What is left of the time for the last messages when goodbye is said, whoever has not got his.
const PARTING: Duration = Duration::from_millis(100);

/// Everything between the websocket's two directions and the connections.
pub(crate) struct RelayMux {
    injector: Injector,
    /// Who serves the clients, if not our own server.
    destination: Option<Arc<Destination>>,
    outbound: Arc<Outbound>,
    state: Mutex<State>,
    /// Wakes the pump.
    wake: Arc<WakeEvent>,
    /// The same, for who has no room now.
    waker: Waker,
    /// Told when the pump has ended.
    is_done: Condvar,
}

#[derive(Default)]
struct State {
    streams: HashMap<String, Stream>,
    phase: Phase,
    /// When goodbye is said at the latest, once the server ends.
    goodbye_by: Option<Instant>,
    /// Whether a stream was ever opened.
    has_served: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// The server ends: what the connections have said is sent, and then goodbye.
    Leaving,
    /// The websocket is gone, or is to go.
    Closed,
    /// The pump has ended.
    Done,
}

impl RelayMux {
    pub(crate) fn new(
        injector: Injector,
        destination: Option<Arc<Destination>>,
        outbound: Arc<Outbound>,
    ) -> io::Result<Self> {
        let wake = Arc::new(WakeEvent::new()?);
        Ok(Self {
            injector,
            destination,
            outbound,
            state: Mutex::default(),
            waker: Waker::from(&wake),
            wake,
            is_done: Condvar::new(),
        })
    }

    /// Takes a frame of the rendezvous.
    pub(crate) fn take(&self, bytes: &[u8]) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                log::debug!("a relay frame is dropped: {error}");
                return;
            }
        };
        let mut state = self.state.lock();
        if state.phase >= Phase::Closed {
            return;
        }
        let outcome = match &frame.body {
            Body::Reset(reason) => {
                if state.streams.remove(frame.stream).is_some() {
                    log::info!("relay stream {}: reset: {reason}", frame.stream);
                }
                return;
            }
            // Nothing new is begun.
            _ if state.phase == Phase::Leaving => return,
            Body::Handshake => Err("the encrypted form of streams is not spoken here".to_owned()),
            _ => self.pass(&mut state, &frame),
        };
        if let Err(reason) = outcome {
            self.end(&mut state, frame.stream, &reason);
        }
        drop(state);
        self.wake.set();
    }

    /// Gives a frame to its stream, which begins with it if need be.
    fn pass(&self, state: &mut State, frame: &Frame<'_>) -> Result<(), String> {
        let stream = match state.streams.get_mut(frame.stream) {
            Some(stream) => stream,
            None if matches!(frame.body, Body::Heartbeat | Body::Ack) => return Ok(()),
            None => {
                if !begins_stream(&frame.body) {
                    return Err("there is no such stream; begin another".to_owned());
                }
                if state.streams.len() >= MAX_STREAMS {
                    return Err(format!("{MAX_STREAMS} streams are open; try again later"));
                }
                let stream = self.open().map_err(|error| format!("no stream: {error}"))?;
                log::info!("relay stream {}: opened", frame.stream);
                state.has_served = true;
                state
                    .streams
                    .entry(frame.stream.to_owned())
                    .or_insert(stream)
            }
        };
        stream
            .receive(&frame.body)
            .map_err(|error| error.to_string())
    }

    fn open(&self) -> io::Result<Stream> {
        let (stream, connection) = Stream::new()?;
        match &self.destination {
            None => self.injector.serve_lines(connection)?,
            Some(destination) => destination.serve(connection, stream.end_reason())?,
        }
        Ok(stream)
    }

    /// Ends a stream and tells its client.
    fn end(&self, state: &mut State, id: &str, reason: &str) {
        if state.streams.remove(id).is_some() {
            log::info!("relay stream {id}: ended: {reason}");
        }
        // Who sends to streams that it does not have gets no more answers than it takes.
        if self.outbound.has_room(&self.waker) {
            self.write(id, Body::Reset(clip(reason)));
        }
    }

    /// Moves what the connections say into frames, until the websocket is gone.
    pub(crate) fn pump(&self) {
        loop {
            let awaited = {
                let mut state = self.state.lock();
                let phase = state.phase;
                if phase >= Phase::Closed {
                    break;
                }
                if phase == Phase::Leaving {
                    let is_late = state.goodbye_by.is_some_and(|by| Instant::now() >= by);
                    if self.is_empty(&mut state) || is_late {
                        self.say_goodbye(&mut state);
                        break;
                    }
                }
                self.emit(&mut state);
                let sleep = match phase {
                    Phase::Leaving => LEAVING_TICK,
                    _ => IDLE,
                };
                Awaited::of(&state, self.outbound.has_room(&self.waker), sleep)
            };
            self.outbound.flush();
            let Ok(ready) = awaited.wait(&self.wake) else {
                // It fails only for want of memory, and without it nothing could be moved.
                self.outbound.kill();
                break;
            };
            let mut state = self.state.lock();
            for id in ready {
                let Some(stream) = state.streams.get_mut(&id) else {
                    continue;
                };
                stream.feed();
                // A stream may be ready for what is on its way to the connection alone.
                if stream.wants_to_read()
                    && self.outbound.has_room(&self.waker)
                    && let Err(error) = stream.read()
                {
                    self.end(&mut state, &id, &error.to_string());
                }
            }
        }
        let mut state = self.state.lock();
        state.streams.clear();
        state.phase = Phase::Done;
        self.is_done.notify_all();
    }

    /// Sends what the streams have to send, as long as the websocket takes it.
    fn emit(&self, state: &mut State) {
        let mut over = Vec::new();
        for (id, stream) in &mut state.streams {
            if !self.outbound.has_room(&self.waker) {
                break;
            }
            match stream.emit(|body| self.write(id, body)) {
                Err(error) => over.push((id.clone(), error.to_string())),
                Ok(()) if stream.is_over() => {
                    over.push((id.clone(), stream.why_over()));
                }
                Ok(()) => {}
            }
        }
        for (id, reason) in over {
            self.end(state, &id, &reason);
        }
    }

    /// Whether no connection has said anything that is not sent; reads what they have.
    fn is_empty(&self, state: &mut State) -> bool {
        let mut is_empty = true;
        for stream in state.streams.values_mut() {
            while stream.wants_to_read() && matches!(stream.read(), Ok(true)) {
                is_empty = false;
            }
            is_empty &= !stream.has_message();
        }
        is_empty
    }

    fn say_goodbye(&self, state: &mut State) {
        for (id, _) in state.streams.drain() {
            self.write(&id, Body::Reset("exec-server is shutting down"));
        }
        self.outbound.say_goodbye(Goodbye::Away);
    }

    fn write(&self, stream: &str, body: Body<'_>) {
        let frame = Frame { stream, body };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.outbound.add_binary(&bytes);
    }

    /// Ends all streams: the websocket is gone. Waits for the pump, which takes no time. Whether
    /// there ever was a stream.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        if state.phase < Phase::Closed {
            state.phase = Phase::Closed;
        }
        state.streams.clear();
        self.wake.set();
        while state.phase != Phase::Done {
            state = self.is_done.wait(state);
        }
        state.has_served
    }
}

impl ShutdownHook for RelayMux {
    fn say(&self, deadline: Instant) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Leaving;
            state.goodbye_by = deadline.checked_sub(PARTING);
        }
        self.wake.set();
        while state.phase != Phase::Done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.is_done.wait_timeout(state, left);
            state = waited.0;
        }
        drop(state);
        self.outbound.drain(deadline);
    }
}

/// Whether a new stream may begin with this, and it is not what is left of an old one.
fn begins_stream(body: &Body<'_>) -> bool {
    match body {
        Body::Data(data) => data.seq == 0,
        Body::Resume(next) => *next == 0,
        _ => false,
    }
}

/// The beginning of a reason that fits into a frame.
fn clip(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

/// What the pump sleeps for.
struct Awaited {
    streams: Vec<(String, Arc<UnixStream>, i16)>,
    sleep: Duration,
}

impl Awaited {
    fn of(state: &State, has_room: bool, sleep: Duration) -> Self {
        let events = |stream: &Stream| {
            let mut events = 0;
            if has_room && stream.wants_to_read() {
                events |= READABLE;
            }
            if stream.wants_to_write() {
                events |= WRITABLE;
            }
            events
        };
        let streams = state.streams.iter();
        Self {
            streams: streams
                .map(|(id, stream)| (id.clone(), Arc::clone(stream.socket()), events(stream)))
                .filter(|(_, _, events)| *events != 0)
                .collect(),
            sleep,
        }
    }

    /// Sleeps, and tells which streams are ready.
    fn wait(self, wake: &WakeEvent) -> io::Result<Vec<String>> {
        let mut fds = vec![PollFd::new(wake.as_fd(), READABLE)];
        let sockets = self.streams.iter();
        fds.extend(sockets.map(|(_, socket, events)| PollFd::new(socket.as_fd(), *events)));
        poll::wait(&mut fds, Some(self.sleep))?;
        if fds[0].is_ready() {
            wake.take();
        }
        let are_ready: Vec<bool> = fds[1..].iter().map(PollFd::is_ready).collect();
        drop(fds);
        let ready = self.streams.into_iter().zip(are_ready);
        Ok(ready
            .filter(|(_, is_ready)| *is_ready)
            .map(|((id, _, _), _)| id)
            .collect())
    }
}

//! The events of one process on their way to who started it.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::env::local::{Event, ProcessExit, Stream as LocalStream, Subscriber};
use crate::env::{Exit, ProcessEvent, Stream};
use crate::rpc::transport::Offer;
use crate::sandbox::denial::Denial;
use crate::sys::event::WakeEvent;
use crate::sys::sync::{Condvar, Mutex};

/// Above this many bytes that nobody has taken, output waits in its pipe.
const LIMIT: usize = 256 * 1024;

/// A bounded queue: a program that prints more than is taken waits.
#[derive(Default)]
pub(super) struct Events {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<ProcessEvent>,
    /// Bytes of output in it.
    bytes: usize,
    /// The number of the last event that came.
    last: u64,
    /// Whether the last event of all came.
    is_complete: bool,
    /// The process's thread, if it has something that did not fit.
    waker: Option<Arc<WakeEvent>>,
}

impl Events {
    /// The next event; none if there is none within `timeout`, or there will be none any more.
    pub(super) fn next(&self, timeout: Duration) -> Option<ProcessEvent> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        loop {
            if let Some(event) = state.queue.pop_front() {
                state.took(&event);
                return Some(event);
            }
            if state.is_complete {
                return None;
            }
            // A time beyond what the clock can count is waited for in parts.
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            state = self.news.wait_timeout(state, left).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn took(&mut self, event: &ProcessEvent) {
        if let ProcessEvent::Output { data, .. } = event {
            self.bytes -= data.len();
        }
        if self.bytes <= LIMIT / 2
            && let Some(waker) = self.waker.take()
        {
            waker.set();
        }
    }
}

impl Subscriber for Events {
    fn offer(&self, _: &str, event: &Event<'_>, waker: &Arc<WakeEvent>) -> Offer {
        let mut state = self.lock();
        if state.bytes > LIMIT {
            state.waker = Some(Arc::clone(waker));
            return Offer::Full;
        }
        let (seq, event) = match event {
            Event::Output(chunk) => {
                state.bytes += chunk.bytes.len();
                let output = ProcessEvent::Output {
                    stream: stream(chunk.stream),
                    data: chunk.bytes.to_vec(),
                };
                (chunk.seq, output)
            }
            Event::Exited { seq, exit, denial } => {
                (*seq, ProcessEvent::Exited(describe(exit, *denial)))
            }
            Event::Closed { seq } => {
                state.is_complete = true;
                (*seq, ProcessEvent::Closed)
            }
        };
        if seq > state.last + 1 {
            let gap = ProcessEvent::Gap {
                first: state.last + 1,
                last: seq - 1,
            };
            state.queue.push_back(gap);
        }
        state.last = seq;
        state.queue.push_back(event);
        self.news.notify_one();
        Offer::Taken
    }

    fn has_room(&self, waker: &Arc<WakeEvent>) -> bool {
        let mut state = self.lock();
        let has_room = state.bytes <= LIMIT;
        if !has_room {
            state.waker = Some(Arc::clone(waker));
        }
        has_room
    }
}

fn stream(stream: LocalStream) -> Stream {
    match stream {
        LocalStream::Stdout => Stream::Stdout,
        LocalStream::Stderr => Stream::Stderr,
        LocalStream::Pty => Stream::Pty,
    }
}

fn describe(exit: &ProcessExit, denial: Option<&Denial>) -> Exit {
    // The server tells the same in the same words.
    let told = |denial: &Denial| {
        let data = serde_json::to_value(denial.data()).ok()?;
        serde_json::from_value(data).ok()
    };
    let name = exit.signal.map(|signal| signal.name());
    Exit {
        code: exit.code,
        signal: name.map(|name| name.trim_start_matches("SIG").to_owned()),
        timed_out: exit.timed_out,
        sandbox_denied: exit.sandbox_denied,
        denial: denial.and_then(told),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::env::local::Chunk;

    fn output(seq: u64, bytes: &[u8]) -> Event<'_> {
        Event::Output(Chunk {
            seq,
            stream: LocalStream::Stdout,
            bytes: Cow::Borrowed(bytes),
        })
    }

    #[test]
    fn output_that_nobody_takes_is_refused_until_half_is_taken() {
        let events = Events::default();
        let waker = Arc::new(WakeEvent::new().expect("an event"));
        let chunk = vec![0; 64 * 1024];
        let mut seq = 0;
        let offered = loop {
            seq += 1;
            let offer = events.offer("", &output(seq, &chunk), &waker);
            if offer != Offer::Taken {
                break offer;
            }
        };
        assert_eq!((offered, seq), (Offer::Full, 6));
        assert!(!events.has_room(&waker));
        for _ in 0..3 {
            assert!(events.next(Duration::ZERO).is_some());
        }
        assert!(events.lock().waker.is_none(), "the thread was woken");
        assert_eq!(events.offer("", &output(6, &chunk), &waker), Offer::Taken);
    }

    #[test]
    fn a_missing_number_is_a_gap() {
        let events = Events::default();
        let waker = Arc::new(WakeEvent::new().expect("an event"));
        events.offer("", &output(3, b"x"), &waker);
        events.offer("", &Event::Closed { seq: 4 }, &waker);
        let next = || events.next(Duration::ZERO);
        assert_eq!(next(), Some(ProcessEvent::Gap { first: 1, last: 2 }));
        assert!(matches!(next(), Some(ProcessEvent::Output { .. })));
        assert_eq!(next(), Some(ProcessEvent::Closed));
        assert_eq!(events.next(Duration::from_secs(3600)), None);
    }
}

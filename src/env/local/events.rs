//! What happens to a process, and who wants to know.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::output::Chunk;
use crate::rpc::transport::{Flush, Offer};
use crate::sandbox::denial::Denial;
use crate::sys::event::WakeEvent;
use crate::sys::signal::Signal;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessExit {
    /// Its code, or 128+n when signal n killed it.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<Signal>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// Whether it failed for its sandbox, as far as can be told.
    pub sandbox_denied: bool,
}

/// One numbered event of a process.
#[derive(Debug)]
pub enum Event<'a> {
    /// It has printed something.
    Output(Chunk<'a>),
    /// It has ended. All that it printed before came earlier.
    Exited {
        /// The event's number.
        seq: u64,
        /// How.
        exit: ProcessExit,
        /// Why it is taken to have failed for its sandbox.
        denial: Option<&'a Denial>,
    },
    /// No output will follow. The last event.
    Closed {
        /// The event's number.
        seq: u64,
    },
}

/// Who gets a process's events, in their order: a connection, or who started it in process.
///
/// Called with the process's lock held, so it must not call back.
pub trait Subscriber: Send + Sync {
    /// Takes an event, or refuses it for now and sets `waker` when it can take
    /// it. What is taken may wait in a buffer until [`Subscriber::flush`].
    fn offer(&self, process_id: &str, event: &Event<'_>, waker: &Arc<WakeEvent>) -> Offer;

    /// Whether a read that has waited may be answered; if not, sets `waker` when it may.
    fn has_room(&self, waker: &Arc<WakeEvent>) -> bool;

    /// Sends what was taken. True lays the duty on the caller to poll
    /// [`Subscriber::fd`] for room and call [`Subscriber::flush_duty`] until it is done. One that
    /// has what it takes need not send anything, nor do what follows.
    fn flush(&self) -> bool {
        false
    }

    /// See [`Subscriber::flush`].
    fn flush_duty(&self) -> Flush {
        Flush::Done
    }

    /// See [`Subscriber::flush`].
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Passes the duty to flush on.
    fn give_up_duty(&self) {}
}

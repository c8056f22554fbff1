//! Events of processes as notifications on a connection.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::metrics::{Flow, METRICS};
use crate::env::local::{Event, ProcessExit, Subscriber};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::transport::{Flush, Offer, Outbound};
use crate::sandbox::denial::Denial;
use crate::sys::poll::Waker;

/// A connection as the receiver of events.
pub(crate) struct Notifications(pub(crate) Arc<Outbound>);

impl Subscriber for Notifications {
    fn offer(&self, process_id: &str, event: &Event<'_>, waker: &Waker) -> Offer {
        self.0.offer(waker, |out| {
            if let Event::Output(chunk) = event {
                METRICS.flowed(Flow::Output, chunk.bytes.len());
            }
            write(out, process_id, event);
        })
    }

    fn has_room(&self, waker: &Waker) -> bool {
        self.0.has_room(waker)
    }

    fn flush(&self) -> bool {
        self.0.flush_offered()
    }

    fn flush_duty(&self) -> Flush {
        self.0.flush_duty()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.fd())
    }

    fn give_up_duty(&self) {
        self.0.give_up_duty();
    }
}

fn write(out: &mut Vec<u8>, process_id: &str, event: &Event<'_>) {
    let (name, seq) = match event {
        Event::Output(chunk) => ("output", chunk.seq),
        Event::Exited { seq, .. } => ("exited", *seq),
        Event::Closed { seq } => ("closed", *seq),
    };
    if let Event::Output(chunk) = event {
        out.reserve(base64::encoded_len(chunk.bytes.len()) + process_id.len() + 128);
    }
    out.extend_from_slice(b"{\"method\":\"process/");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"params\":{\"processId\":");
    json(out, process_id);
    out.extend_from_slice(b",\"seq\":");
    number(out, seq as i64);
    match event {
        Event::Output(chunk) => {
            out.extend_from_slice(b",\"stream\":\"");
            out.extend_from_slice(chunk.stream.name().as_bytes());
            out.extend_from_slice(b"\",\"chunk\":\"");
            base64::encode_into(&chunk.bytes, out);
            out.push(b'"');
        }
        Event::Exited { exit, denial, .. } => {
            write_exit(out, exit);
            write_exit_extensions(out, exit, *denial);
        }
        Event::Closed { .. } => {}
    }
    out.extend_from_slice(b"}}");
}

/// The members that every exit has.
pub(crate) fn write_exit(out: &mut Vec<u8>, exit: &ProcessExit) {
    out.extend_from_slice(b",\"exitCode\":");
    number(out, exit.code.into());
    out.extend_from_slice(b",\"sandboxDenied\":");
    json(out, &exit.sandbox_denied);
}

/// The members that say more of an exit than its code; left out when there is nothing to say.
pub(crate) fn write_exit_extensions(
    out: &mut Vec<u8>,
    exit: &ProcessExit,
    denial: Option<&Denial>,
) {
    if let Some(signal) = exit.signal {
        out.extend_from_slice(b",\"signal\":");
        json(out, &signal.name());
    }
    if exit.timed_out {
        out.extend_from_slice(b",\"timedOut\":true");
    }
    if exit.oom_killed {
        out.extend_from_slice(b",\"oomKilled\":true");
    }
    if let Some(denial) = denial {
        out.extend_from_slice(b",\"sandboxDenial\":");
        json(out, &denial.data());
    }
}

//! The end of a process: from the exit that is seen to the last event.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Output, Pump};
use crate::env::local::leftovers::Leftover;
use crate::env::local::output::Stream;
use crate::log;
use crate::sys::process::Exit;
use crate::sys::socket::readable_bytes;

/// More than a terminal can hold inside the kernel.
const TERMINAL_OWED: usize = 256 * 1024;
/// A drain window beyond this is as good as none.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

impl Pump<'_> {
    /// Reaps the process and notes how much of its output is still to be read.
    pub(super) fn see_exit(&mut self) {
        let mut control = self.process.lock();
        let Some(leader) = control.leader() else {
            return;
        };
        match leader.reap() {
            Ok(None) => {
                // Whoever traces it collects it first. Its event stays set meanwhile: look now
                // and again instead, as where there are no events.
                self.exit_event = None;
                return;
            }
            Ok(Some(exit)) => self.exit = Some(exit),
            Err(error) => {
                // Somebody else has reaped our child; without an exit there would be no end.
                log::error!("the exit of a process was lost: {error}");
                self.exit = Some(Exit::Code(255));
            }
        }
        control.ended();
        drop(control);
        // Whoever hears of the exit finds no mount point any more.
        self.claim = None;
        for output in &mut self.outputs {
            if let Some(file) = &output.file {
                output.owed = match output.stream {
                    // A terminal's count leaves out what is still under way inside the
                    // kernel; reading until nothing comes fetches that too.
                    Stream::Pty => TERMINAL_OWED,
                    Stream::Stdout | Stream::Stderr => readable_bytes(file.as_fd()),
                };
            }
        }
        for index in 0..self.outputs.len() {
            if self.outputs[index].stream == Stream::Pty {
                self.read(index);
            }
        }
    }

    /// Takes the steps from the exit that was seen to the last event.
    pub(super) fn advance(&mut self, may_close: bool) {
        if let Some(exit) = self.exit {
            let is_owed = |output: &Output| output.file.is_some() && output.owed > 0;
            if self.outputs.iter().any(is_owed) {
                return;
            }
            let (code, signal) = match exit {
                Exit::Code(code) => (code, None),
                Exit::Killed(signal) => (128 + signal.number(), Some(signal)),
            };
            let denial = self.denial_detector.take().and_then(|it| it.judge(code));
            self.process.lock().record_exit(code, signal, denial);
            self.exit = None;
            let window = self.process.host().config().drain_window;
            self.drain_until = Some(Instant::now() + window.min(MAX_WINDOW));
        }
        let Some(until) = self.drain_until else {
            return;
        };
        let is_dry = self.outputs.iter().all(|output| output.file.is_none());
        if is_dry || (may_close && until <= Instant::now()) {
            let mut control = self.process.lock();
            if !control.is_closed() {
                control.record_close();
                drop(control);
                self.process.host().note_ended(self.process);
            }
            // From here on only a slow client is awaited, which has no deadline here.
            self.drain_until = Some(Instant::now() + MAX_WINDOW);
        }
    }

    /// Leaves the process to its session.
    pub(super) fn finish(mut self) -> Leftover {
        if let Some(subscriber) = self.flush.take() {
            subscriber.give_up_duty();
        }
        let kill_at = self.process.lock().thread_leaves();
        let streams = self.outputs.into_iter().filter_map(|output| output.file);
        Leftover {
            streams: streams.collect(),
            kill: kill_at.map(|at| (Arc::downgrade(self.process), at)),
        }
    }
}

//! What holds a helper to the connection that it works for.
//!
//! A helper that works listens to nobody, for up to an hour. When its connection is gone, so is who asked, and it is ended
//! through the event that its thread polls anyway. One that has answered works for nobody, and waits in the pool for any
//! connection: it is let go before it gets there.

use std::sync::{Arc, MutexGuard};

use crate::sandbox::policy::Purpose;
use crate::sys::event::WakeEvent;
use crate::sys::sync::Mutex;

/// What of a connection's requests is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Wanted {
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
pub(in crate::serve) struct HelperCancel(Mutex<State>);

struct State {
    wanted: Wanted,
    /// What for, and what ends it.
    at_work: Option<(Purpose, Arc<WakeEvent>)>,
}

impl HelperCancel {
    pub(in crate::serve) fn new() -> Self {
        Self(Mutex::new(State {
            wanted: Wanted::All,
            at_work: None,
        }))
    }

    /// From now on no more than this is wanted: a helper that works for anything else ends.
    pub(in crate::serve) fn shorten(&self, wanted: Wanted) {
        let mut state = self.lock();
        state.wanted = wanted;
        let unwanted = state
            .at_work
            .take_if(|(purpose, _)| !wanted.includes(*purpose));
        if let Some((_, stop)) = unwanted {
            stop.set();
        }
    }

    /// Whether anybody wants what is to be done now.
    pub(super) fn wants(&self, purpose: Purpose) -> bool {
        self.lock().wanted.includes(purpose)
    }

    /// Holds the helper that is to work now; `stop` ends it. False when nobody wants that any more.
    pub(super) fn hold(&self, purpose: Purpose, stop: &Arc<WakeEvent>) -> bool {
        let mut state = self.lock();
        let is_wanted = state.wanted.includes(purpose);
        state.at_work = is_wanted.then(|| (purpose, Arc::clone(stop)));
        is_wanted
    }

    /// Lets the helper go, which may then work for others. False when it was told to end.
    pub(super) fn release(&self) -> bool {
        self.lock().at_work.take().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::sys::poll::{self, PollFd, READABLE};

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

//! Whether the server at the other end still answers.
//!
//! A server from which nothing comes for a moment is asked for a sign of life, and is lost when none
//! comes for long. What was sent before the question has to arrive first, on a slow
//! link, so the wait begins anew whenever the other side takes more of that.

use std::time::{Duration, Instant};

/// Silence after which it is asked, in parts of the interval: 1 s of 5.
const ASKED: u32 = 5;
/// Silence behind a question after which it is told: 1.25 s of 5. With the silence before, and with who
/// looks twice a second whether there is something to tell, that stays below 3 s.
const TOLD: (u32, u32) = (1, 4);
/// Looks in an interval while a question is open.
const LOOKS: u32 = 25;
/// By how much a wait may take longer than it was meant to.
const SLACK: Duration = Duration::from_secs(1);
/// A server that is silent for so many intervals is gone.
const LOST: u32 = 3;

/// How long a server has been silent, as the thread that reads its messages has seen it. While that
/// thread, or the whole program, does something else nothing can be heard, so that does not count.
#[derive(Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    /// Silence after which it is lost.
    limit: Duration,
    heard: Instant,
    looked: Instant,
    quiet: Duration,
    /// The bytes that were sent up to the end of the question, while it is open.
    question: Option<u64>,
    taken: u64,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Nothing is wrong.
    Fine,
    /// It is time to ask, and then to call [`Liveness::asked`].
    Ask,
    /// Nothing has come from it for so long.
    Silent(Duration),
    /// It is gone.
    Lost,
}

impl Liveness {
    /// Of a connection that has just been made, which is lost after three times `interval` without a
    /// word, and `more`.
    pub(crate) fn new(interval: Duration, more: Duration, now: Instant) -> Self {
        Self {
            interval,
            limit: interval.saturating_mul(LOST).saturating_add(more),
            heard: now,
            looked: now,
            quiet: Duration::ZERO,
            question: None,
            taken: 0,
        }
    }

    /// The silence after which it is asked.
    fn ask_after(&self) -> Duration {
        self.interval / ASKED
    }

    /// The silence after which the server is lost.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// When to look again, if nothing comes.
    pub(crate) fn patience(&self) -> Duration {
        match self.question {
            None => self.ask_after().saturating_sub(self.quiet),
            Some(_) => self.interval / LOOKS,
        }
        .max(Duration::from_millis(1))
    }

    /// Looks, with when the server was last heard of and how many of our bytes it has taken.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        heard: Instant,
        taken: impl FnOnce() -> u64,
    ) -> Sign {
        let passed = now.saturating_duration_since(self.looked);
        let passed = passed.min(self.patience() + SLACK);
        self.looked = now;
        if heard > self.heard {
            self.heard = heard;
            self.quiet = now.saturating_duration_since(heard).min(passed);
            self.question = None;
        } else {
            self.quiet += passed;
        }
        let Some(question) = self.question else {
            return match self.quiet >= self.ask_after() {
                true => Sign::Ask,
                false => Sign::Fine,
            };
        };
        if self.taken < question {
            let taken = taken();
            if taken > self.taken {
                self.taken = taken;
                self.quiet = self.ask_after();
            }
        }
        let silent = self.quiet.saturating_sub(self.ask_after());
        if self.quiet >= self.limit {
            Sign::Lost
        } else if silent >= self.interval * TOLD.0 / TOLD.1 {
            Sign::Silent(self.quiet)
        } else {
            Sign::Fine
        }
    }

    /// It has been asked: so many bytes were added to what is sent until then, of which it has taken
    /// so many.
    pub(crate) fn asked(&mut self, added: u64, taken: u64) {
        self.question = Some(added);
        self.taken = taken;
        self.quiet = self.ask_after();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// A connection, and a clock that the test moves.
    struct Observed {
        liveness: Liveness,
        now: Instant,
        heard: Instant,
        taken: u64,
    }

    impl Observed {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                liveness: Liveness::new(INTERVAL, Duration::ZERO, now),
                now,
                heard: now,
                taken: 0,
            }
        }

        fn after(&mut self, seconds: f64) -> Sign {
            self.now += Duration::from_secs_f64(seconds);
            let sign = self.liveness.look(self.now, self.heard, || self.taken);
            if sign == Sign::Ask {
                self.liveness.asked(100, self.taken);
            }
            sign
        }
    }

    #[test]
    fn a_server_is_asked_then_told_then_lost() {
        let mut it = Observed::new();
        assert_eq!(it.after(0.9), Sign::Fine);
        assert_eq!(it.after(0.1), Sign::Ask);
        assert_eq!(it.after(1.0), Sign::Fine);
        assert_eq!(it.after(0.5), Sign::Silent(Duration::from_millis(2500)));
        for _ in 0..12 {
            assert!(matches!(it.after(1.0), Sign::Silent(_)));
        }
        assert_eq!(it.after(0.5), Sign::Lost);
    }

    #[test]
    fn an_answer_begins_everything_anew() {
        let mut it = Observed::new();
        assert_eq!(it.after(1.0), Sign::Ask);
        assert_eq!(it.after(1.0), Sign::Fine);
        it.heard = it.now + Duration::from_secs_f64(0.2);
        assert_eq!(it.after(0.2), Sign::Fine);
        assert_eq!(it.liveness.patience(), Duration::from_secs(1));
        assert_eq!(it.after(1.0), Sign::Ask);
    }

    #[test]
    fn time_in_which_nothing_could_be_heard_does_not_count() {
        let mut it = Observed::new();
        // The program was stopped for an hour; what has come meanwhile has not been looked for.
        assert_eq!(it.after(3600.0), Sign::Ask);
        assert_eq!(it.after(3600.0), Sign::Fine);
    }

    #[test]
    fn a_server_that_takes_what_was_sent_before_the_question_is_there() {
        let mut it = Observed::new();
        assert_eq!(it.after(1.0), Sign::Ask);
        for taken in [10, 50, 99, 100] {
            it.taken = taken;
            assert_eq!(it.after(1.2), Sign::Fine, "{taken}");
        }
        // The question has arrived, and what comes behind it proves nothing.
        it.taken = 200;
        for _ in 0..11 {
            assert_ne!(it.after(1.2), Sign::Lost);
        }
        assert_eq!(it.after(1.2), Sign::Lost);
    }
}

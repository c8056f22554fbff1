//! What a run came to, and how a panic becomes a line of it.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Counts over everything that was run.
#[derive(Default)]
pub struct Tally {
    pub same: usize,
    pub intended: usize,
    pub wrong: usize,
    pub skipped: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} same, {} intended differences, {} WRONG, {} skipped",
            self.same, self.intended, self.wrong, self.skipped
        )
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics of assertions are results here: they are told in their place, not where they happen.
pub fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with_borrow_mut(|last| *last = panic.to_string());
    }));
}

/// Runs something that asserts; the error is what the assertion said and where it stands.
pub fn asserted<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|_| LAST_PANIC.take())
}

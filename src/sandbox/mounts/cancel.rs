//! Whether somebody still wants what is being planned.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::error::PlanError;
use crate::sys::poll::{self, PollFd, READABLE};

/// What becomes readable when nobody does; none where nobody can say so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cancel<'a>(pub Option<BorrowedFd<'a>>);

impl Cancel<'_> {
    /// Whether nobody wants it any more.
    pub fn is_set(self) -> bool {
        self.0.is_some_and(|fd| {
            let mut fds = [PollFd::new(fd, READABLE)];
            // One that cannot be asked is met again at the next look.
            poll::wait(&mut fds, Some(Duration::ZERO)).is_ok() && fds[0].is_ready()
        })
    }

    /// The same as an error.
    pub(super) fn check(self) -> Result<(), PlanError> {
        match self.is_set() {
            true => Err(PlanError::Cancelled),
            false => Ok(()),
        }
    }
}

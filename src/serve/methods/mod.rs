//! The handlers of all methods but the [file methods](super::files), which wait for their turn.

pub(super) mod discovery;
pub(super) mod http;
pub(super) mod process;
pub(super) mod session;
pub(super) mod watch;

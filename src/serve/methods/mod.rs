//! The handlers of all methods but the [file methods](super::files), which wait for their turn.

pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod watch;

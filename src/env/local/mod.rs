//! The environment that this machine is: its processes and files.
//!
//! A [`Process`] belongs to a session and is shared with one thread, which
//! starts the program, stays to the end and is the only one to read its output,
//! reap it and publish its events ([`pump`](self)). Everyone else (the
//! connections' readers) asks under the process's lock, which is held for
//! moments only: to queue input, send a signal, or read retained output.
//!
//! ```text
//!   reader thread ── write, signal, read ──┐             ┌─ stdout, stderr / pty
//!                                          ▼             ▼
//!                          Process { Mutex<Control> } ◄─ process thread ─► pidfd
//!                                          │             ▲
//!   connection's Outbound ◄── events ──────┘             └─ wake event
//! ```
//!
//! Besides, one thread watches directories for all clients ([`Watches`]), and one reads what
//! descendants of ended processes still write ([`leftovers`]).
//!
//! Locks are taken in the order session, process, outbound, and never back.

mod bounds;
mod cgroup;
mod changes;
mod confinement;
mod control;
mod denial_detector;
mod descendants;
mod events;
pub mod files;
mod helper;
mod host;
pub mod http;
pub mod info;
mod launch;
mod leftovers;
mod level;
mod missing;
mod output;
mod passwd;
mod process;
mod pump;
mod read;
pub mod refusal;
mod stdin;
mod tree;
mod tree_watch;
mod trees;
pub mod variables;
mod watcher;

pub use bounds::Bounds;
pub use changes::{ChangeKind, FileChange, Notice};
pub use confinement::{confinement, helper_confinement};
pub use descendants::Owner;
pub use events::{Event, ProcessExit, Subscriber};
pub use helper::{Helper, Helpers, StartedHelper};
pub use host::{Host, HostConfig};
pub use launch::{Confined, ProcessSpec, StartError, Started, launch_confined};
pub use missing::MissingWatch;
pub use output::{Chunk, Stream};
pub use process::{Process, Summary, WriteError, WriteReply};
pub use read::{ReadQuery, ReadReply, ReadView};
pub use tree_watch::{TreeWatch, WatchError};

pub use crate::sandbox::inside::take_over;
pub use watcher::Watches;

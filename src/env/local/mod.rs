//! The environment that this machine is: its processes and files.
//!
//! A [`Process`] belongs to a session and is shared with one thread, which
//! starts the program, stays to the end and is the only one to read its output,
//! reap it and publish its events ([`process`]). Everyone else (the
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

pub(crate) mod capability_roots;
mod cgroup;
pub(crate) mod codex_config;
mod denial_detector;
mod descendants;
pub mod files;
mod helper;
mod host;
pub mod http;
pub mod info;
mod launch;
mod leftovers;
mod process;
pub mod refusal;
mod streams;
mod toml_text;
mod trees;
pub mod variables;
mod watch;

pub use cgroup::{CgroupConfig, CgroupError, CgroupLimits, CpuLimit, MOST_PIDS, describe_own};
pub use descendants::Owner;
pub use helper::{Helper, Helpers, StartedHelper};
pub use host::{Collecting, Host, HostConfig};
pub use launch::{
    Confined, ProcessSpec, StartError, Started, confinement, helper_confinement, launch_confined,
};
pub use process::{
    Event, Milestone, Process, ProcessExit, ReadQuery, ReadReply, ReadView, Subscriber, Summary,
    WriteError, WriteReply,
};
pub use streams::{Chunk, Stream};
pub use trees::{ChangeKind, FileChange, Notice, TreeWatch, WatchError};

pub use crate::sandbox::inside::take_over;
pub use watch::{Bounds, MissingWatch, Watches};

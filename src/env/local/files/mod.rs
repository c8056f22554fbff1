//! The files of this machine, as the `fs/*` methods need them.
//!
//! A file stands under a [`PathAt`](place): a directory and a path from it. For
//! a request that forbids symbolic links the directory is opened without
//! following any, and only its last component is left to the operation, which
//! refuses a link there itself; nothing is ever checked first and used later.
//!
//! ```text
//!   read, write, metadata     one file
//!   atomic                    a file replaced at once, or not at all
//!   list, make, remove        one directory, or all below it
//!   copy, walk                trees
//!   names                     rename, links, permissions, canonical paths
//!   blocks                    files that stay open between requests
//! ```
//!
//! No call waits for another process: a FIFO, a socket or a device is opened
//! without waiting, and then mostly refused.

mod atomic;
mod blocks;
mod copy;
mod errors;
mod list;
mod make;
mod metadata;
mod names;
mod path_at;
mod pieces;
mod read;
mod remove;
mod walk;
mod write;

pub use atomic::replace;
pub use blocks::{Block, BlockFile, MAX_BLOCK, Mode, OpenFiles};
pub use copy::{CopyOptions, Skipped, copy};
pub use errors::FileError;
pub use list::{Listed, list};
pub use make::make_directory;
pub use metadata::{Metadata, metadata};
pub use names::{canonicalize, make_link, read_link, rename, set_permissions};
pub use path_at::Links;
pub use pieces::write_at;
pub use read::{Content, MAX_READ, Part};
pub use remove::{RemoveOptions, remove};
pub use walk::{Found, WalkOptions, WalkReport, walk};
pub use write::write;

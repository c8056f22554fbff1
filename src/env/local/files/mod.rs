//! The files of this machine, as the `fs/*` methods need them.
//!
//! A file stands under a [`PathAt`](names): a directory and a path from it. For
//! a request that forbids symbolic links the directory is opened without
//! following any, and only its last component is left to the operation, which
//! refuses a link there itself; nothing is ever checked first and used later.
//!
//! ```text
//!   names          where a file is; metadata, rename, links, permissions, new directories
//!   read, write    one file; written in place, or replaced at once
//!   walk           the names in one directory, or in a tree
//!   copy, remove   one file, or a tree
//!   blocks         files that stay open between requests
//! ```
//!
//! No call waits for another process: a FIFO, a socket or a device is opened
//! without waiting, and then mostly refused.

mod blocks;
mod copy;
mod errors;
mod names;
mod read;
mod remove;
mod walk;
mod write;

pub use blocks::{Block, BlockFile, MAX_BLOCK, Mode, OpenFiles};
pub use copy::{CopyOptions, Skipped, copy};
pub use errors::FileError;
pub use names::{
    Links, Metadata, canonicalize, make_directory, make_link, metadata, read_link, rename,
    set_permissions,
};
pub use read::{Content, MAX_READ, Part};
pub use remove::{RemoveOptions, remove};
pub use walk::{Found, Listed, WalkOptions, WalkReport, list, walk};
pub use write::{replace, write, write_at};

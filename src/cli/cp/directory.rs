//! A directory that is being copied, known until all below it is done.

use std::path::PathBuf;
use std::sync::Arc;

use super::side::Found;

/// One that is there on both sides. Whatever of it waits or is under way has a share in it; who
/// gives back the last one settles it.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) found: Found,
    /// Whether we have made it, so that its time and mode are ours to set.
    pub(super) is_ours: bool,
    /// The one that it is in, if that is copied too.
    pub(super) parent: Option<Arc<Directory>>,
}

impl Directory {
    /// Gives back a share: `settle` is called for each directory in which nothing is left to be
    /// done, the innermost first, since a mode may lock what is below.
    pub(super) fn give_back(share: Option<Arc<Self>>, mut settle: impl FnMut(&Self)) {
        let mut share = share;
        while let Some(mut done) = share.and_then(Arc::into_inner) {
            settle(&done);
            share = done.parent.take();
        }
    }
}

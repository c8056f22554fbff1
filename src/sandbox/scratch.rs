//! A directory for one unit test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory with a canonical path, gone when the test ends.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("exec-server-{name}-{}-{number}", std::process::id());
        // Not in /tmp, which policies permit as a whole.
        let path = Path::new("/var/tmp").join(name);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path.canonicalize().expect("the directory just made"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

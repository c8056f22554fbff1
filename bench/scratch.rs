//! The directory of a step's files. It is removed when the step ends, and by the step's watch of the
//! run when it has to end early, as [`crate::guard`] has it for children.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::failure::{During, Failure};

static LIVE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A fresh directory, empty at first. A step makes one at most.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory below the system's one for temporary files.
    pub fn new() -> Result<Self, Failure> {
        let name = format!("exec-server-bench.{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).during(format_args!("making {}", path.display()))?;
        *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.clone());
        Ok(Self { path })
    }

    /// Where a file of this name is, or would be.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of `size` bytes, which leaves it in the page cache.
    pub fn file(&self, name: &str, size: usize) -> Result<PathBuf, Failure> {
        let path = self.at(name);
        fs::write(&path, content(size)).during(format_args!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Makes a directory of so many empty files.
    pub fn directory(&self, name: &str, entries: usize) -> Result<PathBuf, Failure> {
        let path = self.at(name);
        let making = || format!("making {}", path.display());
        fs::create_dir(&path).during(making())?;
        for number in 0..entries {
            fs::File::create(path.join(format!("entry-{number:05}.txt"))).during(making())?;
        }
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes the directory if there is one.
pub fn remove() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(path) = live {
        // What cannot be removed stays where temporary files do.
        let _ = fs::remove_dir_all(path);
    }
}

/// Bytes of every value, so that nothing on the way can be quick about zeros.
pub fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// A path as the requests take it.
pub fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str()
        .ok_or_else(|| Failure::Unexpected(format!("{} is not UTF-8", path.display())))
}

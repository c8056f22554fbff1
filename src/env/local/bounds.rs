//! Where a watch may lead. Changes are seen from outside of every sandbox, so a watch under a policy must not see what the
//! sandbox shows otherwise.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::sys::file;

/// The trees that a watch must not lead into. None: it may lead everywhere.
#[derive(Clone, Debug, Default)]
pub struct Bounds(Vec<PathBuf>);

/// A directory within bounds.
pub(super) struct Reached {
    /// A path that leads there, for as long as this lives.
    pub(super) path: PathBuf,
    _held: Option<OwnedFd>,
}

impl Bounds {
    /// Bounds around these trees, which are canonical.
    pub fn around(trees: Vec<PathBuf>) -> Self {
        Self(trees)
    }

    /// Whether there are none.
    pub(super) fn is_anywhere(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a directory. Of links on the way the last component is one only where `follows`.
    ///
    /// # Errors
    /// It is not there, or not within bounds.
    pub(super) fn reach(&self, directory: &Path, follows: bool) -> io::Result<Reached> {
        if self.is_anywhere() {
            return Ok(Reached {
                path: directory.to_owned(),
                _held: None,
            });
        }
        let real = match (directory.parent(), directory.file_name()) {
            (Some(parent), Some(name)) if !follows => parent.canonicalize()?.join(name),
            _ => directory.canonicalize()?,
        };
        if self.0.iter().any(|tree| real.starts_with(tree)) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        // Whatever becomes of the names meanwhile, this leads to the path that was looked at, or nowhere.
        let held = file::locate_anything_without_links(&real)?;
        Ok(Reached {
            path: format!("/proc/self/fd/{}", held.as_raw_fd()).into(),
            _held: Some(held),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_bounds() {
        let top = std::env::temp_dir().canonicalize().unwrap();
        let top = top.join(format!("exec-server-bounds-{}", std::process::id()));
        let at = |name: &str| top.join(name);
        for directory in ["closed/deep", "open/deep"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink("../closed", at("open/out")).unwrap();
        symlink("deep", at("open/in")).unwrap();
        let bounds = Bounds::around(vec![at("closed")]);
        let reached = |name: &str, follows| {
            let reached = bounds.reach(&at(name), follows).ok()?;
            Some(fs::read_link(reached.path).unwrap())
        };
        for (name, follows, expected) in [
            ("open/deep", false, Some("open/deep")),
            ("open/in", true, Some("open/deep")),
            ("open/in", false, None),
            ("open/out", true, None),
            ("open/out/deep", true, None),
            ("open/out/deep", false, None),
            ("closed", true, None),
            ("open/../closed/deep", true, None),
        ] {
            assert_eq!(reached(name, follows), expected.map(at), "{name} {follows}");
        }
        assert_eq!(
            Bounds::default().reach(&at("none"), true).unwrap().path,
            at("none")
        );
        fs::remove_dir_all(&top).unwrap();
    }
}

//! Making directories.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use super::errors::FileError;
use super::path_at::{Links, PathAt, c_path};
use crate::sys::file::{self, Access, ROOTED};

/// The mode of a new directory, of which the umask takes away.
const MODE: u32 = 0o777;

/// Makes a directory; with `recursive` also those above it, and then one that exists is fine.
pub fn make_directory(path: &Path, recursive: bool, links: Links) -> Result<(), FileError> {
    match (recursive, links) {
        (true, Links::Follow) => DirBuilder::new().recursive(true).create(path)?,
        (true, Links::Refuse) => make_all_without_links(path)?,
        (false, _) => {
            let place = PathAt::find(path, links)?;
            file::make_directory_at(place.dir(), place.path(), MODE)?;
        }
    }
    Ok(())
}

fn make_all_without_links(path: &Path) -> io::Result<()> {
    let step = Access::LOCATE | Access::DIRECTORY | Access::NO_LINK;
    let mut here: OwnedFd = file::open_at(ROOTED, c"/", step, 0)?;
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        let name = c_path(Path::new(name))?;
        here = match file::open_at(here.as_fd(), &name, step, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match file::make_directory_at(here.as_fd(), &name, MODE) {
                    // Somebody else was quicker.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made?,
                }
                file::open_at(here.as_fd(), &name, step, 0)?
            }
            opened => opened?,
        };
    }
    Ok(())
}

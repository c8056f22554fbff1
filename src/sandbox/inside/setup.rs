//! What is left to be set up in a sandbox that bwrap has made.
//!
//! bwrap reads the whole list of mounts again for each mount that it makes read-only, so a thousand covers would take it
//! seconds; and it knows no device that is read-only and yet a device.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::Rest;
use crate::sandbox::domain::{Domain, locate};
use crate::sandbox::mounts::{Mask, MaskKind};
use crate::sys::identity::user_id;
use crate::sys::mount::{self, Devices};
use crate::sys::spawn::Stage;

/// Does all that is left; the rules of the domain to enter.
pub(super) fn set_up(rest: &Rest) -> Result<Option<OwnedFd>, (Stage, i32)> {
    if user_id() != 0 {
        // bwrap has mounted as the root of a user namespace around this one.
        mount::leave_namespace().map_err(|error| at(Stage::Device, &error))?;
    }
    for device in &rest.sealed_devices {
        match mount::seal(device, Devices::Kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(Stage::Device, &error));
            }
            _ => {}
        }
    }
    let mut covers = Covers::default();
    for (place, mask) in rest.masks.iter().enumerate() {
        covers
            .add(mask)
            .map_err(|error| at(Stage::Mount(place), &error))?;
    }
    let rules = rest.domain.as_ref().map(Domain::rules).transpose();
    rules.map_err(|error| at(Stage::Landlock, &error))
}

/// What covers files and directories: the first cover of each kind is made, and the others are copies of it.
#[derive(Default)]
struct Covers {
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Covers {
    fn add(&mut self, mask: &Mask) -> io::Result<()> {
        let path = mask.path.as_c_str();
        // What has gone since the plan was made needs no cover, unless it is what nobody may make anew. A link in its
        // place is an error.
        let target = match locate(path)? {
            Some(target) => target,
            None if mask.kind == MaskKind::EmptyDirectory => {
                return Err(io::ErrorKind::NotFound.into());
            }
            None => return Ok(()),
        };
        let known = match mask.kind {
            MaskKind::Itself => return mount::cover(target.as_fd(), target.as_fd()),
            MaskKind::File => &mut self.file,
            MaskKind::Directory => &mut self.directory,
            MaskKind::EmptyDirectory => &mut self.empty,
        };
        if let Some(cover) = known {
            return mount::cover(cover.as_fd(), target.as_fd());
        }
        match mask.kind {
            MaskKind::Directory => mount::cover_with_nothing(path, 0o000)?,
            MaskKind::EmptyDirectory => mount::cover_with_nothing(path, 0o555)?,
            MaskKind::File | MaskKind::Itself => {
                let Some(null) = locate(c"/dev/null")? else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                mount::cover(null.as_fd(), target.as_fd())?;
                mount::seal(path, Devices::Closed)?;
            }
        }
        *known = locate(path)?;
        Ok(())
    }
}

fn at(stage: Stage, error: &io::Error) -> (Stage, i32) {
    (stage, error.raw_os_error().unwrap_or(0))
}

//! Writing one file: in place, or in place of another at once.
//!
//! Whoever reads a file that is replaced sees the old content or the new, never a part, and after
//! a crash it is one of the two.
//!
//! A large content is written in pieces. A file system gives a write of a megabyte memory in runs
//! of a megabyte where it can, and long runs are those that nobody has used for long. A virtual
//! machine may have given them back to its host, and waits for every page that is touched again.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::FileError;
use super::names::{Links, NewMetadata, PathAt, c_path, change_metadata};
use crate::sys::file::{self, Access, FileType, LastLink, ROOTED, Status};
use crate::sys::random;

/// The mode of a file that is its owner's alone.
const PRIVATE: u32 = 0o600;
/// That of a usual new file, of which the umask takes away.
const USUAL: u32 = 0o666;

/// Opens a file to be written from its start: made if there is none, with links followed or
/// refused, and not emptied yet. Neither a FIFO nor a socket nor a disk is opened, nor the
/// memory of a process; a device such as `/dev/null` is.
pub(crate) fn open_to_fill(path: &Path, links: Links) -> Result<(File, Status), FileError> {
    let fd = PathAt::find(path, links)?.open(Access::WRITE | Access::CREATE)?;
    let status = file::status_of(fd.as_fd())?;
    match status.kind {
        _ if file::is_process_memory(fd.as_fd()) => Err(FileError::NotAFile(path.to_owned())),
        FileType::Regular | FileType::CharacterDevice => Ok((File::from(fd), status)),
        _ => Err(FileError::NotAFile(path.to_owned())),
    }
}

/// Makes a file that must not be there yet, and is its owner's alone.
pub(crate) fn make_private(path: &Path, links: Links) -> Result<File, FileError> {
    Ok(make_new(&PathAt::find(path, links)?, PRIVATE)?)
}

fn make_new(place: &PathAt, mode: u32) -> io::Result<File> {
    let access = Access::WRITE | Access::CREATE_NEW | Access::NO_LINK | Access::NO_WAIT;
    file::open_at(place.dir(), place.path(), access, mode).map(File::from)
}

/// Makes a file with this content, which must not be there yet, and gives it what it is to have;
/// until then it is its owner's alone. Without permissions it has 0666 less the umask. One that
/// cannot be completed is removed.
pub fn create(path: &Path, data: &[u8], new: NewMetadata, links: Links) -> Result<(), FileError> {
    let place = PathAt::find(path, links)?;
    let file = make_new(&place, new.permissions.map_or(USUAL, |_| PRIVATE))?;
    let made = write_all(&file, data).and_then(|()| change_metadata(file.as_fd(), new));
    if let Err(error) = made {
        // The error that is told is the one that led here.
        let _ = file::unlink_at(place.dir(), place.path());
        return Err(error.into());
    }
    Ok(())
}

/// Empties a file that is to be filled again; a device has nothing to empty.
pub(crate) fn empty(file: &File, status: &Status) -> std::io::Result<()> {
    if status.kind == FileType::Regular && status.size > 0 {
        file.set_len(0)?;
    }
    Ok(())
}

/// Makes a file with this content, or replaces the content of one, which keeps its mode, owner
/// and other names. A failure may leave a part.
///
/// The file is cut to its new length behind the content, not emptied before it: ext4 and others
/// write a file that was emptied to the disk when it is closed, which takes thirty times as long.
pub fn write(path: &Path, data: &[u8], links: Links) -> Result<(), FileError> {
    let (mut file, status) = open_to_fill(path, links)?;
    let written = write_all(&file, data);
    let len = match written {
        Ok(()) => data.len() as u64,
        Err(_) => file.stream_position()?,
    };
    // If nothing at all could be written, what was there is not lost for it.
    let is_begun = written.is_ok() || len > 0;
    if is_begun && status.kind == FileType::Regular && len < status.size {
        file.set_len(len)?;
    }
    Ok(written?)
}

/// Links in a row that are followed to the file that is meant; the kernel's own limit.
const MAX_HOPS: usize = 40;

/// Puts a new file with this content in place of the one at `path`, whose mode and, as far as
/// the system allows, owner it gets. Other hard links keep the old content. Nothing but a
/// regular file is replaced.
pub fn replace(path: &Path, data: &[u8], links: Links) -> Result<(), FileError> {
    let target = match links {
        Links::Follow => behind_links(path)?,
        Links::Refuse => path.to_owned(),
    };
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(FileError::NotAFile(target));
    };
    let dir = match links {
        Links::Follow => {
            let access = Access::LOCATE | Access::DIRECTORY;
            file::open_at(ROOTED, &c_path(parent)?, access, 0)?
        }
        Links::Refuse => file::locate_without_links(ROOTED, &c_path(parent)?)?,
    };
    let dir = dir.as_fd();
    let name = c_path(Path::new(name))?;
    let old = match file::status_at(dir, &name, LastLink::Keep) {
        Ok(status) => match status.kind {
            FileType::Regular => Some(status),
            FileType::Directory => return Err(file::is_directory().into()),
            FileType::Link if links == Links::Refuse => {
                return Err(file::is_link().into());
            }
            _ => return Err(FileError::NotAFile(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let temporary = temporary_name(&name)?;
    let written = write_beside(dir, (&name, &temporary), data, old);
    let named = written.and_then(|is_named| match is_named {
        true => Ok(()),
        false => file::rename_at((dir, &temporary), (dir, &name), true),
    });
    if let Err(error) = named {
        // Whether or not it was made; nobody else uses that name.
        let _ = file::unlink_at(dir, &temporary);
        return Err(error.into());
    }
    Ok(sync_names(dir)?)
}

/// Writes a new file that is to take the place of the old one, if there is one, and gives it the
/// temporary name; or its own if that is free, which is then true. Where the file system can, it has
/// no name until it is complete: so nothing of it is left if we are killed, unless that happens
/// between these two names.
fn write_beside(
    dir: BorrowedFd<'_>,
    (name, temporary): (&CStr, &CStr),
    data: &[u8],
    old: Option<Status>,
) -> io::Result<bool> {
    // Until it has the old one's mode, nobody else may read it.
    let mode = if old.is_some() { PRIVATE } else { USUAL };
    if let Ok(file) = file::open_unnamed(dir, mode).map(File::from) {
        fill(&file, data, old)?;
        if old.is_none() && file::give_name(file.as_fd(), dir, name).is_ok() {
            return Ok(true);
        }
        // There may be no /proc, or rules that know no such files.
        if file::give_name(file.as_fd(), dir, temporary).is_ok() {
            return Ok(false);
        }
    }
    let access = Access::WRITE | Access::CREATE_NEW;
    let file = File::from(file::open_at(dir, temporary, access, mode)?);
    fill(&file, data, old).map(|()| false)
}

/// Makes the new name outlive a crash, where the system lets us.
fn sync_names(dir: BorrowedFd<'_>) -> io::Result<()> {
    let opened = file::open_at(dir, c".", Access::READ | Access::DIRECTORY, 0);
    match opened.and_then(|dir| File::from(dir).sync_all()) {
        // One may write to a directory without reading it, and not every file system syncs one.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// The path that `path` leads to when only its last component may be a link, which may dangle.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_HOPS {
        match file::read_link_at(ROOTED, &c_path(&path)?) {
            Ok(target) => {
                path.pop();
                path.push(target);
            }
            // No link, or nothing: this is it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                ) =>
            {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(file::is_link())
}

/// A name beside `name` that nobody has. Not longer than it, where that would be too long.
fn temporary_name(name: &CString) -> io::Result<CString> {
    const LONGEST: usize = 200;
    let mut random = [0; 8];
    random::fill(&mut random)?;
    let name = name.to_bytes();
    let mut temporary = b".".to_vec();
    temporary.extend_from_slice(&name[..name.len().min(LONGEST)]);
    temporary.extend_from_slice(format!(".{:016x}", u64::from_ne_bytes(random)).as_bytes());
    c_path(Path::new(OsStr::from_bytes(&temporary)))
}

/// Gives a new file its content and what the old one has, and lets it outlive a crash.
fn fill(file: &File, data: &[u8], old: Option<Status>) -> io::Result<()> {
    write_all(file, data)?;
    if let Some(old) = old {
        let new = file::status_of(file.as_fd())?;
        if (new.user, new.group) != (old.user, old.group)
            && file::change_owner(file.as_fd(), old.user, old.group).is_err()
        {
            // Only root gives files away; a group may still be ours to give.
            let _ = file::change_owner(file.as_fd(), new.user, old.group);
        }
        // Behind the owner, whose change takes setuid away.
        file.set_permissions(Permissions::from_mode(old.mode))?;
    }
    file.sync_all()
}

/// By `dd`, ext4 on Linux 6.18 in such a machine took 0.5 to 1.1 s for 1 GiB in pieces of 16 and 32 KiB, 0.5 to
/// 1.7 s of 64 and 128 KiB, 1.1 to 4.2 s of 1 MiB; the calls themselves are no cost above 16 KiB.
const PIECE: usize = 32 * 1024;

/// [`FileExt::write_all_at`] in pieces.
pub fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    for (index, piece) in data.chunks(PIECE).enumerate() {
        file.write_all_at(piece, offset + (index * PIECE) as u64)?;
    }
    Ok(())
}

/// [`Write::write_all`] in pieces.
fn write_all(mut file: &File, data: &[u8]) -> io::Result<()> {
    data.chunks(PIECE)
        .try_for_each(|piece| file.write_all(piece))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::{OpenOptionsExt, symlink};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let name = format!("exec-server-atomic-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_new_file_has_the_old_one_s_mode_and_nothing_else_is_left() {
        let dir = scratch("mode");
        let path = dir.join("f");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o6751)).unwrap();
        std::fs::hard_link(&path, dir.join("other")).unwrap();
        replace(&path, b"new", Links::Refuse).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(dir.join("other")).unwrap(), b"old");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o6751);
        assert_eq!(names(&dir), ["f", "other"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_stays_one_and_its_target_is_replaced_or_made() {
        let dir = scratch("link");
        std::fs::create_dir(dir.join("d")).unwrap();
        symlink("second", dir.join("first")).unwrap();
        symlink("d/target", dir.join("second")).unwrap();
        for data in ["made", "replaced"] {
            replace(&dir.join("first"), data.as_bytes(), Links::Follow).unwrap();
            assert_eq!(std::fs::read_to_string(dir.join("d/target")).unwrap(), data);
        }
        assert!(dir.join("first").is_symlink() && dir.join("second").is_symlink());
        let refused = replace(&dir.join("first"), b"", Links::Refuse).unwrap_err();
        assert!(refused.to_string().contains("os error 40"), "{refused}");
        symlink("loop", dir.join("loop")).unwrap();
        assert!(replace(&dir.join("loop"), b"", Links::Follow).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_cannot_be_replaced_is_left_alone() {
        let dir = scratch("refused");
        std::fs::create_dir(dir.join("d")).unwrap();
        for path in [
            dir.join("d"),
            "/".into(),
            dir.join("none/f"),
            "/dev/null".into(),
        ] {
            assert!(
                replace(&path, b"x", Links::Follow).is_err(),
                "{}",
                path.display()
            );
        }
        assert_eq!(names(&dir), ["d"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn pieces_follow_each_other_and_leave_nothing_out() {
        let data: Vec<u8> = (0..3 * PIECE + 5).map(|at| (at % 251) as u8).collect();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_TMPFILE);
        let file = options.open(std::env::temp_dir()).unwrap();
        write_all(&file, &data[..PIECE + 1]).unwrap();
        write_at(&file, &data[7..], 7).unwrap();
        let mut written = vec![0; data.len() + 1];
        assert_eq!(file.read_at(&mut written, 0).unwrap(), data.len());
        assert!(written[..data.len()] == data);
    }
}

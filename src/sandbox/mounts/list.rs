//! What the kernel says is mounted, and whether that has changed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::poll::{self, EXCEPTIONAL, PollFd};
use crate::sys::sync::Mutex;

const LIST: &str = "/proc/self/mountinfo";

/// The list of mounts, looked at again only when the kernel says that it is another one.
#[derive(Debug)]
pub struct MountList(Mutex<State>);

#[derive(Debug)]
struct State {
    /// None where there is no `/proc`.
    list: Option<File>,
    changes: u64,
    places: Option<Places>,
}

/// Mount points of what a sandbox treats in a way of its own.
#[derive(Clone, Debug, Default)]
struct Places {
    /// Where the machine's processes can be seen besides in `/proc`.
    procs: Vec<PathBuf>,
    /// Where cgroups of version 2 are, which limit programs.
    cgroups: Vec<PathBuf>,
}

static SHARED: MountList = MountList(Mutex::new(State {
    list: None,
    changes: 0,
    places: None,
}));

impl MountList {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// How often the list is known to have changed. Where that cannot be known, it always has.
    pub fn changes(&self) -> u64 {
        let mut state = self.0.lock();
        state.look();
        state.changes
    }

    /// What a sandbox never shows as the host has it.
    ///
    /// # Errors
    /// There is no list.
    pub fn not_of_the_host(&self) -> io::Result<Vec<PathBuf>> {
        let mut places = self.other_procs()?;
        places.extend(["/dev".into(), "/proc".into()]);
        Ok(places)
    }

    /// Where the machine's processes can be seen besides in `/proc`.
    ///
    /// # Errors
    /// There is no list.
    pub(crate) fn other_procs(&self) -> io::Result<Vec<PathBuf>> {
        Ok(self.places()?.procs)
    }

    /// Where cgroups of version 2 are.
    ///
    /// # Errors
    /// There is no list.
    pub(crate) fn cgroups(&self) -> io::Result<Vec<PathBuf>> {
        Ok(self.places()?.cgroups)
    }

    fn places(&self) -> io::Result<Places> {
        let mut state = self.0.lock();
        state.look();
        if let Some(places) = &state.places {
            return Ok(places.clone());
        }
        let mut text = Vec::new();
        match &mut state.list {
            Some(list) => {
                list.rewind()?;
                list.read_to_end(&mut text)?;
            }
            None => text = std::fs::read(LIST)?,
        }
        let lines = || text.split(|&byte| byte == b'\n');
        let places = Places {
            procs: lines().filter_map(other_proc).collect(),
            cgroups: lines().filter_map(cgroup).collect(),
        };
        state.places = Some(places.clone());
        Ok(places)
    }
}

impl State {
    fn look(&mut self) {
        let has_changed = match &self.list {
            Some(list) => {
                let mut fds = [PollFd::new(list.as_fd(), EXCEPTIONAL)];
                poll::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds[0].is_ready()
            }
            None => {
                self.list = File::open(LIST).ok();
                true
            }
        };
        if has_changed {
            self.changes += 1;
            self.places = None;
        }
    }
}

/// The mount point in a line of the list, if it is of a procfs, not that of `/proc`, and shows processes: the whole of
/// one, or a process in it.
fn other_proc(line: &[u8]) -> Option<PathBuf> {
    let (root, point, kind) = parts(line)?;
    let shows_processes = root == b"/" || root.get(1).is_some_and(u8::is_ascii_digit);
    let is_other = kind == b"proc" && shows_processes && !point.starts_with(Path::new("/proc"));
    is_other.then_some(point)
}

/// The mount point in a line of the list, if cgroups of version 2 are there.
fn cgroup(line: &[u8]) -> Option<PathBuf> {
    let (_, point, kind) = parts(line)?;
    (kind == b"cgroup2").then_some(point)
}

/// What of a file system is mounted where, and its type, by a line of the list.
fn parts(line: &[u8]) -> Option<(&[u8], PathBuf, &[u8])> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    let kind = fields.skip_while(|field| field != b"-").nth(1)?;
    let point = PathBuf::from(OsString::from_vec(unescaped(point)));
    Some((root, point, kind))
}

/// The kernel writes blanks, line feeds and backslashes as `\` and three octal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        rest = more;
        let digits = match (first, more) {
            (
                b'\\',
                [
                    high @ b'0'..=b'3',
                    middle @ b'0'..=b'7',
                    low @ b'0'..=b'7',
                    ..,
                ],
            ) => Some((high - b'0') * 64 + (middle - b'0') * 8 + (low - b'0')),
            _ => None,
        };
        if digits.is_some() {
            rest = &more[3..];
        }
        plain.push(digits.unwrap_or(*first));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<PathBuf> {
        other_proc(line.as_bytes())
    }

    #[test]
    fn a_procfs_elsewhere_is_found_by_what_it_shows() {
        let line = |root: &str, point: &str, kind: &str| {
            format!("36 35 0:22 {root} {point} rw,nosuid master:1 shared:7 - {kind} {kind} rw")
        };
        for (root, point, kind, expected) in [
            ("/", "/proc", "proc", None),
            ("/", "/proc/again", "proc", None),
            ("/", "/procedure", "proc", Some("/procedure")),
            ("/", "/jail/proc", "proc", Some("/jail/proc")),
            ("/1", "/one", "proc", Some("/one")),
            ("/sys", "/settings", "proc", None),
            ("/", "/jail/sys", "sysfs", None),
            (
                "/",
                r"/a\040b\134\012\377/-",
                "proc",
                Some("/a b\\\n\u{fffd}/-"),
            ),
        ] {
            let found = found(&line(root, point, kind));
            let found = found.map(|path| path.to_string_lossy().into_owned());
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn cgroups_of_version_2_are_found_by_their_type() {
        let found = |kind: &str| {
            let line = format!("36 35 0:22 /box /w/c\\040g rw shared:7 - {kind} cgroup2 rw");
            cgroup(line.as_bytes())
        };
        assert_eq!(found("cgroup2"), Some("/w/c g".into()));
        assert_eq!(found("cgroup"), None);
        assert_eq!(cgroup(b"36 35 0:22 /"), None);
    }

    #[test]
    fn what_is_no_line_of_the_list_is_nothing() {
        for line in [
            "",
            "36 35 0:22 /",
            "36 35 0:22 / /x rw",
            r"36 35 0:22 / \ rw - proc",
        ] {
            let mut lines = vec![line.to_owned()];
            lines.extend((0..line.len()).map(|end| line[..end].to_owned()));
            for line in lines {
                let _ = found(&line);
            }
        }
        assert_eq!(found("36 35 0:22 / /x rw - "), None);
    }

    #[test]
    fn a_list_that_stays_the_same_is_read_once() {
        let list = MountList(Mutex::new(State {
            list: None,
            changes: 0,
            places: None,
        }));
        list.other_procs().unwrap();
        let changes = list.changes();
        let kept = vec![PathBuf::from("kept")];
        list.0.lock().places = Some(Places {
            procs: kept.clone(),
            cgroups: kept.clone(),
        });
        assert_eq!(list.other_procs().unwrap(), kept);
        assert_eq!((list.cgroups().unwrap(), list.changes()), (kept, changes));
    }
}

//! The private directory with the files of runs.

use std::env;
use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::Run;
use super::point::{Record, Removal};
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, ROOTED};
use crate::sys::process::user_id;
use crate::sys::sync::Mutex;

/// The directory's name, below one that is the user's own.
const NAME: &str = "exec-server-mounts";
/// What the lock of a run begins with.
const LOCK: &str = "lock-";
/// What the records of the same run begin with.
const RECORDS: &str = "made-";
/// The longest records that are read: some thousand mount points.
const LONGEST: u64 = 16 * 1024 * 1024;
/// How often a dying sandbox is looked at.
const STEP: Duration = Duration::from_millis(2);
/// How long what was left waits for the next sweep.
const PAUSE: Duration = Duration::from_secs(1);
/// How long what was made in another mount namespace is kept in mind after its run, for a server there to take away.
const ELSEWHERE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long one waits for its turn, and how often it asks; who has it needs a fraction of a millisecond.
const TURN: Duration = Duration::from_secs(20);
const TURN_STEP: Duration = Duration::from_micros(200);

/// Where this user's journal may be, the best place first: what does not outlive the machine's uptime, as mount points
/// in use do not; then what is the user's for good; then a name of its own for this boot in the common directory.
pub(crate) fn candidates() -> Vec<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let user = user_id();
    let runtime = absolute("XDG_RUNTIME_DIR").or_else(|| (user == 0).then(|| "/run".into()));
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.get(..8).unwrap_or("boot");
    let mut candidates: Vec<_> = [runtime, state]
        .into_iter()
        .flatten()
        .map(|directory| directory.join(NAME))
        .collect();
    for common in ["/tmp", "/var/tmp", "/dev/shm"] {
        candidates.push(Path::new(common).join(format!("{NAME}-{user}-{boot}")));
    }
    candidates
}

/// A directory that only this user can reach.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    /// The number of our mount namespace: paths lead elsewhere in another, such as a container's. None without /proc.
    namespace: Option<u64>,
    /// Held by the thread that has, or waits for, the turn.
    queue: Mutex<()>,
    /// Runs that were over but for their sandboxes.
    dying: Mutex<Vec<CString>>,
    /// Whether a thread is going to sweep.
    is_swept_later: AtomicBool,
}

/// The right to change what is noted down. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _lock: Unlocking,
    // Given up after the lock.
    _queue: MutexGuard<'a, ()>,
}

/// A lock that ends when this is dropped, although a child that is just being started may have its descriptor as well.
#[derive(Debug)]
pub(crate) struct Unlocking(pub(crate) File);

impl Drop for Unlocking {
    fn drop(&mut self) {
        // Closing does the same, but not at once.
        let _ = self.0.unlock();
    }
}

impl Directory {
    /// Makes the directory if need be, and makes sure that it is ours alone and can be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let c_path = CString::new(path.as_os_str().as_bytes())?;
        let access = Access::READ | Access::DIRECTORY | Access::NO_LINK;
        let fd = file::open_at(ROOTED, &c_path, access, 0)?;
        let status = file::status_of(fd.as_fd())?;
        if status.user != user_id()
            || status.mode & 0o077 != 0
            || status.kind != FileType::Directory
        {
            let fault = format!(
                "it belongs to user {} with mode {:o}; it must be ours with mode 700",
                status.user, status.mode
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, fault));
        }
        let directory = Self {
            path: path.canonicalize()?,
            fd,
            namespace: fs::metadata("/proc/self/ns/mnt").ok().map(|it| it.ino()),
            queue: Mutex::default(),
            dying: Mutex::default(),
            is_swept_later: AtomicBool::new(false),
        };
        let probe = directory.begin(&[])?;
        directory.remove(&probe.name);
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a run with these records, locked.
    pub(crate) fn begin(&self, records: &[Record]) -> io::Result<Run> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let namespace = self.namespace.unwrap_or_default();
            let name = format!("{LOCK}{}-{number}-{namespace}", std::process::id());
            let name = CString::new(name)?;
            // Nothing is ever written to it, and the sandbox inherits it.
            let lock = match self.make(&name, Access::READ, 0o400) {
                Ok(lock) => lock,
                // Left by an earlier process of this number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Whoever sweeps may have taken the lock, and the empty file away, in between.
            let is_locked = lock.try_lock().is_ok();
            if !is_locked || !self.is_there(&name, &lock) {
                continue;
            }
            let bytes: Vec<u8> = records.iter().flat_map(Record::to_bytes).collect();
            let noted =
                records_of(&name).and_then(|records| self.make(&records, Access::WRITE, 0o600));
            match noted.and_then(|mut records| records.write_all(&bytes).map(|()| records)) {
                Ok(records) => {
                    return Ok(Run {
                        name,
                        lock,
                        records,
                    });
                }
                Err(error) => {
                    self.remove(&name);
                    // Records without a lock are nobody's any more.
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Makes a file that is only ours.
    fn make(&self, name: &CStr, access: Access, mode: u32) -> io::Result<File> {
        let access = access | Access::CREATE_NEW | Access::NO_LINK;
        file::open_at(self.fd.as_fd(), name, access, mode).map(File::from)
    }

    fn is_there(&self, name: &CString, file: &File) -> bool {
        let found = file::status_at(self.fd.as_fd(), name, file::LastLink::Keep);
        let held = file::status_of(file.as_fd());
        matches!((found, held), (Ok(found), Ok(held)) if found.identity == held.identity)
    }

    /// Removes the files of a run: the lock last, by which the records are found.
    pub(crate) fn remove(&self, name: &CStr) {
        // What cannot be removed is found again by the next sweep.
        let _ = records_of(name).and_then(|name| file::unlink_at(self.fd.as_fd(), &name));
        let _ = file::unlink_at(self.fd.as_fd(), name);
    }

    /// The right to make mount points, and to take them away, which only one run has at a time and for moments. Whoever
    /// has it sees which runs live, and what they use.
    ///
    /// # Errors
    /// Somebody has had it for long.
    pub(crate) fn turn(&self) -> io::Result<Turn<'_>> {
        self.turn_within(TURN)
    }

    pub(crate) fn turn_within(&self, patience: Duration) -> io::Result<Turn<'_>> {
        // Our own threads come one after the other, so that none asks in vain while the others take turns.
        let queue = self.queue.lock();
        let lock = Unlocking(File::from(self.reopen()?));
        let deadline = Instant::now() + patience;
        loop {
            match lock.0.try_lock() {
                Ok(()) => {
                    return Ok(Turn {
                        _lock: lock,
                        _queue: queue,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    let fault = "another process keeps its lock";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, fault));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(TURN_STEP),
            }
        }
    }

    /// Takes away what a run has left, once its sandbox has ended, which it is given a moment for.
    pub(crate) fn finish(self: &Arc<Self>, name: &CStr, patience: Duration) {
        self.finish_all(std::iter::once(name.to_owned()), patience);
    }

    /// The same for the runs of servers that are gone, at a start: their sandboxes may still be dying, and nobody else is
    /// to come for what they leave.
    pub(crate) fn sweep_after_others(self: &Arc<Self>, patience: Duration) {
        let runs = self.runs().unwrap_or_default().into_iter();
        let is_ours_now = |name: &CString| self.is_here(name) && is_orphan(name);
        self.finish_all(runs.filter(is_ours_now), patience);
    }

    fn finish_all(self: &Arc<Self>, runs: impl Iterator<Item = CString>, patience: Duration) {
        if !self.sweep_after(runs, patience) {
            self.sweep_later();
        }
    }

    /// Sweeps once these runs are over, or later again; tells whether nothing is left.
    fn sweep_after(&self, runs: impl Iterator<Item = CString>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let dying: Vec<_> = runs
            .filter(|name| !self.await_end(name, deadline))
            .collect();
        let are_over = dying.is_empty();
        self.dying().extend(dying);
        self.sweep() && are_over
    }

    fn dying(&self) -> MutexGuard<'_, Vec<CString>> {
        self.dying.lock()
    }

    /// Takes away what every run has left that is over, and tells whether that was all.
    pub(crate) fn sweep(&self) -> bool {
        let swept = self.turn().and_then(|turn| self.sweep_in(&turn));
        swept.unwrap_or_else(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Sweeps each second, on a thread of its own, until nothing is left of runs that are over.
    fn sweep_later(self: &Arc<Self>) {
        if self.is_swept_later.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Arc::clone(self);
        let sweeper = thread::Builder::new().name("mount-points".into());
        let spawned = sweeper.spawn(move || {
            loop {
                thread::sleep(PAUSE);
                // Who leaves something from here on starts another thread.
                this.is_swept_later.store(false, Ordering::SeqCst);
                let dying = std::mem::take(&mut *this.dying());
                let is_clean = this.sweep_after(dying.into_iter(), Duration::ZERO);
                if is_clean || this.is_swept_later.swap(true, Ordering::SeqCst) {
                    break;
                }
            }
        });
        if spawned.is_err() {
            self.is_swept_later.store(false, Ordering::SeqCst);
        }
    }

    /// Gives whether nothing is left of the runs that are over.
    fn sweep_in(&self, _: &Turn<'_>) -> io::Result<bool> {
        let (mut over, mut live) = (Vec::new(), Vec::new());
        for name in self.runs()? {
            // One that has just been begun is not there for others, or is gone.
            let Ok(lock) = self.open_file(&name) else {
                continue;
            };
            match lock.try_lock() {
                Ok(()) => over.push((name, Unlocking(lock))),
                Err(_) => live.push(name),
            }
        }
        if over.is_empty() {
            return Ok(true);
        }
        let mut in_use = Vec::new();
        for name in live {
            in_use.extend(Record::read_all(&self.records(&name)?));
        }
        let mut is_clean = true;
        for (name, lock) in over {
            // What cannot be read tells of nothing.
            let records = Record::read_all(&self.records(&name).unwrap_or_default());
            // Each of them has its turn, also behind one that is in use.
            let removals: Vec<_> = records
                .iter()
                .map(|record| record.remove(&in_use))
                .collect();
            if removals.contains(&Removal::InUse) {
                is_clean = false;
            } else if !removals.contains(&Removal::Missing)
                || self.is_here(&name)
                || is_older(&lock.0, ELSEWHERE)
            {
                self.remove(&name);
            }
        }
        Ok(is_clean)
    }

    /// Whether a run's paths are those that we see, as far as its name tells.
    fn is_here(&self, name: &CStr) -> bool {
        let theirs = number_in(name, 3).unwrap_or_default();
        theirs == 0 || self.namespace.is_none_or(|ours| ours == theirs)
    }

    /// Waits until nobody holds a run's lock, and tells whether it has come to that.
    fn await_end(&self, name: &CStr, deadline: Instant) -> bool {
        let Ok(lock) = self.open_file(name) else {
            return true;
        };
        while let Err(TryLockError::WouldBlock) = lock.try_lock() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(STEP);
        }
        drop(Unlocking(lock));
        true
    }

    fn runs(&self) -> io::Result<Vec<CString>> {
        let fd = self.reopen()?;
        let mut reader = Names::default();
        let mut names = Vec::new();
        while let Some(entry) = reader.next_in(fd.as_fd())? {
            if entry.name.to_bytes().starts_with(LOCK.as_bytes()) {
                names.push(entry.name.to_owned());
            }
        }
        Ok(names)
    }

    /// A descriptor of its own, which has a position in the directory and a lock.
    fn reopen(&self) -> io::Result<OwnedFd> {
        let access = Access::READ | Access::DIRECTORY;
        let open = || file::open_at(self.fd.as_fd(), c".", access, 0);
        let open_up = || file::change_mode(self.fd.as_fd(), 0o700);
        opened_up(open, open_up)
    }

    /// Opens a file of a run. What else is there by its name a program has put there: nobody waits for a FIFO.
    fn open_file(&self, name: &CStr) -> io::Result<File> {
        let access = Access::READ | Access::NO_LINK | Access::NO_WAIT;
        let open = || file::open_at(self.fd.as_fd(), name, access, 0);
        let file = opened_up(open, || self.open_up(name))?;
        match file::status_of(file.as_fd())?.kind {
            FileType::Regular => Ok(File::from(file)),
            _ => Err(file::invalid()),
        }
    }

    /// Lets us read a file of a run again. It is found once, without a link, so nothing else is meant in between.
    fn open_up(&self, name: &CStr) -> io::Result<()> {
        let found = file::open_at(self.fd.as_fd(), name, Access::LOCATE | Access::NO_LINK, 0)?;
        match file::status_of(found.as_fd())?.kind {
            FileType::Regular => file::change_mode(found.as_fd(), 0o600),
            _ => Err(file::invalid()),
        }
    }

    /// What a run has noted down: nothing, if it came to its end before that.
    fn records(&self, name: &CStr) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.open_file(&records_of(name)?) {
            Ok(file) => file.take(LONGEST).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(bytes)
    }
}

/// Opens what is ours, and tries once more after its mode was set: a program can have changed that where no mount hides it.
fn opened_up(
    open: impl Fn() -> io::Result<OwnedFd>,
    open_up: impl Fn() -> io::Result<()>,
) -> io::Result<OwnedFd> {
    open().or_else(|error| {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        open_up()?;
        open()
    })
}

/// Whether the process that a run's name tells of is gone.
fn is_orphan(name: &CStr) -> bool {
    number_in(name, 1).is_none_or(|process| !Path::new(&format!("/proc/{process}")).exists())
}

/// A number in a run's name: the process is 1, the mount namespace 3.
fn number_in(name: &CStr, place: usize) -> Option<u64> {
    name.to_str().ok()?.split('-').nth(place)?.parse().ok()
}

/// Whether a file was last written so long ago.
fn is_older(file: &File, age: Duration) -> bool {
    let written = file.metadata().and_then(|it| it.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// The name of a run's records, by that of its lock.
fn records_of(name: &CStr) -> io::Result<CString> {
    let run = name.to_bytes().get(LOCK.len()..).unwrap_or_default();
    Ok(CString::new([RECORDS.as_bytes(), run].concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::journal::{MountPoint, PointKind};
    use crate::sandbox::scratch::Scratch;
    use std::ffi::OsStr;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    #[test]
    fn a_directory_that_others_can_reach_is_refused() {
        let scratch = Scratch::new("journal-open");
        let path = scratch.path().join("open");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Directory::open(&path).unwrap_err();
        assert!(error.to_string().contains("mode 755"), "{error}");
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let scratch = Scratch::new("journal-link");
        let real = scratch.path().join("real");
        DirBuilder::new().mode(0o700).create(&real).unwrap();
        let link = scratch.path().join("link");
        symlink(&real, &link).unwrap();
        assert!(Directory::open(&link).is_err());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for_and_keeps_nothing_from_being_swept() {
        let scratch = Scratch::new("journal-forged");
        let path = scratch.path().join("journal");
        let directory = Directory::open(&path).unwrap();
        let fifo = Command::new("mkfifo").arg(path.join("lock-1-1")).status();
        assert!(fifo.unwrap().success());
        fs::write(path.join("lock-1-2"), "").unwrap();
        fs::create_dir(path.join("made-1-2")).unwrap();
        drop(directory.begin(&[]).unwrap());
        assert!(directory.sweep());
        let mut names = directory.runs().unwrap();
        names.sort();
        assert_eq!(names, [c"lock-1-1".to_owned()]);
    }

    #[test]
    fn a_link_in_place_of_a_file_changes_no_mode() {
        let scratch = Scratch::new("journal-mode");
        let directory = Directory::open(&scratch.path().join("journal")).unwrap();
        let victim = scratch.path().join("victim");
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&victim, directory.path().join("lock-1-1")).unwrap();
        assert!(directory.open_up(c"lock-1-1").is_err());
        assert_eq!(
            victim.metadata().unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn what_was_made_in_another_mount_namespace_is_left_to_a_server_there_for_a_week() {
        let scratch = Scratch::new("journal-elsewhere");
        let path = scratch.path().join("journal");
        let here = Directory::open(&path).unwrap();
        let there = Directory {
            namespace: here.namespace.map(|number| number + 1),
            ..Directory::open(&path).unwrap()
        };
        // Nothing is at that path here.
        let point = MountPoint {
            path: scratch.path().join("only-there"),
            kind: PointKind::Directory,
        };
        let begin = || {
            let run = there.begin(&[Record::of(&point, None)]).unwrap();
            (run.name, run.lock)
        };
        let (name, lock) = begin();
        drop(lock);
        assert!(here.sweep());
        assert_eq!(here.runs().unwrap(), std::slice::from_ref(&name));
        assert!(there.sweep());
        assert!(here.runs().unwrap().is_empty());

        let (name, lock) = begin();
        drop(lock);
        let old = std::time::SystemTime::now() - ELSEWHERE - Duration::from_secs(60);
        let lock = path.join(name.to_str().unwrap());
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
        let lock = File::options().write(true).open(lock).unwrap();
        lock.set_modified(old).unwrap();
        drop(lock);
        assert!(here.sweep());
        assert!(here.runs().unwrap().is_empty());
    }

    #[test]
    fn the_common_directories_come_last() {
        let candidates = candidates();
        let last = candidates.last().map(PathBuf::as_path);
        let parent = last.and_then(Path::parent).map(Path::as_os_str);
        assert_eq!(parent, Some(OsStr::new("/dev/shm")));
    }
}

//! What is made goes, whatever happens in between; what was there stays.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::slice::from_ref;

use super::*;
use crate::sandbox::scratch::Scratch;
use crate::sys::file::status_of;

struct There {
    scratch: Scratch,
}

impl There {
    fn new() -> Self {
        let scratch = Scratch::new("journal");
        fs::create_dir(scratch.path().join("proj")).unwrap();
        Self { scratch }
    }

    fn journal(&self) -> Journal {
        Journal::open_in(&[self.scratch.path().join("journal")])
    }

    fn point(&self, name: &str) -> MountPoint {
        MountPoint {
            path: self.scratch.path().join("proj").join(name),
            kind: PointKind::Directory,
        }
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.scratch.path().join(directory)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_run_takes_away_what_it_made() {
    let there = There::new();
    let journal = there.journal();
    let file = MountPoint {
        kind: PointKind::File,
        ..there.point("x")
    };
    let claim = journal.claim(&[there.point(".git"), file], &[]).unwrap();
    assert_eq!(there.names("proj"), [".git", "x"]);
    drop(claim);
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

#[test]
fn what_was_there_before_stays() {
    let there = There::new();
    let point = there.point(".git");
    fs::create_dir(&point.path).unwrap();
    drop(there.journal().claim(&[point], &[]).unwrap());
    assert_eq!(there.names("proj"), [".git"]);
    assert_eq!(there.names("journal"), [""; 0]);
}

#[test]
fn what_has_got_content_stays() {
    let there = There::new();
    let point = there.point(".git");
    let claim = there.journal().claim(from_ref(&point), &[]).unwrap();
    fs::write(point.path.join("mine"), "").unwrap();
    drop(claim);
    assert_eq!(there.names("proj"), [".git"]);
}

#[test]
fn what_was_put_in_its_place_stays() {
    let there = There::new();
    let point = there.point(".git");
    let claim = there.journal().claim(from_ref(&point), &[]).unwrap();
    fs::rename(&point.path, there.scratch.path().join("moved")).unwrap();
    fs::create_dir(&point.path).unwrap();
    drop(claim);
    assert_eq!(there.names("proj"), [".git"]);
}

#[test]
fn the_last_of_several_runs_takes_it_away() {
    let there = There::new();
    let point = there.point(".git");
    let (one, other) = (there.journal(), there.journal());
    let first = one.claim(from_ref(&point), &[]).unwrap();
    let second = other.claim(&[], from_ref(&point.path)).unwrap();
    drop(first);
    assert_eq!(there.names("proj"), [".git"]);
    let third = one.claim(&[point], &[]).unwrap();
    drop(second);
    assert_eq!(there.names("proj"), [".git"]);
    drop(third);
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

/// As a kill does: the descriptors go, and nothing else happens.
fn killed(claim: Claim) {
    let Claim { run, held, .. } = &mut *std::mem::ManuallyDrop::new(claim);
    held.clear();
    *run = None;
}

#[test]
fn the_next_start_takes_away_what_a_killed_server_has_left() {
    let there = There::new();
    let claim = there.journal().claim(&[there.point(".git")], &[]).unwrap();
    // The sandbox still runs: its descriptor holds the run.
    let sandbox = claim.keep_alive().unwrap();
    killed(claim);
    drop(there.journal());
    assert_eq!(there.names("proj"), [".git"]);
    drop(sandbox);
    drop(there.journal());
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

#[test]
fn a_start_waits_for_a_sandbox_that_dies_with_its_server() {
    let there = There::new();
    let journal = there.journal();
    let claim = journal.claim(&[there.point(".git")], &[]).unwrap();
    let sandbox = claim.keep_alive().unwrap();
    let run = claim.run.as_ref().unwrap().name.to_str().unwrap();
    let run = run.trim_start_matches("lock-");
    for file in ["lock", "made"] {
        // No process has this number.
        let [from, to] = [run, "999999999-0"]
            .map(|run| there.scratch.path().join(format!("journal/{file}-{run}")));
        fs::rename(from, to).unwrap();
    }
    killed(claim);
    let is_looked_at = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        links
            .filter(|file| file.ends_with("lock-999999999-0"))
            .count()
            > 1
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while !is_looked_at() && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            drop(sandbox);
        });
        drop(there.journal());
    });
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

#[test]
fn a_sandbox_cannot_write_by_its_descriptor() {
    let there = There::new();
    let claim = there.journal().claim(&[there.point(".git")], &[]).unwrap();
    let mut sandbox = File::from(claim.keep_alive().unwrap().unwrap());
    let error = sandbox.write_all(b"f - /somebodys\0").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    // Nor does it keep the run's end from being seen.
    sandbox
        .set_permissions(fs::Permissions::from_mode(0o000))
        .unwrap();
    drop(sandbox);
    drop(claim);
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

/// A lock on a mount point, as any program can have that can open it.
fn foreign_lock(point: &MountPoint) -> File {
    let file = File::open(&point.path).unwrap();
    file.lock_shared().unwrap();
    file
}

/// Waits until nothing is left of any run.
fn becomes_empty(there: &There) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let left = || [there.names("proj"), there.names("journal")].concat();
    while !left().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", left());
        std::thread::yield_now();
    }
}

#[test]
fn what_somebody_else_has_locked_goes_as_soon_as_that_is_over() {
    let there = There::new();
    let journal = there.journal();
    let point = there.point(".git");
    let claim = journal.claim(from_ref(&point), &[]).unwrap();
    // Of a run with another journal, or of nobody who counts: that cannot be told.
    let lock = foreign_lock(&point);
    drop(claim);
    assert_eq!(there.names("proj"), [".git"]);
    drop(lock);
    becomes_empty(&there);
}

#[test]
fn a_lock_on_a_mount_point_keeps_nobody_from_using_it() {
    let there = There::new();
    let journal = there.journal();
    let point = there.point(".git");
    let first = journal.claim(from_ref(&point), &[]).unwrap();
    killed(first);
    let lock = File::open(&point.path).unwrap();
    lock.lock().unwrap();
    let second = journal.claim(from_ref(&point), &[]).unwrap();
    assert!(second.paths().any(|path| path == point.path));
    let third = journal.claim(&[], from_ref(&point.path)).unwrap();
    assert!(third.paths().any(|path| path == point.path));
    drop(lock);
    // They have no lock of their own on it, and yet it stays.
    journal.sweep();
    drop(second);
    assert_eq!(there.names("proj"), [".git"]);
    drop(third);
    assert_eq!(there.names("proj"), [""; 0]);
}

#[test]
fn what_the_sandbox_of_a_killed_server_has_found_stays() {
    let there = There::new();
    let point = there.point(".git");
    let (one, other) = (there.journal(), there.journal());
    let first = one.claim(from_ref(&point), &[]).unwrap();
    let second = other.claim(&[], from_ref(&point.path)).unwrap();
    let sandbox = second.keep_alive().unwrap();
    assert!(sandbox.is_some());
    killed(second);
    drop(first);
    assert_eq!(there.names("proj"), [".git"]);
    drop(sandbox);
    becomes_empty(&there);
}

#[test]
fn a_turn_that_never_ends_is_an_error_after_a_while() {
    let there = There::new();
    let [one, other] = [there.journal(), there.journal()].map(|journal| journal.directory.unwrap());
    let turn = one.turn().unwrap();
    let error = other.turn_within(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    drop(turn);
    other.turn().unwrap();
}

#[test]
fn an_intent_alone_leads_to_what_looks_made() {
    let there = There::new();
    let journal = there.journal();
    let points = [there.point(".git"), there.point(".codex")];
    let intents: Vec<_> = points.iter().map(|one| Record::of(one, None)).collect();
    let directory = journal.directory.clone().unwrap();
    drop(directory.begin(&intents).unwrap());
    // One was made before the kill; the other is somebody's.
    drop(Held::make(&points[0]).unwrap());
    fs::create_dir(&points[1].path).unwrap();
    journal.sweep();
    assert_eq!(there.names("proj"), [".codex"]);
}

#[test]
fn what_a_forged_record_names_stays() {
    let there = There::new();
    let journal = there.journal();
    let directory = there.point("refs");
    let file = MountPoint {
        kind: PointKind::File,
        ..there.point("__init__.py")
    };
    fs::create_dir(&directory.path).unwrap();
    fs::write(&file.path, "").unwrap();
    // Also what nobody may write to.
    fs::set_permissions(&file.path, Permissions::from_mode(0o444)).unwrap();
    let records: Vec<_> = [&directory, &file]
        .iter()
        .map(|point| {
            let fd = File::open(&point.path).unwrap();
            let identity = status_of(fd.as_fd()).unwrap().identity;
            Record::of(point, Some(identity))
        })
        .chain([Record::of(&directory, None), Record::of(&file, None)])
        .collect();
    let notes = journal.directory.clone().unwrap();
    for record in records {
        drop(notes.begin(&[record]).unwrap());
        journal.sweep();
        assert_eq!(there.names("proj"), ["__init__.py", "refs"]);
    }
}

#[test]
fn without_a_directory_a_run_still_tidies_up() {
    let there = There::new();
    let squatted = there.scratch.path().join("squatted");
    fs::write(&squatted, "").unwrap();
    let journal = Journal::open_in(&[squatted]);
    assert!(journal.why_not().unwrap().contains("squatted"));
    let claim = journal.claim(&[there.point(".git")], &[]).unwrap();
    assert!(claim.keep_alive().unwrap().is_none());
    assert_eq!(there.names("proj"), [".git"]);
    drop(claim);
    assert_eq!(there.names("proj"), [""; 0]);
}

#[test]
fn many_runs_at_once_leave_nothing() {
    let there = There::new();
    let journal = there.journal();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let point = there.point(".git");
                    let claim = journal.claim(from_ref(&point), &[]).unwrap();
                    assert!(point.path.is_dir());
                    drop(claim);
                }
            });
        }
    });
    journal.sweep();
    assert_eq!(there.names("proj"), [""; 0]);
    assert_eq!(there.names("journal"), [""; 0]);
}

//! The first process of a sandbox, and what a program could reach through it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::sandbox::{Launcher, SECRET, Sandbox, Stage, Who};
use crate::support::{Scratch, Start, child, names, scratch, through_child, within};

/// A directory that everybody may write to.
fn common() -> Scratch {
    let scratch = scratch();
    fs::set_permissions(scratch.dir(), Permissions::from_mode(0o777)).unwrap();
    scratch
}

/// The program runs while its first process is held with all that it was given still open.
fn it_is_closed_from_the_beginning(launcher: Launcher, who: Who) {
    let place = common();
    let log = place.path("log");
    let held = |plain: Command| through_child(&["hold", &log], &plain);
    let Some(mut stage) = Stage::set_through(launcher, who, held) else {
        return;
    };
    for policy in [Sandbox::read_only(), stage.policy()] {
        let before = fs::read_to_string(&log).unwrap().lines().count();
        stage.refuses(&policy, &["open-process", "1"]);
        let after = fs::read_to_string(&log).unwrap().lines().count();
        assert!(after > before, "the first process was not held");
    }
}

#[test]
fn it_is_closed_from_the_beginning_with_the_system_bwrap() {
    it_is_closed_from_the_beginning(Launcher::System, Who::Myself);
    it_is_closed_from_the_beginning(Launcher::System, Who::Another);
}

#[test]
fn it_is_closed_from_the_beginning_with_the_bundled_bwrap() {
    it_is_closed_from_the_beginning(Launcher::Bundled, Who::Myself);
    it_is_closed_from_the_beginning(Launcher::Bundled, Who::Another);
}

/// A server that has this directory open under many numbers, and what is secret in it.
fn burdened(launcher: Launcher, who: Who) -> Option<(Stage, Sandbox, String)> {
    let with = |plain: Command| through_child(&["with-descriptors", "60", "/"], &plain);
    let mut stage = Stage::set_through(launcher, who, with)?;
    let secret = stage.make_file("outside/secret", SECRET);
    // Enough places that bwrap has descriptors with all these numbers too.
    let mut policy = Sandbox::minimal().read(&child()).write(&stage.workspace());
    if launcher == Launcher::Landlock {
        for name in [".git", ".codex", ".agents", ".aws"] {
            policy = policy.write(&stage.path(&format!("workspace/{name}")));
        }
    }
    for index in 0..24 {
        policy = policy.read(&stage.make_directory(&format!("place-{index}")));
    }
    Some((stage, policy, secret))
}

/// Starts a program there that looks for the secret by the way up.
#[track_caller]
fn finds_nothing(stage: &mut Stage, policy: &Sandbox, secret: &str, cwd: &str) {
    let up = format!("../../../../../../../..{secret}");
    let start = stage.attempt(&["read", &up, "--", "read", secret]);
    let start = start.cwd(cwd).with("sandbox", policy.json());
    let id = start.id();
    // Refused is fine too.
    if stage.client.request("process/start", start.0).is_ok() {
        let outcome = stage.client.closed(&id);
        assert!(!outcome.stdout.contains(SECRET), "{cwd}: {outcome:?}");
    }
}

on_every_bwrap! {
    fn it_shows_nothing_while_the_program_runs(stage) {
        for policy in [Sandbox::read_only(), stage.policy(), Sandbox::read_only().online()] {
            stage.refuses(&policy, &["open-process", "1"]);
            stage.refuses(&policy, &["open-memory", "1"]);
            stage.refuses(&policy, &["ptrace", "1"]);
            stage.refuses(&policy, &["pidfd-getfd", "1", "0"]);
        }
    }

    fn a_program_that_left_its_session_twice_ends_with_it(stage) {
        // So long a time is nobody else's.
        let span = format!("{}", 100_000_000 + std::process::id() as u64 * 10 + stage.launcher as u64 * 2 + stage.who as u64);
        let script = format!("setsid sh -c 'setsid sleep {span} & echo left' & sleep {span}");
        let start = Start::shell("p", &script).with("sandbox", Sandbox::read_only().json());
        stage.client.start(start);
        let living = || {
            let entries = fs::read_dir("/proc").unwrap().flatten();
            let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
            lines.filter(|line| line.starts_with(&format!("sleep\0{span}"))).count()
        };
        within(crate::support::PATIENCE, "both sleep", || living() == 2);
        stage.client.ok("process/terminate", json!({"processId": "p"}));
        stage.client.closed("p");
        within(crate::support::PATIENCE, "none is left", || living() == 0);
    }
}

fn a_directory_by_number(launcher: Launcher, who: Who) {
    let Some((mut stage, policy, secret)) = burdened(launcher, who) else {
        return;
    };
    for number in 0..64 {
        let cwd = format!("file:///proc/self/fd/{number}");
        finds_nothing(&mut stage, &policy, &secret, &cwd);
    }
}

fn a_directory_that_becomes_a_number(launcher: Launcher, who: Who) {
    let Some((mut stage, policy, secret)) = burdened(launcher, who) else {
        return;
    };
    let directory = stage.make_directory("workspace/real");
    let flipped = stage.path("workspace/flipped");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = format!("{flipped}.next");
            while !is_done.load(Ordering::Relaxed) {
                for target in [directory.as_str(), "/proc/self/fd/17"] {
                    symlink(target, &next).unwrap();
                    fs::rename(&next, &flipped).unwrap();
                }
            }
        });
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..200 {
                finds_nothing(&mut stage, &policy, &secret, &flipped);
            }
        }));
        is_done.store(true, Ordering::Relaxed);
        if let Err(failure) = tried {
            std::panic::resume_unwind(failure);
        }
    });
}

/// A test for each launcher and user.
macro_rules! each {
    ($($name:ident)*) => {$(
        mod $name {
            use super::{Launcher, Who};

            #[test]
            fn system() {
                super::$name(Launcher::System, Who::Myself);
                super::$name(Launcher::System, Who::Another);
            }

            #[test]
            fn bundled() {
                super::$name(Launcher::Bundled, Who::Myself);
                super::$name(Launcher::Bundled, Who::Another);
            }

            #[test]
            fn landlock() {
                super::$name(Launcher::Landlock, Who::Myself);
                super::$name(Launcher::Landlock, Who::Another);
            }
        }
    )*};
}

each! {
    a_directory_by_number
    a_directory_that_becomes_a_number
    our_own_file_cannot_be_changed
}

/// The server's file, of the server's user, by the links of /proc to it.
fn our_own_file_cannot_be_changed(launcher: Launcher, who: Who) {
    let place = common();
    let copy = place.path("server");
    let Some(mut stage) = Stage::set_with_own_program(launcher, who, &copy, |_| ()) else {
        return;
    };
    let state = || {
        let status = fs::metadata(&copy).unwrap();
        (
            status.mode(),
            status.ctime(),
            status.ctime_nsec(),
            status.len(),
        )
    };
    let before = state();
    let policies = [Sandbox::read_only(), stage.policy()];
    let link = stage.path("workspace/link");
    symlink("/proc/self/exe", &link).unwrap();
    for policy in &policies {
        for path in ["/proc/self/exe", "/proc/1/exe", &link] {
            let request = json!({"path": path, "mode": 0o700, "sandbox": policy.json()});
            let answer = stage.client.request("fs/setPermissions", request);
            assert_eq!(state(), before, "{launcher} as {who:?}: {path}: {answer:?}");
        }
        if launcher != Launcher::Landlock {
            stage.refuses(policy, &["chmod", "/proc/1/exe", "700"]);
            stage.refuses(policy, &["open-to-write", "/proc/1/exe"]);
        }
        assert_eq!(state(), before, "{launcher} as {who:?}");
    }
    assert!(Path::new(&copy).exists() && names(&place.dir()) == ["server"]);
}

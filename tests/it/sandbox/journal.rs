//! Mount points on the host: gone after the run, however it ends, and never somebody else's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::sandbox::{Launcher, ORDINARY, Sandbox, Stage, Who, is_root};
use crate::support::{names, scratch, signal, within};

const NAMES: [&str; 4] = [".git", ".codex", ".agents", ".aws"];
const SOON: Duration = Duration::from_secs(10);

/// Starts a program that stays, and waits until it runs.
pub fn start(stage: &mut Stage, policy: &Sandbox) -> String {
    let start = stage
        .child(&["pid-then-sleep"])
        .with("sandbox", policy.json());
    let id = start.id();
    stage.client.start(start);
    stage.client.number(&id);
    id
}

/// Ends what [`start`] has started.
fn end(stage: &mut Stage, id: &str) {
    let params = json!({"processId": id});
    stage.client.ok("process/terminate", params);
    stage.client.closed(id);
}

/// Kills the server, and starts the next one.
fn kill_and_restart(stage: &mut Stage) {
    stage.client.server.as_mut().unwrap().kill();
    stage.restart();
}

/// Waits until nothing but these is in the workspace.
fn comes_to(stage: &Stage, left: &[&str]) {
    within(SOON, "they are gone", || names(&stage.workspace()) == left);
}

/// The children of a server that call themselves bwrap; what runs from memory has another name in `comm`.
fn launchers(server: u32) -> Vec<u32> {
    let parent = format!("PPid:\t{server}\n");
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let read =
                |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            read("cmdline").starts_with("bwrap\0") && read("status").contains(&parent)
        })
        .collect()
}

/// Of the bundled launcher, as whoever runs the tests.
fn stage() -> Option<Stage> {
    Stage::set(Launcher::Bundled, Who::Myself)
}

#[test]
fn mount_points_go_with_the_run() {
    let Some(mut stage) = stage() else { return };
    let policy = stage.policy();
    let id = start(&mut stage, &policy);
    assert_eq!(
        names(&stage.workspace()),
        [".agents", ".aws", ".codex", ".git"]
    );
    end(&mut stage, &id);
    comes_to(&stage, &[]);
}

#[test]
fn mount_points_go_when_the_whole_tree_is_killed() {
    let Some(mut stage) = stage() else { return };
    let policy = stage.policy();
    let id = start(&mut stage, &policy);
    let found = launchers(stage.client.server_pid());
    assert!(!found.is_empty(), "no launcher runs");
    found.into_iter().for_each(|pid| signal(pid, "KILL"));
    stage.client.closed(&id);
    comes_to(&stage, &[]);
}

#[test]
fn the_next_server_takes_away_what_a_killed_one_left() {
    let Some(mut stage) = stage() else { return };
    let policy = stage.policy();
    start(&mut stage, &policy);
    kill_and_restart(&mut stage);
    stage.allows(&policy, &["write", &stage.path("workspace/file")]);
    comes_to(&stage, &["file"]);
}

#[test]
fn what_was_there_before_stays() {
    let Some(mut stage) = stage() else { return };
    for name in NAMES {
        stage.make_directory(&format!("workspace/{name}"));
    }
    let inodes = |stage: &Stage| {
        NAMES.map(|name| {
            fs::metadata(stage.path(&format!("workspace/{name}")))
                .unwrap()
                .ino()
        })
    };
    let before = inodes(&stage);
    let policy = stage.policy();
    start(&mut stage, &policy);
    kill_and_restart(&mut stage);
    stage.allows(&policy, &["pids"]);
    assert_eq!(inodes(&stage), before);
}

#[test]
fn two_runs_in_one_workspace_do_not_disturb_each_other() {
    let Some(mut stage) = stage() else { return };
    let policy = stage.policy();
    let first = start(&mut stage, &policy);
    let second = start(&mut stage, &policy);
    end(&mut stage, &first);
    assert_eq!(
        names(&stage.workspace()),
        [".agents", ".aws", ".codex", ".git"]
    );
    let path = stage.path("workspace/.codex/config.toml");
    stage.refuses(&policy, &["write", &path]);
    end(&mut stage, &second);
    comes_to(&stage, &[]);
}

/// The names, as paths.
fn points(stage: &Stage) -> [String; 4] {
    NAMES.map(|name| stage.path(&format!("workspace/{name}")))
}

on_every_bwrap! {
    fn no_program_can_open_the_mount_points_of_its_sandbox(stage) {
        let policy = stage.policy();
        // The second finds what the first has made.
        for _ in 0..2 {
            start(stage, &policy);
            for path in points(stage) {
                let inside = stage.allows(&policy, &["identity", &path]);
                let outside = stage.works_free(&["identity", &path]);
                assert_ne!(inside, outside, "{path}");
            }
        }
    }

    fn locks_of_a_program_inside_keep_no_mount_point(stage) {
        let policy = stage.policy();
        for kind in ["shared", "exclusive"] {
            let points = points(stage);
            let points = points.iter().map(String::as_str);
            let words = ["background-silent", "lock-then-sleep", kind];
            let words: Vec<_> = words.into_iter().chain(points).collect();
            let start = stage.child(&words).with("sandbox", policy.json());
            assert_eq!(stage.client.run(start).code, 0);
            comes_to(stage, &[]);
        }
    }

    fn locks_of_another_sandbox_only_delay(stage) {
        let policy = stage.policy();
        let first = start(stage, &policy);
        let points = points(stage);
        let points = points.iter().map(String::as_str);
        let words: Vec<_> = ["lock-then-sleep", "shared"].into_iter().chain(points).collect();
        let other = stage.child(&words).with("sandbox", Sandbox::read_only().json());
        let other_id = other.id();
        stage.client.start(other);
        assert_eq!(stage.client.number(&other_id), 4, "they can be locked from outside");
        end(stage, &first);
        // Nobody comes for them but the server itself.
        end(stage, &other_id);
        comes_to(stage, &[]);
    }
}

/// A stage whose server has its journal below the given directory.
fn stage_with_journal(launcher: Launcher, who: Who, runtime: &str) -> Option<Stage> {
    Stage::set_through(launcher, who, |mut command| {
        command.env("XDG_RUNTIME_DIR", runtime);
        command
    })
}

fn no_sandbox_sees_the_journal(launcher: Launcher, who: Who) {
    let scratch = scratch();
    let runtime = scratch.path("runtime");
    fs::create_dir(&runtime).unwrap();
    if who == Who::Another {
        chown(&runtime, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let Some(mut stage) = stage_with_journal(launcher, who, &runtime) else {
        return;
    };
    let policy = stage.policy();
    start(&mut stage, &policy);
    let journal = format!("{runtime}/exec-server-mounts");
    let files = names(&journal);
    assert!(!files.is_empty());
    let own = Sandbox::read_only().write(&runtime);
    for policy in [Sandbox::read_only(), policy, own] {
        stage.refuses(&policy, &["list", &journal]);
        for file in &files {
            let path = format!("{journal}/{file}");
            stage.refuses(&policy, &["open-to-read", &path]);
        }
    }
}

#[test]
fn no_sandbox_sees_the_journal_with_the_system_bwrap() {
    no_sandbox_sees_the_journal(Launcher::System, Who::Myself);
    no_sandbox_sees_the_journal(Launcher::System, Who::Another);
}

#[test]
fn no_sandbox_sees_the_journal_with_the_bundled_bwrap() {
    no_sandbox_sees_the_journal(Launcher::Bundled, Who::Myself);
    no_sandbox_sees_the_journal(Launcher::Bundled, Who::Another);
}

#[test]
fn a_workspace_of_another_owner_is_no_obstacle() {
    let Some(mut stage) = Stage::set(Launcher::Bundled, Who::Another) else {
        return;
    };
    let foreign = stage.path("foreign");
    fs::create_dir(&foreign).unwrap();
    let policy = Sandbox::workspace(&foreign);
    let start = stage
        .attempt(&["mkdir", &format!("{foreign}/.git")])
        .cwd(&foreign)
        .with("sandbox", policy.json());
    let outcome = stage.client.run(start);
    assert!(outcome.stdout.starts_with("failed"), "{outcome:?}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 0);
}

#[test]
fn a_file_can_be_a_writable_root() {
    let Some(mut stage) = stage() else { return };
    let file = stage.make_file("file", "old");
    stage.allows(&Sandbox::workspace(&file), &["write", &file]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "changed");
}

#[test]
fn a_link_by_a_protected_name_is_left_as_it_is() {
    let Some(mut stage) = stage() else { return };
    stage.make_directory("workspace/real");
    symlink("real", stage.path("workspace/.codex")).unwrap();
    let policy = stage.policy();
    stage.allows(&policy, &["pids"]);
    comes_to(&stage, &[".codex", "real"]);
    assert_eq!(
        fs::read_link(stage.path("workspace/.codex")).unwrap(),
        Path::new("real")
    );
}

/// As a program under Landlock can, whose server has the same user.
#[test]
fn a_journal_that_was_closed_is_opened_again() {
    let scratch = scratch();
    let runtime = scratch.path("runtime");
    fs::create_dir(&runtime).unwrap();
    if is_root() {
        chown(&runtime, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let who = if is_root() { Who::Another } else { Who::Myself };
    let Some(mut stage) = stage_with_journal(Launcher::Bundled, who, &runtime) else {
        return;
    };
    let policy = stage.policy();
    let first = start(&mut stage, &policy);
    let journal = format!("{runtime}/exec-server-mounts");
    let close = |path: String| fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    for name in names(&journal) {
        close(format!("{journal}/{name}"));
    }
    close(journal);
    let second = start(&mut stage, &policy);
    for id in [first, second] {
        end(&mut stage, &id);
    }
    comes_to(&stage, &[]);
}

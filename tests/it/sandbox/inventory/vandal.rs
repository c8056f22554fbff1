//! What a program that changes all it can has changed on the host.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use super::{has_devices, policies};
use crate::support::sandbox::{Launcher, ORDINARY, Stage, Who, is_root};
use crate::support::{Scratch, child, names, scratch};

const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// Each file, and of each what could be changed.
type Seen = BTreeMap<String, Vec<String>>;

/// Looks from outside.
fn look(paths: &[&str]) -> Seen {
    let output = Command::new(child())
        .arg("snapshot")
        .args(paths)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let parts = text.lines().map(|line| line.split_once('\t').unwrap());
    parts
        .map(|(path, rest)| (path.into(), rest.split(' ').map(String::from).collect()))
        .collect()
}

/// What differs and must not: the file, and the names of what has changed of it.
fn differences(before: &Seen, after: &Seen, launcher: Launcher) -> Vec<String> {
    // Whoever can open a file to read it can lock it, on a read-only mount too; and Landlock has no word for attributes.
    let permitted: &[&str] = match launcher {
        Launcher::Landlock => &["locks", "mode", "modified", "changed", "attributes"],
        _ => &["locks"],
    };
    let mut found = Vec::new();
    let new = after.keys().filter(|path| !before.contains_key(*path));
    for path in before.keys().chain(new) {
        let changed = match (before.get(path), after.get(path)) {
            (Some(before), Some(after)) => {
                let pairs = before.iter().zip(after);
                let changed = pairs.filter(|(before, after)| before != after);
                let names = changed.map(|(before, _)| before.split('=').next().unwrap());
                names
                    .filter(|name| !permitted.contains(name))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            (Some(_), None) => "gone".into(),
            _ => "new".into(),
        };
        if !changed.is_empty() {
            found.push(format!("{path}: {changed}"));
        }
    }
    found
}

/// Something of each kind in a directory.
fn plant(stage: &mut Stage, directory: &str) -> (UnixListener, File) {
    let at = |name: &str| format!("{directory}/{name}");
    stage.make_directory(&at("below"));
    for name in ["file", "below/file", "set-id", "secret.env"] {
        stage.make_file(&at(name), "untouched");
    }
    fs::hard_link(stage.path(&at("file")), stage.path(&at("hard"))).unwrap();
    fs::set_permissions(stage.path(&at("set-id")), Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("file", stage.path(&at("link"))).unwrap();
    let pipe = stage.path(&at("pipe"));
    let mut made = vec!["attempt", "fifo", &pipe];
    let device = stage.path(&at("device"));
    if is_root() {
        made.extend(["--", "null-device", &device]);
    }
    assert!(Command::new(child()).args(made).status().unwrap().success());
    let socket = UnixListener::bind(stage.path(&at("socket"))).unwrap();
    for name in names(&stage.path(directory))
        .iter()
        .filter(|_| stage.who == Who::Another)
    {
        std::os::unix::fs::lchown(stage.path(&at(name)), Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    (socket, options.open(pipe).unwrap())
}

/// A server with its own file and its own place for notes, for nobody else to be disturbed.
fn stage(launcher: Launcher, who: Who, place: &Scratch) -> Option<Stage> {
    let notes = place.path("notes");
    fs::create_dir(&notes).unwrap();
    fs::set_permissions(&notes, Permissions::from_mode(0o700)).unwrap();
    Stage::set_with_own_program(launcher, who, &place.path("server"), |command| {
        if who == Who::Another {
            for path in [&place.dir(), &notes] {
                chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
        command.env("XDG_RUNTIME_DIR", &notes);
    })
}

fn only_the_workspace_changes(launcher: Launcher, who: Who) {
    let place = scratch();
    let Some(mut stage) = stage(launcher, who, &place) else {
        return;
    };
    let (_socket, mut pipe) = plant(&mut stage, "outside");
    let server = place.path("server");
    let bwrap = "/usr/bin/bwrap";
    let context = format!("{launcher} as {who:?}");
    let mut wrong = Vec::new();
    for (policy, sandbox) in policies(&mut stage) {
        if policy == "offline" {
            continue;
        }
        let workspace = stage.workspace();
        fs::remove_dir_all(&workspace).unwrap();
        stage.make_directory("workspace");
        let (_own, _pipe) = plant(&mut stage, "workspace");
        stage.make_directory("workspace/denied");
        stage.make_file("workspace/denied/file", "untouched");
        let outside = stage.path("outside");
        let notes = place.path("notes");
        let mut watched = vec![outside.as_str(), &server, &notes];
        let mut tried = vec![
            &*workspace,
            &outside,
            &server,
            &notes,
            "/proc/1/exe",
            "/proc/1/root",
            "/proc/1/cwd",
            "/proc/self/exe",
        ];
        let numbers: Vec<String> = (0..20)
            .map(|number| format!("/proc/1/fd/{number}"))
            .collect();
        if has_devices(&stage, policy) {
            watched.extend(DEVICES);
            watched.push(bwrap);
            tried.extend(DEVICES);
            tried.extend([bwrap, "/proc/self/fd/0"]);
            tried.extend(numbers.iter().map(String::as_str));
        }
        let denied = stage.path("workspace/denied");
        let secret = stage.path("workspace/secret.env");
        match policy {
            "denying" => watched.extend([denied.as_str(), &secret]),
            "workspace" => {}
            _ => watched.push(&workspace),
        }
        let start = stage.child(&[&["vandal", "2"], &tried[..]].concat());
        let start = start.pipe_stdin().with("sandbox", sandbox);
        let id = start.id();
        stage.client.start(start);
        stage
            .client
            .output(&id, "stdout", |text| text.contains("ready\n"));
        let before = look(&watched);
        stage.client.write(&id, b"go\n", "go");
        let said = stage
            .client
            .output(&id, "stdout", |text| text.contains("done\n"));
        let found = differences(&before, &look(&watched), launcher);
        stage
            .client
            .ok("process/terminate", json!({"processId": id}));
        stage.client.closed(&id);
        if !found.is_empty() {
            wrong.push(format!("{policy}: {found:#?}\n{said}"));
        }
        assert!(
            said.contains("did "),
            "{context}, {policy}: it could do nothing at all: {said}"
        );
        if pipe.read(&mut [0; 64]).is_ok() {
            wrong.push(format!(
                "{policy}: a named pipe of the host was written to
{said}"
            ));
        }
    }
    let context = format!("{launcher} as {who:?}");
    assert!(
        wrong.is_empty(),
        "{context}
{}",
        wrong.join(
            "

"
        )
    );
}

#[test]
fn only_the_workspace_changes_with_the_system_bwrap() {
    only_the_workspace_changes(Launcher::System, Who::Myself);
    only_the_workspace_changes(Launcher::System, Who::Another);
}

#[test]
fn only_the_workspace_changes_with_the_bundled_bwrap() {
    only_the_workspace_changes(Launcher::Bundled, Who::Myself);
    only_the_workspace_changes(Launcher::Bundled, Who::Another);
}

#[test]
fn only_the_workspace_and_attributes_change_with_landlock() {
    only_the_workspace_changes(Launcher::Landlock, Who::Myself);
    only_the_workspace_changes(Launcher::Landlock, Who::Another);
}

//! Directories that somebody else made first, and a machine whose common ones cannot be written.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{journal, workspace};
use crate::support::sandbox::{Launcher, ORDINARY, Stage, Who, snapshot};
use crate::support::{Client, Need, Server, Start, encode, has, scratch, within};

const SOON: Duration = Duration::from_secs(10);
const JOURNAL: &str = "exec-server-mounts";

/// What stands in the place of the journal when the server comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Squat {
    /// A directory of another user.
    Foreign,
    /// A link to a directory that is ours alone.
    Link,
    /// A directory of ours that others can write.
    Open,
    /// A file.
    File,
}

impl Squat {
    fn put(self, place: &str, elsewhere: &str) {
        let private = |path: &str| DirBuilder::new().mode(0o700).create(path).unwrap();
        match self {
            Self::Foreign => {
                private(place);
                chown(place, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
            Self::Link => {
                private(elsewhere);
                symlink(elsewhere, place).unwrap();
            }
            Self::Open => {
                private(place);
                fs::set_permissions(place, Permissions::from_mode(0o777)).unwrap();
            }
            Self::File => fs::write(place, "").unwrap(),
        }
    }
}

#[test]
fn a_squatted_journal_is_left_alone_told_of_and_another_one_used() {
    for squat in [Squat::Foreign, Squat::Link, Squat::Open, Squat::File] {
        if squat == Squat::Foreign && !has(Need::Root) {
            continue;
        }
        let places = scratch();
        for name in ["runtime", "state"] {
            fs::create_dir(places.path(name)).unwrap();
        }
        let place = places.path(&format!("runtime/{JOURNAL}"));
        squat.put(&place, &places.path("elsewhere"));
        let before = snapshot(&places.path("runtime"));
        let stage = Stage::set_through(Launcher::Bundled, Who::Myself, |mut server| {
            server
                .env("XDG_RUNTIME_DIR", places.path("runtime"))
                .env("XDG_STATE_HOME", places.path("state"));
            server
        });
        let Some(mut stage) = stage else { return };
        let policy = stage.policy();
        let id = journal::start(&mut stage, &policy);
        // Its notes are where nobody else can reach them.
        let notes = fs::read_dir(places.path(&format!("state/{JOURNAL}"))).unwrap();
        let mut notes: Vec<_> = notes
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        notes.sort();
        let kinds: Vec<_> = notes.iter().map(|name| name.split('-').next()).collect();
        assert_eq!(kinds, [Some("lock"), Some("made")], "{squat:?}");
        stage.refuses(&policy, &["write", &stage.path("workspace/.codex/x")]);
        stage
            .client
            .ok("process/terminate", json!({"processId": id}));
        stage.client.closed(&id);
        let root = stage.workspace();
        within(SOON, "the mount points are gone", || {
            fs::read_dir(&root).unwrap().count() == 0
        });
        assert_eq!(snapshot(&places.path("runtime")), before, "{squat:?}");
        if squat == Squat::Link {
            assert_eq!(fs::read_dir(places.path("elsewhere")).unwrap().count(), 0);
        }
        let log = stage.client.server.as_ref().unwrap().stderr();
        assert!(
            log.contains("warn") && log.contains(&place),
            "{squat:?}: {log}"
        );
    }
}

/// Makes the common directories read-only, all but one, and serves with no other place of its own.
const READ_ONLY: &str = "mount --bind \"$1\" \"$1\" && for at in /tmp /var/tmp /dev/shm; do
    mount --rbind $at $at && mount -o remount,bind,ro $at || exit 1
done
export XDG_RUNTIME_DIR=/proc/none XDG_STATE_HOME=/proc/none
unset HOME TMPDIR
exec \"$0\" --listen stdio --sandbox-launcher bundled";

#[test]
fn with_a_read_only_tmp_commands_and_file_requests_are_confined_as_ever() {
    needs!(Need::Root, Need::MountNamespaces);
    let project = scratch();
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "sh", "-c", READ_ONLY])
        .arg(Server::command().get_program())
        .arg(project.dir());
    let mut client = Client::stdio_command(command);
    assert_ne!(
        client
            .run(Start::shell("free", "echo x >/tmp/exec-server-x"))
            .code,
        0,
        "/tmp is read-only"
    );
    let policy = workspace(&project.dir());
    let script = "echo x >made && ! mkdir .codex && ! echo x >/etc/made && cat made";
    let start = Start::shell("p", script)
        .cwd(&project.dir())
        .with("sandbox", policy.clone());
    let level = client.start(start)["sandboxLevel"].clone();
    let outcome = client.closed("p");
    assert_eq!((outcome.code, &*outcome.stdout), (0, "x\n"), "{outcome:?}");
    // With no place to note mount points down it is said what that costs.
    let weaker = level["weaker"].to_string();
    assert!(weaker.contains("not noted down"), "{level}");
    assert_eq!(fs::read_dir(project.dir()).unwrap().count(), 1);
    let write = |name: &str| json!({"path": project.path(name), "dataBase64": encode(b"new"), "sandbox": policy});
    client.ok("fs/writeFile", write("file"));
    assert_eq!(fs::read_to_string(project.path("file")).unwrap(), "new");
    client.err("fs/writeFile", write(".codex/config"));
}

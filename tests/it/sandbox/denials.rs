//! What is told of a process that its sandbox has denied something.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use crate::support::sandbox::{Launcher, ORDINARY, Sandbox, Stage, Who};
use crate::support::{Start, command_line, finish, scratch, through_child};

/// What is told of a script that fails under a policy.
fn denial(stage: &mut Stage, policy: &Sandbox, id: &str, script: &str) -> Value {
    let start = Start::shell(id, script).cwd(&stage.workspace());
    stage.client.start(start.with("sandbox", policy.json()));
    stage.client.closed(id);
    let exited = stage.client.exited(id);
    assert_eq!(exited["sandboxDenied"], true, "{script}: {exited}");
    exited["sandboxDenial"].clone()
}

fn rule(path: &str, origin: &str) -> Value {
    json!({"path": path, "access": "read", "origin": origin})
}

on_every_launcher! {
    fn the_rule_is_told_with_the_path(stage) {
        let outside = stage.path("outside/new");
        let errno = match stage.launcher {
            Launcher::Landlock => "EACCES",
            _ => "EROFS",
        };
        let told = |path: &str, rule: Value| json!({"kind": "path", "path": path, "errno": errno, "rule": rule});
        let policy = Sandbox::read_only();
        let script = format!("touch {outside}");
        assert_eq!(denial(stage, &policy, "outside", &script), told(&outside, rule("/", "policy")));
        if stage.launcher != Launcher::Landlock {
            let policy = stage.policy();
            let git = stage.path("workspace/.git");
            let made = format!("{git}/x");
            let script = format!("touch {made}");
            assert_eq!(denial(stage, &policy, "git", &script), told(&made, rule(&git, "metadata")));
        }
    }
}

on_landlock! {
    /// No program can write there, confined or not, so it is not said that a rule was why. A read-only mount says what it is.
    fn a_refusal_for_the_mode_of_a_file_is_only_guessed_about(stage) {
        let closed = stage.make_directory("outside/closed");
        let file = stage.make_file("outside/file", "to be read");
        for (path, mode) in [(&closed, 0o555), (&file, 0o444)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        for (id, path) in [("below", &format!("{closed}/new")), ("itself", &file)] {
            let told = denial(stage, &Sandbox::read_only(), id, &format!("echo x >{path}"));
            assert_eq!(told, json!({"kind": "text", "text": "permission denied"}), "{path}");
        }
    }
}

/// A directory of somebody else, whom a server of root is not without its capabilities.
#[test]
fn nor_is_it_said_of_what_belongs_to_another_user() {
    let Some(mut stage) = Stage::set(Launcher::Landlock, Who::Myself) else {
        return;
    };
    let others = stage.make_directory("outside/others");
    if stage.is_root() {
        chown(&others, Some(ORDINARY), Some(ORDINARY)).unwrap();
        let script = format!("echo x >{others}/new");
        let told = denial(&mut stage, &Sandbox::read_only(), "p", &script);
        assert_eq!(told["kind"], "text", "{told}");
    }
}

#[test]
fn the_command_line_says_it_under_landlock_too() {
    let home = scratch();
    fs::write(home.path("environments.toml"), "").unwrap();
    let made = home.path("made");
    let run = |more: &[&str]| {
        let mut command = through_child(&["deny", "namespaces"], &command_line(&home.dir()));
        command.args(["run", "-e", "local", "--sandbox", "read-only"]);
        command.args(more).args(["touch", &made]);
        finish(command, b"")
    };
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = format!(
        "denied by the sandbox: {made} (EACCES): / may only be read; --write {} would permit it",
        home.dir()
    );
    assert!(!output.status.success() && said.contains(&line), "{said}");
    // And so it does.
    let output = run(&["--write", &home.dir(), "--accept-weaker", "metadata"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && fs::exists(&made).unwrap(),
        "{said}"
    );
}

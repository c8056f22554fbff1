//! What may be given up where Landlock is all there is: the protection of metadata, if somebody says so.

use std::fs;

use serde_json::{Value, json};

use super::{entry, restricted, special, workspace};
use crate::support::{Client, Server, Start, child, command_line, finish, scratch, through_child};

/// The names that are protected where they can be.
const NAMES: [&str; 4] = [".agents", ".aws", ".codex", ".git"];

/// A policy whose client gives metadata up.
fn accepting(mut policy: Value) -> Value {
    policy["acceptWeaker"] = json!(["metadata"]);
    policy
}

/// Makes a file under a policy, and gives what is weaker.
fn made(client: &mut Client, target: &str, policy: &Value) -> String {
    let id = format!("make-{target}");
    let start = Start::child(&id, &["make", target]).with("sandbox", policy.clone());
    let level = client.start(start)["sandboxLevel"].clone();
    let outcome = client.closed(&id);
    assert_eq!(outcome.code, 0, "{target}: {level} {outcome:?}");
    assert!(fs::exists(target).unwrap(), "{target}: {level}");
    assert_eq!(level["launcher"], "landlock", "{level}");
    level["weaker"].to_string()
}

/// Expects the workspace to be writable, nothing else to be, and each name that is not protected to be told.
fn only_metadata_is_given_up(client: &mut Client, accept: impl Fn(Value) -> Value) {
    let (project, outside) = (scratch(), scratch());
    let policy = accept(workspace(&project.dir()));
    let weaker = made(client, &project.path("made"), &policy);
    for name in NAMES {
        let told = format!("{} is not protected", project.path(name));
        assert_eq!(weaker.matches(&told).count(), 1, "{name}: {weaker}");
    }
    let target = outside.path("made");
    let start = Start::child("out", &["make", &target]).with("sandbox", policy);
    assert_ne!(client.run(start).code, 0);
    assert!(!fs::exists(&target).unwrap());

    // What the client itself takes away is never given up, nor is it inside of what is.
    for (asked, access) in [(".git", "read"), (".git/hooks", "read"), ("secret", "deny")] {
        let entries = [
            special("root", "read"),
            entry(&project.dir(), "write"),
            entry(&project.path(asked), access),
        ];
        let start = Start::child("asked", &["true"]).with("sandbox", accept(restricted(&entries)));
        let error = client.err("process/start", start.0);
        assert!(
            error.message.contains(&project.path(asked)) && error.message.contains("the entry"),
            "{asked}: {}",
            error.message
        );
    }
}

#[test]
fn a_client_can_give_up_the_protection_of_metadata() {
    only_metadata_is_given_up(&mut Client::stdio_denied("namespaces", &[]), accepting);
}

#[test]
fn an_operator_can_give_it_up_for_all_clients() {
    let mut client = Client::stdio_denied("namespaces", &["--accept-weaker", "metadata"]);
    only_metadata_is_given_up(&mut client, |policy| policy);
}

#[test]
fn without_either_the_refusal_names_both_ways() {
    let project = scratch();
    let mut client = Client::stdio_denied("namespaces", &[]);
    let start = Start::child("p", &["true"]).with("sandbox", workspace(&project.dir()));
    let error = client.err("process/start", start.0);
    for words in ["--accept-weaker metadata", "acceptWeaker", "seccomp"] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
}

#[test]
fn where_it_can_be_protected_it_is() {
    let project = scratch();
    let flags = ["--sandbox-launcher", "bundled", "--accept-weaker=metadata"];
    let mut client = Client::stdio_with(&flags);
    let policy = accepting(workspace(&project.dir()));
    for name in NAMES {
        let target = project.path(&format!("{name}/made"));
        let start = Start::child(name, &["make", &target]).with("sandbox", policy.clone());
        let level = client.start(start)["sandboxLevel"].to_string();
        assert!(!level.contains("not protected"), "{level}");
        assert_ne!(client.closed(name).code, 0, "{name}: {level}");
        assert!(!fs::exists(&target).unwrap(), "{name}");
    }
}

#[test]
fn file_requests_give_up_the_same() {
    let project = scratch();
    let mut client = Client::stdio_denied("namespaces", &[]);
    let write = |name: &str, policy: Value| json!({"path": project.path(name), "dataBase64": "aGkK", "sandbox": policy});
    let policy = workspace(&project.dir());
    let error = client.err("fs/writeFile", write("refused", policy.clone()));
    assert!(error.message.contains(".agents"), "{}", error.message);
    client.ok("fs/writeFile", write("made", accepting(policy)));
    assert_eq!(fs::read_to_string(project.path("made")).unwrap(), "hi\n");
    assert!(!fs::exists(project.path("refused")).unwrap());
}

#[test]
fn an_unknown_name_is_refused() {
    let mut policy = workspace("/srv");
    policy["acceptWeaker"] = json!(["network"]);
    let start = Start::child("p", &["true"]).with("sandbox", policy);
    let error = Client::stdio().err("process/start", start.0);
    assert_eq!(error.code, -32602);
    assert!(error.message.contains("network"), "{}", error.message);
}

#[test]
fn run_gives_it_up_for_one_command_here_and_elsewhere() {
    let home = scratch();
    let program = Server::command().get_program().to_owned();
    let text = format!(
        "[[environments]]\nid = \"there\"\nprogram = \"{}\"\nargs = [\"deny\", \"namespaces\", {program:?}, \
         \"--listen\", \"stdio\"]\n",
        child()
    );
    fs::write(home.path("environments.toml"), text).unwrap();
    let run = |environment: &str, more: &[&str], target: &str| {
        let mut command = through_child(&["deny", "namespaces"], &command_line(&home.dir()));
        command.args(["run", "-v", "-e", environment, "-C", &home.dir()]);
        command.args(["--sandbox", "workspace-write"]).args(more);
        command.arg(child()).args(["make", target]);
        finish(command, b"")
    };
    for environment in ["local", "there"] {
        let target = home.path(environment);
        let refused = run(environment, &[], &target);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "{environment}: {said}");
        assert!(said.contains("--accept-weaker metadata"), "{said}");
        assert!(!fs::exists(&target).unwrap(), "{environment}");

        let ran = run(environment, &["--accept-weaker", "metadata"], &target);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{environment}: {said}");
        assert!(fs::exists(&target).unwrap(), "{environment}");
        assert!(said.contains(".git is not protected"), "{said}");
    }
}

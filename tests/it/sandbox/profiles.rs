//! Container runtimes' profiles of system calls: Docker's own, and ours, which adds what bwrap needs.

use std::fs;

use serde_json::{Value, json};

use super::{read_only, workspace};
use crate::support::sandbox::{Launcher, Stage, Who};
use crate::support::{Client, Start, child, scratch};

const DOCKERS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/docker-seccomp.json"
);
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/seccomp-userns.json");

fn read(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn under(profile: &str) -> Client {
    Client::stdio_denied(&format!("profile={profile}"), &[])
}

/// Who confines a program under this policy, where the system calls are those of a profile.
fn launcher(profile: &str, policy: Value) -> Value {
    let mut client = under(profile);
    let start = Start::child("level", &["true"]).with("sandbox", policy);
    let level = client.start(start)["sandboxLevel"].clone();
    assert_eq!(client.closed("level").code, 0, "{level}");
    level["launcher"].clone()
}

#[test]
fn under_dockers_a_workspace_is_refused_with_what_to_do() {
    let project = scratch();
    let mut client = under(DOCKERS);
    assert_eq!(launcher(DOCKERS, read_only()), "landlock");
    let start = Start::child("p", &["true"]).with("sandbox", workspace(&project.dir()));
    let error = client.err("process/start", start.0);
    for words in ["deploy/seccomp-userns.json", "--accept-weaker metadata"] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
    let mut accepting = workspace(&project.dir());
    accepting["acceptWeaker"] = json!(["metadata"]);
    assert_eq!(launcher(DOCKERS, accepting), "landlock");
}

#[test]
fn under_ours_a_bwrap_makes_the_sandbox() {
    let mut client = under(OURS);
    assert_eq!(launcher(OURS, read_only()), "bundled");
    let project = scratch();
    assert_eq!(launcher(OURS, workspace(&project.dir())), "bundled");
    for (name, is_made) in [("made", true), (".git/made", false)] {
        let target = project.path(name);
        let start = Start::child(name, &["make", &target]);
        let start = start.with("sandbox", workspace(&project.dir()));
        assert_eq!(client.run(start).code == 0, is_made, "{name}");
        assert_eq!(fs::exists(&target).unwrap(), is_made, "{name}");
    }
}

#[test]
fn under_ours_it_does_so_for_an_ordinary_user_too() {
    let through = |server: std::process::Command| {
        let mut command = std::process::Command::new(child());
        command.args(["deny", &format!("profile={OURS}")]);
        command.arg(server.get_program()).args(server.get_args());
        command
    };
    let Some(mut stage) = Stage::set_through(Launcher::Bundled, Who::Another, through) else {
        return;
    };
    let (policy, target) = (stage.policy(), stage.path("workspace/made"));
    let start = stage
        .child(&["make", &target])
        .with("sandbox", policy.json());
    assert_eq!(stage.client.run(start).code, 0);
    assert!(fs::exists(&target).unwrap());
}

#[test]
fn ours_is_dockers_and_no_more_than_bwrap_needs() {
    let (dockers, ours) = (read(DOCKERS), read(OURS));
    let rules = |profile: &Value| profile["syscalls"].as_array().unwrap().clone();
    let (mut expected, rules) = (rules(&dockers), rules(&ours));
    // What Docker itself has taken away since: io_uring, and the sockets of virtual machines.
    let names = expected[0]["names"].as_array_mut().unwrap();
    names.retain(|name| {
        let name = name.as_str().unwrap();
        !name.starts_with("io_uring_") && name != "socket"
    });
    let added: Vec<&Value> = rules
        .iter()
        .filter(|rule| !expected.contains(rule))
        .collect();
    let kept: Vec<&Value> = rules
        .iter()
        .filter(|rule| expected.contains(rule))
        .collect();
    assert_eq!(kept, expected.iter().collect::<Vec<_>>());
    assert_eq!(ours["archMap"], dockers["archMap"]);
    let namespaces = libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    let told: Vec<_> = added
        .iter()
        .map(|rule| (rule["names"].clone(), rule["args"].clone()))
        .collect();
    let argument = |value: i32, op: &str| json!([{"index": 0, "value": value, "op": op}]);
    assert_eq!(
        told,
        [
            (json!(["socket"]), argument(libc::AF_VSOCK, "SCMP_CMP_NE")),
            (json!(["clone"]), argument(namespaces, "SCMP_CMP_MASKED_EQ")),
            (
                json!(["unshare"]),
                argument(libc::CLONE_NEWUSER, "SCMP_CMP_EQ")
            ),
            (
                json!(["unshare"]),
                argument(libc::CLONE_NEWNS, "SCMP_CMP_EQ")
            ),
            (
                json!(["mount", "move_mount", "open_tree", "pivot_root", "umount2"]),
                json!([])
            ),
        ]
    );
}

#[test]
fn without_any_of_the_added_calls_there_is_no_workspace() {
    let place = scratch();
    let calls = [
        "clone",
        "mount",
        "move_mount",
        "open_tree",
        "pivot_root",
        "umount2",
    ];
    for call in calls {
        let mut profile = read(OURS);
        let rules = profile["syscalls"].as_array_mut().unwrap();
        // The last rules are the added ones.
        let added = rules.len() - 4;
        for rule in &mut rules[added..] {
            let names = rule["names"].as_array_mut().unwrap();
            names.retain(|name| name != call);
        }
        let path = place.path(call);
        fs::write(&path, profile.to_string()).unwrap();
        let target = place.path("made");
        let start = Start::child("p", &["make", &target]);
        let start = start.with("sandbox", workspace(&place.dir()));
        under(&path).err("process/start", start.0);
        assert!(!fs::exists(&target).unwrap(), "{call}");
    }
}

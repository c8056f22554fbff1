//! Which launcher is taken, and what is said when none can be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{read_only, workspace};
use crate::support::sandbox::{Launcher, Who};
use crate::support::{Client, Need, RpcError, Server, Start, child, has, scratch};
use exec_server::sandbox::bundled::BUNDLED_BWRAP;

/// The bytes of the bwrap that comes with the program.
fn bundled() -> Vec<u8> {
    BUNDLED_BWRAP.unwrap().elf().unwrap()
}

fn level(client: &mut Client, policy: Value) -> Value {
    let start = Start::child("level", &["true"]).with("sandbox", policy);
    let level = client.start(start)["sandboxLevel"].clone();
    assert_eq!(client.closed("level").code, 0);
    level
}

/// What is said instead of starting a program under a read-only policy.
fn refusal(client: &mut Client) -> RpcError {
    let start = Start::child("p", &["true"]).with("sandbox", read_only());
    client.err("process/start", start.0)
}

/// Fails if a program under a read-only policy makes a file, or if it runs in any other way than confined.
fn holds(client: &mut Client, what: &str) -> Value {
    let scratch = scratch();
    let target = scratch.path("made");
    let start = Start::child("write", &["make", &target]).with("sandbox", read_only());
    let result = client.start(start);
    let outcome = client.closed("write");
    assert_ne!(outcome.code, 0, "{what}: {result}");
    assert!(!fs::exists(&target).unwrap(), "{what}: {result}");
    result["sandboxLevel"].clone()
}

#[test]
fn a_bwrap_makes_the_sandbox_where_there_are_namespaces() {
    let mut client = Client::stdio_with(&["--sandbox-launcher", "bundled"]);
    let level = holds(&mut client, "bundled");
    assert_eq!(level["launcher"], "bundled");
    assert_eq!(
        level["namespaces"],
        json!(["user", "mount", "pid", "ipc", "network"])
    );
    assert_eq!(level["seccomp"], true);
    assert!(
        level["landlockAbi"].as_u64() > Some(0),
        "a second wall stands: {level}"
    );
    assert_eq!(level["version"], BUNDLED_BWRAP.unwrap().version);
}

#[test]
fn without_landlock_a_bwrap_says_what_its_mounts_do_not_stop() {
    let mut client = Client::stdio_denied("landlock", &["--sandbox-launcher", "bundled"]);
    let level = holds(&mut client, "landlock");
    assert_eq!(
        (&level["launcher"], &level["landlockAbi"]),
        (&json!("bundled"), &json!(0))
    );
    let weaker = level["weaker"].to_string();
    assert!(weaker.contains("named pipes"), "{level}");
}

#[test]
fn landlock_confines_where_namespaces_are_denied() {
    let mut client = Client::stdio_denied("namespaces", &[]);
    let level = holds(&mut client, "namespaces");
    assert_eq!(level["launcher"], "landlock");
    assert!(level["landlockAbi"].as_u64() > Some(0), "{level}");
    assert!(
        !level["weaker"].as_array().unwrap().is_empty(),
        "what is weaker is said: {level}"
    );
}

#[test]
fn a_policy_that_landlock_cannot_express_is_refused_with_the_entry() {
    let project = scratch();
    let mut client = Client::stdio_denied("namespaces", &[]);
    let target = project.path("made");
    let start = Start::child("p", &["make", &target]).with("sandbox", workspace(&project.dir()));
    let error = client.err("process/start", start.0);
    assert_eq!(error.code, -32603);
    let entry = project.path(".agents");
    assert!(error.message.contains(&entry), "{}", error.message);
    assert!(
        error.message.contains("EPERM"),
        "the cause is named: {}",
        error.message
    );
    assert!(!fs::exists(&target).unwrap());
    client.still_serves();
}

#[test]
fn without_namespaces_and_landlock_nothing_runs() {
    let scratch = scratch();
    let mut client = Client::stdio_denied("namespaces,landlock", &[]);
    let target = scratch.path("made");
    let start = Start::child("p", &["make", &target]).with("sandbox", read_only());
    let error = client.err("process/start", start.0);
    assert!(error.message.contains("no launcher"), "{}", error.message);
    assert!(error.message.contains("no Landlock"), "{}", error.message);
    assert!(!fs::exists(&target).unwrap());
    // What need not be confined runs as ever.
    assert_eq!(client.run(Start::child("q", &["true"])).code, 0);
}

#[test]
fn a_missing_system_call_never_makes_the_sandbox_less() {
    for words in [
        "mount",
        "memfd_create",
        "openat2",
        "pidfd_open",
        "close_range",
        "clone3",
    ] {
        holds(&mut Client::stdio_denied(words, &[]), words);
    }
}

#[test]
fn calls_that_have_an_older_way_do_not_cost_the_namespaces() {
    for words in ["openat2", "pidfd_open", "close_range", "clone3"] {
        let level = level(
            &mut Client::stdio_denied(words, &["--sandbox-launcher", "bundled"]),
            read_only(),
        );
        assert_eq!(level["launcher"], "bundled", "{words}");
    }
}

#[test]
fn a_limit_of_namespaces_is_named_with_its_remedy() {
    let server = Server::command();
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" --listen stdio --sandbox-launcher bundled";
    let mut command = Command::new("unshare");
    command
        .args(["-Ur", "sh", "-c", script])
        .arg(server.get_program());
    let mut client = Client::stdio_command(command);
    let error = refusal(&mut client);
    assert!(
        error.message.contains("user.max_user_namespaces is 0"),
        "{}",
        error.message
    );
    assert!(
        error.message.contains("sysctl -w user.max_user_namespaces"),
        "{}",
        error.message
    );
}

#[test]
fn a_bundled_file_with_another_byte_is_refused() {
    let scratch = scratch();
    let mut bytes = bundled();
    let file = scratch.path("bwrap");
    let flags = ["--sandbox-launcher", "bundled", "--bwrap", &file];
    fs::write(&file, &bytes).unwrap();
    let level = level(&mut Client::stdio_with(&flags), read_only());
    assert_eq!(level["launcher"], "bundled");

    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut client = Client::stdio_with(&flags);
    let error = refusal(&mut client);
    assert!(
        error.message.contains("digest mismatch"),
        "{}",
        error.message
    );
}

/// A directory that only root can write to, as a system's own are; goes with its test.
pub struct Trusted(pub PathBuf);

impl Trusted {
    /// `None` if we cannot make one; says so.
    pub fn with_bwrap(bytes: &[u8], mode: u32) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !has(Need::Root) {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = PathBuf::from(format!(
            "/opt/exec-server-test-{}-{number}",
            std::process::id()
        ));
        fs::create_dir_all(&place).unwrap();
        let trusted = Self(place);
        fs::write(trusted.0.join("bwrap"), bytes).unwrap();
        fs::set_permissions(trusted.0.join("bwrap"), fs::Permissions::from_mode(mode)).unwrap();
        Some(trusted)
    }

    /// What a server that has only this one on its PATH says of it.
    fn objection(&self, cwd: &str) -> String {
        let mut command = Server::command();
        command
            .args(["--listen", "stdio", "--sandbox-launcher", "system"])
            .env("PATH", &self.0);
        let mut client = Client::stdio_command(command);
        let start = Start::child("p", &["true"])
            .cwd(cwd)
            .with("sandbox", read_only());
        client.err("process/start", start.0).message
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_rejected_bwrap_keeps_its_reason() {
    let poser = fs::read(child()).unwrap();
    let (garbage, script): (&[u8], &[u8]) = (b"\x7fELF and nothing else", b"#!/bin/sh\n");
    for (bytes, mode, says, reason) in [
        (
            &*poser,
            0o755,
            Some("usage: bwrap --bind --ro-bind"),
            "--perms",
        ),
        (&*poser, 0o755, None, "did not end within 2 s"),
        (
            &*poser,
            0o755,
            Some("bwrap --perms"),
            "ended before the sandbox stood",
        ),
        (garbage, 0o755, None, "it cannot be run"),
        (script, 0o757, None, "can be written to by others"),
        (script, 0o644, None, "it is no program"),
    ] {
        let Some(trusted) = Trusted::with_bwrap(bytes, mode) else {
            return;
        };
        if let Some(text) = says {
            fs::write(trusted.0.join("says"), text).unwrap();
        }
        let said = trusted.objection("/");
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(said.contains(trusted.0.to_str().unwrap()), "{said}");
    }
}

/// A server with this one on its PATH alone.
fn with_system(trusted: &Trusted, flags: &[&str]) -> Client {
    let mut command = Server::command();
    command.args(["--listen", "stdio"]).args(flags);
    command.env("PATH", &trusted.0);
    Client::stdio_command(command)
}

/// A bwrap that works and says that it is of another version.
fn of_version(version: &str, mode: u32) -> Option<Trusted> {
    let trusted = Trusted::with_bwrap(&fs::read(child()).unwrap(), mode)?;
    fs::write(
        trusted.0.join("says"),
        format!("--perms --bind-fd --ro-bind-fd {version}"),
    )
    .unwrap();
    let real = trusted.0.join("real");
    fs::write(&real, bundled()).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(trusted.0.join("works"), "").unwrap();
    Some(trusted)
}

const OLDROOT: &str = "GHSA-pxhw-h44j-8pfx, fixed in 0.12.0";
const TRACED: &str = "CVE-2026-41163, fixed in 0.11.2";

#[test]
fn a_system_bwrap_without_a_known_fault_comes_first() {
    let Some(trusted) = Trusted::with_bwrap(&bundled(), 0o755) else {
        return;
    };
    let level = holds(&mut with_system(&trusted, &[]), "system");
    assert_eq!(level["launcher"], "system");
    assert!(!level.to_string().contains("known fault"), "{level}");
    let Some(newer) = of_version("0.12.1", 0o755) else {
        return;
    };
    let level = holds(&mut with_system(&newer, &[]), "newer");
    assert_eq!(
        (&level["launcher"], &level["version"]),
        (&json!("system"), &json!("0.12.1"))
    );
}

#[test]
fn one_with_a_known_fault_comes_after_the_bundled_one_and_tells_it() {
    let Some(trusted) = of_version("0.11.2", 0o755) else {
        return;
    };
    let level = holds(&mut with_system(&trusted, &[]), "older");
    assert_eq!(level["launcher"], "bundled", "{level}");
    assert!(!level.to_string().contains("known fault"), "{level}");
    // Where there is no other, and where it is chosen.
    for flags in [
        ["--bwrap", "/nowhere/bwrap"],
        ["--sandbox-launcher", "system"],
    ] {
        let level = holds(&mut with_system(&trusted, &flags), "older");
        assert_eq!(level["launcher"], "system", "{flags:?}: {level}");
        let weaker = level["weaker"].to_string();
        assert!(weaker.contains(OLDROOT), "{flags:?}: {weaker}");
        assert!(!weaker.contains(TRACED), "{flags:?}: {weaker}");
    }
}

#[test]
fn of_several_with_known_faults_the_one_with_the_fewest_is_taken() {
    let (Some(traced), Some(other)) = (of_version("0.11.0", 0o4755), of_version("0.11.0", 0o755))
    else {
        return;
    };
    let mut command = Server::command();
    let places = std::env::join_paths([&traced.0, &other.0]).unwrap();
    let flags = ["--listen", "stdio", "--bwrap", "/nowhere/bwrap"];
    command.args(flags).env("PATH", places);
    let level = holds(&mut Client::stdio_command(command), "two");
    assert_eq!(level["launcher"], "system", "{level}");
    assert!(!level.to_string().contains(TRACED), "{level}");
    let level = holds(
        &mut with_system(&traced, &["--sandbox-launcher", "system"]),
        "set-user-id",
    );
    assert!(level.to_string().contains(TRACED), "{level}");
}

#[test]
fn the_machines_own_tells_its_faults() {
    needs!(Need::Launcher(Launcher::System, Who::Myself));
    let output = Command::new("bwrap").arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.trim().rsplit(' ').next().unwrap().to_owned();
    let mut client = Client::stdio_with(&["--sandbox-launcher", "system"]);
    let level = holds(&mut client, "system");
    assert_eq!(level["version"], version);
    let numbers: Vec<u32> = version.split('.').map(|it| it.parse().unwrap()).collect();
    let is_old = numbers < vec![0, 12, 0];
    assert_eq!(level.to_string().contains(OLDROOT), is_old, "{level}");
}

#[test]
fn a_bwrap_inside_the_workspace_is_not_used() {
    let Some(trusted) = Trusted::with_bwrap(b"#!/bin/sh\n", 0o755) else {
        return;
    };
    let said = trusted.objection(trusted.0.to_str().unwrap());
    assert!(said.contains("below the working directory"), "{said}");
}

//! The command line in places such as containers are: an empty root, and namespaces of others.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::Environments;

#[test]
fn a_root_that_holds_nothing_but_our_binary_is_enough() {
    let environments = Environments::start();
    let root = environments.scratch.path("root");
    fs::create_dir(&root).unwrap();
    let own = environments.command(&[]);
    fs::copy(own.get_program(), format!("{root}/exec-server")).unwrap();
    // Also a fresh process namespace, as in a container.
    let enter = [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--root",
        &root,
    ];
    let tried = Command::new("unshare")
        .args(enter)
        .args(["/exec-server", "--version"])
        .output();
    match tried {
        Ok(output) if output.status.success() => {}
        other => {
            println!("skipped: unshare does not work here: {other:?}");
            return;
        }
    }
    let args: Vec<&str> = enter
        .into_iter()
        .chain(["/exec-server", "--listen", "stdio"])
        .collect();
    environments.configure(&format!(
        "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"unshare\"\nargs = {args:?}\n"
    ));
    assert!(
        environments
            .stdout(&["run", "/exec-server", "--version"])
            .starts_with("exec-server ")
    );
    let here = environments.scratch.path("here");
    fs::write(&here, "bytes").unwrap();
    environments.stdout(&["cp", &here, "box:/there"]);
    assert_eq!(fs::read(format!("{root}/there")).unwrap(), b"bytes");
}

/// Namespaces of its own, held until it is dropped: its host is called `far-away`.
struct Holder(Child);

impl Holder {
    /// None with a word why where the kernel allows no namespaces.
    fn open() -> Option<Self> {
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--uts", "--mount"])
            .args(["sh", "-c", "hostname far-away && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = match holder {
            Ok(holder) => Self(holder),
            Err(why) => {
                println!("skipped: no unshare: {why}");
                return None;
            }
        };
        let mut line = String::new();
        BufReader::new(holder.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line != "ready\n" {
            println!("skipped: unshare or hostname does not work here");
            return None;
        }
        Some(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn commands_run_in_namespaces_that_nsenter_enters() {
    let Some(far_away) = Holder::open() else {
        return;
    };
    let environments = Environments::start();
    let own = environments.command(&[]);
    let binary = own.get_program().to_str().unwrap();
    let target = far_away.0.id().to_string();
    let args = [
        "--target", &target, "--user", "--uts", "--mount", binary, "--listen", "stdio",
    ];
    environments.configure(&format!(
        "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"nsenter\"\nargs = {args:?}\n"
    ));
    assert_eq!(
        environments.stdout(&["run", "cat", "/proc/sys/kernel/hostname"]),
        "far-away\n"
    );
}

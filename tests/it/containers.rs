//! The command line in places such as containers are: an empty root, and namespaces of others.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Environments, Need, has};

#[test]
fn a_root_that_holds_nothing_but_our_binary_is_enough() {
    needs!(Need::Namespaces);
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

/// Makes `$0` the root as a container runtime does: with nothing in it but what is there, /proc and some devices, and
/// with the mount options of `$1`. Then becomes our program, which is in there.
const CONTAINER: &str = r#"set -e
mount --make-rprivate /
mount --bind "$0" "$0"
mkdir -p "$0/proc" "$0/dev" "$0/before"
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/dev"
for device in null zero full random urandom tty; do
    : >"$0/dev/$device"
    mount --bind "/dev/$device" "$0/dev/$device"
done
mount -o "remount,bind,$1" "$0"
cd "$0"
pivot_root . before
shift
exec /exec-server "$@""#;

/// An image that holds our program and nothing else, as an environment `box`; none where no container can be made.
fn image(options: &str) -> Option<(Environments, String)> {
    if !has(Need::Namespaces) {
        return None;
    }
    let environments = Environments::start();
    let root = environments.scratch.path("root");
    fs::create_dir(&root).unwrap();
    let own = environments.command(&[]);
    fs::copy(own.get_program(), format!("{root}/exec-server")).unwrap();
    let enter = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        CONTAINER,
    ];
    let mut args: Vec<&str> = enter.to_vec();
    args.extend([&root, options]);
    args.extend(["--listen", "stdio"]);
    environments.configure(&format!(
        "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"unshare\"\nargs = {args:?}\n"
    ));
    Some((environments, root))
}

#[test]
fn an_image_without_tmp_gets_one_and_confines_by_namespaces() {
    let Some((environments, root)) = image("rw") else {
        return;
    };
    let run = [
        "run",
        "-v",
        "--sandbox",
        "read-only",
        "/exec-server",
        "--version",
    ];
    let output = environments.run(&run);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(output.stdout.starts_with(b"exec-server "), "{said}");
    assert!(said.contains("confined by bundled"), "{said}");
    assert!(fs::metadata(format!("{root}/tmp")).unwrap().is_dir());
}

#[test]
fn a_read_only_image_without_tmp_runs_commands_and_says_what_it_lacks() {
    let Some((environments, root)) = image("ro") else {
        return;
    };
    let run = |sandbox: &str, more: &[&str]| {
        let words = [
            "run",
            "-v",
            "--sandbox",
            sandbox,
            "-C",
            "/dev",
            "/exec-server",
        ];
        let output = environments.run(&[&words[..4], more, &words[4..], &["--version"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run("off", &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run("read-only", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("confined by landlock"), "{said}");
    let (code, said) = run("workspace-write", &[]);
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("docker run --tmpfs /tmp"), "{said}");
    let (code, said) = run("workspace-write", &["--accept-weaker", "metadata"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!fs::exists(format!("{root}/tmp")).unwrap());

    let doctor = environments.run(&["run", "/exec-server", "doctor", "--json"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let tmp = checks.iter().find(|check| check["name"] == "/tmp").unwrap();
    assert_eq!(tmp["state"], "weaker", "{report}");
    let remedy = tmp["remedy"].as_str().unwrap();
    assert!(remedy.contains("docker run --tmpfs /tmp"), "{remedy}");
    let writing = &report["policies"]["workspace-write"];
    assert_eq!(writing["available"], false, "{report}");
    assert!(writing["remedy"].to_string().contains(remedy), "{report}");
}

/// Namespaces of its own, held until it is dropped: its host is called `far-away`.
struct Holder(Child);

impl Holder {
    fn open() -> Self {
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--uts", "--mount"])
            .args(["sh", "-c", "hostname far-away && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = Self(holder.unwrap());
        let mut line = String::new();
        BufReader::new(holder.0.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        holder
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
    needs!(Need::Namespaces, Need::Program("hostname"));
    let far_away = Holder::open();
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

//! Tests inside a virtual machine, where a kernel can do what that of this machine may not.
//!
//! The machine is User-mode Linux: a kernel that is a process of ours, and takes three seconds from its start to its end.
//! It sees this machine's files, read-only, and has its own `/dev`, `/proc`, `/run` and `/sys`; it has one processor and no
//! network. Inside, the example `vm` runs its tests, a group at a time; it begins with [`inside`].

use std::env::{var, var_os};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::{example, scratch};

/// Debian's User-mode Linux.
const KERNEL: &str = "/usr/bin/linux.uml";
/// For the tests inside.
const MEMORY: &str = "mem=512M";
/// How long it may take from its start to its end.
const LIMIT: Duration = Duration::from_secs(240);
/// What says inside that it is.
const MARK: &str = "EXEC_SERVER_TESTS_INSIDE";
/// Begins the last line of all.
const STATUS: &str = "the tests inside ended with status ";

/// Fails unless it runs in a virtual machine: its tests would change this one.
pub fn inside() {
    assert!(
        var_os(MARK).is_some(),
        "these tests are for a virtual machine, where another one runs them"
    );
}

/// Boots a machine, runs these lines of the shell, and then this group of tests. Fails if one of them does, with all that
/// was said.
pub fn run(set_up: &str, group: &str) {
    assert!(
        fs::exists(KERNEL).unwrap(),
        "{KERNEL} is missing, the kernel that these tests boot: on Debian for x86-64, apt-get install user-mode-linux"
    );
    let directory = scratch();
    let shim = directory.path("ptrace.so");
    fs::write(directory.path("ptrace.c"), include_str!("vm_ptrace.c")).unwrap();
    let compiled = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-o", &shim])
        .arg(directory.path("ptrace.c"))
        .output()
        .unwrap_or_else(|error| panic!("gcc, for the virtual machine: {error}"));
    assert!(compiled.status.success(), "{compiled:?}");
    let init = directory.path("init");
    fs::write(&init, script(set_up, group)).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let said = boot(&init, &shim, &directory.dir());
    let status = said.lines().find_map(|line| line.strip_prefix(STATUS));
    assert_eq!(status, Some("0"), "in the virtual machine:\n{said}");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What process 1 runs.
fn script(set_up: &str, group: &str) -> String {
    let program = quoted(&example("vm"));
    let binary = var("EXEC_SERVER_BIN").map_or_else(
        |_| String::new(),
        |path| format!("export EXEC_SERVER_BIN={}", quoted(&path)),
    );
    format!(
        r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TMPDIR=/run/tmp {MARK}=1
{binary}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir /run/home /run/tmp /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
{set_up}
cd /run
{program} {group}
echo "{STATUS}$?"
echo o >/proc/sysrq-trigger
exec sleep 1000
"#
    )
}

/// Runs the kernel to its end, with this library before C's; what was written to its console.
fn boot(init: &str, shim: &str, directory: &str) -> String {
    let mut command = Command::new(KERNEL);
    command
        .args([
            MEMORY,
            "rootfstype=hostfs",
            "root=/dev/root",
            "rootflags=/",
            "ro",
        ])
        .args(["con=null", "con0=fd:0,fd:1", "quiet", "panic=1"])
        .arg(format!("init={init}"))
        .arg(format!("uml_dir={directory}"))
        .env("LD_PRELOAD", shim)
        // Its memory is a file there; /dev/shm, which it would take, is small in containers.
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut kernel = command
        .spawn()
        .unwrap_or_else(|error| panic!("{KERNEL}: {error}"));
    let mut console = kernel.stdout.take().unwrap();
    let (sender, pieces) = channel::<Vec<u8>>();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = console.read(&mut buffer) {
            let _ = sender.send(buffer[..count].to_vec());
        }
    });
    let end = Instant::now() + LIMIT;
    let mut said = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(end.saturating_duration_since(Instant::now())) {
        said.extend(piece);
    }
    let is_late = Instant::now() >= end;
    if is_late {
        signal_group(kernel.id());
    }
    kernel.wait().unwrap();
    let said = String::from_utf8_lossy(&said).replace('\r', "");
    assert!(
        !is_late,
        "the virtual machine has not ended in {LIMIT:?}:\n{said}"
    );
    said
}

/// Kills the kernel, and the processes that its own processes are.
fn signal_group(leader: u32) {
    let group = format!("-{leader}");
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s KILL -- \"$1\"", "sh", &group])
        .status();
    assert!(status.unwrap().success(), "kill {group}");
}

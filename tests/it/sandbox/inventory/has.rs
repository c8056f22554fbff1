//! What a program has and can reach: processes, descriptors, mounts, devices, sockets, keys, rights, limits, variables.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use serde_json::Value;

use super::{has_devices, policies, same};
use crate::support::child;
use crate::support::sandbox::Stage;

/// The devices that are mounted on the host.
fn host_devices() -> Vec<String> {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let devices = list.lines().filter_map(|line| line.split(' ').nth(2));
    devices.map(String::from).collect()
}

/// What was said, without what differs from machine to machine and from run to run.
struct Normal {
    limits: String,
    status: String,
    devices: Vec<String>,
    has_own_mounts: bool,
    is_offline: bool,
}

impl Normal {
    fn new(stage: &Stage, policy: &str) -> Self {
        let server = stage.client.server_pid();
        let read = |name: &str| fs::read_to_string(format!("/proc/{server}/{name}")).unwrap();
        Self {
            limits: read("limits"),
            status: read("status").replace('\t', " "),
            devices: host_devices(),
            has_own_mounts: has_devices(stage, policy),
            is_offline: policy == "offline",
        }
    }

    fn line(&self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let line = match words[..] {
            ["limit", ..] => {
                let limit = line.strip_prefix("limit ").unwrap();
                // The mark by which the server finds its descendants.
                let is_mark = limit.starts_with("Max file locks ");
                if is_mark || self.limits.lines().any(|line| line.trim_end() == limit) {
                    "limits of the server".into()
                } else {
                    line.into()
                }
            }
            [name, value] if name.starts_with("Cap") => {
                if value.bytes().all(|digit| digit == b'0') {
                    format!("{name} none")
                } else if self.status.lines().any(|known| known == line) {
                    format!("{name} of the server")
                } else {
                    line.into()
                }
            }
            ["Uid:" | "Gid:", ..] if self.status.lines().any(|known| known == line) => {
                format!("{} of the server", words[0])
            }
            ["namespace", name, id] => {
                let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
                let whose = if host.to_str() == Some(id) {
                    "the host"
                } else {
                    "its own"
                };
                format!("namespace {name} of {whose}")
            }
            // With free files all that the user has is open to it, but for what leads into another process.
            ["process", whose, "opens", ..] if self.is_offline => {
                let doors = ["exe", "root", "cwd", "fd", "mem"].map(|name| format!("\"{name}\""));
                let opened: Vec<String> = doors
                    .into_iter()
                    .filter(|name| line.contains(name))
                    .collect();
                format!("process {whose} opens {opened:?}")
            }
            ["mount", ..] if !self.has_own_mounts => return None,
            ["mount", place, kind, device, flags] => {
                let is_device = |of: &String| of == device;
                let is_hosts = self.devices.iter().any(is_device);
                let flags = flags.trim_end_matches(",noexec");
                if place.contains("/exec-server-mounts") {
                    format!("mount JOURNAL {kind} {flags}")
                } else if is_hosts && flags == "ro,nosuid,nodev" && !place.starts_with("S/") {
                    // What of the host can be seen is the matter of other tests.
                    format!("mounts of the host {flags}")
                } else if is_hosts {
                    format!("mount {place} of the host {flags}")
                } else if place.starts_with("/proc/") {
                    // Which of them bwrap covers is the matter of its version.
                    format!("mounts below /proc {flags}")
                } else {
                    format!("mount {place} {kind} {flags}")
                }
            }
            // Of the machine's own devices those are listed that can be written.
            ["device", ..]
                if self.is_offline || !self.has_own_mounts && !line.contains("write works") =>
            {
                return None;
            }
            // The names of keys can be seen, and nothing be done with them.
            ["keys", "seen", ..] => return None,
            [_, "seen", ..] | ["unix", ..] if !self.has_own_mounts => return None,
            _ => line.into(),
        };
        Some(line)
    }
}

fn normal(said: &str, stage: &Stage, policy: &str) -> Vec<String> {
    let normal = Normal::new(stage, policy);
    let directory = stage.path("").trim_end_matches('/').to_string();
    let said = said.replace(&directory, "S").replace(&child(), "CHILD");
    let mut found: Vec<String> = said.lines().filter_map(|line| normal.line(line)).collect();
    found.sort();
    found.dedup();
    found
}

/// What the program says of itself, after the name of the abstract socket that it is told of.
fn list(stage: &mut Stage, policy: &str, sandbox: &Value, name: &str) -> String {
    let sockets = ["stream", "datagram"].map(|name| stage.path(&format!("outside/{name}")));
    let name = format!("@{name}");
    let modes = if has_devices(stage, policy) {
        "with-modes"
    } else {
        "without"
    };
    let words = ["inventory", modes, &sockets[0], &sockets[1], &name];
    let start = stage.child(&words).with("sandbox", sandbox.clone());
    let outcome = stage.client.run(start);
    assert_eq!(outcome.code, 0, "{policy}: {outcome:?}");
    outcome.stdout.replace(&name, "@abstract")
}

on_every_launcher! {
    fn a_program_has_what_it_is_meant_to_have(stage) {
        let name = format!("exec-server-inventory-{}", stage.client.server_pid());
        let _sockets = (
            UnixListener::bind(stage.path("outside/stream")).unwrap(),
            UnixDatagram::bind(stage.path("outside/datagram")).unwrap(),
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
        );
        for socket in ["stream", "datagram"] {
            let path = stage.path(&format!("outside/{socket}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        stage.make_directory("workspace/denied");
        stage.make_file("outside/secret.env", "secret");
        let mut wrong = Vec::new();
        for (policy, sandbox) in policies(stage) {
            let said = list(stage, policy, &sandbox, &name);
            wrong.extend(same(&normal(&said, stage, policy), stage, policy, &said));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("

"));
    }
}

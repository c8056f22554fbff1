//! What belongs to the host and is no plain file: its devices, its named pipes, and memory of its processes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use serde_json::json;

use crate::support::sandbox::{Sandbox, Stage};

/// A named pipe of the server's user, open at both ends.
fn pipe(stage: &Stage, name: &str) -> (String, File) {
    let path = stage.path(name);
    let mut child = stage.who.command(crate::support::child());
    assert!(
        child
            .args(["attempt", "fifo", &path])
            .status()
            .unwrap()
            .success()
    );
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    let file = options.open(&path).unwrap();
    (path, file)
}

fn is_empty(pipe: &mut File) -> bool {
    pipe.read(&mut [0; 64])
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

on_every_launcher! {
    fn named_pipes_outside_the_workspace_cannot_be_written(stage) {
        let (outside, mut read) = pipe(stage, "outside/pipe");
        let (inside, mut own) = pipe(stage, "workspace/pipe");
        stage.works_free(&["append", &outside]);
        assert!(!is_empty(&mut read));
        let policy = stage.policy();
        for attempt in ["append", "write", "open-to-write", "reopen"] {
            stage.refuses(&policy, &[attempt, &outside]);
            stage.refuses(&Sandbox::read_only(), &[attempt, &outside]);
            stage.refuses(&Sandbox::read_only(), &[attempt, &inside]);
        }
        assert!(is_empty(&mut read) && is_empty(&mut own));
        stage.allows(&policy, &["append", &inside]);
        assert!(!is_empty(&mut own));
    }

    fn without_a_network_alone_no_process_outside_can_be_written_to(stage) {
        let victim = stage.outsider(&["sleep"]);
        let pid = victim.pid().to_string();
        let maps = || fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        // Its own program, not yet ours.
        crate::support::within(crate::support::PATIENCE, "it runs", || maps().contains("/child"));
        let maps = maps();
        // Its stack, since what the program writes to may become read-only while it starts.
        let mapping = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let address = mapping.split('-').next().unwrap();
        let attempts = [&["open-memory", &pid][..], &["vm-write", &pid, address], &["vm-read", &pid, address], &["pidfd-getfd", &pid, "0"], &["ptrace", &pid]];
        let files = json!({"type": "unrestricted"});
        let permissions = json!({"type": "managed", "file_system": files, "network": "restricted"});
        let sandbox = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
        for attempt in attempts {
            let start = stage.attempt(attempt).with("sandbox", sandbox.clone());
            let outcome = stage.client.run(start);
            assert!(outcome.stdout.starts_with("failed"), "{} as {:?}: {attempt:?}: {outcome:?}", stage.launcher, stage.who);
        }
        for attempt in [&["open-memory", &pid][..], &["vm-write", &pid, address], &["ptrace", &pid]] {
            stage.works_free(attempt);
        }
    }
}

on_every_bwrap! {
    fn the_modes_of_devices_cannot_be_changed(stage) {
        let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
        let state = || devices.map(|path| fs::metadata(path).map(|status| status.mode()).ok());
        let before = state();
        let policy = stage.policy();
        for policy in [Sandbox::read_only(), policy] {
            // The mode that it has: whoever may set that may set any.
            for path in devices.into_iter().chain(["/proc/self/fd/0"]) {
                stage.refuses(&policy, &["chmod", path, "666"]);
            }
        }
        assert_eq!(state(), before);
    }
}

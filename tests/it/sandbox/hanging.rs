//! A launcher that hangs: after it has worked when it was tried, or in its trial.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::ladder::Trusted;
use super::read_only;
use crate::support::{Client, PATIENCE, Server, Start, alive, child, params, signal, within};
use exec_server::sandbox::bundled::BUNDLED_BWRAP;

/// Far below what a launcher may take, which is 30 s.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A server that is in the middle of a confined start, and how to see what it waits for.
struct Hanging {
    trusted: Trusted,
    client: Client,
    /// The request.
    start: i64,
}

impl Hanging {
    /// `None` if we cannot make one; says so.
    fn begin() -> Option<Self> {
        Self::begin_with(false)
    }

    /// The same in the launcher's trial.
    fn in_trial() -> Option<Self> {
        Self::begin_with(true)
    }

    fn begin_with(hangs_in_trial: bool) -> Option<Self> {
        let trusted = Trusted::with_bwrap(&fs::read(child()).unwrap(), 0o755)?;
        fs::write(trusted.0.join("says"), "bwrap --perms").unwrap();
        if hangs_in_trial {
            fs::write(trusted.0.join("tried"), "").unwrap();
        }
        let real = trusted.0.join("real");
        fs::write(&real, BUNDLED_BWRAP.unwrap().elf).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Server::command();
        command
            .args(["--listen", "stdio", "--sandbox-launcher", "system"])
            .env("PATH", &trusted.0);
        let mut client = Client::stdio_command(command);
        let start = Start::child("p", &["true"]).with("sandbox", read_only());
        let start = client.ask("process/start", start.0);
        Some(Self {
            trusted,
            client,
            start,
        })
    }

    /// The launcher, once it hangs.
    fn launcher(&self) -> u32 {
        let stuck = self.trusted.0.join("stuck");
        within(PATIENCE, "the launcher hangs", || stuck.exists());
        fs::read_to_string(stuck).unwrap().parse().unwrap()
    }
}

#[test]
fn terminate_ends_a_start_that_hangs() {
    let Some(mut hanging) = Hanging::begin() else {
        return;
    };
    let launcher = hanging.launcher();
    let begun = Instant::now();
    let answer = hanging
        .client
        .ok("process/terminate", params("p", json!({})));
    assert_eq!(answer, json!({"running": true}));
    let error = hanging.client.answer(hanging.start).unwrap_err();
    assert!(error.message.contains("told to end"), "{}", error.message);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    within(AT_ONCE, "the launcher is gone", || !alive(launcher));
    hanging.client.still_serves();
}

#[test]
fn the_end_of_the_server_waits_for_no_start_that_hangs() {
    for how in ["TERM", "end of input"] {
        let Some(mut hanging) = Hanging::begin() else {
            return;
        };
        let launcher = hanging.launcher();
        match how {
            "TERM" => signal(hanging.client.server_pid(), "TERM"),
            _ => hanging.client.end_of_input(),
        }
        within(AT_ONCE, how, || !alive(launcher));
        let server = hanging.client.server.as_mut().unwrap();
        assert!(server.ended(AT_ONCE).success(), "{how}");
    }
}

#[test]
fn terminate_ends_a_start_that_waits_for_the_trial_of_another() {
    let Some(mut hanging) = Hanging::in_trial() else {
        return;
    };
    let launcher = hanging.launcher();
    let start = Start::child("q", &["true"]).with("sandbox", read_only());
    let waiting = hanging.client.ask("process/start", start.0);
    let begun = Instant::now();
    hanging
        .client
        .ok("process/terminate", params("q", json!({})));
    let error = hanging.client.answer(waiting).unwrap_err();
    assert!(error.message.contains("told to end"), "{}", error.message);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert!(alive(launcher) && !hanging.client.has_answer(hanging.start));
    hanging
        .client
        .ok("process/terminate", params("p", json!({})));
    hanging.client.answer(hanging.start).unwrap_err();
    within(AT_ONCE, "the launcher is gone", || !alive(launcher));
}

#[test]
fn a_start_takes_over_a_trial_that_was_given_up() {
    let Some(mut hanging) = Hanging::in_trial() else {
        return;
    };
    hanging.launcher();
    let start = Start::child("q", &["true"]).with("sandbox", read_only());
    let waiting = hanging.client.ask("process/start", start.0);
    // The next one works.
    fs::remove_file(hanging.trusted.0.join("tried")).unwrap();
    hanging
        .client
        .ok("process/terminate", params("p", json!({})));
    hanging.client.answer(hanging.start).unwrap_err();
    // Then the start itself finds what hangs again: its trial has succeeded.
    fs::remove_file(hanging.trusted.0.join("stuck")).unwrap();
    hanging.launcher();
    assert!(!hanging.client.has_answer(waiting));
    hanging
        .client
        .ok("process/terminate", params("q", json!({})));
    hanging.client.answer(waiting).unwrap_err();
}

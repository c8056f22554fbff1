//! A launcher that hangs: after it has worked when it was tried, or in its trial.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::ladder::Trusted;
use super::read_only;
use crate::support::{
    Client, PATIENCE, Server, Start, alive, child, params, signal, within, working_children,
};
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
        Self::begin_with(None)
    }

    /// The same in the launcher's trial.
    fn in_trial() -> Option<Self> {
        Self::begin_with(Some("tried"))
    }

    /// The same at the end of that, when the trial's sandbox has come and gone.
    fn at_the_end_of_the_trial() -> Option<Self> {
        Self::begin_with(Some("lingers"))
    }

    fn begin_with(word: Option<&str>) -> Option<Self> {
        let trusted = launcher(word)?;
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
        hangs(&self.trusted)
    }

    /// Another start, `q`, which waits for the launcher that hangs.
    fn another(&mut self) -> i64 {
        self.launcher();
        let start = Start::child("q", &["true"]).with("sandbox", read_only());
        self.client.ask("process/start", start.0)
    }
}

/// A launcher that works once and then hangs, unless a file with the name of a `word` is beside it.
fn launcher(word: Option<&str>) -> Option<Trusted> {
    let trusted = Trusted::with_bwrap(&fs::read(child()).unwrap(), 0o755)?;
    fs::write(trusted.0.join("says"), "bwrap --perms").unwrap();
    if let Some(word) = word {
        fs::write(trusted.0.join(word), "").unwrap();
    }
    let real = trusted.0.join("real");
    fs::write(&real, BUNDLED_BWRAP.unwrap().elf().unwrap()).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
    Some(trusted)
}

/// The process of a launcher, once it hangs.
fn hangs(trusted: &Trusted) -> u32 {
    let stuck = trusted.0.join("stuck");
    within(PATIENCE, "the launcher hangs", || stuck.exists());
    let pid = fs::read_to_string(stuck).unwrap();
    pid.trim().parse().unwrap()
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
fn terminate_ends_a_start_in_its_own_trial() {
    let cases = [Hanging::in_trial, Hanging::at_the_end_of_the_trial];
    for (number, begin) in cases.into_iter().enumerate() {
        let Some(mut hanging) = begin() else {
            return;
        };
        let launcher = hanging.launcher();
        let begun = Instant::now();
        hanging
            .client
            .ok("process/terminate", params("p", json!({})));
        let error = hanging.client.answer(hanging.start).unwrap_err();
        assert!(error.message.contains("told to end"), "{}", error.message);
        let elapsed = begun.elapsed();
        assert!(elapsed < AT_ONCE, "case {number}: {elapsed:?}");
        within(AT_ONCE, "the launcher is gone", || !alive(launcher));
        hanging.client.still_serves();
    }
}

#[test]
fn a_trial_that_was_given_up_fails_for_no_other_start() {
    let Some(mut hanging) = Hanging::at_the_end_of_the_trial() else {
        return;
    };
    let waiting = hanging.another();
    fs::write(hanging.trusted.0.join("works"), "").unwrap();
    fs::remove_file(hanging.trusted.0.join("lingers")).unwrap();
    let begun = Instant::now();
    hanging
        .client
        .ok("process/terminate", params("p", json!({})));
    hanging.client.answer(hanging.start).unwrap_err();
    let started = hanging.client.answer(waiting).unwrap();
    assert_eq!(started["sandboxLevel"]["launcher"], "system", "{started}");
    assert_eq!(hanging.client.closed("q").code, 0);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[test]
fn terminate_ends_a_start_that_asks_a_launcher_which_does_not_answer() {
    // As many as would take longer than the test waits, if each had its time.
    let places: Vec<Trusted> = (0..4)
        .map_while(|_| Trusted::with_bwrap(&fs::read(child()).unwrap(), 0o755))
        .collect();
    if places.is_empty() {
        return;
    }
    let path = std::env::join_paths(places.iter().map(|place| &place.0)).unwrap();
    let mut command = Server::command();
    command
        .args(["--listen", "stdio", "--sandbox-launcher", "system"])
        .env("PATH", path);
    let mut client = Client::stdio_command(command);
    let start = Start::child("p", &["true"]).with("sandbox", read_only());
    let start = client.ask("process/start", start.0);
    let server = client.server_pid();
    let asked = || {
        working_children(server)
            .into_iter()
            .find(|pid| is_asked(*pid))
    };
    within(PATIENCE, "a launcher is asked", || asked().is_some());
    let launcher = asked();
    let begun = Instant::now();
    client.ok("process/terminate", params("p", json!({})));
    let error = client.answer(start).unwrap_err();
    assert!(error.message.contains("told to end"), "{}", error.message);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    within(AT_ONCE, "the launcher is gone", || {
        launcher.is_none_or(|launcher| !alive(launcher))
    });
    client.still_serves();
}

/// Whether a process is a launcher that is to tell about itself.
fn is_asked(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"bwrap\0--help")
}

#[test]
fn a_connection_that_ends_ends_the_start_of_its_file_helper() {
    let Some(trusted) = launcher(Some("lingers")) else {
        return;
    };
    let mut command = Server::command();
    command
        .args([
            "--listen",
            "ws://127.0.0.1:0",
            "--sandbox-launcher",
            "system",
        ])
        .env("PATH", &trusted.0);
    let server = Server::websocket_command(command);
    let mut client = server.connect();
    let path = trusted.0.join("says");
    let write = json!({"path": path, "dataBase64": "", "sandbox": read_only()});
    client.ask("fs/writeFile", write);
    let launcher = hangs(&trusted);
    let begun = Instant::now();
    drop(client);
    within(PATIENCE, "the launcher is gone", || !alive(launcher));
    assert!(begun.elapsed() < 2 * AT_ONCE, "{:?}", begun.elapsed());
    server.connect().still_serves();
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
    let waiting = hanging.another();
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

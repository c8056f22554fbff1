//! `exec-server env`: the list, and the check.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Environments, Scratch, Server, child, finish, scratch};

#[test]
fn the_list_has_ids_addresses_and_origins_with_the_default_marked() {
    let environments = Environments::start();
    let text = environments.stdout(&["env"]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[1], ["*", "local", "this", "machine", "built", "in"]);
    let file = environments.scratch.path("environments.toml");
    let address = format!("ws://{}", environments.ws.address());
    assert_eq!(lines[2], ["ws", &address, &format!("{file}:2")]);
    let own = environments.scratch.path("exec-server.toml");
    assert_eq!(lines[4].last().unwrap(), &format!("{own}:4"));
    assert_eq!(lines[6], ["Configuration:", &file, "and", &own]);
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn the_list_as_json_keeps_its_names() {
    let environments = Environments::start();
    let list: Value = serde_json::from_str(&environments.stdout(&["env", "--json"])).unwrap();
    let file = environments.scratch.path("environments.toml");
    assert_eq!(
        list[0],
        json!({"id": "local", "kind": "local", "default": true, "address": "this machine", "origin": {}})
    );
    assert_eq!(
        list[1],
        json!({"id": "ws", "kind": "websocket", "default": false, "origin": {"file": file, "line": 2},
               "address": format!("ws://{}", environments.ws.address())})
    );
    assert_eq!(
        (&list[2]["kind"], &list[3]["kind"]),
        (&json!("program"), &json!("unix"))
    );
}

#[test]
fn a_check_tells_version_and_round_trip_of_each() {
    let environments = Environments::start();
    let found: Value =
        serde_json::from_str(&environments.stdout(&["env", "check", "--json"])).unwrap();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 4);
    for each in found {
        assert_eq!(each["ok"], true, "{each}");
        assert_eq!(each["version"], env!("CARGO_PKG_VERSION"), "{each}");
        assert!(each["roundTripMs"].as_f64().unwrap() >= 0.0, "{each}");
        assert!(each["connectMs"].as_f64().unwrap() > 0.0, "{each}");
        assert_eq!(each["sandbox"], found[0]["sandbox"], "{each}");
        assert_eq!(each["sandbox"]["seccomp"], true, "{each}");
    }
    let text = environments.stdout(&["env", "check", "unix"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    let launcher = found[0]["sandbox"]["launcher"].as_str().unwrap();
    assert!(text.contains(&format!("  {launcher}")), "{text}");
}

#[test]
fn a_check_tells_what_is_wrong_and_gives_1() {
    let environments = Environments::start();
    // One refuses, one is silent, one ends with words, one is well.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    environments.configure(&format!(
        "[[environments]]\nid = \"refused\"\nurl = \"ws://127.0.0.1:9\"\n\
         [[environments]]\nid = \"silent\"\nurl = \"ws://{}\"\n\
         [[environments]]\nid = \"ends\"\nprogram = \"/bin/sh\"\nargs = [\"-c\", \"echo no such host >&2; exit 4\"]\n",
        silent.local_addr().unwrap()
    ));
    let begun = std::time::Instant::now();
    let output = environments.run(&["env", "check", "--json", "--timeout", "2"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = |index: usize| found[index]["error"].as_str().unwrap().to_owned();
    assert_eq!(found[0]["ok"], true);
    assert!(error(1).contains("refused"), "{found}");
    assert!(
        error(2).contains("within 2s") || error(2).contains("timed out"),
        "{found}"
    );
    assert!(error(3).contains("no such host"), "{found}");

    let text = environments.run(&["env", "check", "ends"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("failed") && text.contains("\nends:\n") && !text.contains('\x1b'),
        "{text}"
    );
}

#[test]
fn an_unknown_environment_cannot_be_checked() {
    let environments = Environments::start();
    environments.fails(&["env", "check", "unx"], 255, "did you mean `unix`?");
}

#[test]
fn a_full_disk_is_a_failure() {
    let environments = Environments::start();
    let mut command = environments.command(&["env", "--json"]);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    command.stderr(std::process::Stdio::piped());
    let mut running = crate::support::Running::new(command.spawn().unwrap());
    let status = running.ended(std::time::Duration::from_secs(30));
    assert_eq!(status.code(), Some(255));
    let mut stderr = String::new();
    let said = running.0.stderr.as_mut().unwrap();
    std::io::Read::read_to_string(said, &mut stderr).unwrap();
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn colours_are_for_a_terminal_that_has_them_and_not_with_no_color() {
    let environments = Environments::start();
    let check = ["env", "check", "local"];
    let coloured = environments.on_a_terminal(&check, &[]);
    assert!(coloured.contains("\x1b[32m"), "{coloured:?}");
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let shown = environments.on_a_terminal(&check, &variables);
        let is_plain = shown.contains(" ok ") && !shown.contains('\x1b');
        assert!(is_plain, "{variables:?}: {shown:?}");
    }
    assert!(!environments.stdout(&check).contains('\x1b'));
}

#[test]
fn a_check_tells_which_policies_cannot_be_had_and_what_to_do() {
    let environments = Environments::start();
    let server = Server::command().get_program().to_owned();
    let place = |id: &str, flags: &str| {
        format!(
            "[[environments]]\nid = \"{id}\"\nprogram = \"{}\"\n\
             args = [\"deny\", \"namespaces\", {server:?}, \"--listen\", \"stdio\"{flags}]\n",
            child()
        )
    };
    let accepting = place("accepting", ", \"--accept-weaker\", \"metadata\"");
    environments.configure(&(place("box", "") + &accepting));
    let text = environments.stdout(&["env", "check"]);
    let line = |id: &str| {
        let mut lines = text.lines().filter(|line| line.contains(id));
        lines.next().unwrap().to_owned()
    };
    assert!(line("box").contains(", no workspace-write"), "{text}");
    assert!(!line("accepting").contains("workspace-write"), "{text}");
    assert_eq!(text.matches("workspace-write is refused").count(), 1);
    for words in ["seccomp-userns.json", "--accept-weaker metadata"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json = environments.stdout(&["env", "check", "--json", "box"]);
    let found: Value = serde_json::from_str(&json).unwrap();
    let policies = &found[0]["sandbox"]["policies"];
    assert_eq!(policies["read-only"], json!({"available": true}));
    let refused = &policies["workspace-write"];
    assert_eq!(refused["available"], false);
    assert!(refused["remedy"].as_str().is_some_and(|it| !it.is_empty()));
}

/// `env` with a home of its own, where these files are, and these variables, in which DIR is that home.
fn at_home(files: &[(&str, &str)], variables: &[(&str, &str)]) -> (Output, Scratch) {
    let home = scratch();
    for (name, text) in files {
        let path = home.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut command = Server::command();
    command.env("HOME", home.dir()).arg("env");
    for name in [
        "EXEC_SERVER_HOME",
        "CODEX_HOME",
        "XDG_CONFIG_HOME",
        "CODEX_EXEC_SERVER_URL",
    ] {
        command.env_remove(name);
    }
    for (name, value) in variables {
        command.env(name, value.replace("DIR", &home.dir()));
    }
    (finish(command, b""), home)
}

#[test]
fn the_directory_of_those_without_codex_is_read_where_codex_has_none() {
    let own = ".config/exec-server/exec-server.toml";
    let near = "default = \"near\"\n[environments.near]\nurl = \"unix:///run/x\"\n";
    let (output, home) = at_home(&[(own, near)], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("*  near "), "{text}");
    let read = format!("\nConfiguration: {}\n", home.path(own));
    assert!(text.ends_with(&read), "{text}");

    let codex = (".codex/environments.toml", "");
    let (output, home) = at_home(&[(own, near), codex], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let read = format!("\nConfiguration: {}\n", home.path(codex.0));
    assert!(!text.contains("near") && text.ends_with(&read), "{text}");
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_this_machine() {
    let good = "[environments.near]\nurl = \"unix:///run/x\"\n";
    for (files, variables, words) in [
        (
            &[][..],
            &[("EXEC_SERVER_HOME", "DIR/no")][..],
            "Error finding exec-server home: EXEC_SERVER_HOME points to \"DIR/no\", but that path \
             does not exist",
        ),
        (
            &[("pipe/exec-server.toml/x", "")],
            &[("EXEC_SERVER_HOME", "DIR/pipe")],
            "failed to read environment config `DIR/pipe/exec-server.toml`: Is a directory",
        ),
        (
            &[
                (".codex/environments.toml", "x"),
                (".config/exec-server/exec-server.toml", good),
            ],
            &[],
            "failed to parse environment config `DIR/.codex/environments.toml`",
        ),
    ] {
        let (output, home) = at_home(files, variables);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255), "{stderr}");
        assert!(
            stderr.contains(&words.replace("DIR", &home.dir())),
            "{stderr}"
        );
        assert!(output.stdout.is_empty(), "{words}");
    }
}

#[test]
fn a_token_in_a_file_or_in_the_shared_file_is_sent_and_shown_to_nobody() {
    let environments = Environments::start();
    let url = format!("ws://{}", environments.ws.address());
    let secret = "a-token-that-nobody-guesses";
    let file = environments.scratch.path("token");
    let exposed = |stderr: &str, file: &str| stderr.contains(&format!("chmod 600 {file}"));
    let shared = format!(
        "[[environments]]\nid = \"it\"\nurl = \"{url}\"\nauth_bearer_token = \"{secret}\"\n"
    );
    let own = format!("[environments.it]\nurl = \"{url}\"\nbearer_token_file = \"token\"\n");
    for (is_own, text) in [(false, &shared), (true, &own)] {
        let holds = match is_own {
            true => {
                environments.configure_own(text);
                file.clone()
            }
            false => {
                environments.configure(text);
                environments.scratch.path("environments.toml")
            }
        };
        for mode in [0o600, 0o644] {
            fs::set_permissions(&holds, fs::Permissions::from_mode(mode)).unwrap();
            for arguments in [
                &["run", "-e", "it", "--log", "-", "/bin/true"][..],
                &["env"],
                &["env", "check"],
            ] {
                let output = environments.run(arguments);
                let stderr = String::from_utf8(output.stderr).unwrap();
                let stdout = String::from_utf8(output.stdout).unwrap();
                assert_eq!(
                    output.status.code(),
                    Some(0),
                    "{arguments:?}: {stdout}{stderr}"
                );
                assert!(
                    !stdout.contains(secret) && !stderr.contains(secret),
                    "{stdout}{stderr}"
                );
                let is_used = arguments != ["env"];
                let is_told = is_used && mode == 0o644;
                assert_eq!(exposed(&stderr, &holds), is_told, "{arguments:?}: {stderr}");
            }
        }
    }
    fs::write(&file, " \n").unwrap();
    let words = format!("bearer_token_file names {file}: it is empty");
    environments.fails(&["run", "-e", "it", "/bin/true"], 255, &words);
    fs::remove_file(&file).unwrap();
    environments.fails(&["run", "-e", "it", "/bin/true"], 255, "No such file");
}

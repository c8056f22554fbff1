//! `exec-server env`: the list, and the check.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::sandbox::ORDINARY;
use crate::support::{Environments, Need, Scratch, Server, child, finish, scratch};

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

/// The program with this home, and nothing else that says where files are.
fn in_home(home: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Server::command();
    command.env("HOME", home.dir()).args(arguments);
    for name in [
        "EXEC_SERVER_HOME",
        "CODEX_HOME",
        "XDG_CONFIG_HOME",
        "CODEX_EXEC_SERVER_URL",
    ] {
        command.env_remove(name);
    }
    command
}

/// `env` with a home of its own, where these files are, and these variables, in which DIR is that home.
fn at_home(files: &[(&str, &str)], variables: &[(&str, &str)]) -> (Output, Scratch) {
    let home = scratch();
    for (name, text) in files {
        let path = home.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut command = in_home(&home, &["env"]);
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

#[test]
fn no_time_limit_is_too_long() {
    let environments = Environments::start();
    let url = format!("ws://{}", environments.ws.address());
    for limit in ["9223372036854775807", "1e19"] {
        let limits = format!("connect_timeout_sec = {limit}\ninitialize_timeout_sec = {limit}\n");
        environments.configure_own(&format!(
            "[environments.it]\nurl = \"{url}\"\nbearer_token_env = \"TEST_TOKEN\"\n{limits}"
        ));
        assert_eq!(
            environments.stdout(&["run", "-e", "it", "/bin/echo", "x"]),
            "x\n"
        );
    }
    for limit in ["9223372036854775807", "5000000000000000h"] {
        environments.stdout(&["env", "--timeout", limit, "check", "local"]);
        environments.stdout(&["run", "--timeout", limit, "-e", "local", "/bin/true"]);
    }
}

#[test]
fn a_token_file_that_holds_no_token_is_told_by_its_name() {
    let environments = Environments::start();
    let url = format!("ws://{}", environments.ws.address());
    environments.configure_own(&format!(
        "[environments.it]\nurl = \"{url}\"\nbearer_token_file = \"it\"\n"
    ));
    let file = environments.scratch.path("it");
    let run = ["run", "-e", "it", "/bin/true"];
    for (content, words) in [
        (
            &b"two\nlines"[..],
            "it has a line end or another control character",
        ),
        (b"a\0b", "it has a line end or another control character"),
        (b"\xff", "it is not UTF-8"),
    ] {
        fs::write(&file, content).unwrap();
        let words = format!("bearer_token_file names {file}: {words}");
        environments.fails(&run, 255, &words);
    }
    // Nobody writes to it, and nobody waits for that.
    fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    let words = format!("bearer_token_file names {file}: it is not a regular file");
    environments.fails(&run, 255, &words);
}

#[test]
fn a_blank_token_is_an_error_and_not_none() {
    let environments = Environments::start();
    let url = format!("ws://{}", environments.ws.address());
    for blank in ["", " "] {
        let mut command = environments.command(&["run", "-e", &url, "/bin/true"]);
        command.env("EXEC_SERVER_TOKEN", blank);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(255), "{stderr}");
        assert!(
            stderr.contains("the variable EXEC_SERVER_TOKEN, which is empty"),
            "{stderr}"
        );
    }
}

#[test]
fn the_variable_of_a_token_is_passed_to_no_program() {
    let environments = Environments::start();
    let program = environments.scratch.path("program");
    let server = Server::command().get_program().to_owned();
    let server = server.to_str().unwrap();
    let shown = environments.scratch.path("shown");
    fs::write(
        &program,
        format!("env >{shown}; exec {server} --listen stdio\n"),
    )
    .unwrap();
    environments.configure_own(&format!(
        "[environments.there]\nurl = \"ws://127.0.0.1:1\"\nbearer_token_env = \"MY_PASS\"\n\
         [environments.by]\nprogram = \"sh\"\nargs = [\"{program}\"]\n"
    ));
    let run = |place: &str, flags: &[&str]| {
        let words = [&["run", "-e", place], flags, &["env"]].concat();
        let mut command = environments.command(&words);
        command.env("MY_PASS", "canary").env("HARMLESS", "shown");
        let output = finish(command, b"");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for flags in [&[][..], &["--sandbox", "read-only"]] {
        let local = run("local", flags);
        assert!(
            local.contains("HARMLESS=shown") && !local.contains("canary"),
            "{flags:?}: {local}"
        );
    }
    run("by", &[]);
    let by = fs::read_to_string(&shown).unwrap();
    assert!(
        by.contains("HARMLESS=shown") && !by.contains("canary"),
        "{by}"
    );
}

#[test]
fn a_url_with_a_backslash_is_refused_and_not_called_by_its_end() {
    let environments = Environments::start();
    let arguments = ["run", "-e", "ws://127.0.0.1\\@192.0.2.2:7720", "/bin/true"];
    let stderr = environments.fails(&arguments, 255, "a URL has no backslash");
    assert!(!stderr.contains("192.0.2.2"), "{stderr}");
}

#[test]
fn a_home_that_leads_nowhere_runs_nothing_here() {
    let home = scratch();
    fs::create_dir(home.path(".config")).unwrap();
    for link in [".codex", ".config/exec-server"] {
        symlink("/nowhere", home.path(link)).unwrap();
        let output = finish(in_home(&home, &["run", "/bin/echo", "x"]), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(255), &b""[..]),
            "{stderr}"
        );
        let words = format!("`{}` is a link that leads nowhere", home.path(link));
        assert!(stderr.contains(&words), "{stderr}");
        fs::remove_file(home.path(link)).unwrap();
    }
}

#[test]
fn files_in_a_relative_xdg_directory_are_an_error_and_not_ignored() {
    let home = scratch();
    let run = || {
        let mut command = in_home(&home, &["run", "/bin/echo", "x"]);
        command
            .env("XDG_CONFIG_HOME", "here")
            .current_dir(home.dir());
        finish(command, b"")
    };
    let output = run();
    assert_eq!(output.stdout, b"x\n", "{output:?}");
    fs::create_dir_all(home.path("here/exec-server")).unwrap();
    fs::write(home.path("here/exec-server/exec-server.toml"), "").unwrap();
    let output = run();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(255), &b""[..]),
        "{stderr}"
    );
    assert!(
        stderr.contains("XDG_CONFIG_HOME is a relative path"),
        "{stderr}"
    );
}

#[test]
fn a_configuration_that_is_not_ours_alone_runs_nothing() {
    let environments = Environments::start();
    environments.configure("[[environments]]\nid = \"it\"\nprogram = \"true\"\n");
    let file = environments.scratch.path("environments.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let run = ["run", "-e", "it", "/bin/true"];
    environments.fails(&run, 255, &format!("chmod o-w {file}"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    // An environment that is wrong is no configuration that is refused.
    let stderr = environments.fails(&run, 255, "environment `it`");
    assert!(!stderr.contains("chmod"), "{stderr}");
}

#[test]
fn a_configuration_of_another_user_or_group_runs_nothing() {
    needs!(Need::Root);
    let environments = Environments::start();
    environments.configure("[[environments]]\nid = \"it\"\nprogram = \"true\"\n");
    let file = environments.scratch.path("environments.toml");
    let run = ["run", "-e", "it", "/bin/true"];
    chown(&file, Some(ORDINARY), None).unwrap();
    environments.fails(
        &run,
        255,
        &format!("user {ORDINARY} owns {file}; chown 0 {file}"),
    );
    chown(&file, Some(0), Some(ORDINARY)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    environments.fails(
        &run,
        255,
        &format!("every user of group {ORDINARY} can write to {file}"),
    );
    // A directory in which another user can put files in the place of ours.
    chown(&file, Some(0), Some(0)).unwrap();
    let directory = environments.scratch.dir();
    chown(&directory, Some(ORDINARY), None).unwrap();
    environments.fails(&run, 255, &format!("user {ORDINARY} owns {directory}"));
}

#[test]
fn a_unix_socket_of_another_user_is_sent_nothing() {
    needs!(Need::Root);
    let environments = Environments::start();
    let directory = environments.scratch.path("theirs");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(ORDINARY), Some(ORDINARY)).unwrap();
    fs::set_permissions(
        environments.scratch.dir(),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let url = format!("unix://{directory}/socket");
    let mut command = Server::command();
    command
        .args(["--listen", &url])
        .current_dir(&directory)
        .env("HOME", &directory)
        .uid(ORDINARY)
        .gid(ORDINARY);
    let _server = Server::websocket_command(command);
    let words = format!("user {ORDINARY} listens there");
    environments.fails(&["run", "-e", &url, "/bin/true"], 255, &words);
    environments.configure_own(&format!(
        "[environments.it]\nurl = \"{url}\"\nallow_local_users = true\n"
    ));
    assert_eq!(
        environments.stdout(&["run", "-e", "it", "/bin/echo", "x"]),
        "x\n"
    );
    environments.configure_own("[environments.it]\nurl = \"ws://h\"\nallow_local_users = true\n");
    environments.fails(
        &["env"],
        255,
        "allow_local_users requires a url with unix://",
    );
}

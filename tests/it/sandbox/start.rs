//! Processes that start confined: what they have, what is told of them, and how they end.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{entry, read_only, restricted, special, workspace};
use crate::support::{Client, Need, PATIENCE, Server, Start, alive, params, scratch, within};

over_both! {
    fn a_confined_process_has_no_privilege_and_no_way_to_one(client) {
        let outcome = client.run(Start::child("p", &["status"]).with("sandbox", read_only()));
        let field = |name: &str| {
            let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_string()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    }

    fn a_confined_process_has_three_descriptors(client) {
        for tty in [false, true] {
            let start = Start::child(&tty.to_string(), &["fds"]).with("tty", tty);
            let outcome = client.run(start.with("sandbox", read_only()));
            let text = outcome.stdout + &outcome.pty;
            let numbers: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(numbers, ["0", "1", "2"], "tty {tty}: {text}");
        }
    }

    fn the_level_is_told_only_where_a_sandbox_was_asked_for(client) {
        let plain = client.start(Start::child("plain", &["true"]));
        assert_eq!((&plain["sandboxType"], plain.get("sandboxLevel")), (&json!("none"), None));
        let confined = client.start(Start::child("confined", &["true"]).with("sandbox", read_only()));
        assert_eq!(confined["sandboxType"], "linuxSeccomp");
        assert_eq!(confined["sandboxLevel"]["seccomp"], true);
        let disabled = json!({"permissions": {"type": "disabled"}, "windowsSandboxLevel": "disabled"});
        let free = client.start(Start::child("free", &["true"]).with("sandbox", disabled));
        assert_eq!((&free["sandboxType"], &free["sandboxLevel"]["launcher"]), (&json!("none"), &json!("none")));
    }

    fn the_exit_code_and_the_streams_are_the_program_s(client) {
        let start = Start::shell("p", "cat; echo out; echo err >&2; exit 7").pipe_stdin();
        client.start(start.with("sandbox", read_only()));
        client.write("p", b"in\n", "1");
        client.ok("process/closeStdin", params("p", json!({})));
        let outcome = client.closed("p");
        assert_eq!((outcome.code, &*outcome.stdout, &*outcome.stderr), (7, "in\nout\n", "err\n"));
    }

    fn the_environment_is_the_client_s_alone(client) {
        let start = Start::child("p", &["env"]).env("LD_PRELOAD", "/no/such.so").env("A", "b c");
        let outcome = client.run(start.with("sandbox", read_only()));
        let mut lines: Vec<_> = outcome.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=b c", "LD_PRELOAD=/no/such.so"]);
    }

    fn what_cannot_be_run_is_the_same_error_as_without_a_sandbox(client) {
        let scratch = scratch();
        let script = scratch.path("script");
        fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        for argv in ["/no/such/program", "no-such-program", "/etc/passwd", &script] {
            let plain = client.err("process/start", Start::command("p", &[argv]).0);
            let start = Start::command("p", &[argv]).with("sandbox", read_only());
            assert_eq!(client.err("process/start", start.0), plain, "{argv}");
        }
    }

    fn a_program_that_the_policy_denies_is_told_as_denied(client) {
        let scratch = scratch();
        let denied = scratch.path("denied");
        fs::copy("/bin/true", &denied).unwrap();
        fs::set_permissions(&denied, fs::Permissions::from_mode(0o755)).unwrap();
        let policy = restricted(&[special("root", "read"), entry(&denied, "deny")]);
        for start in [
            Start::command("p", &[&denied]),
            Start::command("p", &["./denied"]).cwd(&scratch.dir()),
        ] {
            let id = client.ask("process/start", start.with("sandbox", policy.clone()).0);
            let error = &client.whole_answer(id)["error"];
            let data = &error["data"];
            assert_eq!((&data["kind"], &data["stage"]), (&json!("sandboxDenied"), &json!("program")), "{error}");
            assert_eq!(data["rule"], json!({"path": denied, "access": "deny", "origin": "policy"}), "{error}");
            assert_eq!((&error["code"], &data["errno"]), (&json!(-32603), &json!(13)), "{error}");
        }
        // What may not be run by anybody is no matter of the policy.
        fs::write(scratch.path("plain"), "").unwrap();
        let start = Start::command("p", &[&scratch.path("plain")]).with("sandbox", policy);
        let id = client.ask("process/start", start.0);
        assert_eq!(client.whole_answer(id)["error"]["data"]["kind"], "notExecutable");
    }

    fn a_script_without_an_interpreter_line_is_run_by_the_shell_inside(client) {
        let scratch = scratch();
        let script = scratch.path("script");
        fs::write(&script, "echo $1; touch here || exit 3\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let start = Start::command("p", &[&script, "ran"]).cwd(&scratch.dir());
        let outcome = client.run(start.with("sandbox", read_only()));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (3, "ran\n"), "{outcome:?}");
    }

    fn nothing_runs_elsewhere_where_the_directory_is_not_shown(client) {
        let scratch = scratch();
        let project = scratch.path("project");
        fs::create_dir(&project).unwrap();
        let denied = restricted(&[special("root", "write"), entry(&project, "deny")]);
        let uncovered = restricted(&[special("minimal", "read")]);
        for policy in [denied, uncovered] {
            let start = Start::shell("p", "pwd").cwd(&project).with("sandbox", policy);
            let error = client.err("process/start", start.0);
            let message = &error.message;
            assert_eq!(error.code, -32603, "{message}");
            assert!(message.contains("working directory") && message.contains(&project), "{message}");
        }
    }

    fn a_signal_is_for_the_program_and_not_for_its_sandbox(client) {
        let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do read x || :; done";
        client.start(Start::shell("p", script).pipe_stdin().with("sandbox", read_only()));
        client.output("p", "stdout", |text| text.contains("ready"));
        client.ok("process/signal", params("p", json!({"signal": "TERM"})));
        // The shell looks at its traps when it has read a line.
        client.write("p", b"\n", "1");
        let outcome = client.closed("p");
        assert_eq!((outcome.code, &*outcome.stdout), (9, "ready\ncaught\n"));
    }

    fn a_signal_that_kills_the_program_is_named(client) {
        needs!(Need::Linux(6, 15));
        for (script, code, signal) in [
            ("kill -SEGV $$", 139, json!("SIGSEGV")),
            ("kill -TERM $$", 143, json!("SIGTERM")),
            ("exit 143", 143, json!(null)),
        ] {
            client.start(Start::shell(script, script).with("sandbox", read_only()));
            let exited = client.exited(script);
            assert_eq!((&exited["exitCode"], &exited["signal"]), (&json!(code), &signal), "{script}: {exited}");
        }
    }

    fn nothing_survives_terminate(client) {
        let start = Start::child("p", &["own-group", "sleep"]).with("sandbox", read_only());
        // It starts another that leaves its group, and ends: the end of the first is the end of all.
        client.run(start);
        client.start(Start::child("q", &["pid-then-sleep"]).with("sandbox", read_only()));
        client.number("q");
        let list = client.ok("process/list", json!({}));
        let pid = list["processes"][1]["pid"].as_u64().unwrap() as u32;
        assert!(alive(pid), "the number is the host's: {list}");
        client.ok("process/terminate", params("q", json!({})));
        client.closed("q");
        within(PATIENCE, "the program is gone", || !alive(pid));
    }

    fn mount_points_are_gone_when_the_process_has_exited(client) {
        let project = scratch();
        let policy = workspace(&project.dir());
        let start = Start::child("p", &["make", &project.path("made")]).with("sandbox", policy.clone());
        assert_eq!(client.run(start).code, 0);
        let start = Start::child("q", &["make", &project.path(".codex/made")]).with("sandbox", policy);
        assert_ne!(client.run(start).code, 0);
        let mut left: Vec<_> = fs::read_dir(project.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["made"]);
    }
}

#[test]
fn secrets_of_the_server_are_nowhere_inside() {
    let mut command = Server::command();
    command
        .args(["--listen", "stdio"])
        .env("EXEC_SERVER_TOKEN_LIKE", "very-secret-value");
    let mut client = Client::stdio_command(command);
    let script = "cat /proc/*/environ /proc/*/cmdline 2>/dev/null; env";
    let outcome = client.run(Start::shell("p", script).with("sandbox", read_only()));
    assert!(!outcome.stdout.contains("very-secret-value"));
}

#[test]
fn the_death_of_the_server_is_the_death_of_what_is_inside() {
    let mut client = Client::stdio();
    client.start(Start::child("p", &["pid-then-sleep"]).with("sandbox", read_only()));
    client.number("p");
    let list = client.ok("process/list", json!({}));
    let pid = list["processes"][0]["pid"].as_u64().unwrap() as u32;
    client.server.as_mut().unwrap().kill();
    within(PATIENCE, "the program is gone", || !alive(pid));
}

#[test]
fn a_start_does_not_fail_for_the_mount_points_of_others() {
    let scratch = scratch();
    let root = scratch.dir();
    let codex = scratch.path(".codex");
    let mut client = Client::stdio();
    // What one run masks as missing, the other is given to write if it is there.
    let masks = workspace(&root);
    let binds = workspace(&codex);
    for number in 0..60 {
        let [mask, bind] = [("mask", &masks), ("bind", &binds)].map(|(name, policy)| {
            let id = format!("{name}-{number}");
            let start = Start::child(&id, &["true"]).with("sandbox", policy.clone());
            (client.ask("process/start", start.0), id)
        });
        for (request, id) in [mask, bind] {
            client
                .answer(request)
                .unwrap_or_else(|error| panic!("{id}: {error:?}"));
            assert_eq!(client.closed(&id).code, 0, "{id}");
        }
    }
    within(PATIENCE, "nothing is left", || {
        fs::read_dir(&root).unwrap().count() == 0
    });
}

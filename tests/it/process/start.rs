//! `process/start`: what is run, where, and what is said when it cannot be.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::sandbox::read_only;
use crate::support::{Client, Event, RpcError, Server, Start, child, scratch};

const MISSING: &str = "No such file or directory (os error 2)";

/// An error before exec: it names what was wrong, and ends with the words of the system.
#[track_caller]
fn fails(client: &mut Client, start: Start, names: &str, words: &str) {
    for tty in [false, true] {
        let error = client.err("process/start", start.clone().with("tty", tty).0);
        assert_eq!(error.code, -32603, "{error:?}");
        assert!(error.message.contains(names), "{names} in {error:?}");
        assert!(error.message.ends_with(words), "{words} in {error:?}");
    }
    // The id is free again, and the connection goes on.
    let id = start.id();
    assert_eq!(client.run(Start::child(&id, &["exit", "3"])).code, 3);
}

/// The end of the error of a program that is not on this PATH.
fn off_path(path: &str) -> String {
    format!(": {MISSING}; the process's PATH is {path}")
}

/// Makes a file that may be run.
fn program(path: &str, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

over_both! {
    fn output_exit_and_close_follow_the_answer(client) {
        let result = client.start(Start::child("p", &["echo", "hi"]));
        assert_eq!(result["processId"], "p");
        assert_eq!(result["sandboxType"], "none");
        let outcome = client.closed("p");
        assert_eq!(outcome.events, [Event::Output("stdout".into(), 3), Event::Exited, Event::Closed]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "hi\n"));
        let exited = client.exited("p");
        assert_eq!((&exited["sandboxDenied"], &exited["processId"]), (&json!(false), &json!("p")));
    }

    fn a_name_may_be_long_but_not_endless(client) {
        let error = client.err("process/start", Start::child(&"p".repeat(4097), &["true"]).0);
        assert_eq!(error.code, -32602);
        assert!(error.message.len() < 200, "{error:?}");
        client.run(Start::child(&"p".repeat(4096), &["true"]));
        let error = client.err("process/read", json!({"processId": "p".repeat(1 << 20)}));
        assert_eq!((error.code, error.message.as_str()), (-32600, "unknown process id of 1048576 bytes"));
    }

    fn stderr_is_told_from_stdout(client) {
        let outcome = client.run(Start::shell("p", "echo out; echo err >&2"));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    }

    fn the_directory_may_be_a_path_or_a_uri(client) {
        let scratch = scratch();
        let inside = scratch.path("sub dir/\u{fc}%41");
        std::fs::create_dir_all(&inside).unwrap();
        let escaped = scratch.path("sub%20dir/%C3%BC%2541");
        for cwd in [
            inside.clone(),
            format!("{inside}/"),
            format!("file://{escaped}"),
            format!("file://localhost{escaped}"),
            format!("FILE://{escaped}/"),
        ] {
            let outcome = client.run(Start::child(&cwd, &["cwd"]).cwd(&cwd));
            assert_eq!(outcome.stdout, format!("{inside}\n"), "{cwd}");
        }
    }

    fn the_program_may_be_relative_to_the_directory(client) {
        let scratch = scratch();
        symlink(child(), scratch.path("here")).unwrap();
        let start = Start::command("p", &["./here", "echo", "found"]).cwd(&scratch.dir());
        assert_eq!(client.run(start).stdout, "found\n");
    }

    fn a_directory_that_is_no_absolute_path_of_this_host_is_refused(client) {
        for cwd in ["relative", "", "http://x/", "file://elsewhere/tmp", "file:///tmp%00x", "file:///tmp?x", "/tmp\0x"] {
            let error = client.err("process/start", Start::child("p", &["true"]).cwd(cwd).0);
            assert!(matches!(error.code, -32602 | -32600), "{cwd}: {error:?}");
        }
    }
}

over_both! {
    fn an_error_before_exec_names_its_stage(client) {
        let scratch = scratch();
        let plain = scratch.path("plain");
        std::fs::write(&plain, "#!/no/such/interpreter\n").unwrap();
        let scriptless = scratch.path("scriptless");
        std::fs::write(&scriptless, "\x7fELF of no machine").unwrap();
        std::fs::set_permissions(&scriptless, PermissionsExt::from_mode(0o755)).unwrap();

        fails(client, Start::child("cwd", &["true"]).cwd("/no/such/dir"), "/no/such/dir", MISSING);
        fails(client, Start::child("file", &["true"]).cwd(&plain), &plain, "Not a directory (os error 20)");
        fails(client, Start::command("program", &["/no/such/program"]), "/no/such/program", MISSING);
        fails(client, Start::command("name", &["no-such-name"]).env("PATH", "/usr/bin"), "no-such-name", &off_path("/usr/bin"));
        fails(client, Start::command("plain", &[&plain]), &plain, "Permission denied (os error 13)");
        fails(client, Start::command("dir", &["/etc"]), "/etc", "Permission denied (os error 13)");
        fails(client, Start::command("format", &[&scriptless]), &scriptless, "Exec format error (os error 8)");

        let error = client.err("process/start", Start::command("both", &["/no/such/program"]).cwd("/no/such/dir").0);
        assert!(!error.message.contains("/no/such/program"), "the directory is what is missing first: {error:?}");
    }

    fn a_script_without_an_interpreter_line_is_run_by_the_shell(client) {
        let scratch = scratch();
        program(&scratch.path("script"), "echo \"$0 $*\"; exit 7\n");
        let path = scratch.path("script");
        let by_path = client.run(Start::command("path", &[&path, "a b", "c"]));
        assert_eq!((by_path.code, by_path.stdout), (7, format!("{path} a b c\n")));
        let by_name = client.run(Start::command("name", &["script", "x"]).env("PATH", &scratch.dir()));
        assert_eq!((by_name.code, by_name.stdout), (7, format!("{path} x\n")));
        program(&scratch.path("empty"), "");
        assert_eq!(client.run(Start::command("empty", &[&scratch.path("empty")])).code, 0);
    }

    fn an_interpreter_that_is_not_there_is_named(client) {
        let scratch = scratch();
        let bad = scratch.path("bad");
        program(&bad, "#! /no/such/interpreter -x\n");
        fails(client, Start::command("bad", &[&bad]), "its interpreter /no/such/interpreter is not here", MISSING);
        fails(client, Start::command("on path", &["bad"]).env("PATH", &scratch.dir()), &bad, MISSING);
        let crlf = scratch.path("crlf");
        program(&crlf, "#!/bin/sh\r\necho hi\r\n");
        fails(client, Start::command("crlf", &[&crlf]), "its first line ends with a carriage return (CRLF), which makes its interpreter `/bin/sh\\r`", MISSING);
    }

    fn a_nul_byte_is_refused(client) {
        for start in [
            Start::child("p", &["echo", "a\0b"]),
            Start::command("p", &["/bin\0/true"]),
            Start::child("p", &["env"]).env("A", "x\0y"),
            Start::child("p", &["env"]).env("A\0B", "x"),
        ] {
            let error = client.err("process/start", start.0);
            assert!(error.message.to_lowercase().contains("nul byte"), "{error:?}");
        }
        client.still_serves();
    }

    fn a_command_must_have_a_program(client) {
        let error = client.err("process/start", Start::command::<&str>("p", &[]).0);
        assert_eq!(error, RpcError { code: -32602, message: "argv must not be empty".into() });
        for (tty, place) in [(false, "pipe"), (true, "PTY")] {
            let id = client.ask("process/start", Start::command("p", &[""]).with("tty", tty).0);
            let error = &client.whole_answer(id)["error"];
            assert_eq!(error["message"], format!("missing program for {place} spawn"));
            assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32603), &json!("notFound")));
        }
        client.still_serves();
    }

    fn what_is_no_directory_in_the_path_of_a_program_is_told(client) {
        let id = client.ask("process/start", Start::command("p", &["/etc/passwd/x"]).0);
        let error = &client.whole_answer(id)["error"];
        assert_eq!(error["message"], "cannot run the program /etc/passwd/x: Not a directory (os error 20)");
        assert_eq!((&error["data"]["kind"], &error["data"]["errno"]), (&json!("notFound"), &json!(20)));
        // On PATH it is passed over, as ever.
        let start = Start::command("q", &["true"]).env("PATH", "/etc/passwd:/usr/bin:/bin");
        assert_eq!(client.run(start).code, 0);
    }

    fn an_error_repeats_no_more_of_a_request_than_a_page(client) {
        let long = format!("/{}", "\u{fc}".repeat(2 << 20));
        let id = client.ask("process/start", Start::command("p", &[&long]).0);
        let answer = client.whole_answer(id);
        for text in [&answer["error"]["message"], &answer["error"]["data"]["path"]] {
            let text = text.as_str().unwrap();
            let missing = text.split_once("... (").unwrap().1.split_once(" bytes more) ...").unwrap().0;
            let missing: usize = missing.parse().unwrap();
            assert!(text.len() < 4200 && missing > 4_000_000, "{} bytes, {missing} missing", text.len());
        }
        assert!(answer.to_string().len() < 16_384);
        let error = client.err("process/start", Start::child("p", &["true"]).cwd(&long).0);
        let message = "a path has 4194305 bytes, more than 65536".into();
        assert_eq!(error, RpcError { code: -32602, message });
        client.still_serves();
    }

    fn required_members_are_required_by_name(client) {
        for member in ["processId", "argv"] {
            let error = client.err("process/start", Start::child("p", &["true"]).without(member).0);
            assert_eq!(error, RpcError { code: -32602, message: format!("missing field `{member}`") });
        }
    }

    fn members_that_may_be_left_out_are_not_null(client) {
        for (member, wanted) in [("cwd", "a string"), ("env", "a map"), ("tty", "a boolean")] {
            let error = client.err("process/start", Start::child("p", &["true"]).with(member, Value::Null).0);
            let message = format!("invalid type: null, expected {wanted}");
            assert_eq!(error, RpcError { code: -32602, message });
        }
    }

    fn without_a_directory_it_is_the_one_that_the_server_tells(client) {
        let told = client.ok("environment/info", Value::Null)["cwd"].clone();
        let left_out = client.run(Start::child("left out", &["cwd"]).without("cwd"));
        let told = client.run(Start::child("told", &["cwd"]).with("cwd", told));
        assert_eq!((left_out.code, &left_out.stdout), (0, &told.stdout));
        let here = std::env::current_dir().unwrap();
        assert_eq!(left_out.stdout, format!("{}\n", here.display()));
    }

    fn without_tty_it_runs_on_pipes(client) {
        let outcome = client.run(Start::child("p", &["echo", "hi"]).without("tty"));
        assert_eq!((outcome.stdout.as_str(), outcome.pty.as_str()), ("hi\n", ""));
    }

    fn a_name_and_a_command_are_enough(client) {
        let outcome = client.run(Start::child("p", &["exit", "3"]).without("cwd").without("env").without("tty"));
        assert_eq!(outcome.code, 3);
    }

    fn members_of_either_version_and_of_none_are_taken(client) {
        let start = Start::child("p", &["argv0"])
            .with("metadata", json!({"threadId": "t", "toolCallId": "c"}))
            .with("sandbox", Value::Null)
            .with("enforceManagedNetwork", false)
            .with("managedNetwork", Value::Null)
            .with("envPolicy", Value::Null)
            .with("arg0", Value::Null)
            .with("pipeStdin", false)
            .with("unheardOf", json!({"a": [1]}));
        assert_eq!(client.run(start).code, 0);
    }

    fn an_id_may_be_any_text_but_not_one_in_use(client) {
        for id in ["", "p", "53211", "\u{1f980} \"x\"\n"] {
            client.start(Start::child(id, &["sleep"]));
            let again = client.err("process/start", Start::child(id, &["true"]).0);
            assert_eq!((again.code, again.message), (-32600, format!("process {id} already exists")));
            client.ok("process/terminate", json!({"processId": id}));
            client.closed(id);
            let ended = client.err("process/start", Start::child(id, &["true"]).0);
            assert_eq!(ended.code, -32600, "kept after its end");
        }
    }

    fn what_cannot_be_confined_as_asked_does_not_run(client) {
        let entries = json!({"type": "restricted", "entries": []});
        for permissions in [
            json!({"type": "managed", "file_system": entries, "network": "restricted"}),
            json!({"type": "managed"}),
            json!({"type": "unheard of"}),
            json!({}),
            Value::Null,
        ] {
            let sandbox = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
            client.err("process/start", Start::child("p", &["true"]).with("sandbox", sandbox).0);
        }
        for (member, value) in [
            ("sandbox", json!({})),
            ("enforceManagedNetwork", json!(true)),
            ("networkProxy", json!({"proxy": {}})),
        ] {
            client.err("process/start", Start::child("p", &["true"]).with(member, value).0);
        }
        let disabled = json!({"permissions": {"type": "disabled"}, "windowsSandboxLevel": "disabled"});
        let result = client.start(Start::child("p", &["true"]).with("sandbox", disabled));
        assert_eq!(result["sandboxType"], "none", "what asks for no confinement is told that there is none");
    }

    fn arg0_changes_the_name_and_not_the_program(client) {
        let start = Start::child("p", &["argv0"]).with("arg0", "another name");
        assert_eq!(client.run(start).stdout, "another name\n");
    }

    fn a_bare_name_is_looked_up_on_the_path_of_the_child(client) {
        let scratch = scratch();
        std::fs::create_dir(scratch.path("empty")).unwrap();
        std::fs::create_dir(scratch.path("bin")).unwrap();
        symlink(child(), scratch.path("bin/only-here")).unwrap();
        let path = format!("/no/such:{}:{}", scratch.path("empty"), scratch.path("bin"));
        let found = Start::command("p", &["only-here", "argv0"]).env("PATH", &path);
        assert_eq!(client.run(found).stdout, "only-here\n");
        let without = client.err("process/start", Start::command("q", &["only-here"]).0);
        assert!(without.message.contains(&off_path("/")), "{without:?}");
    }

    fn arguments_arrive_as_they_were_sent(client) {
        let words = ["--bind", "-", "", "a b", "\"'$`\\", "line\nline", "\u{1f980}"];
        let outcome = client.run(Start::child("p", &[&["echo"], &words[..]].concat()));
        assert_eq!(outcome.stdout, words.join(" ") + "\n");
        let long = "x".repeat(100_000);
        assert_eq!(client.run(Start::child("q", &["echo", &long])).stdout.len(), 100_001);
    }

    fn a_command_line_too_long_for_the_system_is_an_error(client) {
        let error = client.err("process/start", Start::child("p", &["echo", &"x".repeat(3 << 20)]).0);
        assert!(error.message.ends_with("Argument list too long (os error 7)"), "{:.300}", error.message);
        client.still_serves();
    }
}

#[test]
fn a_confined_start_without_a_directory_may_not_write_to_the_servers() {
    let scratch = scratch();
    let mut command = Server::command();
    command
        .args(["--listen", "stdio"])
        .current_dir(scratch.dir());
    let client = &mut Client::stdio_command(command);
    let start = |id: &str, script: &str| {
        Start::shell(id, script)
            .without("cwd")
            .with("sandbox", read_only())
    };
    let outcome = client.run(start("p", "pwd; touch written"));
    assert_eq!(outcome.stdout, format!("{}\n", scratch.dir()));
    assert_ne!(outcome.code, 0);
    assert!(!std::fs::exists(scratch.path("written")).unwrap());
}

#[test]
fn without_a_directory_nothing_runs_where_the_servers_is_gone() {
    let scratch = scratch();
    let gone = scratch.path("gone");
    std::fs::create_dir(&gone).unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "rmdir \"$PWD\" && exec \"$0\" --listen stdio"])
        .arg(Server::command().get_program())
        .current_dir(&gone);
    let client = &mut Client::stdio_command(command);
    let error = client.err(
        "process/start",
        Start::child("p", &["true"]).without("cwd").0,
    );
    let message = "cwd is left out, and the directory that the server was started in is gone";
    assert_eq!((error.code, error.message.as_str()), (-32603, message));
    assert_eq!(client.run(Start::child("p", &["exit", "3"])).code, 3);
}

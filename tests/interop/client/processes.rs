//! Processes.

use std::time::Duration;

use exec_server::rpc::client::{ClientError, Command, TerminalSize};

use super::scene::{Scene, await_text, finish};
use support::PATIENCE;

pub fn streams_are_apart(scene: &Scene) {
    let said = finish(&scene.start(&scene.shell("echo out; echo err >&2; exit 7")));
    assert_eq!(
        (&*said.stdout, &*said.stderr),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!((said.code, said.lost), (Some(7), 0));
}

pub fn starts_where_it_is_told(scene: &Scene) {
    let mut command = scene.shell("pwd; echo $COLOUR");
    command.env.insert("COLOUR".to_owned(), "grün".to_owned());
    let said = finish(&scene.start(&command));
    let expected = format!("{}\ngrün\n", scene.directory.display());
    assert_eq!(String::from_utf8_lossy(&said.stdout), expected);
}

pub fn takes_input(scene: &Scene) {
    let mut command = scene.shell("read line; echo got $line");
    command.pipe_stdin = true;
    let process = scene.start(&command);
    process.write(b"hello\n").expect("it takes input");
    let said = finish(&process);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "got hello\n");
}

pub fn ends_input_or_says_why_not(scene: &Scene) {
    let mut command = scene.shell("cat; echo end");
    command.pipe_stdin = true;
    let process = scene.start(&command);
    process.write(b"hello\n").expect("it takes input");
    let ended = process.close_stdin();
    if scene.is_ours() {
        ended.expect("ours can");
        assert_eq!(finish(&process).stdout, b"hello\nend\n");
    } else {
        let unsupported = ClientError::Unsupported("process/closeStdin".to_owned());
        assert_eq!(ended, Err(unsupported));
        process.terminate(Duration::ZERO).expect("it can be ended");
        finish(&process);
    }
}

pub fn has_a_terminal(scene: &Scene) {
    let mut command =
        scene.shell("test -t 0 && test -t 1 && echo ready; read line; echo got $line; exit 3");
    command.terminal = Some(TerminalSize { rows: 30, cols: 90 });
    let process = scene.start(&command);
    await_text(&process, "ready");
    process.write(b"hello\n").expect("a terminal takes input");
    let said = finish(&process);
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("got hello"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(3));
}

pub fn is_terminated(scene: &Scene) {
    let process = scene.start(&scene.shell("echo ready; sleep 1000"));
    await_text(&process, "ready");
    process.terminate(Duration::ZERO).expect("it can be ended");
    let said = finish(&process);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.code.is_some(), "closed before the exit");
}

pub fn is_interrupted_or_says_why_not(scene: &Scene) {
    let process = scene.start(
        &scene.shell("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"),
    );
    await_text(&process, "ready");
    match process.signal("INT") {
        Ok(()) => assert_eq!(finish(&process).code, Some(5)),
        Err(ClientError::Rejected { code: -32601, .. }) if scene.is_old() => {
            process.signal("KILL").expect("it can be ended");
            finish(&process);
        }
        other => panic!("{other:?}"),
    }
}

pub fn a_missing_program_is_told(scene: &Scene) {
    let command = Command {
        argv: vec!["/no/such/program".to_owned()],
        cwd: Some("/".to_owned()),
        ..Command::default()
    };
    let error = scene.client.start(&command).expect_err("it does not exist");
    let ClientError::Rejected { message, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(message.contains("No such file"), "{message}");
    // The connection is none the worse for it.
    finish(&scene.start(&scene.shell("true")));
}

pub fn a_time_limit_is_kept_or_refused(scene: &Scene) {
    let mut command = scene.shell("sleep 1000");
    command.timeout = Some(Duration::from_millis(100));
    match scene.client.start(&command) {
        Ok(process) => {
            assert!(scene.is_ours());
            let exit = process.wait(PATIENCE).expect("it ends").expect("in time");
            assert!(exit.timed_out, "{exit:?}");
        }
        Err(error) => {
            assert!(!scene.is_ours(), "{error}");
            assert_eq!(
                error,
                ClientError::Unsupported("process/start.timeoutMs".to_owned())
            );
        }
    }
}

//! Lost websockets: the session is taken up again and no byte is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use exec_server::rpc::client::{ClientError, ConnectionState, ExecServerClient, ProcessEvent};

use super::scripted::{Line, Scripted};
use super::{client, command, command_options, echoes, first_line, options, server_program};
use crate::support::{PATIENCE, Proxy, Server, patterned, signal, within};

#[test]
fn output_streams_on_over_connections_that_are_cut() {
    const COUNT: usize = 40_000_000;
    // Far less is kept than what the proxy and four socket buffers hold, which is lost with them.
    let server = Server::websocket(&["--retained-output", "65536"]);
    let proxy = Proxy::before(server.address());
    let client = client(&proxy.url());
    let process = client
        .start(&command(&["write", &COUNT.to_string()]))
        .unwrap();
    let mut data = Vec::new();
    let mut cut_at = 1_000_000;
    let code = loop {
        match process.next_event(PATIENCE).unwrap() {
            Some(ProcessEvent::Output { data: more, .. }) => data.extend(more),
            Some(ProcessEvent::Exited(exit)) => break exit.code,
            other => panic!("{other:?} after {} bytes", data.len()),
        }
        if data.len() > cut_at {
            cut_at += 5_000_000;
            proxy.cut();
        }
    };
    assert_eq!((data.len(), code), (COUNT, 0));
    let expected = patterned(COUNT);
    assert!(data == expected);
    assert!(proxy.tries() > 5, "{} connections", proxy.tries());
}

#[test]
fn input_goes_on_over_connections_that_are_cut() {
    let server = Server::websocket(&[]);
    let proxy = Proxy::before(server.address());
    let client = client(&proxy.url());
    echoes(&client, 8_000_000, 1_000_000, move || proxy.cut());
}

#[test]
fn a_call_waits_for_the_recovery_and_the_state_tells_of_it() {
    let server = Server::websocket(&[]);
    let proxy = Proxy::before(server.address());
    let client = client(&proxy.url());
    let process = client.start(&command(&["sleep"])).unwrap();
    proxy.refuse();
    within(PATIENCE, "the loss is noticed", || {
        matches!(client.state(), ConnectionState::Recovering(_))
    });
    assert!(client.state().to_string().starts_with("reconnecting: "));
    let waiting = {
        let client = client.clone();
        thread::spawn(move || client.metadata("/", true))
    };
    let before = proxy.tries();
    within(PATIENCE, "it tries again", || proxy.tries() > before + 1);
    assert!(!waiting.is_finished());
    proxy.accept();
    waiting.join().unwrap().unwrap();
    assert_eq!(client.state(), ConnectionState::Connected);
    process.signal("KILL").unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().unwrap().code, 137);
}

#[test]
fn after_the_window_old_handles_fail_and_the_next_use_connects_afresh() {
    let server = Server::websocket(&[]);
    let proxy = Proxy::before(server.address());
    let mut options = options(&proxy.url());
    options.recovery_window = Duration::from_millis(300);
    let client = ExecServerClient::new(options);
    let process = client.start(&command(&["pid-then-sleep"])).unwrap();
    first_line(&process);
    proxy.refuse();
    let error = process.next_event(PATIENCE).unwrap_err().to_string();
    assert!(error.ends_with("recovery timed out after 300ms"), "{error}");
    assert!(matches!(client.state(), ConnectionState::Failed(_)));
    proxy.accept();
    client.metadata("/", true).unwrap();
    let other = client.start(&command(&["echo", "anew"])).unwrap();
    assert_eq!(first_line(&other), "anew");
    let old = process.signal("KILL").unwrap_err();
    assert!(matches!(old, ClientError::Disconnected(_)), "{old:?}");
    assert!(process.next_event(Duration::ZERO).is_err());
}

#[test]
fn a_session_that_is_over_is_not_waited_for() {
    let mut server = Server::websocket(&[]);
    let address = server.address().to_string();
    let client = client(&format!("ws://{address}"));
    let process = client.start(&command(&["sleep"])).unwrap();
    server.kill();
    let mut again = Server::command();
    again.args(["--listen", &format!("ws://{address}")]);
    let _again = Server::websocket_command(again);
    let error = process.next_event(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("unknown session id"), "{error}");
    client.metadata("/", true).unwrap();
}

#[test]
fn many_callers_share_one_attempt() {
    let server = Server::websocket(&[]);
    let proxy = Proxy::before(server.address());
    let client = client(&proxy.url());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| client.metadata("/", true).unwrap());
        }
    });
    assert_eq!(proxy.tries(), 1);
    proxy.cut();
    within(PATIENCE, "it is connected again", || {
        proxy.tries() == 2 && client.state() == ConnectionState::Connected
    });
}

/// How a process fails whose server does this with each connection that takes the session up again,
/// and how many of those there are.
fn gives_up(script: impl Fn(&mut Line) + Send + 'static) -> (String, usize) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let server = Scripted::new(move |number, line| {
        counted.fetch_add(1, Ordering::SeqCst);
        line.greet();
        match number {
            0 => drop(line.start()),
            _ => script(line),
        }
    });
    let mut options = options(server.url());
    options.recovery_window = Duration::from_secs(2);
    let client = ExecServerClient::new(options);
    let process = client.start(&command(&["x"])).unwrap();
    let begun = Instant::now();
    let error = process.next_event(PATIENCE).unwrap_err().to_string();
    // The window, and as much again for a machine that is busy.
    assert!(begun.elapsed() < Duration::from_secs(4), "{error}");
    (error, connections.load(Ordering::SeqCst))
}

#[test]
fn a_server_that_hangs_up_on_every_session_is_given_up_and_not_hurried() {
    let (error, connections) = gives_up(|_| {});
    let words = "recovery timed out after 2s; the session was taken up again";
    assert!(error.contains(words), "{error}");
    // Pauses of 0, 100, 150, 225, 338 and 506 ms.
    assert!((3..=8).contains(&connections), "{connections} connections");
}

#[test]
fn a_server_that_answers_with_junk_is_given_up_and_its_words_are_told() {
    let (error, connections) = gives_up(|line| {
        let request = line.await_request("process/read");
        line.answer(&request, json!({}));
        line.hear();
    });
    assert!(error.contains("process/read makes no sense"), "{error}");
    assert!((3..=8).contains(&connections), "{connections} connections");
}

#[test]
fn connections_that_each_bring_something_are_no_failure() {
    const LAST: u64 = 12;
    let server = Scripted::new(move |number, line| {
        line.greet();
        let seq = number as u64;
        if number == 0 {
            let _ = line.start();
            return;
        }
        let request = line.await_request("process/read");
        let is_last = seq == LAST;
        line.answer(
            &request,
            json!({ "chunks": [{ "seq": seq, "stream": "stdout", "chunk": "eA==" }],
                "nextSeq": seq + 1, "exited": false, "closed": false }),
        );
        if is_last {
            line.exited("1", seq + 1, 0);
            line.closed("1", seq + 2);
            line.hear();
        }
    });
    let mut options = options(server.url());
    options.recovery_window = Duration::from_millis(600);
    let client = ExecServerClient::new(options);
    let process = client.start(&command(&["x"])).unwrap();
    let begun = Instant::now();
    let mut pieces = 0;
    while let Some(ProcessEvent::Output { .. }) = process.next_event(PATIENCE).unwrap() {
        pieces += 1;
    }
    assert_eq!(pieces, LAST);
    assert!(
        begun.elapsed() > Duration::from_millis(600),
        "it was no hot loop"
    );
}

#[test]
fn a_server_that_is_stopped_is_noticed_and_its_session_taken_up_when_it_goes_on() {
    let server = Server::websocket(&[]);
    let mut options = options(&format!("ws://{}", server.address()));
    options.ping_interval = Duration::from_millis(500);
    let client = ExecServerClient::new(options);
    let process = client.start(&command(&["sleep"])).unwrap();
    signal(server.pid(), "STOP");
    within(PATIENCE, "its silence shows", || {
        matches!(client.state(), ConnectionState::Silent { .. })
    });
    within(PATIENCE, "the connection is given up", || {
        matches!(client.state(), ConnectionState::Recovering(_))
    });
    let why = client.state().to_string();
    assert!(why.contains("no sign of life for 1.5s"), "{why}");
    signal(server.pid(), "CONT");
    process.signal("KILL").unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().unwrap().code, 137);
}

#[test]
fn a_command_whose_server_is_stopped_is_given_up_after_the_window_too() {
    let mut options = command_options(&server_program(), &["--listen", "stdio"]);
    options.ping_interval = Duration::from_millis(200);
    options.recovery_window = Duration::from_millis(400);
    let client = ExecServerClient::new(options);
    let mut stops = command(&[]);
    stops.argv = ["/bin/sh", "-c", "kill -STOP $PPID; sleep 1000"]
        .map(str::to_owned)
        .into();
    // The answer to the start may have come before the server stopped, or not.
    let started = client.start(&stops);
    let event = started.and_then(|process| process.next_event(PATIENCE));
    let error = event.unwrap_err().to_string();
    assert!(error.contains("no sign of life for 1s"), "{error}");
}

#[test]
fn a_quiet_server_that_answers_is_left_alone() {
    let server = Server::websocket(&[]);
    for mut options in [
        options(&format!("ws://{}", server.address())),
        command_options(&server_program(), &["--listen", "stdio"]),
    ] {
        options.ping_interval = Duration::from_millis(400);
        options.recovery_window = Duration::ZERO;
        let client = ExecServerClient::new(options);
        let process = client.start(&command(&["sleep"])).unwrap();
        // Far more than the 1.2 s after which it would be gone.
        assert_eq!(process.next_event(Duration::from_secs(4)), Ok(None));
        assert_eq!(client.state(), ConnectionState::Connected);
        process.signal("KILL").unwrap();
        assert_eq!(process.wait(PATIENCE).unwrap().unwrap().code, 137);
    }
}

//! Lost websockets: the session is taken up again and no byte is missing.

use std::thread;
use std::time::Duration;

use exec_server::rpc::client::{ClientError, ConnectionState, ExecServerClient, ProcessEvent};

use super::{client, command, echoes, first_line, options};
use crate::support::{PATIENCE, Proxy, Server, patterned, within};

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

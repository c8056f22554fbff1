//! Every kind of call, over every transport.

use std::ffi::OsStr;
use std::fs;
use std::thread;
use std::time::Duration;

use exec_server::net::Trust;
use exec_server::rpc::client::{
    ClientError, Command, ConnectionState, ExecServerClient, FileKind, HttpRequest, Links,
    MissingBytes, OpenFor, ProcessEvent, Stream, TerminalSize, Transport,
};

use super::{
    client, client_of, command, finish, first_line, next, options, over_command, server_program,
};
use crate::support::{Certificate, PATIENCE, Server, Web, patterned, scratch, within};

/// Input through a process and back, larger than any buffer on the way.
fn echoes(client: &ExecServerClient) {
    const SIZE: usize = 3_000_000;
    super::echoes(client, SIZE, SIZE, || ());
}

#[test]
fn a_websocket_carries_a_process() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    assert_eq!(client.state(), ConnectionState::Idle);
    echoes(&client);
    assert_eq!(client.state(), ConnectionState::Connected);
}

#[test]
fn a_websocket_in_tls_with_a_token_carries_a_process() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let token = dir.path("token");
    fs::write(&token, "my-token").unwrap();
    let flags = ["--ws-auth", "capability-token", "--ws-token-file", &token];
    let server = Server::websocket(&[&certificate.flags()[..], &flags].concat());
    let mut options = options(&format!("wss://{}", server.address()));
    let Transport::WebSocket(dial) = &mut options.transport else {
        unreachable!()
    };
    dial.trust = Trust::File(certificate.certificate.clone().into());
    let stranger = ExecServerClient::new(options.clone());
    let error = stranger.facts().unwrap_err();
    assert!(matches!(&error, ClientError::Connect(_)), "{error:?}");
    assert!(error.to_string().contains("401"), "{error}");
    let Transport::WebSocket(dial) = &mut options.transport else {
        unreachable!()
    };
    dial.bearer = Some("my-token".to_owned());
    echoes(&ExecServerClient::new(options));
}

#[test]
fn a_unix_socket_carries_a_process() {
    let dir = scratch();
    let url = format!("unix://{}", dir.path("socket"));
    let mut server = Server::command();
    server.args(["--listen", &url]);
    let _server = Server::websocket_command(server);
    echoes(&client(&url));
}

#[test]
fn a_command_carries_a_process() {
    echoes(&over_command(&server_program(), &["--listen", "stdio"]));
}

#[test]
fn streams_signals_and_exits_are_told_apart() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let complains = client.start(&command(&["complain", "oops"])).unwrap();
    let said = ProcessEvent::Output {
        stream: Stream::Stderr,
        data: b"oops".to_vec(),
    };
    assert_eq!(next(&complains), said);
    let killed = client.start(&command(&["sleep"])).unwrap();
    killed.signal("sigterm").unwrap();
    let exit = killed.wait(PATIENCE).unwrap().unwrap();
    assert_eq!((exit.code, exit.signal.as_deref()), (143, Some("TERM")));
    let timed = Command {
        timeout: Some(Duration::from_millis(50)),
        ..command(&["sleep"])
    };
    let timed = client.start(&timed).unwrap();
    assert!(timed.wait(PATIENCE).unwrap().unwrap().timed_out);
    let ended = client.start(&command(&["sleep"])).unwrap();
    ended.terminate(Duration::ZERO).unwrap();
    assert_eq!(ended.wait(PATIENCE).unwrap().unwrap().code, 137);
    let refused = client.start(&command(&["true"])).unwrap();
    refused.wait(PATIENCE).unwrap().unwrap();
    let error = refused.write(b"late").unwrap_err();
    assert!(matches!(error, ClientError::InputClosed(_)), "{error:?}");
    let none = client.start(&Command {
        argv: vec!["/no/such/program".to_owned()],
        ..Command::default()
    });
    let error = none.unwrap_err();
    assert!(
        matches!(error, ClientError::Rejected { code: -32603, .. }),
        "{error:?}"
    );
}

#[test]
fn a_terminal_has_the_size_it_is_given() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let size = TerminalSize { rows: 33, cols: 77 };
    let terminal = Command {
        terminal: Some(size),
        ..command(&["terminal"])
    };
    let process = client.start(&terminal).unwrap();
    process.resize(TerminalSize { rows: 10, cols: 20 }).unwrap();
    assert_eq!(first_line(&process), "true true true");
}

#[test]
fn files_are_written_read_listed_and_removed() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let dir = scratch();
    let path = dir.path("a b%");
    client
        .write_file(&path, b"hello", false, Links::Refuse)
        .unwrap();
    client
        .write_file(&path, b"hello again", true, Links::Refuse)
        .unwrap();
    assert_eq!(client.read_file(&path).unwrap(), b"hello again");
    client.set_permissions(&path, 0o600, Links::Follow).unwrap();
    let metadata = client.metadata(&path, true).unwrap();
    assert_eq!(
        (metadata.kind, metadata.size),
        (FileKind::Regular, Some(11))
    );
    assert_eq!(metadata.mode, Some(0o600));
    client
        .symlink("a b%", &dir.path("link"), Links::Follow)
        .unwrap();
    assert_eq!(client.canonicalize(&dir.path("link")).unwrap(), path);
    let link = client.metadata(&dir.path("link"), false).unwrap();
    assert_eq!((link.kind, link.is_symlink), (FileKind::Symlink, true));
    client
        .create_directory(&dir.path("d/e"), Links::Refuse)
        .unwrap();
    client.copy(&path, &dir.path("d/copy"), false).unwrap();
    client
        .rename(&dir.path("d/copy"), &dir.path("d/moved"), Links::Refuse)
        .unwrap();
    let listing = client.read_directory(&dir.path("d")).unwrap();
    let names: Vec<_> = listing.entries.iter().collect();
    let expected = [
        (OsStr::new("e"), FileKind::Directory),
        (OsStr::new("moved"), FileKind::Regular),
    ];
    assert_eq!(names, expected);
    client.remove(&dir.path("d")).unwrap();
    client.remove(&dir.path("d")).unwrap();
    let gone = client.read_file(&dir.path("d/moved")).unwrap_err();
    assert!(
        matches!(gone, ClientError::Rejected { code: -32004, .. }),
        "{gone:?}"
    );
}

#[test]
fn blocks_are_asked_for_by_several_threads_at_once() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let dir = scratch();
    let path = dir.path("large");
    let whole = patterned(5_000_000);
    let block = 1 << 18;
    let file = client
        .open(&path, OpenFor::Replacing, Links::Follow)
        .unwrap();
    thread::scope(|scope| {
        for start in 0..4 {
            let (file, whole) = (&file, &whole);
            scope.spawn(move || {
                for (index, piece) in whole.chunks(block).enumerate().skip(start).step_by(4) {
                    file.write_block((index * block) as u64, piece).unwrap();
                }
            });
        }
    });
    file.close().unwrap();
    assert!(fs::read(&path).unwrap() == whole);
    let file = client.open(&path, OpenFor::Reading, Links::Follow).unwrap();
    let count = whole.len().div_ceil(block);
    let pieces: Vec<_> = thread::scope(|scope| {
        let read = |index: usize| {
            let file = &file;
            scope.spawn(move || file.read_block((index * block) as u64, block).unwrap())
        };
        let threads: Vec<_> = (0..count).map(read).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(pieces.last().unwrap().is_last && !pieces[0].is_last);
    let read: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.data).collect();
    assert!(read == whole);
}

#[test]
fn an_http_answer_comes_with_its_body() {
    let web = Web::serve(|_, wire| wire.reply("200 OK", b"hello\n"));
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let request = HttpRequest {
        method: "GET".to_owned(),
        url: web.url("/hello.txt"),
        timeout: Some(PATIENCE),
        ..HttpRequest::default()
    };
    let response = client.http(&request).unwrap();
    assert_eq!((response.status, &*response.body), (200, &b"hello\n"[..]));
    let bad = HttpRequest {
        url: "ftp://x/".to_owned(),
        ..request
    };
    let error = client.http(&bad).unwrap_err();
    assert!(
        matches!(error, ClientError::Rejected { code: -32602, .. }),
        "{error:?}"
    );
}

#[test]
fn a_slow_consumer_costs_no_byte_and_can_still_call() {
    const COUNT: usize = 24_000_000;
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let process = client
        .start(&command(&["write", &COUNT.to_string()]))
        .unwrap();
    let other = client.start(&command(&["echo", "hi"])).unwrap();
    // Nothing of the first is taken meanwhile, and its output fills every buffer.
    for _ in 0..20 {
        client.metadata("/", true).unwrap();
    }
    assert_eq!(finish(&other).0, b"hi\n");
    let (data, code) = finish(&process);
    assert_eq!((data.len(), code), (COUNT, 0));
    assert!(data == patterned(COUNT));
}

#[test]
fn processes_end_with_their_client() {
    let server = Server::websocket(&[]);
    let client = client_of(&server);
    let process = client.start(&command(&["pid-then-sleep"])).unwrap();
    let kept: u32 = first_line(&process).parse().unwrap();
    let dropped = client.start(&command(&["pid-then-sleep"])).unwrap();
    let unheard: u32 = first_line(&dropped).parse().unwrap();
    drop(dropped);
    assert!(crate::support::alive(kept) && crate::support::alive(unheard));
    drop((process, client));
    within(PATIENCE, "the processes end", || {
        !crate::support::alive(kept) && !crate::support::alive(unheard)
    });
}

#[test]
fn a_program_is_run_to_its_end_in_one_call() {
    let server = Server::websocket(&[]);
    for client in [
        client_of(&server),
        over_command(&server_program(), &["--listen", "stdio"]),
    ] {
        let script = |text: &str| {
            let mut script = command(&[]);
            script.argv = ["/bin/sh", "-c", text].map(str::to_owned).into();
            script
        };
        let cat = script("cat; echo err >&2; exit 3");
        let finished = client.run(&cat, Some(b"in"), None).unwrap();
        assert_eq!((finished.exit.code, finished.exit.timed_out), (3, false));
        assert_eq!(finished.stdout.data, b"in");
        assert_eq!(finished.stderr.data, b"err\n");
        assert_eq!((finished.stdout.missing, finished.confined), (None, None));

        let mut slow = script("printf 0123456789; exec sleep 1000");
        slow.timeout = Some(Duration::from_millis(300));
        let finished = client.run(&slow, None, Some(4)).unwrap();
        assert!(finished.exit.timed_out && finished.duration >= Duration::from_millis(300));
        assert_eq!(finished.exit.signal.as_deref(), Some("TERM"));
        assert_eq!(finished.stdout.data, b"0189");
        let missing = MissingBytes {
            offset: 2,
            bytes: 6,
        };
        assert_eq!(finished.stdout.missing, Some(missing));

        let mut nothing = command(&[]);
        nothing.argv = vec!["/no/such/program".to_owned()];
        let error = client.run(&nothing, None, None).unwrap_err();
        assert_eq!(error.code(), Some(-32603), "{error}");
    }
}

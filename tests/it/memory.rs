//! What a client can make the server hold: the most memory that it ever had, beside what it is allowed.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Client, PATIENCE, Scratch, Server, Start, address_space, anonymous, descriptors, encode,
    exchange, peak_resident, scratch, within, working_children,
};

/// Asks by a request whose parameters are this JSON; the message of the error that must come.
fn refused(client: &mut Client, method: &str, params: &str) -> String {
    client.patience = Duration::from_secs(120);
    client.send(&format!(
        r#"{{"id":"large","method":"{method}","params":{params}}}"#
    ));
    let error = client.answer("large").unwrap_err();
    assert_eq!(error.code, -32602, "{error:?}");
    error.message
}

/// What the most memory of the server has grown by meanwhile, in MiB.
fn growth<T>(client: &mut Client, attack: impl FnOnce(&mut Client) -> T) -> (u64, T) {
    let before = peak_resident(client.server_pid());
    let outcome = attack(client);
    let after = peak_resident(client.server_pid());
    client.still_serves();
    ((after - before) >> 10, outcome)
}

/// As many bytes of JSON as an attack has.
const ATTACK: usize = 16 << 20;

#[test]
fn short_arguments_are_counted_before_they_are_built() {
    let mut client = Client::websocket();
    let arguments = r#""a","#.repeat(ATTACK / 4);
    let (grown, message) = growth(&mut client, |client| {
        let params = format!(
            r#"{{"processId":"p","argv":[{arguments}"a"],"cwd":"/","env":{{}},"tty":false}}"#
        );
        refused(client, "process/start", &params)
    });
    assert_eq!(
        message,
        "argv has more than 131072 strings or 6291456 bytes"
    );
    assert!(grown < 40, "{grown} MiB for a message of 16");
}

#[test]
fn variables_and_patterns_are_counted_before_they_are_built() {
    let mut client = Client::websocket();
    let (grown, ()) = growth(&mut client, |client| {
        let many: String = (0..1_000_000)
            .map(|number| format!(r#""{number}":"","#))
            .collect();
        for (member, name) in [
            (format!(r#""env":{{{many}"":""}}"#), "env"),
            (
                format!(r#""envPolicy":{{"set":{{{many}"":""}}}}"#),
                "envPolicy.set",
            ),
            (
                format!(
                    r#""envPolicy":{{"exclude":[{}""]}}"#,
                    r#""","#.repeat(1_000_000)
                ),
                "envPolicy.exclude",
            ),
        ] {
            let params =
                format!(r#"{{"processId":"p","argv":["true"],"cwd":"/","tty":false,{member}}}"#);
            let message = refused(client, "process/start", &params);
            assert_eq!(
                message,
                format!("{name} has more than 131072 strings or 6291456 bytes")
            );
        }
    });
    assert!(grown < 60, "{grown} MiB for messages of 12");
}

#[test]
fn a_policy_that_is_too_long_is_not_read() {
    let mut client = Client::websocket();
    let roots = r#""/","#.repeat(ATTACK / 4);
    let (grown, message) = growth(&mut client, |client| {
        let sandbox = format!(
            r#"{{"permissions":{{"type":"disabled"}},"windowsSandboxLevel":"disabled","workspaceRoots":[{roots}"/"]}}"#
        );
        refused(
            client,
            "fs/getMetadata",
            &format!(r#"{{"path":"/","sandbox":{sandbox}}}"#),
        )
    });
    assert!(message.contains("more than 2097152"), "{message}");
    assert!(grown < 80, "{grown} MiB for a message of 16");
    client.ok("fs/getMetadata", json!({"path": "/"}));
}

/// A server with a limit on memory, and as many clients.
fn limited(limit: &str, clients: usize) -> (Server, Vec<Client>) {
    let server = Server::websocket(&["--memory-limit", limit, "--metrics"]);
    let clients = (0..clients).map(|_| server.connect()).collect();
    (server, clients)
}

/// A sample of `/metrics`.
fn metric(server: &Server, name: &str) -> u64 {
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let page = exchange(&mut server.dial(), request).text();
    let lines = page.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values
        .next()
        .unwrap_or_else(|| panic!("{name} in {page}"))
        .parse()
        .unwrap()
}

/// Takes the answers to all of these; how many were refused for want of memory. Everything else
/// must have been done.
fn refusals(client: &mut Client, ids: Vec<i64>, mut check: impl FnMut(Value)) -> usize {
    client.patience = Duration::from_secs(120);
    let mut refused = 0;
    for id in ids {
        match client.answer(id) {
            Ok(done) => check(done),
            Err(error) => {
                assert_eq!(error.code, -32000, "{error:?}");
                refused += 1;
            }
        }
    }
    refused
}

/// A file with nothing in it that takes a while to read.
fn sparse(scratch: &Scratch, bytes: u64) -> String {
    let path = scratch.path("sparse");
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

#[test]
fn requests_that_wait_have_one_limit_for_all_connections() {
    let scratch = scratch();
    let large = sparse(&scratch, 4 << 20);
    let (server, mut clients) = limited("32m", 6);
    let data = encode(&vec![b'x'; 700_000]);
    let before = peak_resident(server.pid());
    // Behind answers that nobody takes.
    let asked: Vec<Vec<i64>> = clients
        .iter_mut()
        .enumerate()
        .map(|(number, client)| {
            for _ in 0..8 {
                client.ask("fs/readFile", json!({"path": large}));
            }
            let path = scratch.path(&format!("w{number}"));
            let write = |_| client.ask("fs/writeFile", json!({"path": path, "dataBase64": data}));
            (0..30).map(write).collect()
        })
        .collect();
    let mut refused = 0;
    for (client, ids) in clients.iter_mut().zip(asked) {
        refused += refusals(client, ids, |done| assert_eq!(done, json!({})));
    }
    let grown = (peak_resident(server.pid()) - before) >> 10;
    assert!(refused > 0, "all of 160 MiB has waited");
    assert!(grown < 32 + 24, "{grown} MiB with a limit of 32");
    for client in &mut clients {
        client.ok("fs/getMetadata", json!({"path": "/"}));
    }
    assert_eq!(
        metric(
            &server,
            r#"exec_server_memory_accounted_bytes{kind="requests"}"#
        ),
        0
    );
}

#[test]
fn names_that_nobody_takes_have_one_limit_for_all_connections() {
    let scratch = scratch();
    for number in 0..20_000 {
        File::create(scratch.path(&format!("{number:0200}"))).unwrap();
    }
    let (server, mut clients) = limited("32m", 6);
    let before = peak_resident(server.pid());
    let asked: Vec<Vec<i64>> = clients
        .iter_mut()
        .map(|client| {
            let ask = |_| client.ask("fs/readDirectory", json!({"path": scratch.dir()}));
            (0..4).map(ask).collect()
        })
        .collect();
    for (client, ids) in clients.iter_mut().zip(asked) {
        refusals(client, ids, |done| {
            assert_eq!(done["entries"].as_array().unwrap().len(), 20_000);
        });
    }
    let grown = (peak_resident(server.pid()) - before) >> 10;
    assert!(grown < 32, "{grown} MiB with 8 for answers");
}

#[test]
fn changes_of_files_that_nobody_takes_have_one_limit_for_all_watches() {
    let scratch = scratch();
    let (server, mut clients) = limited("8m", 4);
    let large = sparse(&scratch, 4 << 20);
    std::fs::create_dir(scratch.path("d")).unwrap();
    for client in &mut clients {
        for number in 0..16 {
            let watch = json!({"watchId": format!("w{number}"), "path": scratch.path("d")});
            client.ok("fs/watch", watch);
        }
        for _ in 0..8 {
            client.ask("fs/readFile", json!({"path": large}));
        }
    }
    let before = peak_resident(server.pid());
    for _ in 0..3 {
        for number in 0..1000 {
            File::create(scratch.path(&format!("d/{number:0200}"))).unwrap();
        }
        for number in 0..1000 {
            std::fs::remove_file(scratch.path(&format!("d/{number:0200}"))).unwrap();
        }
    }
    let grown = (peak_resident(server.pid()) - before) >> 10;
    assert!(grown < 16, "{grown} MiB with a limit of 8");
    clients[0].patience = Duration::from_secs(120);
    clients[0].ok("fs/unwatch", json!({"watchId": "w0"}));
}

/// A request with an id of its own that is as long, in one frame.
fn long_frame(id: &str, length: usize) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((length as u64).to_be_bytes());
    frame.extend([0; 4]);
    let head = format!(r#"{{"id":"{id}","method":"environment/status","padding":""#);
    frame.extend(head.as_bytes());
    frame.resize(14 + length - 2, b'x');
    frame.extend(b"\"}");
    frame
}

/// What a message of 2 MiB is answered with.
fn two(client: &mut Client) -> Result<Value, i64> {
    client.send_raw(long_frame("two", 2 << 20));
    client.answer("two").map_err(|error| error.code)
}

const HALF: usize = 16 << 20;

/// Sends the beginning of a message, and waits until nobody else gets so much memory.
fn hold(server: &Server, client: &mut Client, id: &str) -> Vec<u8> {
    let before = metric(
        server,
        r#"exec_server_memory_accounted_bytes{kind="messages"}"#,
    );
    let mut frame = long_frame(id, HALF);
    let rest = frame.split_off(1 << 20);
    client.send_raw(frame);
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(
        server,
        r#"exec_server_memory_accounted_bytes{kind="messages"}"#,
    ) < before + (HALF as u64) - (1 << 16)
    {
        assert!(Instant::now() < deadline, "the message is not counted");
        std::thread::yield_now();
    }
    rest
}

#[test]
fn the_message_that_came_first_is_served_to_its_end_and_a_later_one_is_refused_by_its_id() {
    let (server, mut clients) = limited("32m", 3);
    let rests: Vec<_> = (0..2)
        .map(|number| hold(&server, &mut clients[number], "first"))
        .collect();
    assert_eq!(two(&mut clients[2]), Err(-32000));
    for (client, rest) in clients.iter_mut().zip(rests) {
        client.send_raw(rest);
        assert_eq!(client.answer("first").unwrap()["status"], "ready");
    }
    assert_eq!(two(&mut clients[2]).unwrap()["status"], "ready");
}

#[test]
fn a_message_that_stalls_makes_room_for_others_after_10_s() {
    let begun = Instant::now();
    let (server, mut clients) = limited("32m", 3);
    let rests: Vec<_> = (0..2)
        .map(|number| hold(&server, &mut clients[number], "stalled"))
        .collect();
    let mut waiting = clients.pop().unwrap();
    while two(&mut waiting).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "they keep their place"
        );
        std::thread::park_timeout(Duration::from_millis(300));
    }
    assert!(
        begun.elapsed() > Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let mut dropped = 0;
    for (client, rest) in clients.iter_mut().zip(rests) {
        client.send_raw(rest);
        if let Err(error) = client.answer("stalled") {
            let message = &error.message;
            assert!(
                error.code == -32000 && message.contains("did not go on"),
                "{error:?}"
            );
            dropped += 1;
        }
        client.still_serves();
    }
    assert!(dropped > 0, "room came from elsewhere");
}

#[test]
fn without_others_who_want_memory_a_slow_message_keeps_its_place() {
    let (server, mut clients) = limited("32m", 1);
    let rest = hold(&server, &mut clients[0], "slow");
    std::thread::park_timeout(Duration::from_secs(11));
    clients[0].send_raw(rest);
    assert_eq!(clients[0].answer("slow").unwrap()["status"], "ready");
}

#[test]
fn a_message_above_the_memory_limit_is_refused_by_its_id() {
    let (_server, mut clients) = limited("1m", 1);
    clients[0].send_raw(long_frame("large", 2 << 20));
    let error = &clients[0].whole_answer("large")["error"];
    assert_eq!(
        (&error["code"], &error["data"]["kind"]),
        (&json!(-32600), &json!("tooLarge"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("1048576 bytes"),
        "{error:?}"
    );
    clients[0].still_serves();
}

#[test]
fn a_limit_on_the_address_space_costs_large_requests_and_not_the_server() {
    let program = Server::command();
    let program = program.get_program().to_str().unwrap();
    let mut shell = Command::new("/bin/sh");
    let script = format!("ulimit -v 131072; exec '{program}' --metrics --listen ws://127.0.0.1:0");
    shell.args(["-c", &script]);
    let server = Server::websocket_command(shell);
    assert_eq!(metric(&server, "exec_server_memory_limit_bytes"), 32 << 20);
    let scratch = scratch();
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_raw(long_frame("large", 60 << 20));
        client.send_raw(long_frame("half", HALF));
        let arguments = r#""a","#.repeat(2_000_000);
        client.send(&format!(r#"{{"id":"argv","method":"process/start","params":{{"processId":"p","argv":[{arguments}"a"]}}}}"#));
        let data = encode(&vec![b'x'; 8 << 20]);
        client.ask(
            "fs/writeFile",
            json!({"path": scratch.path("f"), "dataBase64": data}),
        );
    }
    let mut done = 0;
    for client in &mut clients {
        client.patience = Duration::from_secs(120);
        assert_eq!(client.answer("large").unwrap_err().code, -32600);
        done += usize::from(client.answer("half").is_ok());
        client.answer("argv").unwrap_err();
        client.still_serves();
    }
    assert!(done > 0, "nobody's half was taken");
}

/// Lets a server have so many bytes of address space from now on, or any number.
fn limit_address_space(server: &Server, bytes: Option<u64>) {
    let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let words = [format!("--pid={}", server.pid()), format!("--as={limit}:")];
    let set = Command::new("prlimit").args(words).status().unwrap();
    assert!(set.success(), "prlimit, of util-linux");
}

#[test]
fn whatever_address_space_is_left_each_request_is_answered_and_the_server_lives() {
    let scratch = scratch();
    let large = sparse(&scratch, 4 << 20);
    let names = scratch.path("names");
    std::fs::create_dir(&names).unwrap();
    for number in 0..2000 {
        File::create(format!("{names}/{number:0100}")).unwrap();
    }
    let server = Server::websocket(&["--log-level", "error"]);
    let mut client = server.connect();
    // Where there is no memory for the rest of an answer, the connection ends.
    client.may_be_cut = true;
    // What is there once, such as the guardian, is there.
    client.run(Start::child("first", &["true"]));
    let (mut refused, mut number) = (0, 0);
    for left in [
        8 << 20,
        4 << 20,
        2 << 20,
        1 << 20,
        512 << 10,
        256 << 10,
        64 << 10,
        0,
    ] {
        for _ in 0..3 {
            number += 1;
            limit_address_space(&server, Some(address_space(server.pid()) + left));
            let start = |kind: &str, start: Start| {
                let id = format!("{kind}-{number}");
                start.with("processId", id).0
            };
            let handle = format!("h{number}");
            let data = encode(&vec![b'x'; 1 << 20]);
            // Each character of this base64 has to be decoded once more.
            let escaped = "\\u0041".repeat(1 << 18);
            let requests = [
                ("process/start", start("pipes", Start::child("", &["true"]))),
                (
                    "process/start",
                    start("tty", Start::child("", &["true"]).tty()),
                ),
                ("process/run", start("run", Start::child("", &["true"]))),
                (
                    "fs/open",
                    json!({"handleId": handle, "path": large, "mode": "read"}),
                ),
                (
                    "fs/readBlock",
                    json!({"handleId": handle, "offset": 0, "len": 1 << 20}),
                ),
                ("fs/readFile", json!({"path": large})),
                (
                    "fs/writeFile",
                    json!({"path": scratch.path("w"), "dataBase64": data}),
                ),
                ("fs/readDirectory", json!({"path": names})),
                ("fs/walk", json!({"path": names})),
                ("fs/watch", json!({"watchId": handle, "path": names})),
                (
                    "http/request",
                    json!({"requestId": handle, "method": "GET", "url": "http://127.0.0.1:1/"}),
                ),
                ("environment/info", json!({})),
                ("fs/close", json!({"handleId": handle})),
                ("fs/unwatch", json!({"watchId": handle})),
            ];
            let mut ids: Vec<i64> = requests
                .into_iter()
                .map(|(method, params)| client.ask(method, params))
                .collect();
            let escaped = format!(
                r#"{{"id":{number}000000,"method":"fs/writeFile","params":{{"path":"{}","dataBase64":"{escaped}"}}}}"#,
                scratch.path("w")
            );
            client.send(&escaped);
            ids.push(number * 1_000_000);
            // One more connection, which may be refused.
            let another = server.dial();
            for id in ids {
                client.settle(Duration::from_secs(60), |client| client.has_answer(id));
                assert!(
                    client.has_answer(id) || client.is_gone(),
                    "no answer to {id} with {left} bytes left"
                );
                if client.has_answer(id) {
                    refused += usize::from(client.answer(id).is_err());
                }
            }
            drop(another);
            limit_address_space(&server, None);
            if client.is_gone() {
                client = server.connect();
                client.may_be_cut = true;
            }
            client.still_serves();
        }
    }
    assert!(refused > 0, "nothing was refused");
    client.run(Start::child("last", &["true"]));
}

/// What a server with a limit of 64 MiB may have at most, in MiB: the limit, and what itself is.
const MOST_RESIDENT: u64 = 64 + 32;

/// Sends a request with these parameters to a server with a limit of 64 MiB; the code and the message
/// of the error that must come.
fn attacked(method: &str, params: &str) -> (i64, String) {
    let (server, mut clients) = limited("64m", 1);
    let client = &mut clients[0];
    client.patience = Duration::from_secs(120);
    client.send(&format!(
        r#"{{"id":"large","method":"{method}","params":{params}}}"#
    ));
    let error = client.answer("large").unwrap_err();
    let peak = peak_resident(server.pid()) >> 10;
    let name = &method[..method.len().min(40)];
    assert!(peak <= MOST_RESIDENT, "{peak} MiB for {name}: {error:?}");
    client.still_serves();
    (error.code, error.message)
}

#[test]
fn a_program_s_name_is_joined_to_one_directory_of_path_at_a_time() {
    let path = ":".repeat(1000);
    let long = "x".repeat(3 << 20);
    for method in ["process/run", "process/start"] {
        let params = format!(r#"{{"processId":"p","argv":["{long}"],"env":{{"PATH":"{path}"}}}}"#);
        let (code, message) = attacked(method, &params);
        assert_eq!(code, -32603, "{message}");
        assert!(message.contains("name too long"), "{message}");
    }
    let (name, path) = ("x".repeat(255), "a:".repeat(60_000));
    let params = format!(r#"{{"argv":["{name}"],"env":{{"PATH":"{path}"}}}}"#);
    let (code, message) = attacked("process/run", &params);
    assert_eq!(code, -32603, "{message}");
    assert!(message.contains("cannot find the program"), "{message}");
}

#[test]
fn long_parts_of_an_http_request_are_refused_before_they_are_copied() {
    let long = "\u{e9}".repeat(28 << 20);
    let url = "http://127.0.0.1:1/";
    let request = |method: &str, url: &str, name: &str, value: &str| {
        format!(
            r#"{{"requestId":"r","method":"{method}","url":"{url}","headers":[{{"name":"{name}","value":"{value}"}}]}}"#
        )
    };
    for (params, expected) in [
        (
            request("GET", &format!("{url}{long}"), "a", "b"),
            "url is invalid: it has more than 65536",
        ),
        (
            request("GET", &format!("s{long}:"), "a", "b"),
            "url is invalid: it has more than 65536",
        ),
        (
            request(&long, url, "a", "b"),
            "method is invalid: it has more than 64",
        ),
        (request("GET", url, &long, "b"), "headers are too large"),
        (request("GET", url, "a", &long), "headers are too large"),
        (
            format!(
                r#"{{"requestId":"{long}","method":"GET","url":"{url}","streamResponse":true}}"#
            ),
            "requestId must not",
        ),
    ] {
        let (code, message) = attacked("http/request", &params);
        // There may be no room to look at it at all.
        assert!(
            code == -32000 || code == -32602 && message.contains(expected),
            "{code} {message}, {expected}"
        );
    }
    let params = request("GET", &format!("{url}{}", &long[..1 << 20]), "a", "b");
    assert_eq!(attacked("http/request", &params).0, -32602);
}

#[test]
fn base64_is_weighed_before_it_is_decoded() {
    let data = "A".repeat(56 << 20);
    for (method, params) in [
        (
            "process/run",
            format!(r#"{{"argv":["true"],"stdin":"{data}"}}"#),
        ),
        (
            "process/write",
            format!(r#"{{"processId":"p","chunk":"{data}"}}"#),
        ),
        (
            "http/request",
            format!(
                r#"{{"requestId":"r","method":"PUT","url":"http://127.0.0.1:1/","bodyBase64":"{data}"}}"#
            ),
        ),
    ] {
        let (code, message) = attacked(method, &params);
        assert_eq!(code, -32000, "{method}: {message}");
    }
}

#[test]
fn input_of_many_clients_has_one_limit() {
    let (server, mut clients) = limited("64m", 8);
    let data = "A".repeat(12 << 20);
    let asked: Vec<Vec<i64>> = clients
        .iter_mut()
        .map(|client| {
            let params = json!({"argv": ["/bin/sleep", "1"], "stdin": data});
            vec![client.ask("process/run", params)]
        })
        .collect();
    for (client, ids) in clients.iter_mut().zip(asked) {
        refusals(client, ids, |done| assert_eq!(done["exitCode"], 0));
    }
    let peak = peak_resident(server.pid()) >> 10;
    assert!(peak <= MOST_RESIDENT, "{peak} MiB");
}

#[test]
fn names_that_nobody_knows_are_not_copied() {
    let long = "m".repeat(60 << 20);
    let (code, message) = attacked(&long, "{}");
    assert_eq!(code, -32601);
    assert!(message.len() < 300, "{message}");
    let (code, _) = attacked(&format!("\\u0041{long}"), "{}");
    assert_eq!(code, -32601);
    let (code, _) = attacked("none", &format!(r#"0,"\u0041{long}":0"#));
    assert_eq!(code, -32601);
    for (method, params) in [
        (
            "process/signal",
            format!(r#"{{"processId":"p","signal":"{long}"}}"#),
        ),
        (
            "process/run",
            format!(r#"{{"argv":["true"],"timeoutMs":"{long}"}}"#),
        ),
        (
            "process/run",
            format!(r#"{{"argv":["true"],"timeoutMs":"x","\u0041{long}":0}}"#),
        ),
        ("fs/getMetadata", format!(r#"{{"path":"/{long}"}}"#)),
        (
            "process/run",
            format!(r#"{{"argv":["true"],"cwd":"/{long}"}}"#),
        ),
    ] {
        let (code, message) = attacked(method, &params);
        assert!(
            code == -32000 || code == -32602,
            "{method}: {code} {message}"
        );
        let short = params.replace(&long, &long[..1 << 20]);
        let (code, message) = attacked(method, &short);
        assert!(
            code == -32602 || code == -32603,
            "{method}: {code} {message}"
        );
        assert!(message.len() < 5000, "{method}: {message}");
    }
}

/// A server with a limit of 64 MiB on a Unix socket, whose buffers are small and do not grow, and as
/// many clients.
fn on_a_unix_socket(scratch: &Scratch, clients: usize) -> (Server, Vec<Client>) {
    let path = scratch.path("socket");
    let mut command = Server::command();
    command.args(["--memory-limit", "64m", "--listen"]);
    command.arg(format!("unix://{path}"));
    let server = Server::websocket_command(command);
    let connect = |_| {
        let mut client = Client::over(UnixStream::connect(&path).unwrap(), "");
        client.initialize();
        client
    };
    (server, (0..clients).map(connect).collect())
}

/// Fails if the server had more memory than it may have, as soon as it has.
#[track_caller]
fn assert_bounded(server: &Server, what: &str) {
    let peak = peak_resident(server.pid()) >> 10;
    assert!(peak <= MOST_RESIDENT, "{peak} MiB for {what}");
}

#[test]
fn files_that_nobody_takes_have_one_limit_for_all_connections_and_are_read_nevertheless() {
    let scratch = scratch();
    let large = sparse(&scratch, 3 << 20);
    let (server, mut clients) = on_a_unix_socket(&scratch, 150);
    let ids: Vec<i64> = clients
        .iter_mut()
        .map(|client| client.ask("fs/readFile", json!({"path": large})))
        .collect();
    // All have begun: those that came last are small, and wait for their clients like the others.
    let mut last = clients.pop().unwrap();
    last.patience = Duration::from_secs(120);
    let done = last.answer(ids[149]).unwrap();
    assert_eq!(done["dataBase64"].as_str().unwrap().len(), 4 << 20);
    assert_bounded(&server, "150 files of 3 MiB");
    for (client, id) in clients.iter_mut().zip(ids).take(20) {
        client.patience = Duration::from_secs(120);
        let done = client.answer(id).unwrap();
        assert_eq!(done["dataBase64"].as_str().unwrap().len(), 4 << 20);
    }
    assert_bounded(&server, "150 files of 3 MiB, some of which were taken");
}

#[test]
fn blocks_that_nobody_takes_have_one_limit_for_all_connections() {
    let scratch = scratch();
    let large = sparse(&scratch, 8 << 20);
    let (server, mut clients) = on_a_unix_socket(&scratch, 60);
    let asked: Vec<Vec<i64>> = clients
        .iter_mut()
        .enumerate()
        .map(|(number, client)| {
            client.ok("fs/open", json!({"handleId": "h", "path": large}));
            let read =
                json!({"handleId": "h", "offset": 0, "len": 1 << 20, "raw": number % 2 == 1});
            let ask = |_| client.ask("fs/readBlock", read.clone());
            (0..2).map(ask).collect()
        })
        .collect();
    let mut read = 0;
    for (number, (client, ids)) in clients.iter_mut().zip(asked).enumerate() {
        if number % 2 == 0 {
            refusals(client, ids, |_| read += 1);
        }
    }
    assert!(read > 0, "every block was refused");
    assert_bounded(&server, "120 blocks of 1 MiB");
}

#[test]
fn output_of_process_run_that_nobody_takes_has_one_limit_for_all_connections() {
    let scratch = scratch();
    let (server, mut clients) = on_a_unix_socket(&scratch, 60);
    let large = sparse(&scratch, 2_000_000);
    let mut asked = Vec::new();
    for client in &mut clients {
        let run = json!({"argv": ["/bin/cat", large], "maxOutputBytes": 2_000_000, "env": {}});
        asked.push(vec![client.ask("process/run", run)]);
        // Handled, and ended.
        client.ok("fs/getMetadata", json!({"path": "/"}));
        within(PATIENCE, "it ends", || {
            working_children(server.pid()).is_empty()
        });
    }
    let mut done = 0;
    for (client, ids) in clients.iter_mut().zip(asked) {
        refusals(client, ids, |run| {
            assert_eq!(run["stdout"]["totalBytes"], 2_000_000);
            done += 1;
        });
    }
    assert!(done > 0, "every run was refused");
    assert_bounded(&server, "60 runs with 2 MB of output");
}

#[test]
fn a_list_of_processes_that_is_larger_than_memory_is_refused() {
    let (_server, mut clients) = limited("8m", 1);
    let client = &mut clients[0];
    for number in 0..100 {
        let id = format!("{}{number:03}", "\u{1}".repeat(4000));
        client.ok(
            "process/run",
            json!({"processId": id, "argv": ["/bin/true"], "maxOutputBytes": 100}),
        );
    }
    let error = client.err("process/list", json!({}));
    assert_eq!(error.code, -32000, "{error:?}");
    assert!(error.message.len() < 200, "{error:?}");
    client.still_serves();
}

#[test]
fn directories_that_are_watched_have_one_limit_for_all_watches() {
    let scratch = scratch();
    let (server, mut clients) = limited("8m", 1);
    let client = &mut clients[0];
    let before = peak_resident(server.pid());
    let deep: String = (0..3).map(|_| format!("{}/", "d".repeat(250))).collect();
    for number in 0..1000 {
        std::fs::create_dir_all(scratch.path(&format!("t/{deep}/{number}"))).unwrap();
    }
    let tree = scratch.path("t");
    let watch = json!({"watchId": "t", "path": tree, "recursive": true});
    let error = client.err("fs/watch", watch);
    assert_eq!(error.code, -32000, "{error:?}");
    let small =
        json!({"watchId": "s", "path": scratch.path(&format!("t/{deep}/1")), "recursive": true});
    client.ok("fs/watch", small);
    let grown = (peak_resident(server.pid()) - before) >> 10;
    assert!(grown < 16, "{grown} MiB with a limit of 8");
}

/// Processes and connections of the two tests that follow.
const CROWD: usize = 100;

fn start_silent(client: &mut Client, number: usize) {
    client.start(Start::child(&number.to_string(), &["sleep"]));
}

#[test]
fn a_live_process_takes_three_descriptors_of_the_server() {
    let mut client = Client::websocket();
    let pid = client.server_pid();
    // The guardian has some, too.
    start_silent(&mut client, 0);
    let before = descriptors(pid);
    for number in 1..=CROWD {
        start_silent(&mut client, number);
    }
    let taken = descriptors(pid) - before;
    assert!(taken <= 3 * CROWD, "{taken} for {CROWD} processes");
}

#[test]
fn what_is_silent_keeps_little_memory_and_what_is_gone_none() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let pid = server.pid();
    start_silent(&mut client, 0);
    let before = anonymous(pid);
    for number in 1..=CROWD {
        start_silent(&mut client, number);
    }
    let grown = || anonymous(pid).saturating_sub(before);
    // Of a process's stack alone, starting it touches as much.
    let most = 16 * CROWD as u64;
    within(PATIENCE, "each process takes at most 16 KiB", || {
        grown() <= most
    });
    let mut clients: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.still_serves();
    }
    within(PATIENCE, "each connection takes at most 24 KiB", || {
        grown() <= most + 24 * CROWD as u64
    });
    drop(clients);
    for number in 1..=CROWD {
        let id = number.to_string();
        client.ok("process/terminate", json!({"processId": id}));
        client.closed(&id);
    }
    within(PATIENCE, "nothing is left of the crowd", || grown() <= 1024);
}

//! What must be said first, and what comes of saying it otherwise.

use serde_json::{Value, json};

use crate::support::{Client, Server, Start, within};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Runs a test on a client of each transport on which nothing has been said.
fn silent_on_both(test: impl Fn(&mut Client)) {
    test(&mut Client::stdio_silent(&[]));
    test(&mut Client::websocket_silent(&[]));
}

fn hello() -> Value {
    json!({"clientName": "test"})
}

#[test]
fn initialize_names_a_session_and_the_environment() {
    silent_on_both(|client| {
        let result = client.ok("initialize", hello());
        let session = result["sessionId"].as_str().unwrap();
        let dashes: Vec<usize> = session.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!(
            (session.len(), dashes),
            (36, vec![8, 13, 18, 23]),
            "a UUID: {session}"
        );
        assert_eq!(&session[14..15], "4", "of version 4: {session}");
        client.notify("initialized", json!({}));
        let mut info = client.ok("environment/info", Value::Null);
        let ours = info["capabilities"]["execServer"].as_object_mut().unwrap();
        let sandbox = ours.remove("sandbox").unwrap();
        assert!(sandbox["launcher"].is_string(), "{sandbox}");
        assert_eq!(
            info, result["environmentInfo"],
            "without what takes a sandbox to find out"
        );
    });
}

#[test]
fn environment_info_tells_a_client_what_it_needs() {
    let mut client = Client::websocket();
    for params in [Value::Null, json!({})] {
        let info = client.ok("environment/info", params);
        let shell = info["shell"]["path"].as_str().unwrap();
        assert!(shell.starts_with('/'), "{info}");
        assert_eq!(info["shell"]["name"], shell.rsplit('/').next().unwrap());
        assert_eq!(info["platformOs"], "linux");
        assert!(
            info["executorVersion"]
                .as_str()
                .is_some_and(|version| !version.is_empty()),
            "{info}"
        );
        for uri in ["cwd", "userHomeDir", "tempDir"] {
            assert!(
                info[uri]
                    .as_str()
                    .is_some_and(|uri| uri.starts_with("file:///")),
                "{uri} in {info}"
            );
        }
        for list in ["prependPathDirs", "temporaryDirectories"] {
            assert!(info[list].is_array(), "{list} in {info}");
        }
        let capabilities = info["capabilities"].as_object().unwrap();
        for (name, value) in capabilities {
            assert!(
                value.is_boolean() || name == "execServer",
                "{name}: {value}"
            );
        }
        for absent in [
            "networkProxyLaunch",
            "credentialMasking",
            "capabilityDiscoveryV2",
            "shellSnapshotV2",
            "windowsMxc",
        ] {
            assert_ne!(
                capabilities.get(absent),
                Some(&json!(true)),
                "{absent} is not there yet"
            );
        }
        assert!(
            capabilities["execServer"].is_object(),
            "our extensions are announced: {info}"
        );
    }
    assert_eq!(
        client.ok("environment/status", Value::Null),
        json!({"status": "ready"})
    );
}

#[test]
fn the_greeting_is_wanted_before_anything_else() {
    silent_on_both(|client| {
        let read = json!({"processId": "x"});
        let error = client.err("process/read", read.clone());
        assert_eq!(error.code, -32600);
        assert_eq!(
            error.message,
            "client must call initialize before using exec methods"
        );
        assert_eq!(
            client.err("process/read", json!({})).code,
            -32602,
            "params are looked at first"
        );
        assert_eq!(client.err("nope", Value::Null).code, -32601);
        client.ok("initialize", hello());
        let error = client.err("process/read", read.clone());
        assert_eq!(error.code, -32600);
        assert_eq!(
            error.message,
            "client must send initialized before using exec methods"
        );
        client.notify("initialized", json!({}));
        assert_eq!(
            client.err("process/read", read).message,
            "unknown process id x"
        );
    });
}

#[test]
fn a_greeting_that_fails_may_be_tried_again() {
    silent_on_both(|client| {
        assert_eq!(client.err("initialize", json!({})).code, -32602);
        assert_eq!(client.err("initialize", Value::Null).code, -32602);
        assert_eq!(
            client.err("initialize", json!({"clientName": 7})).code,
            -32602
        );
        let error = client.err(
            "initialize",
            json!({"clientName": "x", "resumeSessionId": "nope"}),
        );
        assert_eq!(
            (error.code, error.message.as_str()),
            (-32600, "unknown session id nope")
        );
        client.initialize();
        client.still_serves();
    });
}

over_both! {
    fn a_second_greeting_is_refused(client) {
        let error = client.err("initialize", hello());
        assert_eq!((error.code, error.message.as_str()), (-32600, "initialize may only be sent once per connection"));
        client.still_serves();
    }

    fn initialized_may_be_repeated(client) {
        client.notify("initialized", Value::Null);
        client.send(r#"{"method":"initialized"}"#);
        client.send(r#"{"method":"initialized","params":[1,2,3]}"#);
        client.still_serves();
    }
}

#[test]
fn initialized_before_initialize_does_no_harm() {
    silent_on_both(|client| {
        client.notify("initialized", json!({}));
        client.initialize();
        client.still_serves();
    });
}

#[test]
fn greeting_and_first_requests_may_come_in_one_go() {
    silent_on_both(|client| {
        client.ask("initialize", hello());
        client.notify("initialized", json!({}));
        let start = client.ask("process/start", Start::child("p", &["echo", "hi"]).0);
        client.answer(start).unwrap();
        assert_eq!(client.closed("p").stdout, "hi\n");
    });
}

#[test]
fn the_fields_of_both_versions_may_be_null_or_absent() {
    silent_on_both(|client| {
        let session = json!({"clientName": "", "resumeSessionId": null, "more": {"x": 1}});
        client.ok("initialize", session);
    });
}

/// The one test of all ten-second deadlines: whoever does not finish the upgrade or the greeting is shown out.
#[test]
fn who_does_not_come_to_the_point_within_ten_seconds_is_cut_off() {
    let server = Server::websocket(&[]);
    let begun = Instant::now();
    let mute = server.dial();
    let dribbling = server.dial();
    let mut ungreeted = server.connect_silent();
    let mut greeted = server.connect();

    let mut dribble = dribbling.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Filler: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            if begun.elapsed() > Duration::from_secs(40) || dribble.write_all(&[*byte]).is_err() {
                return;
            }
            // Its slowness is what is tested: it always sends something, and never all.
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    for (name, mut stream) in [("mute", mute), ("dribbling", dribbling)] {
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let mut buffer = [0; 1024];
        within(
            Duration::from_secs(30),
            &format!("the {name} one is cut off"),
            || {
                matches!(stream.read(&mut buffer), Ok(0))
                    || stream
                        .peek(&mut buffer)
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
            },
        );
    }
    ungreeted.hang_up();
    assert!(
        begun.elapsed() >= Duration::from_secs(8),
        "not before its time: {:?}",
        begun.elapsed()
    );
    greeted.still_serves();
    writer.join().unwrap();
}

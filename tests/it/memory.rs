//! What a client can make the server hold: the most memory that it ever had, beside what it is allowed.

use std::time::Duration;

use serde_json::json;

use crate::support::{Client, peak_resident};

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

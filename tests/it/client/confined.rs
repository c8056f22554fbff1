//! Commands that must be confined, on servers that do not do it.

use serde_json::{Value, json};

use exec_server::rpc::client::{ClientError, Command};

use super::client;
use super::scripted::{Line, Scripted};

fn confined() -> Command {
    let permissions = json!({"type": "managed", "file_system": {"type": "restricted", "entries": []},
        "network": "restricted"});
    Command {
        argv: vec!["true".to_owned()],
        sandbox: Some(
            json!({"permissions": permissions, "windowsSandboxLevel": "disabled"}).to_string(),
        ),
        ..Command::default()
    }
}

/// What a server tells of the confinement in force.
fn level(kind: &str, launcher: &str) -> Value {
    json!({"sandboxType": kind, "sandboxLevel": {"launcher": launcher, "weaker": []}})
}

fn greet_as_one_that_tells(line: &mut Line) {
    line.greet_with(&json!({"shell": {"name": "sh", "path": "/bin/sh"}, "cwd": "file:///w"}));
}

#[test]
fn a_server_that_tells_nothing_is_not_even_asked() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let next = line.hear();
        assert!(next["method"] != "process/start", "{next}");
    });
    let client = client(server.url());
    let error = client.start(&confined()).unwrap_err();
    assert!(matches!(error, ClientError::NotConfined(_)), "{error}");
    assert!(error.to_string().contains("does not confine"), "{error}");
    drop(client);
    server.await_end();
}

#[test]
fn without_proof_of_a_confinement_the_command_is_ended() {
    for result in [
        json!({}),
        json!({"sandboxType": null}),
        json!({"sandboxType": "none"}),
        json!({"sandboxType": "other"}),
        json!({"sandboxType": 7}),
        level("none", "none"),
        level("none", "bundled"),
        level("linuxSeccomp", "none"),
        level("linuxSeccomp", "seccomp"),
        level("linuxSeccomp", "bogus"),
        json!({"sandboxType": "linuxSeccomp", "sandboxLevel": {}}),
        json!({"sandboxType": "linuxSeccomp", "sandboxLevel": {"launcher": null}}),
        json!({"sandboxType": "linuxSeccomp", "sandboxLevel": 5}),
    ] {
        let answer = result.clone();
        let server = Scripted::new(move |_, line| {
            greet_as_one_that_tells(line);
            let request = line.await_request("process/start");
            assert!(request["params"]["sandbox"].is_object(), "{request}");
            line.answer(&request, answer.clone());
            let ended = line.await_request("process/terminate");
            assert_eq!(ended["params"]["processId"], request["params"]["processId"]);
            assert_eq!(ended["params"]["graceMs"], Value::Null);
            line.answer(&ended, json!({"running": true}));
        });
        let error = client(server.url()).start(&confined()).unwrap_err();
        assert!(
            matches!(error, ClientError::NotConfined(_)),
            "{result}: {error}"
        );
        server.await_end();
    }
}

#[test]
fn the_confinement_that_the_server_tells_is_there_for_the_caller() {
    let server = Scripted::new(|_, line| {
        greet_as_one_that_tells(line);
        let request = line.await_request("process/start");
        let level = json!({"launcher": "landlock", "weaker": ["a sentence"]});
        line.answer(
            &request,
            json!({"sandboxType": "linuxSeccomp", "sandboxLevel": level}),
        );
    });
    let process = client(server.url()).start(&confined()).unwrap();
    let confined = process.confined().unwrap();
    assert_eq!(confined.launcher.as_deref(), Some("landlock"));
    assert_eq!(confined.weaker, ["a sentence"]);
    server.await_end();
}

#[test]
fn a_network_alone_may_be_confined_by_a_filter_alone() {
    let server = Scripted::new(|_, line| {
        greet_as_one_that_tells(line);
        let request = line.await_request("process/start");
        line.answer(&request, level("linuxSeccomp", "seccomp"));
    });
    let permissions = json!({"type": "external", "network": "restricted"});
    let command = Command {
        sandbox: Some(
            json!({"permissions": permissions, "windowsSandboxLevel": "disabled"}).to_string(),
        ),
        ..confined()
    };
    let process = client(server.url()).start(&command).unwrap();
    let confined = process.confined().unwrap();
    assert_eq!(confined.launcher.as_deref(), Some("seccomp"));
    server.await_end();
}

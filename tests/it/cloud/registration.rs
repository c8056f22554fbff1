//! What is asked of a control plane, and what its answers lead to.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Home, await_executors, await_registrations, cloud, environment, executor};
use crate::support::plane::{Answer, Asked, Plane, Style, gap};
use crate::support::{PATIENCE, Server, fails, finish, within};

/// Fails with exit code 1 and these last words.
#[track_caller]
fn ends_with(command: Command, words: &str) -> Output {
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(last, format!("Error: {words}"), "all of it: {stderr}");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    output
}

fn only_registration(plane: &Plane) -> Asked {
    await_registrations(plane, 1);
    plane.registrations().remove(0)
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

fn is_idempotency_id(value: &Value) -> bool {
    let hex = value
        .as_str()
        .and_then(|id| id.strip_prefix("codex-exec-server-"));
    hex.is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[test]
fn the_executor_s_registration_is_the_reference_s() {
    let plane = Plane::start(Style::Plain);
    let server = Server::offered(executor(&plane));
    let asked = only_registration(&plane);
    assert_eq!(asked.path, "/cloud/executor/ex-1/register");
    assert_eq!(asked.header("authorization"), Some("Bearer remote-secret"));
    assert_eq!(
        asked.header_names(),
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host"
        ]
    );
    assert_eq!(asked.header("accept"), Some("*/*"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let mut body = body(&asked);
    assert!(is_idempotency_id(&body["idempotency_id"].take()), "{body}");
    assert_eq!(
        body,
        json!({"idempotency_id": null, "executor_id": "ex-1", "name": "nm", "labels": {}, "metadata": {}})
    );
    await_executors(&plane, 1);
    let line = "codex exec-server remote executor exec_1 registered with executor_id ex-1";
    within(PATIENCE, "it tells so", || {
        server.stderr().lines().any(|its| its == line)
    });
    let upgrade = plane.upgrades().remove(0);
    assert_eq!(upgrade.header("authorization"), None);
}

#[test]
fn the_cloud_s_registration_is_the_reference_s() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let mut command = cloud(&plane, &home);
    command.args(["--cloud-environment-id", "env-7"]);
    let server = Server::offered(command);
    let asked = only_registration(&plane);
    assert_eq!(asked.path, "/api/cloud/executor");
    assert_eq!(asked.header("authorization"), Some("Bearer access-1"));
    assert_eq!(asked.header("chatgpt-account-id"), Some("acc-1"));
    assert_eq!(
        asked.header_names(),
        [
            "accept",
            "authorization",
            "chatgpt-account-id",
            "content-length",
            "content-type",
            "host"
        ]
    );
    let mut body = body(&asked);
    assert!(is_idempotency_id(&body["idempotency_id"].take()), "{body}");
    assert_eq!(
        body,
        json!({"idempotency_id": null, "environment_id": "env-7", "name": "nm", "labels": {}, "metadata": {}})
    );
    await_executors(&plane, 1);
    let line = "codex exec-server cloud executor exec_1 registered in environment env-7";
    within(PATIENCE, "it tells so", || {
        server.stderr().lines().any(|its| its == line)
    });
}

#[test]
fn the_environment_s_registrations_are_the_references() {
    for (transport, path, wanted) in [
        ("relay", "/cloud/environment/env-1/register", ""),
        (
            "direct",
            "/cloud/environment/env-1/direct/register",
            r#"{"transport":"direct_jsonrpc_v1"}"#,
        ),
    ] {
        let plane = Plane::start(Style::Plain);
        let _server = Server::offered(environment(&plane, transport));
        let asked = only_registration(&plane);
        assert_eq!(asked.path, path);
        assert_eq!(asked.header("authorization"), Some("Bearer key-secret"));
        assert_eq!(String::from_utf8(asked.body).unwrap(), wanted);
        await_executors(&plane, 1);
        let upgrade = plane.upgrades().remove(0);
        let id = upgrade.header("x-request-id").unwrap();
        assert!(id.starts_with("req_") && id.len() == 36, "{id}");
    }
}

#[test]
fn a_first_registration_that_fails_ends_with_the_reference_s_words() {
    let error = |code: &str, message: &str| {
        json!({"error": {"code": code, "message": message}}).to_string()
    };
    for (status, answer, words) in [
        (
            403,
            error("x", "not yours"),
            "executor registry authentication error: executor registry authentication failed (403 Forbidden): not yours",
        ),
        (
            401,
            error("x", "expired token"),
            "executor registry authentication error: executor registry authentication failed (401 Unauthorized): expired token",
        ),
        (
            409,
            error("no_online_executor", "no executor is online"),
            "executor registry request failed (409 Conflict, no_online_executor): no executor is online",
        ),
        (
            500,
            String::new(),
            "executor registry request failed (500 Internal Server Error): empty or malformed error body",
        ),
        (
            429,
            error("slow", "slow down"),
            "executor registry request failed (429 Too Many Requests, slow): slow down",
        ),
    ] {
        let plane = Plane::start(Style::Plain);
        plane.answer([Answer::status(status, &answer)]);
        ends_with(executor(&plane), words);
        assert_eq!(plane.registrations().len(), 1, "{status}");
    }
}

#[test]
fn an_answer_that_is_not_ours_is_not_acted_upon() {
    for (members, words) in [
        (
            json!({"executor_id": "OTHER"}),
            "executor registry returned a different executor id",
        ),
        (
            json!({"url": "ws://rendezvous.example/x"}),
            "executor registry returned a rendezvous URL that is not encrypted",
        ),
        (
            json!({"url": "https://rendezvous.example/x"}),
            "executor registry returned a rendezvous URL that has another scheme",
        ),
        (
            json!({"url": null}),
            "executor registry request failed: error decoding response body: missing field `url`",
        ),
    ] {
        let plane = Plane::start(Style::Plain);
        plane.answer([Answer::With(members)]);
        ends_with(executor(&plane), words);
    }
    let plane = Plane::start(Style::Relay);
    plane.answer([Answer::With(json!({"security_profile": "\u{1b}[2J"}))]);
    ends_with(
        environment(&plane, "relay"),
        "environment registry returned unsupported security profile `\\u{1b}[2J`",
    );
    let plane = Plane::start(Style::Plain);
    plane.answer([Answer::status(200, "{\"id\":")]);
    let output = finish(executor(&plane), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let words = "Error: executor registry request failed: error decoding response body: EOF";
    assert!(stderr.contains(words), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_redirect_does_not_take_the_token_along() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let plane = Plane::start(Style::Plain);
    let location = format!("location: http://{}/x\r\n", elsewhere.local_addr().unwrap());
    plane.answer([Answer::Status(307, location, "moved".into())]);
    ends_with(
        executor(&plane),
        "executor registry request failed (307 Temporary Redirect): moved",
    );
    assert!(elsewhere.accept().is_err(), "somebody was redirected");
}

#[test]
fn a_hang_and_a_dead_end_are_told_within_their_deadlines() {
    let plane = Plane::start(Style::Plain);
    plane.answer([Answer::Hang]);
    let begun = Instant::now();
    ends_with(
        executor(&plane),
        "executor registry request failed: request timed out after 10s",
    );
    let taken = begun.elapsed();
    assert!(
        (Duration::from_secs(10)..Duration::from_secs(15)).contains(&taken),
        "{taken:?}"
    );
    plane.answer([Answer::Drop]);
    let output = finish(executor(&plane), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("Error: executor registry request failed: "),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_may_go_well_later_is_tried_again_for_ever_once_registered() {
    let plane = Plane::start(Style::Plain);
    plane.answer([
        Answer::Good,
        Answer::status(503, ""),
        Answer::status(500, "broken"),
        Answer::status(408, ""),
        Answer::status(200, "no json"),
        Answer::Drop,
        Answer::Status(429, "retry-after: 1\r\n".into(), String::new()),
        Answer::Good,
    ]);
    let server = Server::offered(executor(&plane));
    await_executors(&plane, 1);
    plane.cut();
    await_registrations(&plane, 8);
    await_executors(&plane, 1);
    let asked = plane.registrations();
    assert!(
        gap(&asked[6], &asked[7]) >= Duration::from_secs(1),
        "Retry-After"
    );
    // The same launch asks under the same id.
    for later in &asked[1..] {
        assert_eq!(body(later), body(&asked[0]));
    }
    drop(server);
}

#[test]
fn a_later_refusal_is_the_end() {
    let plane = Plane::start(Style::Plain);
    plane.answer([Answer::Good, Answer::status(404, "gone")]);
    let mut server = Server::offered(executor(&plane));
    await_executors(&plane, 1);
    plane.cut();
    assert_eq!(server.ended(PATIENCE).code(), Some(1));
    within(PATIENCE, "the last words", || {
        let words = "Error: executor registry request failed (404 Not Found): gone\n";
        server.stderr().ends_with(words)
    });
    assert_eq!(plane.registrations().len(), 2);
}

#[test]
fn a_machine_is_registered_or_the_command_line_is_wrong() {
    fails(
        &["--executor-id", "x"],
        2,
        "'--executor-id <ID>' goes with '--remote <URL>'",
    );
    fails(
        &["--environment-id", "x"],
        2,
        "'--environment-id <ID>' goes with '--remote <URL>'",
    );
    fails(
        &["--cloud", "--listen", "ws://127.0.0.1:0"],
        2,
        "the argument '--cloud' cannot be used with '--listen <URL>'",
    );
    fails(
        &["--cloud", "--remote", "https://plane.example"],
        2,
        "the argument '--cloud' cannot be used with '--remote <URL>'",
    );
    fails(
        &[
            "--remote",
            "https://plane.example",
            "--environment-id",
            "a b/../c?x",
        ],
        1,
        "--environment-id must be 1 to 256 letters, digits, '-' or '_'",
    );
    fails(
        &["--remote", "http://plane.example", "--environment-id", "a"],
        1,
        "must begin with https://",
    );
    fails(
        &[
            "--remote",
            "https://plane.example",
            "--environment-id",
            "a",
            "--remote-transport",
            "noise",
        ],
        2,
        "the Noise transport is not spoken here",
    );
}

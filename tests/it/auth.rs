//! Bearer tokens: who gets in with which, and what a mistaken command line is told.
//!
//! Texts and rules are those of the reference, recorded from version 0.169.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::support::sandbox::ORDINARY;
use crate::support::{
    Client, Need, PATIENCE, Server, Start, exchange, fails, finish, scratch, signal, upgrade_head,
    within,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
// Signed with SECRET unless named otherwise. The first is of issuer `me` for the audiences `x` and `you`,
// and good until the year 2286; each of the others has one fault.
const GOOD: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6Im1lIiwiYXVkIjpbIngiLCJ5b3UiXX0.BPQkdazKUCEX0heL_riuCAshR4Kzta8BVooSNBMgU3k";
const OTHER_ISSUER: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6IngiLCJhdWQiOiJ5b3UifQ.JVwhGCKxSYsmeWWdrlg__H7Axs0hHEpKXO12r28ACYU";
const OTHER_AUDIENCE: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6Im1lIiwiYXVkIjoieCJ9.cYEHkIb3eV6YO0Fv-Qyucfl1uVEcYlBXKva8ZKNXh6E";
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEsImlzcyI6Im1lIiwiYXVkIjoieW91In0.0K2KyNUk52jKTF09Uy6VBzzPEiYlXfAe1ZXX3oWhkfo";
const EARLY: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTksIm5iZiI6OTk5OTk5OTk5OSwiaXNzIjoibWUiLCJhdWQiOiJ5b3UifQ.jQ80083TRQb8cdTWfSEIf-YZKj8Ba9wSMFhmQgqGq-U";
const ENDLESS: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJtZSIsImF1ZCI6InlvdSJ9.1Pexlg3NIApgjc-sIky5JyyDK8hQo0oMGmTC_zqVUEY";
const OTHER_SECRET: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6Im1lIiwiYXVkIjoieW91In0.1AvvEqyHY4wlwBtL4IwoHNwMKVVZE2G-m8zVQYEW_5k";
const UNSIGNED: &str =
    "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6Im1lIiwiYXVkIjoieW91In0.";
const HS512: &str = "eyJhbGciOiJIUzUxMiJ9.eyJleHAiOjk5OTk5OTk5OTksImlzcyI6Im1lIiwiYXVkIjoieW91In0.LlTHfILL31_yMlOaHahL0G9-UMWUF2imtsrwFRDuxrJJpdesooW9JhC9_mQNv-uXQft8f1_lrDO-Rfwo005s9g";

/// Status and body of an upgrade with these further header lines.
fn try_with(server: &Server, extra: &str) -> (u16, String) {
    let request = upgrade_head("/", Some("localhost"), extra);
    let reply = exchange(&mut server.dial(), request.as_bytes());
    (reply.status, reply.text())
}

fn try_token(server: &Server, token: &str) -> (u16, String) {
    try_with(server, &format!("Authorization: Bearer {token}\r\n"))
}

fn refused(text: &str) -> (u16, String) {
    (401, text.to_owned())
}

fn let_in() -> (u16, String) {
    (101, String::new())
}

#[test]
fn a_capability_token_lets_in_and_nothing_else_does() {
    let dir = scratch();
    let file = dir.path("token");
    fs::write(&file, " my-token \n").unwrap();
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
    let missing = || refused("missing websocket bearer token");
    let header = || refused("invalid authorization header");
    let other = || refused("invalid websocket bearer token");
    for (extra, expected) in [
        ("", missing()),
        ("Authorization: Bearer my-token\r\n", let_in()),
        ("authorization: bEaReR   my-token  \r\n", let_in()),
        ("Authorization: Bearer my-tokenx\r\n", other()),
        ("Authorization: Bearer my-toke\r\n", other()),
        ("Authorization: Bearer my-token x\r\n", other()),
        ("Authorization: Bearer\tmy-token\r\n", header()),
        ("Authorization: Basic my-token\r\n", header()),
        ("Authorization: my-token\r\n", header()),
        ("Authorization: Bearer\r\n", header()),
        ("Authorization: Bearer \r\n", header()),
        ("Authorization:\r\n", header()),
        ("Authorization: Bearer \u{fc}\r\n", other()),
        (
            "Authorization: Bearer my-token\r\nAuthorization: Bearer no\r\n",
            let_in(),
        ),
        (
            "Authorization: Bearer no\r\nAuthorization: Bearer my-token\r\n",
            other(),
        ),
        ("Sec-WebSocket-Protocol: my-token\r\n", missing()),
    ] {
        assert_eq!(try_with(&server, extra), expected, "{extra:?}");
    }
    let with_origin = "Origin: null\r\nAuthorization: Bearer my-token\r\n";
    assert_eq!(try_with(&server, with_origin).0, 403);
    for (target, expected) in [("/?token=my-token", 401), ("/nope", 404)] {
        let request = upgrade_head(target, Some("localhost"), "");
        let reply = exchange(&mut server.dial(), request.as_bytes());
        assert_eq!(reply.status, expected, "{target}");
    }
    for (target, expected) in [("/readyz", 200), ("/livez", 200), ("/", 400)] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = exchange(&mut server.dial(), request.as_bytes());
        assert_eq!(reply.status, expected, "{target}");
    }
}

#[test]
fn a_digest_is_as_good_as_the_token() {
    let digest = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015ad";
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-sha256", digest]);
    assert_eq!(try_token(&server, "abc"), let_in());
    assert_eq!(try_token(&server, digest).0, 401);
}

#[test]
fn a_signed_token_is_checked_in_every_part() {
    let dir = scratch();
    let file = dir.path("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let flags = [
        "--ws-auth",
        "signed-bearer-token",
        "--ws-shared-secret-file",
        &file,
    ];
    let plain = Server::websocket(&flags);
    let strict = ["--ws-issuer", "me", "--ws-audience", "you"];
    let strict = Server::websocket(&[&flags[..], &strict].concat());
    let invalid = || refused("invalid websocket jwt");
    let expired = || refused("expired websocket jwt");
    let early = || refused("websocket jwt is not valid yet");
    for (token, unasked, asked) in [
        (GOOD, let_in(), let_in()),
        (
            OTHER_ISSUER,
            let_in(),
            refused("websocket jwt issuer mismatch"),
        ),
        (
            OTHER_AUDIENCE,
            let_in(),
            refused("websocket jwt audience mismatch"),
        ),
        (EXPIRED, expired(), expired()),
        (EARLY, early(), early()),
        (ENDLESS, invalid(), invalid()),
        (OTHER_SECRET, invalid(), invalid()),
        (UNSIGNED, invalid(), invalid()),
        (HS512, invalid(), invalid()),
        (SECRET, invalid(), invalid()),
        ("a.b.c", invalid(), invalid()),
    ] {
        assert_eq!(try_token(&plain, token), unasked, "{token}");
        assert_eq!(try_token(&strict, token), asked, "{token}");
    }
    assert_eq!(
        try_with(&strict, ""),
        refused("missing websocket bearer token")
    );
    let tolerant = ["--ws-max-clock-skew-seconds", "9999999999"];
    let tolerant = Server::websocket(&[&flags[..], &tolerant].concat());
    assert_eq!(try_token(&tolerant, EXPIRED), let_in());
    assert_eq!(try_token(&tolerant, EARLY), let_in());
}

#[test]
fn a_token_in_the_environment_is_asked_for_and_goes_no_further() {
    let mut command = Server::command();
    command.env("EXEC_SERVER_TOKEN", "canary-token").args([
        "--listen",
        "ws://127.0.0.1:0",
        "--log-level",
        "debug",
    ]);
    let server = Server::websocket_command(command);
    assert_eq!(try_with(&server, "").0, 401);
    assert_eq!(try_token(&server, "canary-tokem").0, 401);
    let mut client = Client::dial_with(server.address(), "Authorization: Bearer canary-token\r\n");
    client.initialize();
    let policy = serde_json::json!({"inherit": "all", "ignoreDefaultExcludes": true, "exclude": [], "set": {}, "includeOnly": []});
    let shown =
        client.run(Start::shell("p", "echo \"<$EXEC_SERVER_TOKEN>\"").with("envPolicy", policy));
    assert_eq!(shown.stdout, "<>\n");
    assert!(!server.stderr().contains("canary"), "{}", server.stderr());
}

#[test]
fn over_stdio_a_token_in_the_environment_is_nobodys() {
    let mut command = Server::command();
    command
        .env("EXEC_SERVER_TOKEN", "canary-token")
        .args(["--listen", "stdio"]);
    Client::stdio_command(command).still_serves();
}

#[test]
fn the_file_is_read_again_on_a_hang_up() {
    let dir = scratch();
    let file = dir.path("token");
    fs::write(&file, "first").unwrap();
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
    fs::write(&file, "second").unwrap();
    assert_eq!(try_token(&server, "first"), let_in());
    signal(server.pid(), "HUP");
    within(PATIENCE, "the second token is good", || {
        try_token(&server, "second") == let_in()
    });
    assert_eq!(try_token(&server, "first").0, 401);

    fs::remove_file(&file).unwrap();
    signal(server.pid(), "HUP");
    within(PATIENCE, "the missing file is told", || {
        server
            .stderr()
            .contains(&format!("failed to read websocket auth secret {file}"))
    });
    assert_eq!(try_token(&server, "second"), let_in());
    fs::write(&file, " \n").unwrap();
    signal(server.pid(), "HUP");
    within(PATIENCE, "the empty file is told", || {
        server.stderr().contains("must not be empty")
    });
    assert_eq!(try_token(&server, "second"), let_in());
    assert_eq!(try_token(&server, "").0, 401);
}

#[test]
fn a_secret_that_others_can_read_is_told() {
    let dir = scratch();
    let file = dir.path("token");
    fs::write(&file, "word").unwrap();
    for (mode, is_told) in [(0o640, false), (0o604, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let server =
            Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
        // The address is printed after the warning, but on another pipe.
        within(PATIENCE, "the warning", || {
            server.stderr().contains("chmod 600") == is_told
        });
    }
}

#[test]
fn a_secret_of_another_user_or_group_is_told() {
    needs!(Need::Root);
    let dir = scratch();
    let file = dir.path("token");
    fs::write(&file, "word").unwrap();
    for (owner, group, mode, words) in [
        (
            0,
            ORDINARY,
            0o640,
            format!("every user of group {ORDINARY} can use {file}"),
        ),
        (ORDINARY, 0, 0o600, format!("user {ORDINARY} owns {file}")),
    ] {
        chown(&file, Some(owner), Some(group)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let server =
            Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
        within(PATIENCE, "the warning", || server.stderr().contains(&words));
    }
}

#[test]
fn a_blank_token_starts_no_server_that_asks_for_none() {
    for blank in ["", " \n"] {
        let mut command = Server::command();
        command
            .env("EXEC_SERVER_TOKEN", blank)
            .args(["--listen", "ws://127.0.0.1:0"]);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(1), &b""[..]),
            "{stderr}"
        );
        assert!(
            stderr.contains("EXEC_SERVER_TOKEN is set, and empty"),
            "{stderr}"
        );
        // On standard input nobody is asked for one.
        let mut command = Server::command();
        command
            .env("EXEC_SERVER_TOKEN", blank)
            .args(["--listen", "stdio"]);
        let output = finish(command, b"");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn a_token_that_no_client_can_send_starts_no_server() {
    let dir = scratch();
    let file = dir.path("token");
    let words = format!("Error: no client could send the token in {file}: ");
    for token in [&b"two\nlines"[..], b"a\0b", b"\xff", &[b'x'; 8193]] {
        fs::write(&file, token).unwrap();
        fails(
            &["--ws-auth", "capability-token", "--ws-token-file", &file],
            1,
            &words,
        );
    }
    let longest = "x".repeat(8192);
    fs::write(&file, &longest).unwrap();
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
    assert_eq!(try_token(&server, &longest), let_in());
}

#[test]
fn with_a_token_the_whole_network_may_knock() {
    let mut command = Server::command();
    command
        .env("EXEC_SERVER_TOKEN", "word")
        .args(["--listen", "ws://0.0.0.0:0"]);
    let server = Server::websocket_command(command);
    within(PATIENCE, "the warning", || {
        server.stderr().contains("in clear text")
    });
    let request = |extra: &str| upgrade_head("/", Some("any.example"), extra);
    let knock = |extra: &str| exchange(&mut server.dial(), request(extra).as_bytes()).status;
    assert_eq!(knock(""), 401);
    assert_eq!(knock("Authorization: Bearer word\r\n"), 101);
    fails(&["--listen", "ws://0.0.0.0:0"], 1, "--ws-auth");
}

#[test]
fn flags_that_make_no_sense_are_told_so() {
    let dir = scratch();
    let (empty, short) = (dir.path("empty"), dir.path("short"));
    fs::write(&empty, " \n").unwrap();
    fs::write(&short, "x".repeat(31)).unwrap();
    let capability = "--ws-auth capability-token";
    let signed = "--ws-auth signed-bearer-token";
    let no_mode = "websocket auth flags require `--ws-auth capability-token` or `--ws-auth signed-bearer-token`";
    let signed_only = "`--ws-shared-secret-file`, `--ws-issuer`, `--ws-audience`, and `--ws-max-clock-skew-seconds` require `--ws-auth signed-bearer-token`";
    let capability_only = "`--ws-token-file` and `--ws-token-sha256` require `--ws-auth capability-token`, not `signed-bearer-token`";
    for (flags, text) in [
        (
            capability.to_owned(),
            "`--ws-token-file` or `--ws-token-sha256` is required when `--ws-auth capability-token` is set",
        ),
        (
            format!("{capability} --ws-token-file a --ws-token-sha256 b"),
            "`--ws-token-file` and `--ws-token-sha256` are mutually exclusive",
        ),
        (
            format!("{capability} --ws-token-sha256 b"),
            "--ws-token-sha256 must be a 64-character hex SHA-256 digest",
        ),
        (
            format!("{capability} --ws-token-file /no/such/file"),
            "failed to read websocket auth secret /no/such/file: No such file or directory (os error 2)",
        ),
        (
            format!("{capability} --ws-token-file {empty}"),
            &format!("websocket auth secret {empty} must not be empty"),
        ),
        (
            format!("{capability} --ws-token-file x --ws-issuer x"),
            signed_only,
        ),
        (
            format!("{capability} --ws-token-file x --ws-shared-secret-file x"),
            signed_only,
        ),
        (
            signed.to_owned(),
            "`--ws-shared-secret-file` is required when `--ws-auth signed-bearer-token` is set",
        ),
        (
            format!("{signed} --ws-shared-secret-file {short}"),
            &format!("signed websocket bearer secret {short} must be at least 32 bytes"),
        ),
        (
            format!("{signed} --ws-shared-secret-file {empty}"),
            &format!("websocket auth secret {empty} must not be empty"),
        ),
        (
            format!("{signed} --ws-token-file x --ws-shared-secret-file x"),
            capability_only,
        ),
        (format!("{signed} --ws-token-sha256 x"), capability_only),
        ("--ws-token-file x".to_owned(), no_mode),
        ("--ws-issuer x".to_owned(), no_mode),
        ("--ws-max-clock-skew-seconds 3".to_owned(), no_mode),
        (
            format!("--listen stdio {signed} --ws-shared-secret-file x"),
            "WebSocket auth requires a WebSocket listener, not stdio",
        ),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        fails(&flags, 1, &format!("Error: {text}\n"));
    }
    fails(&["--ws-auth", "basic"], 2, "signed-bearer-token");
    let skew = [
        "--ws-auth",
        "capability-token",
        "--ws-max-clock-skew-seconds",
    ];
    fails(&[&skew[..], &["abc"]].concat(), 2, "invalid digit");
    fails(&["--ws-token", "word"], 2, "unexpected argument");
}

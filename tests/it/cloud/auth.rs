//! Tokens: where they come from, and what becomes of them.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::{
    Home, account, await_executors, await_registrations, cloud, command, environment,
    environment_at, executor,
};
use crate::support::plane::{Answer, Plane, Style, tls};
use crate::support::{Certificate, PATIENCE, Server, Start, encode, finish, within};

fn refused() -> Answer {
    Answer::status(401, r#"{"error":{"message":"expired token"}}"#)
}

fn bearers(plane: &Plane) -> Vec<String> {
    let asked = plane.registrations();
    let bearer = |asked: &crate::support::plane::Asked| {
        asked
            .header("authorization")
            .unwrap()
            .replace("Bearer ", "")
    };
    asked.iter().map(bearer).collect()
}

/// A token that ends so many seconds from now, or ended.
fn token(ends_in: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let exp = now.unwrap().as_secs() as i64 + ends_in;
    let claims = encode(format!("{{\"exp\":{exp}}}").as_bytes());
    let claims = claims.replace('+', "-").replace('/', "_").replace('=', "");
    format!("h.{claims}.s")
}

#[track_caller]
fn last_words(output: &std::process::Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_refused_token_is_refreshed_once_and_the_file_keeps_everything() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    fs::set_permissions(home.path(), Permissions::from_mode(0o644)).unwrap();
    plane.answer([refused()]);
    let _server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    assert_eq!(bearers(&plane), ["access-1", "access-for-refresh-1"]);
    let refresh = plane.refreshes().remove(0);
    assert_eq!(
        serde_json::from_slice::<Value>(&refresh.body).unwrap(),
        json!({
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
            "grant_type": "refresh_token",
            "refresh_token": "refresh-1",
            "refresh_reason": "forced",
        })
    );
    assert_eq!(refresh.header("originator"), Some("codex_cli_rs"));
    let mut kept = home.read();
    assert!(kept["last_refresh"].take().is_string());
    let mut wanted = account("access-for-refresh-1", "refresh-1+");
    wanted["last_refresh"] = Value::Null;
    assert_eq!(kept, wanted);
    let mode = fs::metadata(home.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nothing else is left but the lock.
    let names: Vec<_> = fs::read_dir(home.0.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_token_that_somebody_else_renewed_is_read_again_before_any_refresh() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let mut server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    home.write(&account("access-2", "refresh-2"));
    plane.answer([refused()]);
    plane.cut();
    await_registrations(&plane, 3);
    await_executors(&plane, 1);
    // The file was read for the second round, and a refresh brought the third.
    assert_eq!(
        bearers(&plane),
        ["access-1", "access-2", "access-for-refresh-2"]
    );
    assert_eq!(plane.refreshes().len(), 1);
    server.kill();
}

#[test]
fn a_token_that_is_refused_for_ever_costs_one_refresh() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    plane.answer((0..9).map(|_| refused()));
    let words = last_words(&finish(cloud(&plane, &home), b""));
    assert_eq!(
        words,
        "Error: cloud environments request failed (401 Unauthorized): expired token"
    );
    assert_eq!(plane.registrations().len(), 2);
    assert_eq!(plane.refreshes().len(), 1);
}

#[test]
fn a_403_refreshes_nothing() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    plane.answer([Answer::status(403, "no")]);
    let words = last_words(&finish(cloud(&plane, &home), b""));
    assert_eq!(
        words,
        "Error: cloud environments request failed (403 Forbidden): no"
    );
    assert_eq!(plane.registrations().len(), 1);
    assert!(plane.refreshes().is_empty());
}

#[test]
fn a_refresh_token_that_is_used_up_ends_with_the_reference_s_words() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    plane.answer([refused()]);
    plane.answer_refresh([Answer::status(
        401,
        r#"{"error":{"code":"refresh_token_reused","message":"x"}}"#,
    )]);
    let words = last_words(&finish(cloud(&plane, &home), b""));
    assert_eq!(
        words,
        "Error: cloud environment authentication error: Your access token could not be refreshed because your refresh token was already used. Please log out and sign in again."
    );
    assert_eq!(home.read(), account("access-1", "refresh-1"));
}

#[test]
fn a_token_about_to_end_is_renewed_before_it_is_used() {
    for (ends_in, refreshes) in [(3600, 0), (200, 1), (-5, 1)] {
        let plane = Plane::start(Style::Plain);
        let home = Home::with_account();
        let access = token(ends_in);
        home.write(&account(&access, "refresh-1"));
        let _server = Server::offered(cloud(&plane, &home));
        await_executors(&plane, 1);
        assert_eq!(plane.refreshes().len(), refreshes, "{ends_in}");
        let wanted = if refreshes == 0 {
            access
        } else {
            "access-for-refresh-1".into()
        };
        assert_eq!(bearers(&plane), [wanted]);
    }
}

#[test]
fn a_failed_early_refresh_is_no_reason_not_to_try() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let access = token(-5);
    home.write(&account(&access, "refresh-1"));
    plane.answer_refresh([Answer::status(500, "")]);
    let _server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    assert_eq!(bearers(&plane), [access]);
}

#[test]
fn executors_that_share_a_login_use_each_refresh_token_once() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    home.write(&account(&token(-5), "refresh-1"));
    let servers: Vec<_> = (0..4)
        .map(|_| Server::offered(cloud(&plane, &home)))
        .collect();
    await_executors(&plane, servers.len());
    assert_eq!(plane.refreshes().len(), 1);
    assert!(
        bearers(&plane)
            .iter()
            .all(|bearer| bearer == "access-for-refresh-1")
    );
}

/// The plane holds its answer back until the file is another's.
#[test]
fn another_account_s_login_is_not_taken_over_after_a_refusal() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let release = plane.hold_next(refused());
    let mut server = Server::offered(cloud(&plane, &home));
    await_registrations(&plane, 1);
    let mut other = account("access-2", "refresh-2");
    other["tokens"]["account_id"] = "acc-2".into();
    home.write(&other);
    release.send(()).unwrap();
    assert_eq!(server.ended(PATIENCE).code(), Some(1));
    within(PATIENCE, "the last words", || {
        server
            .stderr()
            .contains("you have since logged out or signed in to another account")
    });
    assert_eq!(bearers(&plane), ["access-1"]);
    assert!(plane.refreshes().is_empty());
}

#[test]
fn what_the_cloud_cannot_use_is_told_in_the_reference_s_words() {
    let auth = "Error: cloud environment authentication error: ";
    let mut nameless = account("access-1", "refresh-1");
    nameless["tokens"]["account_id"] = Value::Null;
    for (login, words) in [
        (None, "cloud environments require ChatGPT authentication"),
        (
            Some(json!({"OPENAI_API_KEY": "sk-1"})),
            "cloud environments require ChatGPT authentication; API key auth is not supported",
        ),
        (
            Some(nameless),
            "cloud environments are waiting for a ChatGPT account id",
        ),
        (
            Some(account(" ", "refresh-1")),
            "cloud environments require a non-empty ChatGPT bearer token",
        ),
    ] {
        let plane = Plane::start(Style::Plain);
        let home = Home(crate::support::scratch());
        if let Some(login) = login {
            home.write(&login);
        }
        let found = last_words(&finish(cloud(&plane, &home), b""));
        assert_eq!(found, format!("{auth}{words}"));
        assert!(plane.registrations().is_empty());
    }
}

#[test]
fn an_environment_takes_a_key_from_the_file_or_an_account() {
    for (login, bearer, named) in [
        (json!({"OPENAI_API_KEY": "sk-file"}), "sk-file", None),
        (account("access-1", "refresh-1"), "access-1", Some("acc-1")),
    ] {
        let plane = Plane::start(Style::Relay);
        let home = Home(crate::support::scratch());
        home.write(&login);
        let mut command = environment(&plane, "relay");
        command
            .env_remove("CODEX_API_KEY")
            .env("CODEX_HOME", home.0.dir());
        let _server = Server::offered(command);
        await_executors(&plane, 1);
        assert_eq!(bearers(&plane), [bearer]);
        assert_eq!(plane.registrations()[0].header("chatgpt-account-id"), named);
    }
    let plane = Plane::start(Style::Relay);
    let mut command = environment(&plane, "relay");
    command.env_remove("CODEX_API_KEY");
    let words = last_words(&finish(command, b""));
    assert_eq!(
        words,
        "Error: environment registry authentication error: remote exec-server registration requires ChatGPT authentication or API key authentication; run `codex login` or set CODEX_API_KEY"
    );
}

#[test]
fn a_token_may_come_on_standard_input_whose_end_may_be_ours() {
    let plane = Plane::start(Style::Plain);
    let mut command = executor(&plane);
    command
        .env_remove("CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN")
        .args(["--registration-bearer-stdin", "--exit-on-stdin-close"]);
    let (mut server, mut stdin) = Server::offered_with_stdin(command);
    stdin
        .write_all(b"stdin-secret\nmore that nobody reads\n")
        .unwrap();
    await_executors(&plane, 1);
    assert_eq!(bearers(&plane), ["stdin-secret"]);
    drop(stdin);
    assert_eq!(server.ended(PATIENCE).code(), Some(0));
    let mut command = executor(&plane);
    command.arg("--registration-bearer-stdin");
    let words = last_words(&finish(command, b""));
    assert!(
        words.ends_with("expected a newline-terminated registration bearer of at most 16 KiB"),
        "{words}"
    );
}

/// A token as accounts have it.
fn account_token(claims: Value) -> String {
    let claims = encode(claims.to_string().as_bytes());
    let claims = claims.replace('+', "-").replace('/', "_").replace('=', "");
    format!("h.{claims}.s")
}

#[test]
fn an_account_s_token_may_come_on_standard_input_and_names_its_account() {
    let dir = crate::support::scratch();
    let certificate = Certificate::make(&dir, "plane");
    let named = account_token(json!({
        "https://api.openai.com/auth": {"chatgpt_account_id": "acc-9"}
    }));
    let nameless = account_token(json!({}));
    for (token, more, account) in [
        (&named, &[][..], "acc-9"),
        (&named, &["--chatgpt-account-id", "acc-9"], "acc-9"),
        (&nameless, &["--chatgpt-account-id", "acc-7"], "acc-7"),
    ] {
        let plane = Plane::start(Style::Relay);
        let front = tls::in_front_of(plane.address(), certificate.server_config());
        plane.send_executors_to(&format!("wss://{front}"));
        let mut command = environment_at(&format!("https://{front}"), "relay");
        command
            .env_remove("CODEX_API_KEY")
            .env("SSL_CERT_FILE", &certificate.certificate)
            .arg("--chatgpt-token-stdin")
            .args(more);
        let (server, mut stdin) = Server::offered_with_stdin(command);
        stdin.write_all(format!("{token}\n").as_bytes()).unwrap();
        await_executors(&plane, 1);
        assert_eq!(bearers(&plane), [token.as_str()]);
        let asked = plane.registrations().remove(0);
        assert_eq!(asked.header("chatgpt-account-id"), Some(account));
        // Neither what it logs nor a process that it starts has the token.
        let mut client = super::client(&plane);
        let told = client.run(Start::shell("p", "env; cat /proc/self/cmdline; cat"));
        assert!(!told.stdout.contains(token.as_str()), "{}", told.stdout);
        assert!(!server.stderr().contains(token.as_str()));
    }
}

#[test]
fn an_account_s_token_that_is_none_is_refused_in_the_reference_s_words() {
    let named = account_token(json!({
        "https://api.openai.com/auth": {"chatgpt_account_id": "acc-9"}
    }));
    for (base, line, more, words) in [
        (
            "http://127.0.0.1:9",
            "x.e30.z\n",
            None,
            "ChatGPT token registry URLs must use HTTPS without userinfo or fragments",
        ),
        (
            "https://127.0.0.1:9",
            "x.e30.z",
            None,
            "expected a bounded, newline-terminated ChatGPT access token",
        ),
        (
            "https://127.0.0.1:9",
            "tok\n",
            None,
            "invalid ChatGPT access token",
        ),
        (
            "https://127.0.0.1:9",
            "x.e30.z\n",
            None,
            "token has no ChatGPT account ID; supply --chatgpt-account-id",
        ),
        (
            "https://127.0.0.1:9",
            &format!("{named}\n"),
            Some("other"),
            "--chatgpt-account-id does not match the token",
        ),
    ] {
        let mut command = environment_at(base, "relay");
        command
            .env_remove("CODEX_API_KEY")
            .arg("--chatgpt-token-stdin");
        command.args(more.iter().flat_map(|id| ["--chatgpt-account-id", id]));
        let told = last_words(&finish(command, line.as_bytes()));
        assert!(told.ends_with(words), "{told}");
    }
}

/// The real client writes the file in place, so for a moment it may hold half a login.
#[test]
fn half_a_login_is_read_again_later() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    let server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    fs::write(home.path(), "{\"tokens\":").unwrap();
    plane.cut();
    within(PATIENCE, "it is missed", || {
        server.stderr().contains("cannot read")
    });
    home.write(&account("access-2", "refresh-2"));
    await_executors(&plane, 1);
    assert_eq!(bearers(&plane), ["access-1", "access-2"]);
}

#[test]
fn tokens_that_could_not_be_written_are_renewed_in_their_turn() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    home.write(&account(&token(-5), "refresh-1"));
    let short = json!({"access_token": token(100), "refresh_token": "refresh-2"});
    plane.answer_refresh([Answer::status(200, &short.to_string())]);
    let offered = cloud(&plane, &home);
    // No file may have any content, as on a full disk.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]);
    command.arg(offered.get_program()).args(offered.get_args());
    command.env_clear();
    for (name, value) in offered.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let _server = Server::offered(command);
    await_executors(&plane, 1);
    plane.cut();
    within(PATIENCE, "a second round", || {
        plane.registrations().len() == 2
    });
    let spent: Vec<Value> = plane
        .refreshes()
        .iter()
        .map(|asked| serde_json::from_slice::<Value>(&asked.body).unwrap()["refresh_token"].take())
        .collect();
    assert_eq!(spent, ["refresh-1", "refresh-2"]);
    assert_eq!(bearers(&plane)[1], "access-for-refresh-2");
}

#[test]
fn a_token_that_no_header_can_have_is_named_and_not_shown() {
    let plane = Plane::start(Style::Plain);
    let mut command = executor(&plane);
    command.env("CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN", "very\nsecret");
    let words = last_words(&finish(command, b""));
    assert_eq!(
        words,
        "Error: executor registry authentication error: the token is not made of printable ASCII, \
         so it cannot be sent"
    );
}

#[test]
fn no_secret_is_ever_logged() {
    let plane = Plane::start(Style::Plain);
    let home = Home::with_account();
    plane.answer([refused()]);
    let server = Server::offered(cloud(&plane, &home));
    await_executors(&plane, 1);
    plane.seat([crate::support::plane::Seat::Refuse(503)]);
    plane.cut();
    within(PATIENCE, "a refused connection is logged", || {
        server.stderr().contains("HTTP status 503")
    });
    let log = server.stderr();
    for secret in ["very-secret", "sig=", "access-", "refresh-1"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
    let mut missing = command();
    missing.env("CODEX_HOME", "/nonexistent/home").args([
        "--cloud",
        "--cloud-base-url",
        &plane.base(),
    ]);
    let words = last_words(&finish(missing, b""));
    assert_eq!(
        words,
        "Error: cloud environment configuration error: CODEX_HOME points to \"/nonexistent/home\", but that path is not a directory"
    );
}

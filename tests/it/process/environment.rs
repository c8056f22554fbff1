//! What a process finds in its environment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::sandbox::read_only;
use crate::support::{Client, Server, Start};

/// A server whose own environment is known.
fn server() -> Client {
    let mut command = Server::command();
    command.env_clear().args(["--listen", "stdio"]).envs([
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/x"),
        ("LANG", "C"),
        ("USER", "x"),
        ("TMPDIR", "/tmp"),
        ("PWD", "/srv/server"),
        ("OLDPWD", "/srv/before"),
        ("PLAIN", "plain"),
        ("PLAIN_TWO", "two"),
        ("MY_API_KEY", "secret"),
        ("my_secret_thing", "secret"),
        ("GITHUB_TOKEN", "secret"),
        ("CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN", "secret"),
    ]);
    Client::stdio_command(command)
}

fn policy(inherit: &str, more: Value) -> Value {
    let mut policy = json!({"inherit": inherit, "ignoreDefaultExcludes": false, "exclude": [], "set": {}, "includeOnly": []});
    for (member, value) in more.as_object().unwrap() {
        policy[member] = value.clone();
    }
    policy
}

fn environment(client: &mut Client, id: &str, start: Start) -> BTreeMap<String, String> {
    let outcome = client.run(start.with("processId", id));
    let lines = outcome.stdout.lines().chain(outcome.pty.lines());
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn names(client: &mut Client, inherit: &str, more: Value) -> Vec<String> {
    let id = format!("{inherit} {more}");
    let start = Start::child("", &["env"]).with("envPolicy", policy(inherit, more));
    environment(client, &id, start).into_keys().collect()
}

over_both! {
    fn without_a_policy_the_environment_is_exactly_the_one_given(client) {
        assert_eq!(client.run(Start::child("none", &["env"])).stdout, "");
        let two = Start::child("two", &["env"]).env("A", "1").env("EMPTY", "").env("SPACE", "a b=c\u{fc}");
        let found = environment(client, "two", two);
        assert_eq!(found.len(), 3);
        assert_eq!((found["A"].as_str(), found["EMPTY"].as_str(), found["SPACE"].as_str()), ("1", "", "a b=c\u{fc}"));
    }
}

#[test]
fn inherit_says_what_to_begin_with() {
    let client = &mut server();
    assert_eq!(names(client, "none", json!({})), Vec::<String>::new());
    assert_eq!(
        names(client, "core", json!({})),
        ["HOME", "LANG", "PATH", "TMPDIR", "USER"]
    );
    assert_eq!(
        names(client, "all", json!({})),
        [
            "HOME",
            "LANG",
            "PATH",
            "PLAIN",
            "PLAIN_TWO",
            "PWD",
            "TMPDIR",
            "USER"
        ]
    );
    let all = names(client, "all", json!({"ignoreDefaultExcludes": true}));
    for secret in ["MY_API_KEY", "my_secret_thing", "GITHUB_TOKEN"] {
        assert!(all.iter().any(|name| name == secret), "{secret} in {all:?}");
    }
    assert!(
        !all.iter().any(|name| name.starts_with("CODEX_")),
        "the server's own secrets never: {all:?}"
    );
}

#[test]
fn the_directory_is_that_of_the_process() {
    let client = &mut server();
    let inherited = |start: Start| start.with("envPolicy", policy("all", json!({})));
    let plain = inherited(Start::child("", &["env"]).cwd("/etc"));
    assert_eq!(environment(client, "plain", plain)["PWD"], "/etc");
    let confined = inherited(Start::child("", &["env"]).cwd("/etc")).with("sandbox", read_only());
    let found = environment(client, "confined", confined);
    assert_eq!((found["PWD"].as_str(), found.get("OLDPWD")), ("/etc", None));
    let named = inherited(
        Start::child("", &["env"])
            .cwd("/etc")
            .env("PWD", "/proc/../etc"),
    );
    assert_eq!(environment(client, "named", named)["PWD"], "/proc/../etc");
}

#[test]
fn names_are_excluded_by_globs_that_ignore_case() {
    let client = &mut server();
    let exclude =
        |client: &mut Client, globs: Value| names(client, "all", json!({"exclude": globs}));
    assert_eq!(
        exclude(client, json!(["plain*"])),
        ["HOME", "LANG", "PATH", "PWD", "TMPDIR", "USER"]
    );
    assert_eq!(
        exclude(client, json!(["PLAIN"])),
        ["HOME", "LANG", "PATH", "PLAIN_TWO", "PWD", "TMPDIR", "USER"]
    );
    assert_eq!(
        exclude(client, json!(["?OME", "*a*"])),
        ["PWD", "TMPDIR", "USER"]
    );
}

#[test]
fn set_comes_after_exclude_and_env_comes_last() {
    let client = &mut server();
    let with = policy(
        "none",
        json!({"exclude": ["B*"], "set": {"B": "set", "C": "set", "D": "set"}, "includeOnly": ["B", "c"]}),
    );
    let start = Start::child("", &["env"])
        .env("C", "env")
        .env("SECRET_KEY", "env")
        .with("envPolicy", with);
    let found: Vec<_> = environment(client, "p", start)
        .into_iter()
        .map(|(name, value)| name + "=" + &value)
        .collect();
    assert_eq!(found, ["B=set", "C=env", "SECRET_KEY=env"]);
    let only = names(client, "all", json!({"includeOnly": ["plain*"]}));
    assert_eq!(only, ["PLAIN", "PLAIN_TWO"]);
}

#[test]
fn a_policy_must_be_whole_and_known() {
    let client = &mut server();
    for member in [
        "inherit",
        "ignoreDefaultExcludes",
        "exclude",
        "set",
        "includeOnly",
    ] {
        let mut partial = policy("all", json!({}));
        partial.as_object_mut().unwrap().remove(member);
        let error = client.err(
            "process/start",
            Start::child("p", &["env"]).with("envPolicy", partial).0,
        );
        assert_eq!(
            (error.code, error.message),
            (-32602, format!("missing field `{member}`"))
        );
    }
    let unknown = Start::child("p", &["env"]).with("envPolicy", policy("zzz", json!({})));
    assert_eq!(client.err("process/start", unknown.0).code, -32602);
}

#[test]
fn a_terminal_adds_the_shell_and_nothing_else() {
    let client = &mut server();
    let found = environment(client, "p", Start::child("", &["env"]).tty().env("A", "1"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A", "SHELL"]);
    let given = environment(
        client,
        "q",
        Start::child("", &["env"]).tty().env("SHELL", "/x"),
    );
    assert_eq!(given["SHELL"], "/x");
}

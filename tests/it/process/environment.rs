//! What a process finds in its environment.

use std::collections::BTreeMap;
use std::os::linux::fs::MetadataExt;

use serde_json::{Value, json};

use crate::sandbox::read_only;
use crate::support::sandbox::Sandbox;
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

#[test]
fn what_a_service_manager_tells_the_server_is_not_inherited() {
    const OF_THE_SERVICE: [&str; 7] = [
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ];
    let mut command = Server::command();
    command.env_clear().args(["--listen", "stdio"]);
    command.envs(OF_THE_SERVICE.map(|name| (name, "1")));
    command.envs([("PATH", "/bin"), ("INVOCATION_ID", "x")]);
    let mut client = Client::stdio_command(command);
    let shortest = Start::child("default", &["env"]).without("env");
    let found = environment(&mut client, "default", shortest);
    let found: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(found, ["INVOCATION_ID", "PATH", "PWD"]);
    // A client that means it gets it.
    let start = Start::child("", &["env"]).env("NOTIFY_SOCKET", "/run/x");
    let found = environment(
        &mut client,
        "given",
        start.with("envPolicy", policy("all", json!({}))),
    );
    assert_eq!(found["NOTIFY_SOCKET"], "/run/x");
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
fn a_member_of_a_policy_may_be_left_out() {
    let client = &mut server();
    let whole = policy("all", json!({}));
    let given = |client: &mut Client, id: &str, policy: Value| {
        environment(
            client,
            id,
            Start::child("", &["env"]).with("envPolicy", policy),
        )
    };
    let expected = given(client, "whole", whole.clone());
    assert!(expected.contains_key("PLAIN"), "{expected:?}");
    for member in whole.as_object().unwrap().keys() {
        let mut partial = whole.clone();
        partial.as_object_mut().unwrap().remove(member);
        assert_eq!(given(client, member, partial), expected, "{member}");
    }
    assert_eq!(given(client, "none", json!({})), expected);
    let core = given(
        client,
        "core",
        json!({"inherit": "core", "set": {"A": "1"}}),
    );
    assert_eq!(
        core.into_keys().collect::<Vec<_>>(),
        ["A", "HOME", "LANG", "PATH", "TMPDIR", "USER"]
    );
}

#[test]
fn a_policy_must_be_known() {
    let client = &mut server();
    for (wrong, message) in [
        (
            policy("zzz", json!({})),
            "unknown variant `zzz`, expected one of `core`, `all`, `none`",
        ),
        (json!({"set": null}), "invalid type: null, expected a map"),
        (
            json!("all"),
            "invalid type: string \"all\", expected struct ExecEnvPolicy",
        ),
    ] {
        let start = Start::child("p", &["env"]).with("envPolicy", wrong);
        let error = client.err("process/start", start.0);
        assert_eq!((error.code, error.message.as_str()), (-32602, message));
    }
}

#[test]
fn without_env_and_a_policy_it_is_the_servers_but_for_what_looks_like_a_secret() {
    let client = &mut server();
    let by_policy = Start::child("", &["env"])
        .cwd("/etc")
        .with("envPolicy", policy("all", json!({})));
    let expected = environment(client, "policy", by_policy);
    assert_eq!(expected["PLAIN"], "plain");
    let left_out = || Start::child("", &["env"]).cwd("/etc").without("env");
    assert_eq!(environment(client, "left out", left_out()), expected);
    let null = left_out().with("envPolicy", Value::Null);
    assert_eq!(environment(client, "null", null), expected);
    let core = left_out().with("envPolicy", policy("core", json!({})));
    assert_eq!(
        environment(client, "core", core)
            .into_keys()
            .collect::<Vec<_>>(),
        ["HOME", "LANG", "PATH", "TMPDIR", "USER"]
    );
    let alone = left_out().with("env", json!({}));
    assert!(environment(client, "alone", alone).is_empty());
}

#[test]
fn a_confined_process_inherits_core_alone_unless_more_is_asked_for() {
    let mut command = Server::command();
    command.env_clear().args(["--listen", "stdio"]);
    command.envs([("HOME", "/x"), ("DB_PASSWORD", "hunter2")]);
    let client = &mut Client::stdio_command(command);
    let mut inherited = |id: &str, more: Value| {
        let mut start = Start::child("", &["env"]).without("env");
        start = start.with("sandbox", Sandbox::read_only().json());
        for (member, value) in more.as_object().unwrap() {
            start = start.with(member, value.clone());
        }
        let mut found = environment(client, id, start);
        found.remove("PWD");
        found
    };
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    let core = map(&[("HOME", "/x")]);
    for policy in [
        json!({}),
        json!({"ignoreDefaultExcludes": true}),
        json!({"includeOnly": ["*"]}),
    ] {
        assert_eq!(
            inherited(&policy.to_string(), json!({"envPolicy": policy})),
            core
        );
    }
    assert_eq!(inherited("nothing", json!({})), core);
    let named = json!({"env": {"DB_PASSWORD": "mine"}});
    assert_eq!(inherited("named", named), map(&[("DB_PASSWORD", "mine")]));
    let all = map(&[("HOME", "/x"), ("DB_PASSWORD", "hunter2")]);
    assert_eq!(
        inherited("all", json!({"envPolicy": {"inherit": "all"}})),
        all
    );
    let permissions = json!({"type": "external", "network": "restricted"});
    let network = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
    assert_eq!(inherited("network", json!({"sandbox": network})), all);
}

#[test]
fn a_server_without_an_environment_passes_on_what_a_login_sets() {
    let own = std::fs::metadata("/proc/self")
        .unwrap()
        .st_uid()
        .to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry: Vec<&str> = users
        .lines()
        .map(|line| line.split(':').collect())
        .find(|entry: &Vec<&str>| entry[2] == own)
        .expect("the user of the tests has an entry in /etc/passwd");
    let login = BTreeMap::from(
        [
            ("HOME", entry[5]),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("SHELL", entry[6]),
            ("USER", entry[0]),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let start = || Start::child("", &["env"]);
    let with = |inherit: &str| start().with("envPolicy", policy(inherit, json!({})));
    let server = |variables: &[(&str, &str)]| {
        let mut command = Server::command();
        command.env_clear().args(["--listen", "stdio"]);
        command.envs(variables.iter().copied());
        Client::stdio_command(command)
    };

    let client = &mut server(&[("EXEC_SERVER_TOKEN", "x"), ("PLAIN", "plain")]);
    assert_eq!(environment(client, "core", with("core")), login);
    let mut all = login.clone();
    all.insert("PLAIN".into(), "plain".into());
    all.insert("PWD".into(), "/".into());
    assert_eq!(environment(client, "all", with("all")), all);
    assert_eq!(environment(client, "left out", start().without("env")), all);
    assert!(environment(client, "none", with("none")).is_empty());
    assert!(environment(client, "alone", start()).is_empty());

    let client = &mut server(&[("HOME", "/x")]);
    let found = environment(client, "some", with("core"));
    assert_eq!(found, BTreeMap::from([("HOME".into(), "/x".into())]));
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

//! `process/start`: what runs, in what environment, and what is refused.

use serde_json::{Value, json};

use super::super::case::{Case, Step, shell, start};
use crate::subject::Transport;

const START: &str = "process/start";

/// A start and all that comes of it.
fn whole(name: &'static str, start: Step) -> Case {
    Case::new(START, name, vec![start, Step::Closed("p")])
}

/// A start that fails.
fn refused(name: &'static str, argv: &[&str], more: Value) -> Case {
    Case::new(START, name, vec![start("p", argv, more)])
}

/// Sorted variables of a child under a policy.
fn policy(name: &'static str, policy: Value) -> Case {
    let more = json!({"envPolicy": policy, "env": {"GIVEN_KEY": "given"}});
    let script =
        "env | grep -v -e ^HOME= -e ^PWD= -e ^SHLVL= -e ^_= -e ^CODEX -e ^OLDPWD= -e ^PATH= | sort";
    whole(name, start("p", &["/bin/sh", "-c", script], more))
}

pub fn cases() -> Vec<Case> {
    let missing = |member: &str| {
        let mut params =
            json!({"processId": "p", "argv": ["true"], "cwd": "@", "env": {}, "tty": false});
        params.as_object_mut().map(|members| members.remove(member));
        params
    };
    let mut cases = vec![
        whole(
            "output and exit code",
            shell("p", "echo out; echo err >&2; exit 3", json!({})),
        ),
        whole(
            "a bare name",
            start("p", &["echo", "hello", "ü"], json!({})),
        ),
        whole("a relative program", start("p", &["./run.sh"], json!({}))),
        whole(
            "the working directory",
            shell("p", "pwd; cat f.txt", json!({})),
        ),
        whole(
            "a deeper directory",
            shell("p", "pwd", json!({"cwd": "@sp ace"})),
        ),
        whole("nothing on stdin", start("p", &["cat"], json!({}))),
        whole(
            "its own argv[0]",
            shell("p", "echo $0", json!({"arg0": "renamed"})),
        ),
        whole(
            "an empty environment",
            start("p", &["/usr/bin/env"], json!({"env": {}})),
        ),
        whole("killed by a signal", shell("p", "kill -9 $$", json!({}))),
        whole(
            "terminated by a signal",
            shell("p", "kill -15 $$", json!({})),
        ),
        whole("a large exit code", shell("p", "exit 300", json!({}))),
        whole(
            "a process group of its own",
            shell(
                "p",
                "test $(cut -d' ' -f5,6 /proc/$$/stat | tr ' ' -) = $$-$$ && echo yes",
                json!({}),
            ),
        ),
        whole(
            "open descriptors",
            shell("p", "ls /proc/self/fd | wc -l", json!({})),
        ),
        whole(
            "300 KB",
            shell(
                "p",
                "head -c 300000 /dev/zero | tr '\\0' y; echo end",
                json!({}),
            ),
        ),
        whole(
            "a terminal",
            shell(
                "p",
                "tty >/dev/null && stty size; echo out; echo err >&2",
                json!({"tty": true}),
            ),
        ),
        whole(
            "killed on a terminal",
            shell("p", "kill -9 $$", json!({"tty": true})),
        ),
        whole(
            "a terminal's environment",
            start(
                "p",
                &["/usr/bin/env"],
                json!({"tty": true, "env": {"SHELL": "/bin/x"}}),
            ),
        ),
        refused("no such program", &["/no/such/program"], json!({})),
        refused("no such name", &["no-such-name"], json!({})),
        refused("a program that may not be run", &["./f.txt"], json!({})),
        refused("a directory as program", &["./d"], json!({})),
        refused("no shebang", &["./plain"], json!({})),
        refused("no such directory", &["true"], json!({"cwd": "@missing"})),
        refused("a file as directory", &["true"], json!({"cwd": "@f.txt"})),
        refused("a closed directory", &["true"], json!({"cwd": "@locked"})),
        refused("an empty argv", &[], json!({})),
        refused("an empty program", &[""], json!({})),
        refused("NUL in an argument", &["echo", "a\0b"], json!({})),
        refused(
            "NUL in a variable",
            &["echo"],
            json!({"env": {"A": "a\0b"}}),
        ),
        refused(
            "no such program on a terminal",
            &["/no/such/program"],
            json!({"tty": true}),
        ),
        refused("a bad cwd", &["true"], json!({"cwd": 7})),
        refused("a bad flag", &["true"], json!({"tty": "yes"})),
        refused(
            "a bad policy",
            &["true"],
            json!({"envPolicy": {"inherit": "some"}}),
        ),
        Case::new(
            START,
            "an id in use",
            vec![
                shell("p", "sleep 5", json!({})),
                shell("p", "echo second", json!({})),
            ],
        ),
        Case::new(
            START,
            "an id used before",
            vec![
                shell("p", "echo first", json!({})),
                Step::Closed("p"),
                shell("p", "echo second", json!({})),
            ],
        ),
        Case::new(
            START,
            "an id whose start failed",
            vec![
                start("p", &["/no/such"], json!({})),
                shell("p", "echo second", json!({})),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            START,
            "an empty id",
            vec![shell("", "echo nameless", json!({})), Step::Closed("")],
        ),
        whole(
            "no such directory on a terminal",
            shell("p", "echo ran", json!({"tty": true, "cwd": "@missing"})),
        ),
        Case::new(
            START,
            "several at once",
            vec![
                shell("p", "echo p", json!({})),
                shell("q", "echo q", json!({})),
                Step::Closed("p"),
                Step::Closed("q"),
            ],
        )
        .over(Transport::Websocket),
    ];
    for member in ["processId", "argv", "cwd", "env", "tty"] {
        cases.push(Case::ask(START, member_missing(member), missing(member)));
    }
    let all = json!({"inherit": "all", "ignoreDefaultExcludes": true, "exclude": [], "set": {}, "includeOnly": []});
    let with = |more: Value| {
        let mut policy = all.clone();
        for (member, value) in more.as_object().into_iter().flatten() {
            policy[member] = value.clone();
        }
        policy
    };
    cases.extend([
        policy("all variables", all.clone()),
        policy("core variables", with(json!({"inherit": "core"}))),
        policy("no variables", with(json!({"inherit": "none"}))),
        policy(
            "default excludes",
            with(json!({"ignoreDefaultExcludes": false})),
        ),
        policy("excludes", with(json!({"exclude": ["interop_p*", "L?NG"]}))),
        policy(
            "set after exclude",
            with(json!({"exclude": ["SET_*"], "set": {"SET_A": "a"}})),
        ),
        policy(
            "include only",
            with(json!({"set": {"SET_A": "a"}, "includeOnly": ["SET_*", "INTEROP_P*"]})),
        ),
        policy("a policy with little in it", json!({"inherit": "all"})),
    ]);
    cases
}

fn member_missing(member: &str) -> &'static str {
    match member {
        "processId" => "without processId",
        "argv" => "without argv",
        "cwd" => "without cwd",
        "env" => "without env",
        _ => "without tty",
    }
}

//! Policies: what a file request may do under one, and what a command may.
//!
//! A 0.169 client sends the policy of a command along with it. 0.130's puts its helper in front, which its server runs
//! and ours understands. The words inside a policy are the same but for paths: `cwd` is the project of the older
//! generation, `workspaceRoots` that of the newer.

mod profile;

use serde_json::{Value, json};

use profile::{at, glob, profile, read_only, sandbox, special, with, workspace};

use super::super::case::{Case, Ground, Step};
use crate::subject::Generation;

const FILES: &str = "(sandbox) files";
const COMMANDS: &str = "(sandbox) commands";
const LEAST: &str = "6 the least";

/// Requests one after the other, all of them under one policy.
fn files(name: &'static str, sandbox: &Value, requests: Vec<(&'static str, Value)>) -> Case {
    let confined = |(method, mut params): (&'static str, Value)| {
        params["sandbox"] = sandbox.clone();
        Step::Ask(method, params)
    };
    let steps = requests.into_iter().map(confined).collect();
    let mut case = Case::new(FILES, name, steps).on(Ground::Project);
    case.files = true;
    case
}

fn read(path: &str) -> (&'static str, Value) {
    ("fs/readFile", json!({"path": path}))
}

fn write(path: &str) -> (&'static str, Value) {
    let params = json!({"path": path, "dataBase64": "bmV3"});
    ("fs/writeFile", params)
}

fn list(path: &str) -> (&'static str, Value) {
    ("fs/readDirectory", json!({"path": path}))
}

fn create(path: &str) -> (&'static str, Value) {
    let params = json!({"path": path, "recursive": true});
    ("fs/createDirectory", params)
}

fn remove(path: &str) -> (&'static str, Value) {
    let params = json!({"path": path, "recursive": true, "force": true});
    ("fs/remove", params)
}

fn without(member: &str, mut sandbox: Value) -> Value {
    sandbox.as_object_mut().map(|all| all.remove(member));
    sandbox
}

/// A profile with the paths of the older generation, as a text.
fn native(permissions: &Value) -> String {
    let text = permissions.to_string();
    text.replace("\"@/", "\"/").replace("\"@", "\"{F}/")
}

/// A script under a profile, as each generation's client asks for it.
fn commands(name: &'static str, permissions: &Value, script: &str) -> [Case; 2] {
    let whole = |start: Value, generation| {
        let steps = vec![Step::Ask("process/start", start), Step::Closed("p")];
        let mut case = Case::new(COMMANDS, name, steps)
            .on(Ground::Project)
            .only(generation);
        case.files = true;
        case
    };
    // One stream, so that its order is the program's.
    let script = format!("exec 2>&1\n{script}");
    let helper = [
        "{HELPER}",
        "--sandbox-policy-cwd",
        "{F}/proj",
        "--command-cwd",
        "{F}/proj",
        "--permission-profile",
        &native(permissions),
        "--",
        "/bin/bash",
        "--norc",
        "-c",
        &script,
    ];
    let common = json!({
        "processId": "p", "cwd": "@proj", "tty": false, "env": {"PATH": "/usr/bin:/bin"},
    });
    let (mut old, mut new) = (common.clone(), common);
    old["argv"] = json!(helper);
    new["argv"] = json!(["/bin/bash", "--norc", "-c", script]);
    new["sandbox"] = sandbox(permissions.clone());
    [whole(old, Generation::V130), whole(new, Generation::V169)]
}

/// Whether some places can be changed, what the kernel says of us, and where we are.
const PROBE: &str = "for at in ./made src/made ../other/made .git/made .codex/made .agents/made /made; do
    if (echo x >$at) 2>/dev/null; then echo \"$at made\"; else echo \"$at not\"; fi
done
grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status
ls /proc/self/fd | grep -c .
env | grep -v -e '^_=' -e ^SHLVL= -e ^PWD= -e ^OLDPWD= | sort
[ \"$(readlink /proc/self/ns/net)\" = '{NET}' ] && echo network of the host || echo network of its own
[ \"$(readlink /proc/self/ns/user)\" = '{USER}' ] && echo user of the host || echo user of its own
[ \"$(readlink /proc/self/ns/pid)\" = '{PID}' ] && echo processes of the host || echo processes of its own
pwd";

const CAPABILITIES: &str = "grep -E '^(CapEff|CapBnd):' /proc/self/status";

/// What a shell can see of a network.
const CONNECT: &str = "(echo >/dev/tcp/127.0.0.1/9) 2>&1 | grep -o -e refused -e permitted -e unreachable -e Unknown
[ \"$(readlink /proc/self/ns/net)\" = '{NET}' ] && echo network of the host || echo network of its own
grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status";

pub fn cases() -> Vec<Case> {
    let mut cases = file_cases();
    let mut online = read_only();
    online.network = "enabled";
    let external = json!({"type": "external", "network": "restricted"});
    let unrestricted = json!({
        "type": "managed", "file_system": {"type": "unrestricted"}, "network": "restricted",
    });
    let (read_only, workspace) = (read_only().permissions(), workspace().permissions());
    for (name, permissions, script) in [
        ("11 read-only", &read_only, PROBE),
        ("11 read-only, its capabilities", &read_only, CAPABILITIES),
        ("12 workspace", &workspace, PROBE),
        (
            "12 workspace, and what is denied is told",
            &workspace,
            "echo x >../other/made",
        ),
        ("12 workspace, a failure of its own", &workspace, "exit 7"),
        ("13 disabled", &json!({"type": "disabled"}), PROBE),
        ("14 external", &external, CONNECT),
        ("14 unrestricted", &unrestricted, CONNECT),
        ("15 online", &online.permissions(), CONNECT),
        ("read-only, and no network", &read_only, CONNECT),
        (
            "4 a denied directory",
            &with([at("@proj/sub", "none")]).permissions(),
            "cat sub/s || cat src/a.txt; ls sub | wc -l; echo x >sub/made; echo x >made && cat made",
        ),
        (
            "5 a denied pattern",
            &with([glob("{F}/proj/**/*.env")]).permissions(),
            "cat x.env; cat sub/x.env; echo x >new.env && cat new.env",
        ),
        (
            LEAST,
            &profile([special("minimal", "read"), at("@proj/src", "read")]).permissions(),
            "cat src/a.txt; ls ..; cat ../other/o.txt || ls",
        ),
        (
            "7 everything but one",
            &profile([special("root", "write"), at("@proj/sub", "none")]).permissions(),
            "echo x >.git/made && cat .git/made; echo x >../other/made; cat sub/s || echo denied",
        ),
        (
            "8 a grant over protection",
            &with([at("@proj/.git", "write")]).permissions(),
            "echo x >.git/made && cat .git/made",
        ),
        (
            "9 a grant inside a denial",
            &with([at("@proj/sub", "none"), at("@proj/sub/a", "write")]).permissions(),
            "echo x >sub/a/made && cat sub/a/made; cat sub/s || echo denied",
        ),
        (
            "10 a root that is missing",
            &with([at("@/nonexist", "write")]).permissions(),
            "echo x >/nonexist/made || echo x >made && cat made",
        ),
    ] {
        let [old, new] = commands(name, permissions, script);
        // The helper of 0.130's client is not among the least, so that its server cannot run it.
        if name != LEAST {
            cases.push(old);
        }
        cases.push(new);
    }
    cases
}

fn file_cases() -> Vec<Case> {
    let denied = with([at("@proj/sub", "none")]).sandbox();
    vec![
        files(
            "1 read-only",
            &read_only().sandbox(),
            vec![
                read("@proj/src/a.txt"),
                read("@proj/missing"),
                write("@proj/src/made"),
                create("@proj/made"),
                remove("@proj/src"),
                list("@proj/src"),
            ],
        ),
        files(
            "1 read-only, a directory",
            &read_only().sandbox(),
            vec![read("@proj/src")],
        ),
        files(
            "2 workspace",
            &workspace().sandbox(),
            vec![
                write("@proj/src/made"),
                write("@other/made"),
                write("@proj/.git/made"),
                write("@proj/.codex/made"),
                create("@proj/.codex"),
                remove("@proj/.git"),
                write("@/tmp/exec-server-interop"),
                remove("@/tmp/exec-server-interop"),
                write("@{T}/made"),
                read("@{T}/made"),
                remove("@{T}/made"),
                list("@proj/src"),
            ],
        ),
        files(
            "2 workspace without a cwd",
            &without("cwd", workspace().sandbox()),
            vec![write("@proj/src/made")],
        ),
        files(
            "3 workspace without roots",
            &without("workspaceRoots", workspace().sandbox()),
            vec![write("@proj/src/made"), write("@proj/made")],
        ),
        files(
            "4 a denied directory",
            &denied,
            vec![
                read("@proj/src/a.txt"),
                read("@proj/sub/s"),
                list("@proj/sub"),
                write("@proj/sub/made"),
                write("@proj/made"),
            ],
        ),
        files(
            "5 a denied pattern",
            &with([glob("{F}/proj/**/*.env")]).sandbox(),
            vec![
                read("@proj/x.env"),
                read("@proj/sub/x.env"),
                read("@proj/src/a.txt"),
                write("@proj/new.env"),
            ],
        ),
        files(
            "5 a denied pattern, made later",
            &with([glob("{F}/proj/**/*.env")]).sandbox(),
            vec![write("@proj/new.env"), write("@proj/new.env")],
        ),
        files(
            "5 a denied pattern, not deep",
            &with([glob("**/*.env")]).depth(1),
            vec![read("@proj/x.env"), read("@proj/sub/x.env")],
        ),
        files(
            LEAST,
            &profile([special("minimal", "read"), at("@proj/src", "read")]).sandbox(),
            vec![
                read("@proj/src/a.txt"),
                read("@other/o.txt"),
                write("@proj/src/made"),
                read("@proj/src/out"),
            ],
        ),
        files(
            "7 everything but one",
            &profile([special("root", "write"), at("@proj/sub", "none")]).sandbox(),
            vec![
                write("@other/made"),
                write("@proj/.git/made"),
                read("@proj/sub/s"),
            ],
        ),
        files(
            "8 a grant over protection",
            &with([at("@proj/.git", "write")]).sandbox(),
            vec![write("@proj/.git/made"), write("@proj/.codex/made")],
        ),
        files(
            "9 a grant inside a denial",
            &with([at("@proj/sub", "none"), at("@proj/sub/a", "write")]).sandbox(),
            vec![write("@proj/sub/a/made"), read("@proj/sub/s")],
        ),
        files(
            "10 a root that is missing",
            &with([at("@/nonexist", "write")]).sandbox(),
            vec![write("@/nonexist/made"), write("@proj/made")],
        ),
        files(
            "13 disabled",
            &sandbox(json!({"type": "disabled"})),
            vec![write("@other/made"), read("@proj/sub/s")],
        ),
        files(
            "14 external",
            &sandbox(json!({"type": "external", "network": "restricted"})),
            vec![write("@other/made"), read("@proj/sub/s")],
        ),
    ]
}

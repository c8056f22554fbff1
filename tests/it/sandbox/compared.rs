//! A file request sees and changes what a program under the same policy does, and nothing else: both are asked about a tree of
//! traps, and must say the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::support::sandbox::{Generation, Launcher, SECRET, Sandbox, Stage};
use crate::support::{child, decode, encode};

/// Paths of the machine, with `S` for the server's number and `O` for that of another process of its user.
const MACHINE: [&str; 56] = [
    "/",
    "/etc/passwd",
    "/nonexistent",
    "/nonexistent/below",
    "/sys/kernel",
    "/sys/kernel/uevent_helper",
    "/proc",
    "/proc/self",
    "/proc/self/fd",
    "/proc/self/task",
    "/proc/self/root",
    "/proc/self/root/etc/passwd",
    "/proc/self/root/proc/S/environ",
    "/proc/self/status",
    "/proc/self/mountinfo",
    "/proc/thread-self/root/etc/passwd",
    "/proc/1",
    "/proc/1/environ",
    "/proc/1/mem",
    "/proc/1/maps",
    "/proc/1/fd",
    "/proc/1/root",
    "/proc/1/root/etc/passwd",
    "/proc/1/cwd",
    "/proc/1/cwd/etc/passwd",
    "/proc/1/exe",
    "/proc/1/task/1/environ",
    "/proc/1/ns/pid",
    "/proc/1/map_files",
    "/proc/S",
    "/proc/S/environ",
    "/proc/S/mem",
    "/proc/S/maps",
    "/proc/S/fd",
    "/proc/S/fd/0",
    "/proc/S/root",
    "/proc/S/root/etc/passwd",
    "/proc/S/cwd",
    "/proc/S/exe",
    "/proc/S/task/S/environ",
    "/proc/S/task/S/mem",
    "/proc/O/environ",
    "/proc/O/mem",
    "/proc/O/root",
    "/proc/O/fd/0",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sysrq-trigger",
    "/dev",
    "/dev/null",
    "/dev/zero",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/mem",
    "/dev/kmsg",
    "/dev/shm",
];

/// What there is to be seen in the stage's directory.
const TRAPS: [&str; 14] = [
    "workspace",
    "workspace/file",
    "workspace/fifo",
    "workspace/socket",
    "workspace/device",
    "workspace/out",
    "workspace/out/file",
    "workspace/dangling",
    "workspace/loop",
    "workspace/secret-link",
    "workspace/closed",
    "outside/file",
    "secret",
    "secret/file",
];

/// Lays the traps; a link to each path of the machine among them. Gives all paths.
fn lay_traps(stage: &mut Stage, machine: &[String]) -> Vec<String> {
    for directory in ["secret", "workspace/links"] {
        stage.make_directory(directory);
    }
    for file in [
        "workspace/file",
        "workspace/closed",
        "outside/file",
        "secret/file",
    ] {
        stage.make_file(file, &format!("content of {file}"));
    }
    let at = |name: &str| stage.path(name);
    let links = [
        ("workspace/out", at("outside")),
        ("workspace/dangling", "nowhere".into()),
        ("workspace/loop", "loop".into()),
        ("workspace/secret-link", at("secret/file")),
    ];
    for (name, target) in links {
        symlink(target, at(name)).unwrap();
    }
    let mut paths: Vec<String> = TRAPS
        .iter()
        .map(|name| at(name))
        .chain(machine.iter().cloned())
        .collect();
    for (number, path) in machine.iter().enumerate() {
        let link = at(&format!("workspace/links/{number}"));
        symlink(path, &link).unwrap();
        paths.push(link);
    }
    let _socket = UnixListener::bind(at("workspace/socket")).unwrap();
    fs::set_permissions(
        at("workspace/closed"),
        std::os::unix::fs::PermissionsExt::from_mode(0o000),
    )
    .unwrap();
    let (fifo, device) = (at("workspace/fifo"), at("workspace/device"));
    stage.works_free(&["fifo", &fifo]);
    if stage.is_root() {
        stage.works_free(&["mknod", &device]);
    }
    paths
}

/// The result of a request, or how it failed: by the kernel's number, or because there is no file.
fn asked(
    stage: &mut Stage,
    policy: &Value,
    method: &str,
    mut params: Value,
) -> Result<Value, String> {
    params["sandbox"] = policy.clone();
    let id = stage.client.ask(&format!("fs/{method}"), params);
    let answer = stage.client.whole_answer(id);
    match (&answer["result"], &answer["error"]) {
        (Value::Null, error) => Err(match &error["data"]["errno"] {
            Value::Null
                if error["message"]
                    .as_str()
                    .unwrap()
                    .ends_with("is not a file") =>
            {
                "no file".into()
            }
            Value::Null => error.to_string(),
            errno => format!("E{errno}"),
        }),
        (result, _) => Ok(result.clone()),
    }
}

/// What file requests show of a path, as the child program tells it.
fn shown(stage: &mut Stage, policy: &Value, path: &str) -> Vec<(&'static str, String)> {
    let mut shown = Vec::new();
    let mut look = |name, method, tell: &dyn Fn(&Value) -> String| {
        let asked = asked(stage, policy, method, json!({"path": path}));
        shown.push((
            name,
            asked.map_or_else(|error| error, |result| tell(&result)),
        ));
    };
    look("stat", "getMetadata", &|found| {
        let kind = [("isDirectory", "directory"), ("isFile", "file")];
        let kind = kind.iter().find(|(member, _)| found[member] == true);
        kind.map_or("other", |(_, kind)| kind).into()
    });
    look("read", "readFile", &|found| {
        let content = decode(found["dataBase64"].as_str().unwrap());
        format!("{:?}", &content[..content.len().min(16)])
    });
    look("list", "readDirectory", &|_| "ok".into());
    look("link", "readLink", &|found| {
        found["target"].as_str().unwrap().into()
    });
    look("real", "canonicalize", &|found| {
        found["path"].as_str().unwrap().into()
    });
    shown
}

/// Whether a program's own number, or the namespaces that were made for it, are part of what it sees there.
fn is_of_its_own(path: &str, name: &str) -> bool {
    let is_self = ["/proc/self", "/proc/thread-self"]
        .iter()
        .any(|own| path.starts_with(own));
    let is_namespace = path.contains("/ns/");
    (is_self || is_namespace) && ["real", "link"].contains(&name)
        || path.ends_with("self/status")
        || path.ends_with("mountinfo")
}

fn policies(stage: &Stage) -> Vec<(&'static str, Sandbox)> {
    let mut policies = vec![
        ("read-only", Sandbox::read_only()),
        ("workspace", stage.policy()),
        (
            "minimal",
            Sandbox::minimal().read(&stage.workspace()).read(&child()),
        ),
        ("all but the network", Sandbox::nothing().write("/")),
    ];
    // Landlock cannot take something out of what is permitted.
    if stage.launcher != Launcher::Landlock {
        policies.push(("denying", stage.policy().deny(&stage.path("secret"))));
    }
    policies
}

on_every_launcher! {
    fn what_is_seen_is_the_same(stage) {
        let outsider = stage.outsider(&["sleep"]);
        let (server, other) = (stage.client.server_pid().to_string(), outsider.pid().to_string());
        let machine = MACHINE.map(|path| {
            let parts = path.split('/').map(|part| match part {
                "S" => server.as_str(),
                "O" => other.as_str(),
                part => part,
            });
            parts.collect::<Vec<_>>().join("/")
        });
        let paths = lay_traps(stage, &machine);
        let words: Vec<&str> = paths.iter().flat_map(|path| ["look", path, "--"]).collect();
        let words = &words[..words.len() - 1];
        let mut differing = Vec::new();
        for (name, sandbox) in policies(stage) {
            let program = stage.confined(&sandbox, words).stdout;
            let program: Vec<&str> = program.lines().collect();
            assert_eq!(program.len(), paths.len(), "{name}: {program:?}");
            let policy = sandbox.json_as(Generation::Old);
            for (path, line) in paths.iter().zip(program) {
                let target = fs::read_link(path).ok().filter(|_| path.contains("/links/"));
                let leads_to = target.as_ref().map_or(path.as_str(), |target| target.to_str().unwrap());
                let expected: Vec<(&str, &str)> = line.trim_start_matches("did ").split('\t').map(|field| field.split_once('=').unwrap()).collect();
                for ((field, expected), (_, shown)) in expected.into_iter().zip(shown(stage, &policy, path)) {
                    assert!(!shown.contains(SECRET), "{name}: {path}: {shown}");
                    let is_file_of_memory = leads_to.ends_with("/mem") && field == "read" && shown == "no file";
                    let is_own = is_of_its_own(leads_to, field) && !(field == "link" && target.is_some());
                    let is_random = leads_to.ends_with("/maps") && shown.starts_with('[') && expected.starts_with('[');
                    if shown != expected && !is_own && !is_file_of_memory && !is_random {
                        differing.push(format!("{name}: {field} of {path} ({leads_to}): a program {expected}, a request {shown}"));
                    }
                }
            }
        }
        assert!(differing.is_empty(), "{} as {:?}:\n{}", stage.launcher, stage.who, differing.join("\n"));
    }

    fn what_can_be_changed_is_the_same(stage) {
        let mut differing = Vec::new();
        for (name, sandbox) in policies(stage) {
            let policy = sandbox.json_as(Generation::Old);
            // The same twice: once for a program, once for requests.
            let made = ["p", "r"].map(|side| {
                let mut cases = Vec::new();
                for place in ["workspace", "outside", "secret"] {
                    let directory = format!("{place}-{name}-{side}").replace(' ', "-");
                    let directory = match place {
                        "workspace" => stage.make_directory(&format!("workspace/{directory}")),
                        "secret" => {
                            stage.make_directory("secret");
                            stage.make_directory(&format!("secret/{directory}"))
                        }
                        _ => stage.make_directory(&format!("outside/{directory}")),
                    };
                    let relative = directory.strip_prefix(&stage.path("")).unwrap().to_owned();
                    for number in 0..9 {
                        stage.make_file(&format!("{relative}/{number}"), "old");
                    }
                    symlink(&directory, stage.path(&format!("workspace/{place}-{name}-{side}-link"))).unwrap();
                    let link = stage.path(&format!("workspace/{place}-{name}-{side}-link"));
                    let ways = [directory.clone(), link, format!("/proc/self/root{directory}"), format!("/proc/1/root{directory}")];
                    for (way, at) in ways.iter().enumerate() {
                        let path = |what: &str| format!("{at}/{what}");
                        let new = |what: &str| path(&format!("{what}-{way}"));
                        let mut add = |attempt: &[&str], method: &'static str, params: Value| {
                            let attempt: Vec<String> = attempt.iter().map(|word| (*word).to_owned()).collect();
                            cases.push((attempt, method, params));
                        };
                        add(&["write", &path("0")], "writeFile", json!({"path": path("0"), "dataBase64": encode(b"changed")}));
                        add(&["write", &new("w")], "writeFile", json!({"path": new("w"), "dataBase64": encode(b"changed"), "atomic": true}));
                        add(&["write", &path("1")], "open", json!({"path": path("1"), "handleId": "h", "mode": "replace"}));
                        add(&["mkdir", &new("d")], "createDirectory", json!({"path": new("d"), "recursive": false}));
                        add(&["symlink", "x", &new("s")], "symlink", json!({"path": new("s"), "target": "x"}));
                        add(&["remove", &path(&(2 + way).to_string())], "remove", json!({"path": path(&(2 + way).to_string()), "recursive": false, "force": false}));
                        add(&["rename", &path("6"), &new("m"), "--", "rename", &new("m"), &path("6")], "rename", json!({"sourcePath": path("6"), "destinationPath": new("m")}));
                        add(&["write", &new("c")], "copy", json!({"sourcePath": path("7"), "destinationPath": new("c"), "recursive": false}));
                        if stage.launcher != Launcher::Landlock {
                            add(&["chmod", &path("8"), "600"], "setPermissions", json!({"path": path("8"), "mode": 0o600}));
                        }
                    }
                }
                cases
            });
            let [program, requests] = made;
            let mut words = Vec::new();
            for (attempt, ..) in &program {
                words.extend(attempt.iter().map(String::as_str).chain(["--"]));
            }
            let said = stage.confined(&sandbox, &words[..words.len() - 1]).stdout;
            let mut said = said.lines();
            for ((attempt, ..), (_, method, params)) in program.iter().zip(requests) {
                let expected = said.next().unwrap_or("nothing");
                if attempt.contains(&"--".to_owned()) {
                    said.next();
                }
                let got = asked(stage, &policy, method, params.clone());
                if method == "rename" && got.is_ok() {
                    let back = json!({"sourcePath": params["destinationPath"], "destinationPath": params["sourcePath"]});
                    asked(stage, &policy, method, back).unwrap();
                }
                if method == "open" && got.is_ok() {
                    stage.client.ok("fs/close", json!({"handleId": "h"}));
                }
                let number = expected.split("os error ").nth(1).map(|rest| format!("E{}", rest.trim_end_matches(')')));
                if got.clone().err() != number {
                    differing.push(format!("{name}: {attempt:?}: {expected:?}, {method} {params}: {got:?}"));
                }
            }
        }
        assert!(differing.is_empty(), "{} as {:?}:\n{}", stage.launcher, stage.who, differing.join("\n"));
    }

    fn what_nobody_answers_holds_up_no_helper(stage) {
        let workspace = stage.workspace();
        let (fifo, file) = (format!("{workspace}/fifo"), stage.make_file("workspace/file", "content"));
        stage.works_free(&["fifo", &fifo]);
        let _socket = UnixListener::bind(format!("{workspace}/socket")).unwrap();
        let policy = stage.policy().json_as(Generation::Old);
        for path in [fifo, format!("{workspace}/socket"), "/dev/tty".into(), "/dev/ptmx".into()] {
            for (method, params) in [
                ("readFile", json!({"path": path})),
                ("writeFile", json!({"path": path, "dataBase64": encode(b"x")})),
                ("open", json!({"path": path, "handleId": "r"})),
                ("open", json!({"path": path, "handleId": "u", "mode": "update"})),
                ("copy", json!({"sourcePath": path, "destinationPath": format!("{workspace}/copy"), "recursive": false})),
                ("copy", json!({"sourcePath": file, "destinationPath": path, "recursive": false})),
                ("readDirectory", json!({"path": path})),
            ] {
                // Whatever the answer is, it comes.
                let _ = asked(stage, &policy, method, params);
            }
        }
        asked(stage, &policy, "readFile", json!({"path": file})).unwrap();
    }

    fn a_helper_has_nothing_of_the_server_s(stage) {
        let workspace = stage.workspace();
        symlink("/proc/self/environ", format!("{workspace}/README.md")).unwrap();
        symlink("/proc/self/mem", format!("{workspace}/NOTES.md")).unwrap();
        for (name, sandbox) in policies(stage) {
            let policy = sandbox.json_as(Generation::Old);
            for path in ["/proc/self/environ".to_owned(), format!("{workspace}/README.md")] {
                // Where it may be read at all, it is not the server's, which has more than these.
                if let Ok(found) = asked(stage, &policy, "readFile", json!({"path": path})) {
                    let found = decode(found["dataBase64"].as_str().unwrap());
                    for variable in String::from_utf8(found).unwrap().split_terminator('\0') {
                        let name = variable.split('=').next().unwrap();
                        assert!(["PATH", "TMPDIR", "TMP", "TEMP"].contains(&name), "{path}: {variable}");
                    }
                }
            }
            for path in ["/proc/self/mem", "/proc/thread-self/mem", &format!("{workspace}/NOTES.md")] {
                for mode in ["read", "update"] {
                    let opened = asked(stage, &policy, "open", json!({"path": path, "handleId": "mem", "mode": mode}));
                    assert!(opened.is_err(), "{name}: {mode} {path}: {opened:?}");
                }
            }
            let status = asked(stage, &policy, "readFile", json!({"path": "/proc/self/status"})).unwrap();
            let status = String::from_utf8(decode(status["dataBase64"].as_str().unwrap())).unwrap();
            let number = format!("\nPid:\t{}\n", stage.client.server_pid());
            assert!(!status.contains(&number), "{name}: the server answers itself: {status}");
        }
    }
}

//! What `exec-server doctor` finds.

use std::process::Command;

use serde_json::Value;

use crate::support::Server;

/// What it prints as JSON, and its exit code.
fn doctor(mut command: Command) -> (Value, i32) {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (report, output.status.code().unwrap())
}

fn works(report: &Value, kind: &str) -> bool {
    let launchers = report["launchers"].as_array().unwrap();
    launchers
        .iter()
        .any(|one| one["kind"] == kind && one["works"] == true)
}

#[test]
fn every_launcher_is_tried() {
    let (report, code) = doctor(Server::command());
    assert_eq!(report["exitCode"], code);
    assert!(
        works(&report, "bundled") && works(&report, "landlock"),
        "{report}"
    );
    let names: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| &check["name"])
        .collect();
    for name in [
        "kernel",
        "namespaces",
        "Landlock",
        "seccomp",
        "terminals",
        "limits",
    ] {
        assert!(names.iter().any(|found| *found == name), "{name}: {report}");
    }
}

#[test]
fn without_namespaces_it_is_weaker_and_says_what_to_do() {
    let (report, code) = doctor(Server::command_denied("namespaces"));
    assert_eq!(code, 1, "{report}");
    assert!(
        !works(&report, "bundled") && works(&report, "landlock"),
        "{report}"
    );
    let checks = report["checks"].as_array().unwrap();
    let namespaces = checks
        .iter()
        .find(|check| check["name"] == "namespaces")
        .unwrap();
    assert_eq!(namespaces["state"], "weaker");
    assert!(
        namespaces["remedy"]
            .as_str()
            .is_some_and(|remedy| !remedy.is_empty()),
        "{report}"
    );
}

#[test]
fn with_nothing_to_confine_with_it_ends_with_2() {
    let (report, code) = doctor(Server::command_denied("namespaces,landlock"));
    assert_eq!(code, 2, "{report}");
    assert!(!works(&report, "landlock"), "{report}");
}

#[test]
fn each_policy_is_told_with_what_to_do_where_it_is_refused() {
    let available = |report: &Value| {
        ["read-only", "workspace-write"].map(|name| report["policies"][name]["available"].clone())
    };
    let (report, _) = doctor(Server::command());
    assert_eq!(available(&report), [true, true], "{report}");
    let (report, _) = doctor(Server::command_denied("namespaces"));
    assert_eq!(available(&report), [true, false], "{report}");
    let remedy = report["policies"]["workspace-write"]["remedy"].to_string();
    assert!(remedy.contains("deploy/seccomp-userns.json"), "{remedy}");
    let (report, _) = doctor(Server::command_denied("namespaces,landlock"));
    assert_eq!(available(&report), [false, false], "{report}");

    let text = Server::command_denied("namespaces")
        .arg("doctor")
        .output()
        .unwrap()
        .stdout;
    let text = String::from_utf8(text).unwrap();
    let line = |name: &str| {
        let mut lines = text.lines().filter(|line| line.contains(name));
        lines.next().unwrap().to_owned()
    };
    assert!(line("read-only").starts_with("good"), "{text}");
    assert!(line("workspace-write").starts_with("no "), "{text}");
}

#[test]
fn people_get_text() {
    let output = Server::command().arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("bundled launcher"), "{text}");
    assert!(text.lines().last().unwrap().ends_with('.'), "{text}");
}

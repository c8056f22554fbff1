//! The options of `codex exec-server`: docs/command-line.md has a table of those that mean nothing here, and each of its
//! rows is so.

use std::fs;
use std::path::Path;

use crate::support::{Server, finish};

/// A row of the table.
struct Row {
    option: String,
    /// What the option's value is called.
    value: Option<String>,
    outcome: String,
    why: String,
}

fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let text = fs::read_to_string(path).unwrap();
    let table = text.split("\n| option of the reference |").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let mut next = || cells.next().unwrap().to_owned();
        let usage = next().replace(['`', '<', '>'], "");
        let mut words = usage
            .rsplit(", ")
            .next()
            .unwrap()
            .split(' ')
            .map(str::to_owned);
        Row {
            option: words.next().unwrap(),
            value: words.next(),
            outcome: next(),
            why: next().replace('`', ""),
        }
    };
    rows.map(row).collect()
}

/// A value of the form that the option wants, and one that is not.
fn values(name: &str) -> (&'static str, Option<&'static str>) {
    match name {
        "KEY=VALUE" => ("model=\"o3\"", None),
        "FEATURE" => ("web_search", Some("web search")),
        "HOST:PORT" => ("proxy.example:3128", Some("proxy.example")),
        "NAME" => ("x", None),
        _ => panic!("no value for {name}"),
    }
}

/// The exit code and the standard error of a server whose client says nothing.
fn served(words: &[&str]) -> (Option<i32>, String) {
    let mut command = Server::command();
    command.args(["exec-server", "--listen", "stdio", "--log-level", "debug"]);
    command.args(words);
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

#[test]
fn each_option_of_the_table_is_accepted_or_refused_with_its_reason() {
    let rows = rows();
    assert!(rows.len() > 10);
    for Row {
        option,
        value,
        outcome,
        why,
    } in rows
    {
        let (good, bad) = value.as_deref().map(values).unzip();
        let words: Vec<&str> = [option.as_str()].into_iter().chain(good).collect();
        let (code, stderr) = served(&words);
        match outcome.as_str() {
            "accepted" => {
                assert_eq!(code, Some(0), "{option}: {stderr}");
                let told = format!("{option} changes nothing here: {why}");
                assert!(stderr.contains(&told), "{option}: {stderr}");
                let (code, _) = served(&[&words[..], &words[..]].concat());
                assert_eq!(code, Some(0), "{option} twice");
                if let Some(bad) = bad.flatten() {
                    let (code, stderr) = served(&[&option, bad]);
                    assert_eq!(code, Some(2), "{option} {bad}: {stderr}");
                    assert!(
                        stderr.contains(&format!("invalid value '{bad}'")),
                        "{stderr}"
                    );
                }
            }
            "refused" => {
                assert_eq!(code, Some(2), "{option}: {stderr}");
                let told = format!("error: '{option}' is not supported: {why}");
                assert!(stderr.starts_with(&told), "{option}: {stderr}");
            }
            other => panic!("{option}: {other}"),
        }
    }
}

#[test]
fn accepted_options_are_told_only_to_who_asks() {
    let mut command = Server::command();
    command.args(["--listen", "stdio", "-c", "a=b", "--enable", "x"]);
    let output = finish(command, b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_namespace_of_its_own_is_done_and_the_server_s_is_refused() {
    let (code, stderr) = served(&["--linux-sandbox-pid-namespace", "isolate"]);
    assert_eq!(code, Some(0), "{stderr}");
    for (mode, words) in [
        ("inherit", "a command could then end this server"),
        ("other", "expected 'isolate' or 'inherit'"),
    ] {
        let (code, stderr) = served(&["--linux-sandbox-pid-namespace", mode]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn the_encrypted_transport_is_refused_with_what_to_do_instead() {
    let (code, stderr) = served(&["--remote-transport", "noise"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("--remote-transport relay has the same streams"),
        "{stderr}"
    );
}

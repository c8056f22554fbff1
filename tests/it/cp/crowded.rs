//! Copies to a server that has no room for more at the moment.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::scripted::{Line, Scripted};
use crate::support::{Environments, Running, command_line, patterned, scratch};

/// Copies at once.
const COPIES: usize = 20;

#[test]
fn twenty_copies_at_once_all_arrive_both_ways() {
    // All blocks that they send at first would take as much as its limit is by default.
    let environments = Environments::start_with(&["--memory-limit", "64m"]);
    let source = environments.scratch.path("source");
    fs::write(&source, patterned(8 << 20)).unwrap();
    for way in ["there", "back"] {
        let copied = |number: usize| environments.scratch.path(&format!("{way}-{number}"));
        thread::scope(|scope| {
            for number in 0..COPIES {
                let (here, there) = match way {
                    "there" => (source.clone(), format!("ws:{}", copied(number))),
                    _ => (format!("ws:{source}"), copied(number)),
                };
                let environments = &environments;
                scope.spawn(move || {
                    let output = environments.run(&["cp", &here, &there]);
                    // That the server is busy may be told.
                    assert!(output.status.success(), "{output:?}");
                });
            }
        });
        for number in 0..COPIES {
            let same = Command::new("cmp")
                .args([&source, &copied(number)])
                .status();
            assert!(same.unwrap().success(), "{}", copied(number));
            fs::remove_file(copied(number)).unwrap();
        }
    }
}

fn refuse(line: &mut Line, request: &Value, code: i32) {
    line.say(json!({"id": request["id"], "error": {"code": code, "message": "no"}}));
}

/// Takes an upload, and is busy for longer than 3 s when the first block comes.
fn serve(line: &mut Line) {
    line.greet_with(&json!({"cwd": "file:///"}));
    let mut begun = None;
    loop {
        let request = line.hear();
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") if request["params"]["path"] == "file:///" => {
                let found = json!({ "isDirectory": true, "isFile": false, "isSymlink": false,
                    "size": 1, "createdAtMs": 0, "modifiedAtMs": 0 });
                line.answer(&request, found);
            }
            Some("fs/getMetadata") => refuse(line, &request, -32004),
            Some("fs/canonicalize") => line.answer(&request, json!({ "path": "file:///" })),
            Some("fs/writeBlock") => {
                let begun = begun.get_or_insert_with(Instant::now);
                match begun.elapsed() < Duration::from_secs(4) {
                    true => line.say(
                        json!({"id": request["id"], "error": {"code": -32000, "message": "busy"}}),
                    ),
                    false => line.answer(&request, json!({})),
                }
            }
            Some(_) => line.answer(&request, json!({})),
        }
    }
}

#[test]
fn a_busy_server_is_told_of_and_asked_again_until_it_has_room() {
    let scratch = scratch();
    let source = scratch.path("source");
    fs::write(&source, patterned((3 << 20) + 1)).unwrap();
    let server = Scripted::new(|_, line| serve(line));
    let mut command = command_line(&scratch.dir());
    command.args(["cp", "-e", server.url(), &source, ":/copy"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut running = Running::new(command.spawn().unwrap());
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let told_after = begun.elapsed();
    let url = server.url();
    let words = format!(
        "exec-server cp: `{url}` is busy; going on when it has room, unless it has none for 90 s\n"
    );
    assert_eq!(line, words);
    // 3 s, and as much again for a machine that is busy.
    assert!(told_after < Duration::from_secs(6), "{told_after:?}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "told once");
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(0));
}

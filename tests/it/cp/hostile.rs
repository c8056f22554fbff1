//! A server that wants to write where the copy does not go.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::client::scripted::{Line, Scripted};
use crate::support::{Scratch, command_line, encode, finish, scratch};

/// What the server says of the tree `/tree`.
type Listing = fn(outside: &str) -> Vec<Entry>;

/// A name, what it is, and what it says if it is a link.
struct Entry {
    name: String,
    kind: &'static str,
    target: String,
}

fn entry(name: &str, kind: &'static str, target: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        kind,
        target: target.to_owned(),
    }
}

/// A home with the environment `box`, a directory to copy to, and one that nothing may come into.
struct Stage {
    scratch: Scratch,
    _server: Scripted,
}

impl Stage {
    /// Each run of the program hears the next of these listings.
    fn new(listings: &'static [Listing]) -> Self {
        let scratch = scratch();
        let outside = scratch.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(scratch.path("into")).unwrap();
        let server = Scripted::new(move |number, line| {
            let listing = listings[number.min(listings.len() - 1)];
            serve(line, &listing(&outside));
        });
        let text = format!(
            "[[environments]]\nid = \"box\"\nurl = \"{}\"\n",
            server.url()
        );
        fs::write(scratch.path("environments.toml"), text).unwrap();
        Self {
            scratch,
            _server: server,
        }
    }

    fn copy(&self, source: &str) -> Output {
        let mut command = command_line(&self.scratch.dir());
        command.args(["cp", "-r", source, &self.scratch.path("into")]);
        finish(command, b"")
    }

    /// Copies, and gives what the program says of its failure.
    #[track_caller]
    fn refused(&self, source: &str) -> String {
        let output = self.copy(source);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        self.nothing_is_outside(&stderr);
        stderr
    }

    #[track_caller]
    fn nothing_is_outside(&self, stderr: &str) {
        let names = |directory: &str| {
            let names = fs::read_dir(directory).unwrap();
            let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let expected = ["environments.toml", "into", "outside"];
        assert_eq!(names(&self.scratch.dir()), expected, "{stderr}");
        assert_eq!(names(&self.scratch.path("outside")).len(), 0, "{stderr}");
    }
}

/// Serves a tree of one directory: what its entries are, and a file below each that is a directory.
fn serve(line: &mut Line, entries: &[Entry]) {
    let request = line.await_request("initialize");
    let info = json!({ "cwd": "file:///", "capabilities":
        { "execServer": { "extensions": ["fs/readLink"] } } });
    line.answer(
        &request,
        json!({ "sessionId": "s", "environmentInfo": info }),
    );
    loop {
        let request = line.hear();
        let (Some(method), path) = (request["method"].as_str(), &request["params"]["path"]) else {
            return;
        };
        let path = path.as_str().unwrap_or_default();
        let name = path.strip_prefix("file:///tree/").unwrap_or("");
        let known = entries.iter().find(|entry| entry.name == name);
        let kind = match (path, known) {
            ("file:///tree", _) => "directory",
            (_, Some(entry)) => entry.kind,
            _ => "file",
        };
        match method {
            "initialized" => {}
            "fs/getMetadata" => line.answer(&request, described(kind, "size", json!(4))),
            "fs/readDirectory" if path == "file:///tree" => {
                let entry = |it: &Entry| described(it.kind, "fileName", json!(it.name));
                let entries: Vec<_> = entries.iter().map(entry).collect();
                line.answer(&request, json!({ "entries": entries }));
            }
            "fs/readDirectory" => {
                let entry = described("file", "fileName", json!("owned"));
                line.answer(&request, json!({ "entries": [entry] }));
            }
            "fs/readLink" => {
                let target = known.map_or("", |entry| &entry.target);
                line.answer(&request, json!({ "target": target }));
            }
            "fs/readFile" => line.answer(&request, json!({ "dataBase64": encode(b"evil") })),
            _ => line.say(json!({ "id": request["id"],
                "error": { "code": -32601, "message": "no \u{1b}[2Jsuch method" } })),
        }
    }
}

fn described(kind: &str, member: &str, value: Value) -> Value {
    let mut described = json!({
        "isDirectory": kind == "directory", "isFile": kind == "file", "isSymlink": kind == "link",
    });
    described[member] = value;
    described
}

#[test]
fn the_server_would_be_believed_otherwise() {
    let stage = Stage::new(&[|_| vec![entry("f", "file", ""), entry("d", "directory", "")]]);
    let output = stage.copy("box:/tree");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for name in ["into/tree/f", "into/tree/d/owned"] {
        assert_eq!(fs::read(stage.scratch.path(name)).unwrap(), b"evil");
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let listings: [Listing; 6] = [
        |_| vec![entry("..", "directory", "")],
        |_| vec![entry("../../outside/f", "file", "")],
        |outside| vec![entry(&format!("{outside}/f"), "file", "")],
        |_| vec![entry("d/f", "file", "")],
        |_| vec![entry("", "file", "")],
        |_| vec![entry(".", "directory", "")],
    ];
    let stage = Stage::new(Box::leak(Box::new(listings)));
    for number in 0..6 {
        let stderr = stage.refused("box:/tree");
        assert!(
            stderr.contains("is no name of a file"),
            "{number}: {stderr}"
        );
    }
}

#[test]
fn a_link_and_a_directory_of_one_name_are_refused() {
    let stage =
        Stage::new(&[|outside| vec![entry("x", "link", outside), entry("x", "directory", "")]]);
    let stderr = stage.refused("box:/tree");
    assert!(
        stderr.contains("\"x\" is in file:///tree twice"),
        "{stderr}"
    );
}

#[test]
fn a_link_that_an_earlier_copy_has_made_is_not_followed() {
    const BEFORE: Listing = |outside| vec![entry("x", "link", outside)];
    const AFTER: Listing = |_| vec![entry("x", "directory", "")];
    for source in ["box:/tree", "box:/tree/x"] {
        let stage = Stage::new(&[BEFORE, AFTER]);
        let output = stage.copy(source);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let stderr = stage.refused(source);
        assert!(
            stderr.contains("x: a link, and the source is a directory"),
            "{stderr}"
        );
    }
}

#[test]
fn a_file_takes_the_place_of_a_link_that_an_earlier_copy_has_made() {
    const BEFORE: Listing = |outside| vec![entry("x", "link", &format!("{outside}/f"))];
    const AFTER: Listing = |_| vec![entry("x", "file", "")];
    for (source, to) in [("box:/tree", "into/tree/x"), ("box:/tree/x", "into/x")] {
        let stage = Stage::new(&[BEFORE, AFTER]);
        for _ in 0..2 {
            let output = stage.copy(source);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            stage.nothing_is_outside(&stderr);
        }
        let copied = fs::symlink_metadata(stage.scratch.path(to)).unwrap();
        assert!(copied.is_file(), "{source}");
    }
}

//! A server, or who else can write there, that wants the copy to go elsewhere or never to end.

use std::fs;
use std::os::unix::fs::symlink;
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
        let scratch = places();
        let outside = scratch.path("outside");
        Self::before(scratch, move |number, line| {
            let listing = listings[number.min(listings.len() - 1)];
            serve(line, &listing(&outside), |_, _| {});
        })
    }

    /// Each run of the program hears what this says.
    fn before(scratch: Scratch, script: impl Fn(usize, &mut Line) + Send + 'static) -> Self {
        let server = Scripted::new(script);
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
        self.copy_with(&["-r", source])
    }

    fn copy_with(&self, words: &[&str]) -> Output {
        let mut command = command_line(&self.scratch.dir());
        command.arg("cp").args(words).arg(self.scratch.path("into"));
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

/// A directory to copy to, and one that nothing may come into.
fn places() -> Scratch {
    let scratch = scratch();
    fs::create_dir(scratch.path("outside")).unwrap();
    fs::create_dir(scratch.path("into")).unwrap();
    scratch
}

/// Serves a tree of one directory: what its entries are, and below each that is a directory a file, a
/// directory and a link. Before each answer something else may happen.
fn serve(line: &mut Line, entries: &[Entry], meanwhile: impl Fn(&str, &str)) {
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
        meanwhile(method, name);
        let kind = match (path, known) {
            ("file:///tree", _) => "directory",
            _ if name.ends_with("/below") => "directory",
            _ if name.ends_with("/to") => "link",
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
                let entries = match name.ends_with("/below") {
                    true => vec![],
                    false => vec![("owned", "file"), ("below", "directory"), ("to", "link")],
                };
                let entry = |(name, kind)| described(kind, "fileName", json!(name));
                let entries: Vec<_> = entries.into_iter().map(entry).collect();
                line.answer(&request, json!({ "entries": entries }));
            }
            "fs/readLink" => {
                let target = known.map_or("nowhere", |entry| &entry.target);
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

#[test]
fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    // What is asked for when it does, and what is then not copied.
    for (method, name, told) in [
        ("fs/readDirectory", "d", "into/tree/d/.owned.PART-"),
        (
            "fs/readDirectory",
            "d",
            "into/tree/d/below: on the way to it is a link",
        ),
        ("fs/readDirectory", "d", "into/tree/d/.to.PART-"),
        ("fs/readFile", "d/owned", "into/tree/d/.owned.PART-"),
    ] {
        let scratch = places();
        let (made, moved) = (scratch.path("into/tree/d"), scratch.path("into/moved"));
        let outside = scratch.path("outside");
        let stage = Stage::before(scratch, move |_, line| {
            serve(line, &[entry("d", "directory", "")], |asked, of| {
                if (asked, of) == (method, name) {
                    fs::rename(&made, &moved).unwrap();
                    symlink(&outside, &made).unwrap();
                }
            });
        });
        let stderr = stage.refused("box:/tree");
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn a_directory_above_that_becomes_a_link_leads_nowhere() {
    let scratch = places();
    let (made, moved) = (scratch.path("into/tree"), scratch.path("into/moved"));
    let outside = scratch.path("outside");
    fs::create_dir(scratch.path("outside/d")).unwrap();
    let stage = Stage::before(scratch, move |_, line| {
        serve(line, &[entry("d", "directory", "")], |asked, of| {
            if (asked, of) == ("fs/readFile", "d/owned") {
                fs::rename(&made, &moved).unwrap();
                symlink(&outside, &made).unwrap();
            }
        });
    });
    let output = stage.copy("box:/tree");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let names: Vec<_> = fs::read_dir(stage.scratch.path("outside/d"))
        .unwrap()
        .collect();
    assert!(names.is_empty(), "{names:?}: {stderr}");
}

#[test]
fn no_name_steers_the_terminal_or_passes_for_a_line_of_ours() {
    const FORGED: &str = "exec-server cp: all is well";
    let stage = Stage::new(&[|_| {
        vec![
            entry(&format!("a\n{FORGED}\u{1b}[2J"), "file", ""),
            entry(&format!("b\r\n{FORGED}\u{9b}2J\u{202e}"), "other", ""),
        ]
    }]);
    let output = stage.copy_with(&["-r", "-v", "box:/tree"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    for line in stderr.lines() {
        assert!(line.starts_with("exec-server cp: ") && !line.contains(|c: char| c.is_control()));
        assert!(!line.contains('\u{202e}'), "{line:?}");
        assert!(!line.starts_with(FORGED), "{line}");
    }
}

#[test]
fn a_name_that_no_file_can_have_is_told_in_short() {
    let stage = Stage::new(&[|_| vec![entry(&"n".repeat(1 << 20), "file", "")]]);
    let stderr = stage.refused("box:/tree");
    assert!(
        stderr.len() < 1000 && stderr.contains("is no name of a file"),
        "{} bytes: {:.1000}",
        stderr.len(),
        stderr
    );
}

/// Serves `/grows`, whose blocks never come to an end.
fn grow(line: &mut Line, size: usize) {
    line.greet();
    let block = encode(&vec![b'x'; 1 << 20]);
    loop {
        let request = line.hear();
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") => {
                let found = described("file", "size", json!(size));
                line.answer(&request, found);
            }
            Some("fs/readBlock") => {
                line.answer(&request, json!({ "chunk": block, "eof": false }));
            }
            Some(_) => line.answer(&request, json!({})),
        }
    }
}

#[test]
fn a_file_that_grows_for_ever_is_copied_as_far_as_it_was_told() {
    const SIZE: usize = (5 << 20) + 7;
    let stage = Stage::before(places(), |_, line| grow(line, SIZE));
    let output = stage.copy_with(&["box:/grows"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let copied = fs::metadata(stage.scratch.path("into/grows")).unwrap();
    assert_eq!(copied.len(), SIZE as u64);
}

/// Takes an upload, and tells what is asked for before it answers.
fn take(line: &mut Line, asked: impl Fn(&Value)) {
    line.greet_with(
        &json!({ "cwd": "file:///", "capabilities": { "execServer": { "extensions": [
        "fs/open.followSymlinks", "fs/rename", "fs/rename.followSymlinks", "fs/setPermissions",
        "fs/symlink", "fs/symlink.followSymlinks",
    ] } } }),
    );
    loop {
        let request = line.hear();
        asked(&request);
        let path = request["params"]["path"].as_str().unwrap_or_default();
        match request["method"].as_str() {
            None => return,
            Some("fs/canonicalize") => line.answer(&request, json!({ "path": "file:///real" })),
            Some("fs/getMetadata") if path == "file:///named" => {
                line.answer(&request, described("directory", "size", json!(0)));
            }
            Some("fs/getMetadata") => {
                let error = json!({ "code": -32004, "message": "No such file or directory" });
                line.say(json!({ "id": request["id"], "error": error }));
            }
            Some(_) => line.answer(&request, json!({})),
        }
    }
}

#[test]
fn a_source_that_becomes_a_link_meanwhile_is_not_followed() {
    let scratch = places();
    let (tree, secret) = (scratch.path("tree"), scratch.path("secret"));
    fs::create_dir_all(format!("{tree}/d")).unwrap();
    fs::create_dir(&secret).unwrap();
    fs::write(format!("{secret}/file"), "secret").unwrap();
    let (asked, asks) = std::sync::mpsc::channel();
    let from = tree.clone();
    let stage = Stage::before(scratch, move |_, line| {
        take(line, |request| {
            let path = request["params"]["path"].as_str().unwrap_or_default();
            if request["method"] == "fs/createDirectory" && path.ends_with("/tree/d") {
                fs::remove_dir(format!("{tree}/d")).unwrap();
                symlink(&secret, format!("{tree}/d")).unwrap();
            }
            let _ = asked.send(request.clone());
        });
    });
    let mut command = command_line(&stage.scratch.dir());
    command.args(["cp", "-r", &from, "box:/named"]);
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("tree/d: "), "{stderr}");
    assert!(
        asks.try_iter()
            .all(|request| request["method"] != "fs/writeFile")
    );
}

#[test]
fn a_server_is_told_to_follow_no_link_below_the_destination() {
    let scratch = places();
    let tree = scratch.path("tree");
    fs::create_dir_all(format!("{tree}/d")).unwrap();
    fs::write(format!("{tree}/d/small"), "small").unwrap();
    fs::write(format!("{tree}/d/large"), vec![1; 3 << 20]).unwrap();
    symlink("small", format!("{tree}/d/link")).unwrap();
    let (asked, asks) = std::sync::mpsc::channel();
    let stage = Stage::before(scratch, move |_, line| {
        take(line, |request| drop(asked.send(request.clone())));
    });
    let mut command = command_line(&stage.scratch.dir());
    command.args(["cp", "-r", &tree, "box:/named"]);
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let mut changes = std::collections::BTreeSet::new();
    for request in asks.try_iter() {
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        let is_change = [
            "fs/writeFile",
            "fs/createDirectory",
            "fs/setPermissions",
            "fs/open",
            "fs/rename",
            "fs/symlink",
        ];
        if !is_change.contains(&method.as_str()) {
            continue;
        }
        assert_eq!(request["params"]["followSymlinks"], false, "{request}");
        for path in ["path", "sourcePath", "destinationPath"] {
            let path = request["params"][path].as_str();
            let is_real = |path: &str| path.starts_with("file:///real/tree");
            assert!(path.is_none_or(is_real), "{request}");
        }
        changes.insert(method);
    }
    assert_eq!(changes.len(), 6, "{changes:?}");
}

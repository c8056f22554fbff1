//! Links on a server that lists them as what they lead to, as the references do.

use std::fs;

use serde_json::json;

use crate::client::scripted::{Line, Scripted};
use crate::support::{command_line, encode, finish, scratch};

/// How deep a copy that goes round in circles is let.
const DEEP: usize = 4;

/// Serves `/tree` with a file, a link to it, and a link to the directory that it is in.
fn serve(line: &mut Line) {
    line.greet();
    loop {
        let request = line.hear();
        let path = request["params"]["path"].as_str().unwrap_or_default();
        if path.matches("round").count() > DEEP {
            return;
        }
        let is_file = path.ends_with("file");
        let is_link = path.ends_with("round") || path.ends_with("to-file");
        let kind = json!({ "isDirectory": !is_file, "isFile": is_file, "isSymlink": is_link,
            "size": 1, "createdAtMs": 0, "modifiedAtMs": 0 });
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") => line.answer(&request, kind),
            Some("fs/readDirectory") => {
                let entries = [("file", true), ("to-file", true), ("round", false)];
                let entries = entries.map(|(name, is_file)| {
                    json!({ "fileName": name, "isDirectory": !is_file, "isFile": is_file })
                });
                line.answer(&request, json!({ "entries": entries }));
            }
            Some(_) => line.answer(&request, json!({ "dataBase64": encode(b"f") })),
        }
    }
}

#[test]
fn they_are_left_out_and_told_where_nobody_tells_where_to() {
    let scratch = scratch();
    let server = Scripted::new(|_, line| serve(line));
    let mut command = command_line(&scratch.dir());
    let copy = scratch.path("copy");
    command.args(["cp", "-r", "-e", server.url(), ":/tree", &copy]);
    let output = finish(command, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for name in ["round", "to-file"] {
        let told = format!("/tree/{name}: a link, and its server does not tell where to; left out");
        assert!(stderr.contains(&told), "{stderr}");
    }
    let names = fs::read_dir(copy).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "{stderr}");
}

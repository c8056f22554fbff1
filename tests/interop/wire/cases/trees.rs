//! Directories and what is in them.

use serde_json::{Value, json};

use super::super::case::{Case, Step};
use crate::subject::Generation;

const CREATE: &str = "fs/createDirectory";
const LIST: &str = "fs/readDirectory";
const COPY: &str = "fs/copy";
const CANONICAL: &str = "fs/canonicalize";
const WALK: &str = "fs/walk";
const WATCH: &str = "fs/watchMissing";

fn at(path: &str) -> Value {
    json!({"path": path})
}

fn create(name: &'static str, path: &str, recursive: Value) -> Case {
    Case::ask(CREATE, name, json!({"path": path, "recursive": recursive}))
}

fn copy(name: &'static str, from: &str, to: &str, recursive: bool) -> Case {
    Case::ask(
        COPY,
        name,
        json!({"sourcePath": from, "destinationPath": to, "recursive": recursive}),
    )
}

fn walk(name: &'static str, path: &str, more: Value) -> Case {
    let mut options = json!({
        "maxDepth": 6, "maxDirectories": 2000, "maxEntries": 20000, "followDirectorySymlinks": true,
        "pruneHiddenDirectories": true,
    });
    for (member, value) in more.as_object().into_iter().flatten() {
        options[member] = value.clone();
    }
    Case::ask(WALK, name, json!({"path": path, "options": options}))
}

fn watch(missing: Value, present: Value) -> Step {
    Step::Ask(
        WATCH,
        json!({"watchId": 7, "missing": missing, "present": present}),
    )
}

pub fn cases() -> Vec<Case> {
    let only = Generation::V169;
    vec![
        create("one", "@new", json!(false)),
        create("several", "@new/er/est", json!(true)),
        Case::ask(CREATE, "several by default", at("@new/er/est")),
        create("without parents", "@new/er/est", json!(false)),
        create("again", "@d", json!(true)),
        create("again, not recursive", "@d", json!(false)),
        create("over a link", "@ld", json!(true)),
        create("over a file", "@f.txt", json!(true)),
        create("below a file", "@f.txt/x", json!(true)),
        create("in a closed directory", "@locked/x", json!(true)),
        Case::ask(CREATE, "no path", json!({})),
        Case::ask(
            CREATE,
            "not following",
            json!({"path": "@ld/new", "followSymlinks": false}),
        )
        .only(only),
        Case::ask(LIST, "a directory", at("@d")),
        Case::ask(LIST, "an empty one", at("@empty")),
        Case::ask(LIST, "everything", at("@")),
        Case::ask(LIST, "behind a link", at("@ld")),
        Case::ask(LIST, "a file", at("@f.txt")),
        Case::ask(LIST, "nothing there", at("@missing")),
        Case::ask(LIST, "a closed one", at("@locked")),
        Case::ask(LIST, "no path", json!({})),
        copy("a file", "@f.txt", "@copy", false),
        copy("a file recursively", "@f.txt", "@copy", true),
        copy("over a file", "@f.txt", "@big", false),
        copy("modes", "@run.sh", "@copy", false),
        copy("a setuid file", "@setuid", "@copy", false),
        copy("behind a link", "@big", "@lf", false),
        copy("a link", "@lf", "@copy", false),
        copy("a link over something", "@lf", "@run.sh", false),
        copy("a tree", "@d", "@copy", true),
        copy("a tree into new parents", "@d", "@new/er/copy", true),
        copy("a tree, not recursive", "@d", "@copy", false),
        copy("a tree onto a tree", "@d", "@empty", true),
        copy("a tree into itself", "@d", "@d/inside", true),
        copy("a file onto itself", "@f.txt", "@f.txt", false),
        copy("onto its link", "@f.txt", "@lf", false),
        copy("onto its hard link", "@f.txt", "@hard", false),
        copy("a fifo", "@fifo", "@copy", false),
        copy("nothing there", "@missing", "@copy", true),
        copy("into nothing", "@f.txt", "@missing/copy", false),
        copy("onto a directory", "@f.txt", "@d", false),
        copy("a private file", "@private", "@copy", false),
        Case::ask(
            COPY,
            "without recursive",
            json!({"sourcePath": "@f.txt", "destinationPath": "@copy"}),
        ),
        Case::ask(
            COPY,
            "without a destination",
            json!({"sourcePath": "@f.txt", "recursive": false}),
        ),
        Case::ask(CANONICAL, "a file", at("@f.txt")),
        Case::ask(CANONICAL, "a link", at("@ld/sub/../../lf")),
        Case::ask(CANONICAL, "odd names", at("file://{F}/sp%20ace/%C3%BC%25")),
        Case::ask(CANONICAL, "nothing there", at("@missing")),
        Case::ask(CANONICAL, "a loop", at("@loop1")),
        Case::ask(CANONICAL, "no path", json!({})),
        walk("as the client does", "@", json!({})),
        walk(
            "not following",
            "@",
            json!({"followDirectorySymlinks": false}),
        ),
        walk(
            "hidden ones too",
            "@",
            json!({"pruneHiddenDirectories": false}),
        ),
        walk("not deep", "@", json!({"maxDepth": 0})),
        walk("few entries", "@", json!({"maxEntries": 3})),
        walk("few directories", "@", json!({"maxDirectories": 1})),
        walk("from a link", "@ld", json!({})),
        walk(
            "from a link, not following",
            "@ld",
            json!({"followDirectorySymlinks": false}),
        ),
        walk("from a file", "@f.txt", json!({})),
        walk("from nothing", "@missing", json!({})),
        walk("too deep", "@", json!({"maxDepth": 65})),
        walk("too many", "@", json!({"maxEntries": 50001})),
        walk("none", "@", json!({"maxEntries": 0})),
        Case::ask(WALK, "without options", at("@")),
        Case::new(
            WATCH,
            "until it is there",
            vec![
                watch(json!(["@later"]), json!("@")),
                Step::Make("later"),
                Step::Told("fs/missingChanged"),
            ],
        ),
        Case::new(
            WATCH,
            "what is there",
            vec![watch(json!(["@f.txt"]), json!("@"))],
        ),
        Case::new(WATCH, "nothing", vec![watch(json!([]), json!("@"))]),
        Case::new(
            WATCH,
            "without an ancestor",
            vec![watch(json!(["@later"]), json!(null))],
        ),
        Case::new(
            WATCH,
            "below nothing",
            vec![watch(json!(["@missing/later"]), json!("@missing"))],
        ),
        Case::ask(WATCH, "without anything", json!({})),
    ]
}

//! Single files.

use serde_json::{Value, json};

use super::super::case::Case;
use crate::subject::Generation;

const READ: &str = "fs/readFile";
const WRITE: &str = "fs/writeFile";
const METADATA: &str = "fs/getMetadata";
const REMOVE: &str = "fs/remove";

fn at(path: &str) -> Value {
    json!({"path": path})
}

fn nofollow(path: &str) -> Value {
    json!({"path": path, "followSymlinks": false})
}

fn write(name: &'static str, path: &str) -> Case {
    Case::ask(
        WRITE,
        name,
        json!({"path": path, "dataBase64": "bmV3IGNvbnRlbnQ="}),
    )
}

fn remove(name: &'static str, path: &str, recursive: Value, force: Value) -> Case {
    Case::ask(
        REMOVE,
        name,
        json!({"path": path, "recursive": recursive, "force": force}),
    )
}

pub fn cases() -> Vec<Case> {
    let only = Generation::V169;
    let data = |data: Value| json!({"path": "@f.txt", "dataBase64": data});
    vec![
        Case::ask(READ, "a file", at("@f.txt")),
        Case::ask(READ, "100 KB", at("@big")),
        Case::ask(READ, "behind a link", at("@lf")),
        Case::ask(READ, "below a link", at("@ld/a")),
        Case::ask(
            READ,
            "with a null sandbox",
            json!({"path": "@f.txt", "sandbox": null}),
        ),
        Case::ask(READ, "of /proc", at("/proc/self/comm"))
            .only(Generation::V130)
            .facts(),
        Case::ask(READ, "of /proc", at("file:///proc/self/comm"))
            .only(only)
            .facts(),
        Case::ask(READ, "of /dev/null", at("/dev/null")).only(Generation::V130),
        Case::ask(READ, "of /dev/null", at("file:///dev/null")).only(only),
        Case::ask(READ, "a directory", at("@d")),
        Case::ask(READ, "nothing there", at("@missing")),
        Case::ask(READ, "below a file", at("@f.txt/x")),
        Case::ask(READ, "behind a dangling link", at("@dang")),
        Case::ask(READ, "in a loop", at("@loop1")),
        Case::ask(READ, "a socket", at("@socket")),
        Case::ask(READ, "a fifo", at("@fifo")).only(only),
        Case::ask(READ, "somebody else's", at("/etc/shadow"))
            .only(Generation::V130)
            .facts(),
        Case::ask(READ, "in a closed directory", at("@locked/inside")),
        Case::ask(READ, "a dot path", at("@d/../f.txt")),
        Case::ask(READ, "no path", json!({})),
        Case::ask(READ, "a relative path", at("f.txt")),
        Case::ask(READ, "an empty path", at("")),
        Case::ask(READ, "a number as path", json!({"path": 7})),
        Case::ask(
            READ,
            "a bad sandbox",
            json!({"path": "@f.txt", "sandbox": {}}),
        ),
        Case::ask(READ, "too early", at("@f.txt")).silent(),
        Case::ask(READ, "not following, a file", nofollow("@f.txt")).only(only),
        Case::ask(READ, "not following, a link", nofollow("@lf")).only(only),
        Case::ask(READ, "not following, below a link", nofollow("@ld/a")).only(only),
        Case::ask(READ, "an escaped name", at("file://{F}/sp%20ace/%C3%BC%25")).only(only),
        Case::ask(READ, "an escaped slash", at("file://{F}/d%2Fa")).only(only),
        Case::ask(READ, "an escaped NUL", at("file://{F}/f%00")).only(only),
        Case::ask(READ, "an escaped byte", at("file://{F}/%FF")).only(only),
        Case::ask(READ, "on a host", at("file://host{F}/f.txt")).only(only),
        Case::ask(READ, "on localhost", at("file://localhost{F}/f.txt")).only(only),
        Case::ask(READ, "on a drive", at("file:///C:/f.txt")).only(only),
        Case::ask(READ, "with a query", at("file://{F}/f.txt?x")).only(only),
        Case::ask(READ, "with a fragment", at("file://{F}/f.txt#x")).only(only),
        Case::ask(READ, "by http", at("http://{F}/f.txt")).only(only),
        write("a new file", "@new.txt"),
        write("over a file", "@f.txt"),
        write("over a longer file", "@big"),
        write("over a private file", "@private"),
        write("behind a link", "@lf"),
        write("behind a dangling link", "@dang"),
        write("over a hard link", "@hard"),
        write("into nothing", "@missing/new.txt"),
        write("over a directory", "@d"),
        write("below a file", "@f.txt/x"),
        write("into a closed directory", "@locked/new.txt"),
        write("by a bad path", "new.txt"),
        Case::ask(WRITE, "nothing", data(json!(""))),
        Case::ask(WRITE, "without padding", data(json!("YQ"))),
        Case::ask(WRITE, "with a line end", data(json!("YWJj\n"))),
        Case::ask(WRITE, "the other alphabet", data(json!("_-_-"))),
        Case::ask(WRITE, "stray bits", data(json!("YR=="))),
        Case::ask(WRITE, "no data", at("@f.txt")),
        Case::ask(WRITE, "null", data(json!(null))),
        Case::ask(
            WRITE,
            "not following a link",
            json!({"path": "@lf", "dataBase64": "YQ==", "followSymlinks": false}),
        )
        .only(only),
        Case::ask(METADATA, "a file", at("@f.txt")),
        Case::ask(METADATA, "a directory", at("@d")),
        Case::ask(METADATA, "a link", at("@lf")),
        Case::ask(METADATA, "a link to a directory", at("@ld")),
        Case::ask(METADATA, "a dangling link", at("@dang")),
        Case::ask(METADATA, "a loop", at("@loop1")),
        Case::ask(METADATA, "a fifo", at("@fifo")),
        Case::ask(METADATA, "nothing there", at("@missing")),
        Case::ask(METADATA, "below a file", at("@f.txt/x")),
        Case::ask(METADATA, "in a closed directory", at("@locked/inside")),
        Case::ask(METADATA, "a trailing slash", at("@d/")),
        Case::ask(METADATA, "the root", at("file:///"))
            .only(only)
            .facts(),
        Case::ask(METADATA, "not following a link", nofollow("@lf")).only(only),
        Case::ask(METADATA, "not following, a file", nofollow("@f.txt")).only(only),
        Case::ask(METADATA, "not following, below a link", nofollow("@ld/a")).only(only),
        Case::ask(METADATA, "no path", json!({})),
        remove("a file", "@f.txt", json!(false), json!(false)),
        remove("a link", "@lf", json!(false), json!(false)),
        remove("a link to a directory", "@ld", json!(true), json!(false)),
        remove("a dangling link", "@dang", json!(false), json!(false)),
        remove("a fifo", "@fifo", json!(false), json!(false)),
        remove("an empty directory", "@empty", json!(false), json!(false)),
        remove("a full directory", "@d", json!(false), json!(false)),
        remove(
            "a full directory with force",
            "@d",
            json!(false),
            json!(true),
        ),
        remove("a tree", "@d", json!(true), json!(false)),
        remove("nothing there", "@missing", json!(false), json!(false)),
        remove(
            "nothing there with force",
            "@missing",
            json!(false),
            json!(true),
        ),
        remove("below a file", "@f.txt/x", json!(true), json!(true)),
        Case::ask(REMOVE, "by default a tree", at("@d")),
        Case::ask(REMOVE, "by default nothing there", at("@missing")),
        Case::ask(REMOVE, "no path", json!({})),
        Case::ask(REMOVE, "not following, a tree", nofollow("@d")).only(only),
        Case::ask(
            REMOVE,
            "not following, a link",
            json!({"path": "@lf", "recursive": false, "followSymlinks": false}),
        )
        .only(only),
        Case::ask(
            REMOVE,
            "not following, below a link",
            json!({"path": "@ld/a", "recursive": false, "followSymlinks": false}),
        )
        .only(only),
    ]
}

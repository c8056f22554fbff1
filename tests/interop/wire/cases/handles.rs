//! Files by handle.

use serde_json::{Value, json};

use super::super::case::{Case, Step};

const OPEN: &str = "fs/open";
const READ: &str = "fs/readBlock";
const WRITE: &str = "fs/writeBlock";
const CLOSE: &str = "fs/close";

fn open(path: &str, mode: &str) -> Step {
    Step::Ask(OPEN, json!({"handleId": "h", "path": path, "mode": mode}))
}

fn read(offset: Value, len: Value) -> Step {
    Step::Ask(READ, json!({"handleId": "h", "offset": offset, "len": len}))
}

fn write(offset: Value, chunk: &str) -> Step {
    Step::Ask(
        WRITE,
        json!({"handleId": "h", "offset": offset, "chunk": chunk}),
    )
}

fn close() -> Step {
    Step::Ask(CLOSE, json!({"handleId": "h"}))
}

fn opened(name: &'static str, path: &str, mode: &str) -> Case {
    Case::new(OPEN, name, vec![open(path, mode)])
}

fn reading(name: &'static str, steps: Vec<Step>) -> Case {
    let mut all = vec![open("@f.txt", "read")];
    all.extend(steps);
    Case::new(READ, name, all)
}

fn writing(name: &'static str, steps: Vec<Step>) -> Case {
    let mut all = vec![open("@f.txt", "replace")];
    all.extend(steps);
    Case::new(WRITE, name, all)
}

pub fn cases() -> Vec<Case> {
    let many = (0..129)
        .map(|number| {
            Step::Ask(
                OPEN,
                json!({"handleId": format!("h{number}"), "path": "@f.txt"}),
            )
        })
        .collect();
    vec![
        Case::ask(
            OPEN,
            "by default",
            json!({"handleId": "h", "path": "@f.txt"}),
        ),
        opened("to read", "@f.txt", "read"),
        opened("to replace", "@f.txt", "replace"),
        opened("a new file", "@new.txt", "replace"),
        opened("behind a link", "@lf", "replace"),
        opened("a directory", "@d", "read"),
        opened("a directory to replace", "@d", "replace"),
        opened("nothing there", "@missing", "read"),
        opened("into nothing", "@missing/new", "replace"),
        opened("a fifo", "@fifo", "read"),
        opened("a fifo to replace", "@fifo", "replace"),
        opened("a bad mode", "@f.txt", "append"),
        Case::ask(
            OPEN,
            "an empty id",
            json!({"handleId": "", "path": "@f.txt"}),
        ),
        Case::ask(
            OPEN,
            "a long id",
            json!({"handleId": "h".repeat(33), "path": "@f.txt"}),
        ),
        Case::ask(OPEN, "without anything", json!({})),
        Case::new(
            OPEN,
            "twice",
            vec![open("@f.txt", "read"), open("@big", "read")],
        ),
        Case::new(
            OPEN,
            "again after a close",
            vec![open("@f.txt", "read"), close(), open("@big", "read")],
        ),
        Case::new(OPEN, "too many", many),
        reading("a part", vec![read(json!(1), json!(3))]),
        reading("more than there is", vec![read(json!(0), json!(100))]),
        reading(
            "exactly all",
            vec![read(json!(0), json!(5)), read(json!(5), json!(1))],
        ),
        reading("past the end", vec![read(json!(100), json!(1))]),
        reading("nothing", vec![read(json!(0), json!(0))]),
        reading("too much", vec![read(json!(0), json!(1048577))]),
        reading(
            "far out",
            vec![read(json!(u64::MAX), json!(1)), read(json!(0), json!(1))],
        ),
        reading("at a bad offset", vec![read(json!(-1), json!(1))]),
        reading(
            "and writing",
            vec![write(json!(0), "YQ=="), read(json!(0), json!(5))],
        ),
        reading("after a close", vec![close(), read(json!(0), json!(5))]),
        Case::new(READ, "by nobody's handle", vec![read(json!(0), json!(5))]),
        Case::ask(READ, "without anything", json!({})),
        writing("from the start", vec![write(json!(0), "bmV3"), close()]),
        writing(
            "with a gap",
            vec![write(json!(0), "YQ=="), write(json!(10), "Yg=="), close()],
        ),
        writing("nothing", vec![write(json!(0), "")]),
        writing(
            "no base64",
            vec![write(json!(0), "YQ"), write(json!(0), "YQ==")],
        ),
        writing("far out", vec![write(json!(u64::MAX), "YQ==")]),
        writing(
            "and reading",
            vec![write(json!(0), "YQ=="), read(json!(0), json!(1))],
        ),
        Case::new(WRITE, "by nobody's handle", vec![write(json!(0), "YQ==")]),
        Case::ask(WRITE, "without anything", json!({})),
        Case::new(
            CLOSE,
            "a handle",
            vec![open("@f.txt", "read"), close(), close()],
        ),
        Case::new(CLOSE, "nobody's handle", vec![close()]),
        Case::ask(CLOSE, "without anything", json!({})),
    ]
}

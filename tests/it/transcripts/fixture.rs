//! The files that the recorded exchanges were about.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Scratch, scratch};

/// Where they were when the exchanges were recorded.
const RECORDED: &str = "/tmp/codex-proto-fixture";

/// A fresh copy of them, because exchanges change them.
pub struct Fixture(Scratch);

impl Fixture {
    /// The files of an exchange, if it is about any.
    pub fn of(record: &Value) -> Option<Self> {
        if !record.to_string().contains(RECORDED) {
            return None;
        }
        let files = scratch();
        for directory in ["d/sub", "empty"] {
            std::fs::create_dir_all(files.path(directory)).unwrap();
        }
        for (file, content) in [("f.txt", "hello"), ("d/a", ""), ("d/sub/b", "")] {
            std::fs::write(files.path(file), content).unwrap();
        }
        for (link, target) in [
            ("lf", "f.txt"),
            ("ld", "d"),
            ("dang", "nowhere"),
            ("loop1", "loop2"),
            ("loop2", "loop1"),
        ] {
            symlink(target, files.path(link)).unwrap();
        }
        Some(Self(files))
    }

    /// An exchange as it would be about these files.
    pub fn moved_here(&self, record: &Value) -> Value {
        replace(record, RECORDED, &self.0.dir())
    }

    /// A message about these files as if it were about the recorded ones.
    pub fn moved_back(&self, message: &Value) -> Value {
        replace(message, &self.0.dir(), RECORDED)
    }
}

fn replace(value: &Value, from: &str, to: &str) -> Value {
    serde_json::from_str(&value.to_string().replace(from, to)).unwrap()
}

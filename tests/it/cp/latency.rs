//! What a copy does while answers are on their way.

use std::fs;

use serde_json::{Value, json};

use crate::client::scripted::{Line, Scripted};
use crate::support::{command_line, encode, finish, patterned, scratch};

const BLOCK: usize = 1 << 20;
/// So many are asked for before the first answer.
const AT_ONCE: usize = 4;
const BLOCKS: usize = 2 * AT_ONCE;

/// Serves `/file` and answers blocks only when there are `AT_ONCE` requests for them.
fn serve(line: &mut Line) {
    line.greet();
    let data = patterned(BLOCKS * BLOCK);
    let mut waiting: Vec<Value> = Vec::new();
    let mut left = BLOCKS;
    loop {
        let request = line.hear();
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") => {
                let found = json!({ "isDirectory": false, "isFile": true, "isSymlink": false,
                    "size": data.len(), "createdAtMs": 0, "modifiedAtMs": 0 });
                line.answer(&request, found);
            }
            Some("fs/readBlock") => waiting.push(request),
            Some(_) => line.answer(&request, json!({})),
        }
        if waiting.len() < AT_ONCE.min(left) {
            continue;
        }
        for request in waiting.drain(..) {
            let offset = request["params"]["offset"].as_u64().unwrap() as usize;
            let end = data.len().min(offset + BLOCK);
            let block = json!({ "chunk": encode(&data[offset..end]), "eof": end == data.len() });
            line.answer(&request, block);
            left -= 1;
        }
    }
}

#[test]
fn further_blocks_are_asked_for_before_the_first_has_come() {
    let scratch = scratch();
    let server = Scripted::new(|_, line| serve(line));
    let mut command = command_line(&scratch.dir());
    let file = scratch.path("file");
    command.args(["cp", "-e", server.url(), ":/file", &file]);
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(fs::read(file).unwrap() == patterned(BLOCKS * BLOCK));
}

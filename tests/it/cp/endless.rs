//! Trees without end, and what they cost us.

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::client::scripted::{Line, Scripted};
use crate::support::{Running, Scratch, command_line, peak_resident, scratch, signal, within};

const MIB: u64 = 1024;

/// So many directories, as a listing.
fn directories(count: usize) -> String {
    let mut text = String::from("[");
    for number in 0..count {
        let separator = if number > 0 { "," } else { "" };
        write!(
            text,
            "{separator}{{\"fileName\":\"{number:010}\",\"isDirectory\":true,\"isFile\":false}}"
        )
        .unwrap();
    }
    text + "]"
}

/// Serves a tree in which each directory has these entries, and counts what it has listed and what
/// it was asked for of them.
fn serve(line: &mut Line, entries: &str, listed: &AtomicUsize, looked: &AtomicUsize) {
    line.greet();
    loop {
        let request = line.hear();
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") => {
                looked.fetch_add(1, Ordering::SeqCst);
                let found = json!({ "isDirectory": true, "isFile": false, "isSymlink": false,
                    "size": 1, "createdAtMs": 0, "modifiedAtMs": 0 });
                line.answer(&request, found);
            }
            Some("fs/readDirectory") => {
                let id = &request["id"];
                line.say_raw(&format!(
                    "{{\"id\":{id},\"result\":{{\"entries\":{entries}}}}}"
                ));
                listed.fetch_add(1, Ordering::SeqCst);
            }
            Some(_) => line.say(json!({ "id": request["id"],
                "error": { "code": -32601, "message": "unknown method" } })),
        }
    }
}

/// A copy of such a tree.
struct Endless {
    scratch: Scratch,
    running: Running,
    listed: Arc<AtomicUsize>,
    looked: Arc<AtomicUsize>,
    _server: Scripted,
}

impl Endless {
    fn start(entries: String) -> Self {
        let scratch = scratch();
        let (listed, looked) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&listed), Arc::clone(&looked));
        let server = Scripted::new(move |_, line| serve(line, &entries, &counts.0, &counts.1));
        let mut command: Command = command_line(&scratch.dir());
        let to = scratch.path("to");
        command.args(["cp", "-r", "-e", server.url(), ":/tree", &to]);
        let streams = command.stdin(Stdio::null()).stdout(Stdio::null());
        let running = Running::new(streams.stderr(Stdio::null()).spawn().unwrap());
        Self {
            scratch,
            running,
            listed,
            looked,
            _server: server,
        }
    }

    #[track_caller]
    fn await_count(&mut self, what: &str, count: &AtomicUsize, least: usize) {
        let Running(child) = &mut self.running;
        within(Duration::from_secs(100), what, || {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            count.load(Ordering::SeqCst) >= least
        });
    }

    /// Interrupts it; the most memory that it had, in MiB.
    #[track_caller]
    fn interrupted(mut self) -> u64 {
        let peak = peak_resident(self.running.0.id());
        signal(self.running.0.id(), "INT");
        let status = self.running.ended(Duration::from_secs(10));
        assert_eq!(status.code(), Some(130));
        drop(self.scratch);
        peak / MIB
    }
}

#[test]
fn a_tree_without_end_costs_bounded_memory_and_is_interrupted_at_once() {
    let mut copy = Endless::start(directories(300));
    let listed = Arc::clone(&copy.listed);
    copy.await_count("many directories are listed", &listed, 2000);
    let peak = copy.interrupted();
    assert!(peak < 60, "{peak} MiB");
}

#[test]
fn one_listing_of_a_million_names_costs_little_more_than_its_message() {
    // The longest message has 64 MiB.
    let mut copy = Endless::start(directories(1_050_000));
    let looked = Arc::clone(&copy.looked);
    // The first is that of the tree itself.
    copy.await_count("the names are there", &looked, 4);
    let peak = copy.interrupted();
    assert!(peak < 200, "{peak} MiB");
}

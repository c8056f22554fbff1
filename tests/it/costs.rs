//! What a request costs in system calls, as bench/COSTS.md has it: a guard against costs that creep in, which does not
//! depend on how fast the machine is.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{
    Client, Need, PATIENCE, Scratch, Server, Start, encode, scratch, through, within,
};

/// How a scenario is called in the table, how often it is played, and one time of it, which sends one request.
type Scenario = (&'static str, usize, fn(&mut Client, &Scratch, usize));

const SCENARIOS: [Scenario; 8] = [
    ("a request that touches nothing", 120, |client, _, _| {
        client.ok("process/terminate", json!({"processId": "nobody"}));
    }),
    ("`fs/getMetadata`", 120, |client, dir, _| {
        client.ok("fs/getMetadata", json!({"path": dir.path("small")}));
    }),
    ("`fs/readFile` of 1 KiB", 120, |client, dir, _| {
        client.ok("fs/readFile", json!({"path": dir.path("small")}));
    }),
    ("`fs/writeFile` of 1 KiB", 120, |client, dir, _| {
        let params = json!({"path": dir.path("written"), "dataBase64": encode(&[b'w'; 1024])});
        client.ok("fs/writeFile", params);
    }),
    (
        "`fs/readDirectory` of 100 entries",
        120,
        |client, dir, _| {
            client.ok("fs/readDirectory", json!({"path": dir.path("many")}));
        },
    ),
    (
        "a process, from start to closed",
        40,
        |client, _, number| {
            let run = client.run(Start::child(&format!("true {number}"), &["true"]));
            assert_eq!(run.code, 0);
        },
    ),
    ("`process/run`", 40, |client, _, _| {
        let done = client.ok("process/run", json!({"argv": ["/bin/true"]}));
        assert_eq!(done["exitCode"], 0);
    }),
    (
        "`process/write` of 4 KiB, and its echo",
        60,
        |client, _, number| {
            if number == 0 {
                client.start(Start::child("cat", &["cat"]).with("pipeStdin", true));
            }
            client.write("cat", &[b'e'; 4096], &number.to_string());
            let echoed = (number + 1) * 4096;
            client.output("cat", "stdout", |text| text.len() >= echoed);
        },
    ),
];

/// Calls that are made for as long as something takes, not as often as something is done.
const WAITS: [&str; 5] = [
    "futex(",
    "clock_nanosleep(",
    "madvise(",
    "restart_syscall(",
    "sched_yield(",
];

/// What the C library takes from the kernel for one allocation alone, in bytes.
const LARGE: usize = 128 * 1024;

/// How many system calls a server makes for one request of the scenario, if it makes no more for three of four: on a busy
/// machine many may take so long that a thread is started for them.
fn calls(play: fn(&mut Client, &Scratch, usize), times: usize) -> usize {
    let dir = scratch();
    fs::write(dir.path("small"), [b's'; 1024]).unwrap();
    fs::create_dir(dir.path("many")).unwrap();
    for number in 0..100 {
        fs::write(dir.path(&format!("many/{number}")), "").unwrap();
    }
    let trace = dir.path("trace");
    let arguments = ["-D", "-f", "-b", "execve", "-s", "0", "-o", &trace, "--"];
    let plain: Command = {
        let mut command = Server::command();
        command.args(["--listen", "ws://127.0.0.1:0"]);
        command
    };
    let server = Server::websocket_command(through("strace", &arguments, &plain));
    let mut client = server.connect();
    (0..times).for_each(|number| play(&mut client, &dir, number));
    drop(client);
    drop(server);
    let text = || fs::read_to_string(&trace).unwrap_or_default();
    within(PATIENCE, "strace has noted the end", || {
        text().contains("+++ killed by SIGKILL")
    });
    let mut counts = vec![0];
    for line in text().lines() {
        if is_call(line) {
            *counts.last_mut().unwrap() += 1;
        }
        // The next request has come.
        let result = line.rsplit("= ").next().and_then(|it| it.parse().ok());
        if line.contains("recvfrom") && result.is_some_and(|bytes: i64| bytes > 0) {
            counts.push(0);
        }
    }
    // The handshake and the end are none of the scenario's.
    counts.sort_unstable();
    counts[counts.len() / 4]
}

/// Whether a line of strace is a call, and counts.
fn is_call(line: &str) -> bool {
    let call = line.split_whitespace().nth(1).unwrap_or_default();
    !["---", "+++", "<..."].iter().any(|no| call.starts_with(no))
        && !WAITS.iter().any(|wait| call.starts_with(wait))
        // The standard library of a debug build looks at each descriptor that it closes.
        && !line.contains("F_GETFD")
        && !is_small_mapping(line)
}

/// Whether it maps or unmaps less than [`LARGE`]: how often the C library does that for small allocations depends on
/// what else is in its heap, and so on the environment of the server.
fn is_small_mapping(line: &str) -> bool {
    let Some((call, arguments)) = line.split_once("map(") else {
        return false;
    };
    let bytes = arguments.split([',', ')']).nth(1);
    let bytes = bytes.and_then(|bytes| bytes.trim().parse::<usize>().ok());
    call.ends_with(['m', 'n']) && bytes.is_some_and(|bytes| bytes < LARGE)
}

/// The figures of the table, and by how much they may be off, by scenario.
fn noted(table: &str) -> Vec<(String, usize, usize)> {
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, calls, off] = cells[..] else {
            return None;
        };
        Some((name.to_owned(), calls.parse().ok()?, off.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn a_request_costs_no_more_system_calls_than_are_noted_and_no_fewer() {
    needs!(Need::Strace);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/COSTS.md");
    let noted = noted(&fs::read_to_string(path).unwrap());
    let names: Vec<_> = SCENARIOS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        noted.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(),
        names
    );
    let mut differing = Vec::new();
    for ((name, times, play), (_, noted, off)) in SCENARIOS.into_iter().zip(noted) {
        let calls = calls(play, times);
        if calls.abs_diff(noted) > off {
            differing.push(format!("{name}: {calls}, and noted are {noted}"));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

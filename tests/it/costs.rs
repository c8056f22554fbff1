//! What a request costs in system calls, as bench/COSTS.md has it: a guard against costs that creep in, which does not
//! depend on how fast the machine is.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{
    Client, Need, PATIENCE, Scratch, Server, Start, encode, scratch, through, within,
};

/// How a scenario is called in the table, how often it is played in a short run and in a long one, and one time of it.
type Scenario = (&'static str, [usize; 2], fn(&mut Client, &Scratch, usize));

const SCENARIOS: [Scenario; 8] = [
    (
        "a request that touches nothing",
        [20, 120],
        |client, _, _| {
            client.ok("process/terminate", json!({"processId": "nobody"}));
        },
    ),
    ("`fs/getMetadata`", [20, 120], |client, dir, _| {
        client.ok("fs/getMetadata", json!({"path": dir.path("small")}));
    }),
    ("`fs/readFile` of 1 KiB", [20, 120], |client, dir, _| {
        client.ok("fs/readFile", json!({"path": dir.path("small")}));
    }),
    ("`fs/writeFile` of 1 KiB", [20, 120], |client, dir, _| {
        let params = json!({"path": dir.path("written"), "dataBase64": encode(&[b'w'; 1024])});
        client.ok("fs/writeFile", params);
    }),
    (
        "`fs/readDirectory` of 100 entries",
        [20, 120],
        |client, dir, _| {
            client.ok("fs/readDirectory", json!({"path": dir.path("many")}));
        },
    ),
    (
        "a process, from start to closed",
        [10, 40],
        |client, _, number| {
            let run = client.run(Start::child(&format!("true {number}"), &["true"]));
            assert_eq!(run.code, 0);
        },
    ),
    ("`process/run`", [10, 40], |client, _, _| {
        let done = client.ok("process/run", json!({"argv": ["/bin/true"]}));
        assert_eq!(done["exitCode"], 0);
    }),
    (
        "`process/write` of 4 KiB, and its echo",
        [10, 60],
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

/// How often a figure is taken at most. On a busy machine a request may take so long that a thread is started for it, or
/// more is found ready at once; not each time.
const TRIES: usize = 8;

/// Calls that are made for as long as something takes, not as often as something is done.
const WAITS: [&str; 5] = [
    "futex(",
    "clock_nanosleep(",
    "madvise(",
    "restart_syscall(",
    "sched_yield(",
];

/// How many system calls a server has made in its life, in which the scenario was played so often.
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
    let is_call = |line: &&str| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        !["---", "+++", "<..."].iter().any(|no| call.starts_with(no))
            && !WAITS.iter().any(|wait| call.starts_with(wait))
            // The standard library of a debug build looks at each descriptor that it closes.
            && !line.contains("F_GETFD")
    };
    text().lines().filter(is_call).count()
}

/// How many system calls each further time costs.
fn each(play: fn(&mut Client, &Scratch, usize), [few, many]: [usize; 2]) -> f64 {
    let more = calls(play, many) as f64 - calls(play, few) as f64;
    more / (many - few) as f64
}

/// The figures of the table, by scenario.
fn noted(table: &str) -> Vec<(String, f64)> {
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, calls] = cells[..] else {
            return None;
        };
        Some((name.to_owned(), calls.parse().ok()?))
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
    for ((name, times, play), (_, noted)) in SCENARIOS.into_iter().zip(noted) {
        // What a thread finds ready at once, or waits for, changes a little from run to run.
        let tolerance = (noted * 0.1).max(0.5);
        let tries = (0..TRIES).map(|_| each(play, times));
        let off = tries.take_while(|each| (each - noted).abs() > tolerance);
        let off: Vec<_> = off.map(|each| format!("{each:.1}")).collect();
        if off.len() == TRIES {
            differing.push(format!("{name}: {}, and noted are {noted}", off.join(", ")));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

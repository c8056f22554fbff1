//! Much of everything: every byte arrives, and memory stays within its bounds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Client, PATIENCE, Server, Sink, Start, alive, child, cpu_ticks, decode, encode, params,
    pattern, patterned, peak_resident, resident, scratch, settled, within,
};

/// Holds output against the pattern as it comes, keeping nothing.
struct Checked {
    seen: u64,
    expected: Vec<u8>,
}

impl Checked {
    fn sink() -> (Arc<AtomicU64>, Sink) {
        let total = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&total);
        let mut checked = Self {
            seen: 0,
            expected: Vec::new(),
        };
        let sink = move |_: &str, chunk: &[u8]| {
            checked.expected.resize(chunk.len(), 0);
            pattern::fill(checked.seen, &mut checked.expected);
            assert!(
                checked.expected == chunk,
                "wrong bytes in the {} from {}",
                chunk.len(),
                checked.seen
            );
            checked.seen += chunk.len() as u64;
            seen.store(checked.seen, Ordering::Relaxed);
        };
        (total, Box::new(sink))
    }
}

over_both! {
    fn a_quarter_gibibyte_reaches_a_slow_reader_and_costs_no_memory(client) {
        const TOTAL: u64 = 256 << 20;
        client.patience = Duration::from_secs(120);
        let (seen, sink) = Checked::sink();
        client.start_into(Start::child("p", &["write", &TOTAL.to_string()]), sink);
        // A reader that stops for a while, again and again: the server has to hold the child back, not the bytes.
        for pause in 1..=4 {
            client.wait("the next part", |_| (seen.load(Ordering::Relaxed) >= pause * (TOTAL / 8)).then_some(()));
            // Its slowness is what is tested.
            std::thread::sleep(Duration::from_millis(250));
        }
        assert_eq!(client.closed("p").code, 0);
        assert_eq!(seen.load(Ordering::Relaxed), TOTAL);
        let peak = peak_resident(client.server_pid());
        assert!(peak < 32 << 10, "the server took {peak} KiB");
    }

    fn input_of_64_mib_arrives_whole_and_costs_no_memory(client) {
        const TOTAL: usize = 64 << 20;
        client.patience = Duration::from_secs(120);
        client.start(Start::child("p", &["drain"]).pipe_stdin());
        feed(client, "p", TOTAL);
        client.ok("process/closeStdin", params("p", json!({})));
        assert_eq!(client.closed("p").stdout, format!("{TOTAL}\n"));
        let peak = peak_resident(client.server_pid());
        assert!(peak < 32 << 10, "the server took {peak} KiB");
    }

    fn input_comes_back_as_output_byte_for_byte(client) {
        const TOTAL: usize = 16 << 20;
        let (seen, sink) = Checked::sink();
        client.patience = Duration::from_secs(120);
        client.start_into(Start::child("p", &["cat"]).pipe_stdin(), sink);
        feed(client, "p", TOTAL);
        client.ok("process/closeStdin", params("p", json!({})));
        client.closed("p");
        assert_eq!(seen.load(Ordering::Relaxed), TOTAL as u64);
    }

    fn two_hundred_processes_run_at_once(client) {
        client.patience = Duration::from_secs(60);
        let ids: Vec<String> = (0..200).map(|number| format!("p{number}")).collect();
        for id in &ids {
            client.ask("process/start", Start::child(id, &["cat"]).pipe_stdin().0);
        }
        for id in &ids {
            client.write(id, format!("{id}\n").as_bytes(), "1");
        }
        for id in &ids {
            client.output(id, "stdout", |text| text == format!("{id}\n"));
        }
        let list = client.ok("process/list", json!({}));
        let running = list["processes"].as_array().unwrap().iter().filter(|process| process["exited"] == false).count();
        assert_eq!(running, 200);
        for id in &ids {
            client.ask("process/closeStdin", params(id, json!({})));
        }
        for id in &ids {
            assert_eq!(client.closed(id).stdout, format!("{id}\n"));
        }
    }

    fn large_answers_asked_for_at_once_all_come_to_a_client_that_reads_late(client) {
        const EACH: usize = 900_000;
        let ids = ["a", "b", "c", "d"];
        for id in ids {
            client.run(Start::child(id, &["write", &EACH.to_string()]));
        }
        let reads: Vec<i64> = (0..20).map(|number| client.ask("process/read", params(ids[number % 4], json!({})))).collect();
        settled(|| cpu_ticks(client.server_pid()));
        let expected = patterned(EACH);
        for read in reads {
            let answer = client.answer(read).unwrap();
            let chunks = answer["chunks"].as_array().unwrap();
            let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| decode(chunk["chunk"].as_str().unwrap())).collect();
            assert!(bytes == expected, "{} bytes", bytes.len());
        }
    }

    fn a_slow_client_gets_all_however_little_is_retained(client, "--retained-total", "65536", "--retained-output", "16384") {
        const EACH: usize = 6 << 20;
        client.start(Start::child("p", &["write", &EACH.to_string(), "both"]));
        settled(|| cpu_ticks(client.server_pid()));
        client.closed("p");
        let expected = patterned(EACH);
        for stream in ["stdout", "stderr"] {
            assert!(client.observed("p").bytes(stream) == expected, "{stream}");
        }
    }

    fn reads_that_have_waited_are_answered_as_the_client_takes_the_answers(client) {
        let ids = ["a", "b", "c", "d"];
        let mut reads = Vec::new();
        for id in ids {
            client.start(Start::child(id, &["steps", "60000"]).pipe_stdin());
            for _ in 0..250 {
                reads.push(client.ask("process/read", params(id, json!({"waitMs": 3_600_000}))));
            }
        }
        for id in ids {
            client.write(id, b"go\nend\n", "1");
        }
        settled(|| cpu_ticks(client.server_pid()));
        let peak = peak_resident(client.server_pid());
        assert!(peak < 32 << 10, "the server took {peak} KiB");
        for read in reads {
            assert_eq!(client.answer(read).unwrap()["chunks"][0]["seq"], 1);
        }
        for id in ids {
            assert_eq!(client.closed(id).code, 0);
        }
    }

    fn a_client_that_never_reads_costs_no_memory_and_is_still_obeyed(client) {
        let scratch = scratch();
        let note = scratch.path("pid");
        let script = format!("echo $$ >{note}; exec {} write {}", child(), 4_u64 << 30);
        client.start(Start::shell("p", &script));
        // The child is held back once pipes, buffers and ring are full: from then on the server does nothing.
        let server = client.server_pid();
        settled(|| cpu_ticks(server));
        let peak = peak_resident(server);
        assert!(peak < 32 << 10, "the server took {peak} KiB");
        let pid = std::fs::read_to_string(&note).unwrap().trim().parse().unwrap();
        assert!(alive(pid));
        let terminate = client.ask("process/terminate", params("p", json!({})));
        within(PATIENCE, "the process ends though nobody reads", || !alive(pid));
        let (_, sink) = Checked::sink();
        client.observed("p").sink = Some(sink);
        assert_eq!(client.answer(terminate).unwrap(), json!({"running": true}));
        assert_eq!(client.closed("p").code, 137);
    }
}

/// Writes so much of the pattern, with a few writes under way at a time.
fn feed(client: &mut Client, process: &str, total: usize) {
    const PIECE: usize = 256 << 10;
    let mut piece = vec![0; PIECE];
    let mut pending = VecDeque::new();
    for number in 0..total / PIECE {
        pattern::fill((number * PIECE) as u64, &mut piece);
        let write = json!({"chunk": encode(&piece), "writeId": number.to_string()});
        pending.push_back(client.ask("process/write", params(process, write)));
        if pending.len() > 8 {
            let answer = client.answer(pending.pop_front().unwrap()).unwrap();
            assert_eq!(answer["status"], "accepted");
        }
    }
    for id in pending {
        assert_eq!(client.answer(id).unwrap()["status"], "accepted");
    }
}

#[test]
fn what_is_kept_of_many_ended_processes_is_bounded() {
    let mut client = Client::websocket();
    client.patience = Duration::from_secs(60);
    const EACH: u64 = 1 << 20;
    for batch in 0..50 {
        let ids: Vec<String> = (0..10).map(|number| format!("{batch}.{number}")).collect();
        for id in &ids {
            client.start_into(
                Start::child(id, &["write", &EACH.to_string()]),
                Box::new(|_, _| {}),
            );
        }
        for id in &ids {
            client.closed(id);
        }
    }
    let kept = resident(client.server_pid());
    assert!(
        kept < (64 + 24) << 10,
        "the server keeps {kept} KiB after 500 processes with 1 MiB each"
    );
    // The oldest lost their output, not their end; the latest have both.
    let oldest = client.read("0.0", json!({"maxBytes": 1}));
    assert_eq!(
        (&oldest["exitCode"], &oldest["closed"]),
        (&json!(0), &json!(true))
    );
    assert!(oldest["firstRetainedSeq"].as_u64().unwrap() > 1, "{oldest}");
    let latest = client.read("49.9", json!({"maxBytes": 1}));
    assert_eq!(latest["chunks"].as_array().unwrap().len(), 1);
}

#[test]
fn the_room_for_all_output_can_be_set() {
    let mut client = Client::stdio_with(&["--retained-total", "2097152"]);
    for number in 0..20 {
        client.run(Start::child(&number.to_string(), &["write", "500000"]));
    }
    let mut kept = 0;
    for number in 0..20 {
        let read = client.read(&number.to_string(), json!({}));
        let chunks = read["chunks"].as_array().unwrap();
        kept += chunks
            .iter()
            .map(|chunk| decode(chunk["chunk"].as_str().unwrap()).len())
            .sum::<usize>();
    }
    assert!(kept <= 2 << 20, "{kept} bytes kept");
    assert!(kept > 1 << 20, "{kept} bytes kept");
}

#[test]
fn a_client_that_never_reads_holds_up_no_other() {
    let server = Server::websocket(&[]);
    let mut lazy = server.connect();
    lazy.start(Start::child("p", &["write", &(1_u64 << 30).to_string()]));
    for _ in 0..200 {
        lazy.ask("process/read", params("p", json!({"maxBytes": 1 << 20})));
    }
    let mut other = server.connect();
    for number in 0..50 {
        let outcome = other.run(Start::child(&number.to_string(), &["echo", "hi"]));
        assert_eq!(outcome.stdout, "hi\n");
    }
    assert!(peak_resident(server.pid()) < 32 << 10);
}

#[test]
fn one_process_too_many_is_refused_and_the_next_has_its_place() {
    let mut client = Client::websocket_with(&["--max-processes", "2"]);
    for id in ["a", "b"] {
        client.start(Start::child(id, &["sleep"]));
    }
    let error = client.err("process/start", Start::child("c", &["sleep"]).0);
    assert!(error.message.contains("--max-processes"), "{error:?}");
    client.ok("process/terminate", params("a", json!({})));
    client.closed("a");
    within(PATIENCE, "there is room again", || {
        client
            .request("process/start", Start::child("c", &["sleep"]).0)
            .is_ok()
    });
}

#[test]
fn many_clients_share_a_server() {
    let server = Server::websocket(&[]);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (server, results) = (&server, &results);
            scope.spawn(move || {
                let mut client = server.connect();
                let mine = format!("client {number}\n");
                for round in 0..20 {
                    // The same id in every session: each has its own.
                    let outcome =
                        client.run(Start::child(&round.to_string(), &["echo", mine.trim_end()]));
                    assert_eq!(outcome.stdout, mine);
                }
                results.lock().unwrap().push(number);
            });
        }
    });
    assert_eq!(results.lock().unwrap().len(), 16);
}

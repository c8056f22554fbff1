//! Our own end of much output: a consumer that does not take it costs no memory, and no byte.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Server, child, pattern, peak_resident, resident, settled};

/// What the client may take, in KiB: 4 MiB wait for the consumer, and a message is 1 MiB at most.
const BOUND: u64 = 32 << 10;
const TOTAL: u64 = 256 << 20;

#[test]
fn a_quarter_gibibyte_waits_for_a_slow_reader_of_a_command_without_costing_memory() {
    let server = Server::websocket(&[]);
    let mut command = Server::command();
    command
        .args(["run", "-e", &format!("ws://{}", server.address()), "--"])
        .args([&child(), "write", &TOTAL.to_string()]);
    let mut running = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = running.stdout.take().unwrap();
    let (mut buffer, mut expected) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    let (mut seen, mut pause_at) = (0_u64, 1);
    loop {
        let count = output.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        pattern::fill(seen, &mut expected[..count]);
        assert!(
            buffer[..count] == expected[..count],
            "wrong bytes from {seen}"
        );
        seen += count as u64;
        if seen >= pause_at {
            pause_at += TOTAL / 4;
            // Until all that can wait somewhere does.
            settled(|| resident(running.id()));
            let peak = peak_resident(running.id());
            assert!(
                peak < BOUND,
                "the client took {peak} KiB after {seen} bytes"
            );
        }
    }
    assert_eq!(seen, TOTAL);
    let mut code = None;
    crate::support::within(Duration::from_secs(20), "it ends", || {
        code = running.try_wait().unwrap();
        code.is_some()
    });
    assert!(code.is_some_and(|code| code.success()), "{code:?}");
}

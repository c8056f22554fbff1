//! Answer, output, exit, close: always in that order. The client of these tests checks every process for gaps in `seq`,
//! notifications before the answer, and anything after `closed`; here is the load that provokes them.

use crate::support::{Client, Event, Start, patterned};

const LENGTH: usize = 300_000;
const BATCH: usize = 10;

/// Starts writers in batches and holds every byte and the order of every event to account.
fn writers(client: &mut Client, runs: usize) {
    let expected = patterned(LENGTH);
    for batch in 0..runs / BATCH {
        let ids: Vec<String> = (0..BATCH)
            .map(|number| format!("{batch}.{number}"))
            .collect();
        for id in &ids {
            client.ask("process/start", Start::child(id, &["write", "300000"]).0);
        }
        for id in &ids {
            let outcome = client.closed(id);
            assert_eq!(outcome.code, 0);
            let (last, before) = outcome
                .events
                .split_last_chunk::<2>()
                .map(|(before, last)| (last, before))
                .unwrap();
            assert_eq!(last, &[Event::Exited, Event::Closed]);
            assert!(
                before
                    .iter()
                    .all(|event| matches!(event, Event::Output(..))),
                "{:?}",
                outcome.events
            );
            assert!(
                client.observed(id).bytes("stdout") == expected,
                "wrong bytes from {id}"
            );
            client.observed(id).output.clear();
        }
    }
}

over_both! {
    fn exited_comes_after_all_output_before_the_exit(client) {
        writers(client, 150);
    }

    fn a_short_word_is_never_overtaken_by_the_exit(client) {
        for number in 0..100 {
            let outcome = client.run(Start::child(&number.to_string(), &["echo", "hi"]));
            assert_eq!(outcome.events, [Event::Output("stdout".into(), 3), Event::Exited, Event::Closed]);
        }
    }

    fn both_streams_arrive_whole(client) {
        client.start(Start::child("p", &["write", "1000000", "both"]));
        client.closed("p");
        let expected = patterned(1_000_000);
        assert!(client.observed("p").bytes("stdout") == expected);
        assert!(client.observed("p").bytes("stderr") == expected);
    }

    fn a_chunk_holds_at_most_64_kib(client) {
        let outcome = client.run(Start::child("p", &["write", "3000000"]));
        for event in outcome.events {
            assert!(!matches!(event, Event::Output(_, 65_537..)), "{event:?}");
        }
    }

    fn output_comes_at_once_when_there_is_a_lull(client) {
        client.start(Start::child("p", &["steps", "5"]).pipe_stdin());
        for number in 1..=20 {
            client.write("p", b"go\n", &number.to_string());
            client.wait("five more bytes", |client| (client.observed("p").bytes("stdout").len() == 5 * number).then_some(()));
        }
    }
}

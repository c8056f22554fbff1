//! `make chaos`: commands and copies over a network that breaks at random, and every byte arrives.
//!
//! Each round streams 64 MiB through `exec-server run` and copies 256 MiB with `exec-server cp`
//! there and back, through a proxy that cuts, stalls and half-closes connections. The
//! faults of a round follow from its seed; when things happen is up to the machine.
//!
//! Then so many sessions start, write, read, lose their connections and resume at random, and do what a small model says
//! (`support::session_model`).

use std::process::ExitCode;
use std::time::Instant;

use support::chaos::{Field, Sizes};
use support::{Server, session_model};

const USAGE: &str = "usage: chaos [--rounds N] [--sessions N] [--seed N]";

const SIZES: Sizes = Sizes {
    output: 64 << 20,
    file: 256 << 20,
};

fn main() -> ExitCode {
    let Some((rounds, sessions, seed)) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if !break_networks(rounds, seed) || !play_sessions(sessions, seed) {
        return ExitCode::FAILURE;
    }
    println!("{rounds} rounds and {sessions} sessions, every byte in its place");
    ExitCode::SUCCESS
}

/// Whether every byte arrives in all rounds.
fn break_networks(rounds: u64, seed: u64) -> bool {
    let field = Field::new(SIZES);
    for round in 0..rounds {
        let begun = Instant::now();
        // A round can be played again by itself.
        let seed = seed.wrapping_add(round);
        match field.play(seed) {
            Ok(faults) => println!(
                "round {} of {rounds}, seed {seed}: {faults} faults, {:.1?}",
                round + 1,
                begun.elapsed()
            ),
            Err(why) => {
                eprintln!(
                    "round {} of {rounds} FAILED, seed {seed}: {why}\nthe server said: {}\n\
                     again: make chaos ARGS='--rounds 1 --seed {seed}'",
                    round + 1,
                    field.server_words()
                );
                return false;
            }
        }
    }
    true
}

/// Whether every session does what the model says.
fn play_sessions(sessions: u64, seed: u64) -> bool {
    let server = Server::websocket(&[]);
    let begun = Instant::now();
    for session in 0..sessions {
        if let Err(why) = session_model::play(&server, seed.wrapping_add(session)) {
            eprintln!(
                "session {session} FAILED: {why}\nthe server said: {}",
                server.stderr()
            );
            return false;
        }
    }
    println!("{sessions} sessions: {:.1?}", begun.elapsed());
    true
}

/// Rounds, sessions and seed.
fn options() -> Option<(u64, u64, u64)> {
    let (mut rounds, mut sessions, mut seed) = (20, 2000, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--rounds" => &mut rounds,
            "--sessions" => &mut sessions,
            "--seed" => &mut seed,
            // cargo bench adds it, to whatever it runs.
            "--bench" => continue,
            _ => return None,
        };
        *place = arguments.next()?.parse().ok()?;
    }
    Some((rounds, sessions, seed))
}

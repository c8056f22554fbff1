//! `make chaos`: commands and copies over a network that breaks at random, and every byte arrives.
//!
//! Each round streams 64 MiB through `exec-server run` and copies 256 MiB with `exec-server cp`
//! there and back, through a proxy that cuts, stalls and half-closes connections. The
//! faults of a round follow from its seed; when things happen is up to the machine.

use std::process::ExitCode;
use std::time::Instant;

use support::chaos::{Field, Sizes};

const USAGE: &str = "usage: chaos [--rounds N] [--seed N]";

const SIZES: Sizes = Sizes {
    output: 64 << 20,
    file: 256 << 20,
};

fn main() -> ExitCode {
    let Some((rounds, seed)) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
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
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{rounds} rounds, every byte in its place");
    ExitCode::SUCCESS
}

/// Rounds and seed.
fn options() -> Option<(u64, u64)> {
    let (mut rounds, mut seed) = (20, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--rounds" => &mut rounds,
            "--seed" => &mut seed,
            // cargo bench adds it, to whatever it runs.
            "--bench" => continue,
            _ => return None,
        };
        *place = arguments.next()?.parse().ok()?;
    }
    Some((rounds, seed))
}

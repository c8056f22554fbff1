//! `make chaos`: commands and copies over a network that breaks at random, and every byte arrives.
//!
//! Each round streams 64 MiB through `exec-server run` and copies 256 MiB with `exec-server cp`
//! there and back, through a proxy that cuts, stalls and half-closes connections. The
//! faults of a round follow from its seed; when things happen is up to the machine.
//!
//! Then so many sessions start, write, read, lose their connections and resume at random, and do what a small model says
//! (`support::session_model`).
//!
//! `make soak` plays such sessions for minutes, four at a time, and looks each minute at what the server holds: its
//! memory, descriptors and threads must not grow.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::chaos::{Field, Sizes};
use support::{Server, descriptors, resident, session_model, threads};

const USAGE: &str = "usage: chaos [--rounds N] [--sessions N] [--minutes N] [--seed N]";

const SIZES: Sizes = Sizes {
    output: 64 << 20,
    file: 256 << 20,
};

fn main() -> ExitCode {
    let Some(Options {
        rounds,
        sessions,
        minutes,
        seed,
    }) = options()
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_well = break_networks(rounds, seed)
        && play_sessions(sessions, seed)
        && (minutes == 0 || soak(minutes, seed));
    if !is_well {
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

/// What a server holds.
struct Held {
    /// In kB.
    memory: u64,
    descriptors: u64,
    threads: u64,
}

/// Whether sessions at random, four at a time, do what the model says for so long, and leave nothing behind.
fn soak(minutes: u64, seed: u64) -> bool {
    let server = Server::websocket(&["--session-retention", "5"]);
    let (processes, cuts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let next = AtomicU64::new(seed);
    let (failure, failed) = (Mutex::new(None), Condvar::new());
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let play = || {
        while Instant::now() < end && failure.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match session_model::play(&server, seed) {
                Ok(played) => {
                    processes.fetch_add(played.processes, Ordering::Relaxed);
                    cuts.fetch_add(played.cuts, Ordering::Relaxed);
                }
                Err(why) => {
                    *failure.lock().unwrap() = Some(why);
                    failed.notify_all();
                }
            }
        }
    };
    let mut held = Vec::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(play);
        }
        for minute in 1..=minutes {
            let goes_on = |why: &mut Option<_>| why.is_none();
            let minute_long = Duration::from_secs(60);
            let known = failure.lock().unwrap();
            let waited = failed.wait_timeout_while(known, minute_long, goes_on);
            if waited.unwrap().0.is_some() {
                return;
            }
            let pid = server.pid();
            let now = Held {
                memory: resident(pid),
                descriptors: descriptors(pid) as u64,
                threads: threads(pid),
            };
            println!(
                "minute {minute}: {} processes, {} cuts; {} kB, {} descriptors, {} threads",
                processes.load(Ordering::Relaxed),
                cuts.load(Ordering::Relaxed),
                now.memory,
                now.descriptors,
                now.threads
            );
            held.push(now);
        }
    });
    if let Some(why) = failure.into_inner().unwrap() {
        eprintln!("FAILED: {why}\nthe server said: {}", server.stderr());
        return false;
    }
    // What a busy moment needs differs; what is not given back adds up.
    let (first, last) = held.split_at(held.len() / 2);
    let most = |held: &[Held], of: fn(&Held) -> u64| held.iter().map(of).max().unwrap_or(0);
    let grows = |of: fn(&Held) -> u64| held.len() > 3 && most(last, of) > 2 * most(first, of);
    if grows(|held| held.memory) || grows(|held| held.descriptors) || grows(|held| held.threads) {
        eprintln!("FAILED: the second half held more than twice what the first did");
        return false;
    }
    true
}

struct Options {
    rounds: u64,
    sessions: u64,
    minutes: u64,
    seed: u64,
}

fn options() -> Option<Options> {
    let mut options = Options {
        rounds: 20,
        sessions: 2000,
        minutes: 0,
        seed: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--rounds" => &mut options.rounds,
            "--sessions" => &mut options.sessions,
            "--minutes" => &mut options.minutes,
            "--seed" => &mut options.seed,
            // cargo bench adds it, to whatever it runs.
            "--bench" => continue,
            _ => return None,
        };
        *place = arguments.next()?.parse().ok()?;
    }
    Some(options)
}

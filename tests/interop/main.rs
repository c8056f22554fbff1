//! `make interop`: the references and ours, side by side. README.md says how to run it and what it proves.
//!
//! Six parts. [`wire`] speaks the same scripted sessions to `codex exec-server` of both generations and to ours, and
//! compares what comes back method by method. [`cli`] lets the real client of both generations work through a server
//! that lives in another mount namespace under another host name, first the reference's own and then ours. [`offer`]
//! lets both register with a control plane. [`client`] is our own client at work with the server of each. [`config`] lets
//! the real client read our examples of its configuration. [`flags`] is the command line of `codex exec-server` and ours.
//!
//! Everything runs in a PID namespace of its own where the system allows it ([`isolation`]), so nothing that is
//! started here outlives the run, however it ends.

mod binaries;
mod children;
mod cli;
mod client;
mod config;
mod flags;
mod http_server;
mod isolation;
mod offer;
mod options;
mod outcome;
mod subject;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use binaries::Binaries;
use isolation::Place;
use options::Options;
use outcome::Tally;

/// No run takes longer, whatever hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let place = match isolation::enter() {
        Ok(place) => place,
        Err(code) => return code,
    };
    children::kill_all_after(LIMIT);
    outcome::keep_panics_quiet();
    match run(&options, &place) {
        Ok(tally) => {
            println!("\n{tally}");
            ExitCode::from(u8::from(tally.wrong > 0))
        }
        Err(error) => {
            eprintln!("interop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, place: &Place) -> Result<Tally, String> {
    let binaries = Binaries::find(place)?;
    let mut tally = Tally::default();
    if options.wire {
        wire::run(options, place, &binaries, &mut tally);
    }
    if options.offer {
        offer::run(options, place, &binaries, &mut tally);
    }
    if options.config {
        config::run(options, place, &binaries, &mut tally);
    }
    if options.flags {
        flags::run(options, place, &binaries, &mut tally);
    }
    if options.client {
        client::run(options, place, &binaries, &mut tally);
    }
    if options.cli {
        cli::run(options, place, &binaries, &mut tally);
    }
    Ok(tally)
}

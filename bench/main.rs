//! `make bench`: this server beside `codex exec-server` 0.130 and 0.169 and beside the least that
//! the machine allows, interleaved in one run. `bench/README.md` says how to read it.
//!
//! The program is three things: the run ([`run`]), which starts a process for every measurement;
//! such a process, a step ([`workload`]); and the other end of a floor ([`peer`]).

mod client;
mod failure;
mod frame;
mod guard;
mod inbox;
mod link;
mod message;
mod options;
mod peer;
mod procfs;
mod report;
mod results;
mod row;
mod run;
mod sample;
mod scratch;
mod server;
mod step;
mod subject;
mod workload;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "step" => step::measure(rest),
        Some((first, rest)) if first == "peer" => match peer::serve(rest) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => usage_error("no such peer"),
            // The client has what it wanted and hung up.
            Err(_) => ExitCode::FAILURE,
        },
        _ => match Options::parse(&arguments) {
            Ok(Some(options)) => run::run(&options),
            Ok(None) => {
                println!("{}", options::USAGE);
                ExitCode::SUCCESS
            }
            Err(error) => usage_error(&error.to_string()),
        },
    }
}

fn usage_error(what: &str) -> ExitCode {
    eprintln!("bench: {what}\n\n{}", options::USAGE);
    ExitCode::from(2)
}

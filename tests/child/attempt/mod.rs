//! What a hostile program tries, one attempt a name.
//!
//! Several attempts of one process stand between `--`. Each prints one line: `did`, with what it got, or `failed` with the number and the name of the error. It never
//! judges; whether it harmed the host, the test looks up there.

mod bytes;
mod calls;
mod files;
mod look;
mod mounts;
mod namespaces;
mod pairs;
mod processes;
mod shared;
mod sockets;
mod terminal;

use std::io;

use crate::say;

type Tried = io::Result<String>;

/// Makes attempts one after the other, between `--`, and says what came of each; false if there is one of no name.
pub fn run(arguments: &[&str]) -> bool {
    for one in arguments.split(|word| *word == "--") {
        let Some(tried) = attempt(one) else {
            return false;
        };
        match tried {
            Ok(got) => say(format!("did {got}").trim_end()),
            Err(error) => say(&format!("failed {error}")),
        }
    }
    true
}

fn attempt(arguments: &[&str]) -> Option<Tried> {
    files::attempt(arguments)
        .or_else(|| look::attempt(arguments))
        .or_else(|| mounts::attempt(arguments))
        .or_else(|| namespaces::attempt(arguments))
        .or_else(|| processes::attempt(arguments))
        .or_else(|| sockets::attempt(arguments))
        .or_else(|| pairs::attempt(arguments))
        .or_else(|| shared::attempt(arguments))
        .or_else(|| terminal::attempt(arguments))
        .or_else(|| calls::attempt(arguments))
}

/// The result of an attempt that gets nothing but its success.
fn done<T>(result: io::Result<T>) -> Tried {
    result.map(|_| String::new())
}

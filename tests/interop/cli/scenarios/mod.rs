//! What the client is led to do. A scenario asserts facts of the remote; a broken assertion is its failure.

mod commands;
mod context;
mod files;
mod losses;
mod mcp;
mod terminal;

use super::stage::Stage;
use crate::subject::{Generation, Transport};

/// One scenario.
pub struct Scenario {
    pub name: &'static str,
    pub play: fn(&mut Stage),
    /// Why it is not played with a release over a transport, if it is not.
    pub skipped: fn(Generation, Transport) -> Option<&'static str>,
}

const fn scenario(name: &'static str, play: fn(&mut Stage)) -> Scenario {
    Scenario {
        name,
        play,
        skipped: |_, _| None,
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    scenario("command", commands::one),
    scenario("failing start", commands::failing_start),
    scenario("long command, polled", commands::polled),
    scenario("5 MB of output", commands::bulk),
    scenario("terminal", terminal::typed_and_interrupted),
    scenario("patch", files::patch),
    scenario("image", files::image),
    scenario("AGENTS.md and skills", context::found),
    Scenario {
        name: "MCP server",
        play: mcp::called,
        skipped: |generation, _| match generation {
            Generation::V130 => Some("0.130 starts MCP servers on the client's machine only"),
            Generation::V169 | Generation::V171 => None,
        },
    },
    scenario("interrupted turn", losses::interrupted),
    Scenario {
        name: "cut connection",
        play: losses::cut,
        skipped: |_, transport| match transport {
            Transport::Websocket => None,
            Transport::Stdio => Some("a pipe cannot be cut and taken up again"),
        },
    },
];

/// The session that a tool output tells of.
fn session(told: &str) -> u64 {
    let number = told.split_once("session ID ").map(|(_, rest)| rest);
    let digits: String = number
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no running session in {told:?}"))
}

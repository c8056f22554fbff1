//! `--remote` of the reference 0.130 and of ours, against the tests' control plane: what each asks of it, says through
//! the rendezvous and comes to is compared field by field.

mod conversation;
mod scenarios;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::binaries::Binaries;
use crate::children::Guarded;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::{Tally, asserted};
use crate::subject::{Generation, Whose};
use support::PATIENCE;
use support::plane::{Asked, Plane, Style};

use scenarios::{SCENARIOS, Scenario};

/// Plays every scenario with both programs and compares the two records.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    let both =
        [Whose::Reference, Whose::Ours].map(|whose| binaries.server(whose, Generation::V130));
    let [Some(theirs), Some(ours)] = both else {
        println!("skipped: offer: the reference 0.130 is missing");
        tally.skipped += 1;
        return;
    };
    for scenario in SCENARIOS {
        let name = format!("offer {}", scenario.name);
        if !options.wants(&name) {
            continue;
        }
        let record = |whose, program| asserted(|| play(scenario, whose, program, &place.scratch));
        match (record(Whose::Reference, theirs), record(Whose::Ours, ours)) {
            (Ok(theirs), Ok(ours)) => compare(scenario, &name, &theirs, &ours, tally),
            (theirs, ours) => {
                println!(
                    "WRONG: {name}: reference {:?}, ours {:?}",
                    theirs.err(),
                    ours.err()
                );
                tally.wrong += 1;
            }
        }
    }
}

fn play(scenario: &Scenario, whose: Whose, program: &Path, scratch: &Path) -> Value {
    let plane = Plane::start(Style::Plain);
    plane.answer((scenario.answers)());
    let mut command = Command::new(program);
    if whose == Whose::Reference {
        command.arg("exec-server");
    }
    command
        .args([
            "--remote",
            &plane.base(),
            "--executor-id",
            "ex-1",
            "--name",
            "nm",
        ])
        .env("CODEX_HOME", scratch)
        .env("CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN", "secret")
        .env("NO_PROXY", "*")
        .env("RUST_BACKTRACE", "0")
        .env_remove("RUST_LOG")
        .env_remove("EXEC_SERVER_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let server = Guarded::spawn(&mut command);
    let stderr = server.with(|child| child.stderr.take());
    let words = thread::spawn(move || stderr.and_then(|pipe| std::io::read_to_string(pipe).ok()));
    let heard = (scenario.meet)(&plane);
    let code = if scenario.ends {
        let status = server.ended(PATIENCE);
        status.map_or(json!("it goes on"), |status| json!(status.code()))
    } else {
        json!("it goes on")
    };
    drop(server);
    let words = words.join().ok().flatten().unwrap_or_default();
    // The reference also warns about its home, and shows where in its program an error came from.
    let is_ours_too = |line: &&str| line.starts_with("Error: ") || line.starts_with("codex exec-");
    json!({
        "code": code,
        "words": words.lines().filter(is_ours_too).collect::<Vec<_>>(),
        "registrations": plane.registrations().iter().map(request).collect::<Vec<_>>(),
        "upgrades": plane.upgrades().iter().map(request).collect::<Vec<_>>(),
        "heard": heard,
    })
}

/// A request without what differs from run to run.
fn request(asked: &Asked) -> Value {
    let varies = ["host", "sec-websocket-key"];
    let mut headers: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| !varies.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    let mut body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    if let Some(id) = body.get_mut("idempotency_id") {
        let shape = |c: char| if c.is_ascii_hexdigit() { 'h' } else { c };
        let text = id
            .as_str()
            .unwrap_or_default()
            .replace("codex-exec-server-", "");
        *id = text.chars().map(shape).collect::<String>().into();
    }
    json!({"method": asked.method, "path": asked.path, "headers": headers, "body": body})
}

fn compare(scenario: &Scenario, name: &str, theirs: &Value, ours: &Value, tally: &mut Tally) {
    let mut intended = Vec::new();
    let mut wrong = Vec::new();
    for field in ["code", "words", "registrations", "upgrades", "heard"] {
        if theirs[field] == ours[field] {
            continue;
        }
        match scenario.intended.iter().find(|(its, _)| *its == field) {
            Some((_, reason)) => intended.push(*reason),
            None => wrong.push(field),
        }
    }
    if !wrong.is_empty() {
        println!("WRONG: {name}");
        for field in wrong {
            println!(
                "  {field}\n    theirs {}\n    ours   {}",
                theirs[field], ours[field]
            );
        }
        tally.wrong += 1;
    } else if intended.is_empty() {
        println!("same: {name}");
        tally.same += 1;
    } else {
        println!("intended difference: {name}: {}", intended.join("; "));
        tally.intended += 1;
    }
}

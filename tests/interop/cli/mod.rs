//! The real client of both generations at work through a server, with a scripted model.
//!
//! A [`stage::Stage`] is the setting of one scenario: a remote ([`remote`]) with another host name and another disk
//! under the work directory, and a client ([`turn`]) whose model ([`model`]) is the scenario itself. Every scenario is
//! played with the reference's own server first: one that fails there says nothing about ours.

mod model;
mod proxy;
mod remote;
mod scenarios;
mod stage;
mod turn;

use crate::binaries::Binaries;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::{Tally, asserted};
use crate::subject::{Generation, Transport, Whose};
use scenarios::SCENARIOS;
use stage::Stage;

/// How each generation reaches a remote.
const WAYS: [(Generation, Transport); 5] = [
    (Generation::V130, Transport::Websocket),
    (Generation::V169, Transport::Websocket),
    (Generation::V169, Transport::Stdio),
    (Generation::V171, Transport::Websocket),
    (Generation::V171, Transport::Stdio),
];

/// Plays every scenario that is wanted.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    println!("\nThe real client through a remote server");
    if !place.namespaces {
        println!("  skipped: without namespaces a remote cannot be told from here");
        tally.skipped += SCENARIOS.len();
        return;
    }
    for (generation, transport) in WAYS {
        let Some(client) = binaries.reference(generation) else {
            println!("  {generation} skipped: there is no reference");
            tally.skipped += SCENARIOS.len();
            continue;
        };
        for scenario in SCENARIOS {
            let name = format!("{generation} {transport} {}", scenario.name);
            if !options.wants(&name) {
                continue;
            }
            if let Some(reason) = (scenario.skipped)(generation, transport) {
                println!("  {name:<32} skipped: {reason}");
                tally.skipped += 1;
                continue;
            }
            let [reference, ours] = [Whose::Reference, Whose::Ours].map(|whose| {
                let server = binaries
                    .server(whose, generation)
                    .expect("the client is the reference");
                asserted(|| {
                    let mut stage =
                        Stage::set(place, &name, client, server, whose, generation, transport);
                    (scenario.play)(&mut stage);
                })
                .map_err(|why| format!("{why}\n{}", stage::logs(place, &name, whose)))
            });
            match (&reference, &ours) {
                (Ok(()), Ok(())) => {
                    println!("  {name:<32} works with the reference, works with ours");
                    tally.same += 1;
                }
                (Err(why), Ok(())) => {
                    println!(
                        "  {name:<32} WRONG: fails with the reference, so the scenario proves nothing\n{why}"
                    );
                    tally.wrong += 1;
                }
                (_, Err(why)) => {
                    let with_reference = if reference.is_ok() { "works" } else { "fails" };
                    println!(
                        "  {name:<32} WRONG: {with_reference} with the reference, fails with ours\n{why}"
                    );
                    tally.wrong += 1;
                }
            }
        }
    }
}

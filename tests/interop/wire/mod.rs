//! The same sessions spoken to a reference and to ours, and what came back compared.
//!
//! A [`case::Case`] is a short session about one method. It is played to both servers over both transports, as root
//! and as an ordinary user, each time in a fresh directory ([`fixture`]) whose state afterwards counts as well
//! ([`play`], [`heard`]). A difference needs a row in one of two tables: [`differences`], and the one of the recorded
//! exchanges as far as it speaks of every exchange.

mod case;
mod cases;
mod confinement;
mod connection;
mod differences;
mod fixture;
mod heard;
mod identity;
mod play;
mod report;

use crate::binaries::Binaries;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::{Tally, asserted};
use crate::subject::{Generation, Transport, Whose};
use fixture::Fixture;
use identity::Identity;
use play::Peer;
use report::Report;

/// Plays every case that is wanted.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    let cases = cases::all();
    for generation in Generation::ALL {
        if binaries.reference(generation).is_none() {
            println!("{generation} skipped: there is no reference");
            tally.skipped += cases.len();
            continue;
        }
        for identity in Identity::ALL {
            for transport in Transport::ALL {
                let setting = format!("wire {generation} {transport} as {identity}");
                if let Some(reason) = identity.missing(place) {
                    println!("\n{setting} skipped: {reason}");
                    tally.skipped += cases.len();
                    continue;
                }
                let fixture = Fixture::new(place, identity);
                let peers = [Whose::Reference, Whose::Ours].map(|whose| {
                    let program = binaries
                        .server(whose, generation)
                        .expect("looked for above");
                    asserted(|| Peer::start(place, program, whose, generation, transport, identity))
                });
                let [Ok(reference), Ok(ours)] = &peers else {
                    for error in peers.iter().filter_map(|peer| peer.as_ref().err()) {
                        println!("\n{setting} WRONG: {error}");
                    }
                    tally.wrong += 1;
                    continue;
                };
                let mut report = Report::new(generation);
                for case in cases.iter().filter(|case| case.fits(generation, transport)) {
                    if !options.wants(&format!("{setting} {} {}", case.method, case.name)) {
                        continue;
                    }
                    let [theirs, ours] =
                        [reference, ours].map(|peer| asserted(|| peer.play(case, &fixture)));
                    report.add(case, theirs, ours);
                }
                report.print(&setting, tally);
            }
        }
    }
}

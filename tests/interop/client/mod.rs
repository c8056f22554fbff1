//! Our own client against every server: the references of all releases, and ours.
//!
//! Each scene is played through the crate's own interface over a websocket and over a command, against a fresh server
//! ([`scene`]). What a reference cannot do has to be an error that says so, and never a wait or a wrong answer.

mod files;
mod processes;
mod scene;
mod streams;

use crate::binaries::Binaries;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::{Tally, asserted};
use crate::subject::{Generation, Transport, Whose};
use scene::Scene;

/// A behaviour, and its name.
type Play = (&'static str, fn(&Scene));

const SCENES: &[Play] = &[
    ("streams apart", processes::streams_are_apart),
    ("place", processes::starts_where_it_is_told),
    ("input", processes::takes_input),
    ("end of input", processes::ends_input_or_says_why_not),
    ("terminal", processes::has_a_terminal),
    ("terminate", processes::is_terminated),
    ("signal", processes::is_interrupted_or_says_why_not),
    ("missing program", processes::a_missing_program_is_told),
    ("time limit", processes::a_time_limit_is_kept_or_refused),
    ("files", files::are_written_read_listed_and_removed),
    ("missing file", files::a_missing_one_is_told),
    ("blocks", files::are_read_and_written_in_blocks),
    ("extensions", files::an_extension_is_refused_unasked),
    ("http", streams::an_answer_comes_with_its_body),
    ("much output", streams::much_output_is_whole_or_has_a_gap),
    ("slow consumer", streams::a_slow_consumer_gets_all_or_a_gap),
    ("cut", streams::a_cut_connection_is_taken_up_or_told),
];

/// The servers: ours speaks every generation alike.
const SERVERS: [(Whose, Generation); 4] = [
    (Whose::Reference, Generation::V130),
    (Whose::Reference, Generation::V169),
    (Whose::Reference, Generation::V171),
    (Whose::Ours, Generation::V169),
];

/// Plays every scene that is wanted.
pub fn run(options: &Options, place: &Place, binaries: &Binaries, tally: &mut Tally) {
    println!("\nOur client with every server");
    for (whose, generation) in SERVERS {
        let server = match whose {
            Whose::Reference => format!("{generation}"),
            Whose::Ours => format!("{whose}"),
        };
        let Some(program) = binaries.server(whose, generation) else {
            println!("  {server} skipped: there is no reference");
            tally.skipped += SCENES.len();
            continue;
        };
        for transport in Transport::ALL {
            for (name, play) in SCENES {
                let name = format!("client {server} {transport} {name}");
                if !options.wants(&name) {
                    continue;
                }
                let played =
                    asserted(|| play(&Scene::set(place, program, whose, generation, transport)));
                match played {
                    Ok(()) => {
                        println!("  {name:<40} as it should be");
                        tally.same += 1;
                    }
                    Err(why) => {
                        println!("  {name:<40} WRONG: {why}");
                        tally.wrong += 1;
                    }
                }
            }
        }
    }
}

//! `exec-server licenses`: the licences of all that is in this file.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::description::Candidates;
use super::grammar::{Grammar, Operands};
use super::output::Speaker;
use super::{Command, Words, with_flags};

include!(concat!(env!("OUT_DIR"), "/licenses.rs"));

/// The row in the table of commands.
pub(crate) static LICENSES: Command = Command {
    name: "licenses",
    summary: "Print the licences of all that is in this program",
    perform: |args| with_flags(&GRAMMAR, args, |_: Words| Ok(SPEAKER.done(text()))),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<Words> = Grammar {
    about: "Prints the licences of this program, of the libraries that are linked into it, and\n\
            of the bubblewrap inside.\n",
    usage: "exec-server licenses",
    flags: Words::FLAGS,
    candidates: Candidates::Unknown,
    operands: Operands::None,
    notes: "",
};

const SPEAKER: Speaker = Speaker("exec-server licenses");

fn text() -> Result<String, String> {
    let (packed, size) = PACKED;
    let text = decompress_to_vec_with_limit(packed, size).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::bundled::BUNDLED_BWRAP;

    #[test]
    fn every_crate_is_named_with_its_licence() {
        let text = text().unwrap();
        for piece in [
            "exec-server, Rust's standard library",
            "Rich Felker",
            "ring-",
            "webpki-roots-",
            "base64-simd-",
            "Permission is hereby granted",
            "Community Data License Agreement",
        ] {
            assert!(text.contains(piece), "{piece} is missing in:\n{text}");
        }
        let has_bubblewrap = text.contains("GNU LESSER GENERAL PUBLIC LICENSE");
        assert_eq!(has_bubblewrap, BUNDLED_BWRAP.is_some());
    }
}

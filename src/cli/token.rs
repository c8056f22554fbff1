//! `exec-server token`: a token that nobody can guess.

use std::path::PathBuf;

use base64_simd::URL_SAFE_NO_PAD;

use super::description::Candidates;
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands};
use super::output::Speaker;
use super::{Command, with_flags};
use crate::sys::{random, secret_file};

/// The row in the table of commands.
pub(crate) static TOKEN: Command = Command {
    name: "token",
    summary: "Make a token for a server and its clients",
    perform: |args| with_flags(&GRAMMAR, args, |flags| Ok(SPEAKER.done(make(&flags)))),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<TokenFlags> = Grammar {
    about: "Makes a token of 256 random bits, which a server asks its clients for, and prints\n\
            it, or writes it to a file that nobody else can read.\n",
    usage: "exec-server token [--force] [FILE]",
    flags: &[
        Flag::switch(
            Category::General,
            None,
            "force",
            "Put the file in the place of a regular file that is there",
            FlagKind::Switch(|flags: &mut TokenFlags| flags.replaces = true),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Files,
    operands: Operands::Anywhere(|flags, word| match flags.file.replace(word.into()) {
        Some(_) => Err("one file at a time".to_owned()),
        None => Ok(()),
    }),
    notes: "The server takes it by --ws-auth capability-token --ws-token-file FILE, a client in\n\
            EXEC_SERVER_TOKEN, or by bearer_token_file in exec-server.toml. Exit code: 0, or 1\n\
            if it cannot be written, 2 for a wrong command line.\n",
};

/// The flags of `token`, as given or by default.
#[derive(Debug, Default)]
struct TokenFlags {
    file: Option<PathBuf>,
    replaces: bool,
}

const SPEAKER: Speaker = Speaker("exec-server token");

fn make(flags: &TokenFlags) -> Result<String, String> {
    let mut bytes = [0; 32];
    random::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    let token = URL_SAFE_NO_PAD.encode_to_string(bytes) + "\n";
    match &flags.file {
        None => Ok(token),
        Some(file) => secret_file::make(file, token.as_bytes(), 0o600, flags.replaces)
            .map(|()| String::new())
            .map_err(|error| super::output::not_made(file, &error)),
    }
}

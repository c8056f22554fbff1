//! `exec-server generate`: manual pages and completions, from the tables of the commands.

use std::process::ExitCode;

use super::description::Candidates;
use super::grammar::{Grammar, Operands};
use super::output::print;
use super::{Command, UsageError, Words, manual, named, with_flags};

/// The row in the table of commands.
pub(crate) static GENERATE: Command = Command {
    name: "generate",
    summary: "Print a manual page, or completions for a shell",
    perform: |args| with_flags(&GRAMMAR, args, generate),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<Words> = Grammar {
    about: "Prints a manual page of this program or of a command, as troff, or what makes a\n\
            shell complete its command line.\n",
    usage: "exec-server generate man [COMMAND] | bash | zsh | fish",
    flags: Words::FLAGS,
    candidates: Candidates::Generated,
    operands: Operands::Anywhere(Words::push),
    notes: "A shell completes after   . <(exec-server generate bash)   or with the text in\n\
            ~/.local/share/bash-completion/completions/exec-server; for zsh in a file\n\
            _exec-server in a directory of fpath; for fish in\n\
            ~/.config/fish/completions/exec-server.fish. To complete a path behind `ENV:` the\n\
            environment is asked, for 2 s at most.\n",
};

/// What completions of each shell are: a function that asks this program for candidates.
pub(super) const SHELLS: [(&str, &str); 3] = [
    ("bash", include_str!("completions/exec-server.bash")),
    ("zsh", include_str!("completions/_exec-server")),
    ("fish", include_str!("completions/exec-server.fish")),
];

/// The word for a manual page, as a shell's name is for completions.
pub(super) const MANUAL: &str = "man";

fn generate(wanted: Words) -> Result<ExitCode, UsageError> {
    let text = match wanted.texts()[..] {
        [MANUAL] => manual::of_program(),
        [MANUAL, name] => match named(name) {
            Some(command) => manual::of_command(command),
            None => return Err(GRAMMAR.error(format!("there is no command '{name}'"))),
        },
        [shell] if let Some((_, text)) = SHELLS.iter().find(|(name, _)| *name == shell) => {
            (*text).to_owned()
        }
        _ => return Err(GRAMMAR.error("expected man, bash, zsh or fish".to_owned())),
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

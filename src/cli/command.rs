//! The commands, and which of them a command line names.

use std::ffi::OsString;
use std::process::ExitCode;

use super::cp::CP;
use super::doctor::DOCTOR;
use super::env::ENV;
use super::grammar::{Flag, Grammar, Operands};
use super::parse::{Request, UsageError, parse};
use super::run::RUN;
use super::{help, print, serve};
use crate::suggest::closest;

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// What it does, in a few words.
    pub(super) summary: &'static str,
    /// Does it; the arguments begin with the command's own name.
    pub(super) perform: fn(Vec<OsString>) -> Result<ExitCode, UsageError>,
    pub(super) help: fn() -> String,
}

/// Every command.
static COMMANDS: &[&Command] = &[&RUN, &CP, &ENV, &DOCTOR, &HELP];

/// What a command line is for.
pub(super) enum Selected {
    /// A command, and its arguments with its own name first.
    Command(&'static Command, Vec<OsString>),
    /// Serving, with all arguments.
    Serve(Vec<OsString>),
}

/// Finds the command; `args` begins with the program's name. `--config` may stand before it.
///
/// # Errors
/// The first word resembles a command and is none.
pub(super) fn select(mut args: Vec<OsString>) -> Result<Selected, UsageError> {
    let word = 1 + shared_flags(&args[1.min(args.len())..]);
    let Some(name) = args
        .get(word)
        .map(|word| word.to_string_lossy().into_owned())
    else {
        return Ok(Selected::Serve(args));
    };
    if let Some(command) = named(&name) {
        // The command knows the flags that stand before its name, too.
        args.remove(word);
        return Ok(Selected::Command(command, args));
    }
    match similar(&name) {
        Some(similar) if !name.starts_with('-') => Err(serve::GRAMMAR.error(format!(
            "unexpected argument '{name}' found{}",
            tip(similar)
        ))),
        _ => Ok(Selected::Serve(args)),
    }
}

/// How many words before the command's name belong to flags that all commands share.
fn shared_flags(words: &[OsString]) -> usize {
    match words.first().map(|word| word.as_encoded_bytes()) {
        Some(b"--config") => 2,
        Some(word) if word.starts_with(b"--config=") => 1,
        _ => 0,
    }
}

fn named(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .copied()
        .find(|command| command.name == name)
}

fn similar(name: &str) -> Option<&'static str> {
    closest(name, COMMANDS.iter().map(|command| command.name))
}

fn tip(similar: &str) -> String {
    format!("\n\n  tip: a similar command exists: '{similar}'")
}

/// The command that explains the others.
static HELP: Command = Command {
    name: "help",
    summary: "Explain a command, or list them all",
    perform: |args| perform(&HELP_GRAMMAR, args, explain),
    help: || help::text(&HELP_GRAMMAR, &[]),
};

static HELP_GRAMMAR: Grammar<Topic> = Grammar {
    about: "Explains a command, or lists them all.\n",
    usage: "exec-server help [COMMAND]",
    flags: &[Flag::help()],
    operands: Operands::Anywhere(|topic, word| match topic.0 {
        Some(_) => Err("one command at a time".to_owned()),
        None => {
            topic.0 = Some(word.to_string_lossy().into_owned());
            Ok(())
        }
    }),
    notes: "",
};

/// The command to be explained.
#[derive(Default)]
struct Topic(Option<String>);

fn explain(topic: Topic) -> Result<ExitCode, UsageError> {
    let text = match topic.0 {
        None => overview(),
        Some(name) => match named(&name) {
            Some(command) => (command.help)(),
            None => {
                let tip = similar(&name).map(tip).unwrap_or_default();
                return Err(HELP_GRAMMAR.error(format!("there is no command '{name}'{tip}")));
            }
        },
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The help for the program as a whole.
pub(super) fn overview() -> String {
    let commands: Vec<(&str, &str)> = COMMANDS
        .iter()
        .map(|command| (command.name, command.summary))
        .collect();
    help::text(&serve::GRAMMAR, &commands)
}

/// Reads a command's arguments and does what they ask for.
///
/// # Errors
/// They make no sense.
pub(super) fn perform<T: Default>(
    grammar: &Grammar<T>,
    args: Vec<OsString>,
    work: impl FnOnce(T) -> Result<ExitCode, UsageError>,
) -> Result<ExitCode, UsageError> {
    match parse(grammar, args, |name| std::env::var_os(name))? {
        Request::Perform(flags) => work(*flags),
        Request::Help | Request::Version { .. } => {
            print(&help::text(grammar, &[]));
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(words: &[&str]) -> Result<Selected, UsageError> {
        let args = ["exec-server"].iter().chain(words).map(OsString::from);
        select(args.collect())
    }

    #[test]
    fn a_command_keeps_the_flags_before_its_name() {
        for words in [&["help", "x"][..], &["--config", "f", "help", "x"]] {
            let Ok(Selected::Command(command, args)) = selected(words) else {
                panic!("{words:?}");
            };
            assert_eq!(command.name, "help");
            assert_eq!(args.len(), words.len());
        }
    }

    #[test]
    fn everything_else_is_serving() {
        for words in [
            &[][..],
            &["--listen", "help"],
            &["nothing-like-it"],
            &["--hlp"],
        ] {
            assert!(
                matches!(selected(words), Ok(Selected::Serve(_))),
                "{words:?}"
            );
        }
        let Err(error) = selected(&["halp"]) else {
            panic!("taken");
        };
        assert_eq!(
            error.message,
            "unexpected argument 'halp' found\n\n  tip: a similar command exists: 'help'"
        );
    }
}

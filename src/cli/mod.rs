//! What a person types: the command line, its errors and exit codes.
//!
//! A command is a file or folder with its flags in one table and a row in [`COMMANDS`]; without
//! one the program serves. [`grammar`] reads any command line by its table, and explains it.
//! Called by the name of a 0.130 client's sandbox helper, the program is that ([`helper`]).

mod cert;
mod completion;
mod connect;
mod cp;
mod description;
mod doctor;
mod env;
mod environments;
mod generate;
mod grammar;
mod health;
mod helper;
mod install_to;
mod licenses;
mod manual;
mod outage;
mod output;
mod run;
mod serve;
mod token;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::cloud::OfferError;
use crate::log;
use crate::oneshot;
use crate::sandbox::inside;
use crate::serve::listen::ListenUrlError;
use crate::serve::{ServeError, confined};
use crate::suggest::closest;
use crate::sys::{initial_environment, limits, process, signal};
use crate::version;
use crate::workers::start_thread;

use cert::CERT;
use connect::CONNECT;
use cp::CP;
use description::{Candidates, Description};
use doctor::DOCTOR;
use env::ENV;
use generate::GENERATE;
pub use grammar::UsageError;
use grammar::{Flag, Grammar, Operands, Request};
use health::HEALTH;
use install_to::INSTALL_TO;
use licenses::LICENSES;
use output::print;
use run::RUN;
use serve::FORWARD;
use token::TOKEN;

struct Command {
    name: &'static str,
    /// What it does, in a few words.
    summary: &'static str,
    /// Does it; the arguments begin with the command's own name.
    perform: fn(Vec<OsString>) -> Result<ExitCode, UsageError>,
    /// What its table says.
    describe: fn() -> Description,
}

static COMMANDS: &[&Command] = &[
    &RUN,
    &CP,
    &ENV,
    &CONNECT,
    &DOCTOR,
    &TOKEN,
    &CERT,
    &FORWARD,
    &HEALTH,
    &INSTALL_TO,
    &GENERATE,
    &LICENSES,
    &HELP,
];

/// Why the program ends without success. `Display` is the whole text for standard error.
#[derive(Debug)]
enum RunError {
    Usage(UsageError),
    Listen(ListenUrlError),
    Serve(ServeError),
    Helper(std::io::Error),
    Offer(OfferError),
    Log(std::io::Error),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Usage(_) => ExitCode::from(2),
            _ => ExitCode::from(1),
        }
    }
}

/// "error:", but for mistakes that the reference reports, too: it writes "Error:" there, and scripts
/// look for that.
impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Usage(error) => error.fmt(f),
            RunError::Listen(error) => write!(f, "Error: {error}"),
            RunError::Serve(error @ (ServeError::Bind(..) | ServeError::Auth(_))) => {
                write!(f, "Error: {error}")
            }
            RunError::Serve(error) => write!(f, "error: {error}"),
            RunError::Helper(error) => write!(f, "error: cannot read requests: {error}"),
            RunError::Offer(error) => write!(f, "Error: {error}"),
            RunError::Log(error) => write!(f, "error: cannot open the file of --log: {error}"),
        }
    }
}

/// Runs the program with its arguments (the first is the program's own name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = inside::take_over(args.get(1).map(OsString::as_os_str)) {
        return ExitCode::from(code);
    }
    signal::survive_file_size_limit();
    keep_private(args.get(1));
    if helper::is_meant(args.first()) {
        return helper::run(args);
    }
    match command(args) {
        Ok(code) => code,
        Err(error) => told(&error),
    }
}

/// Tells why the program ends; the exit code.
fn told(error: &RunError) -> ExitCode {
    // There is nobody to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{error}");
    error.exit_code()
}

/// Keeps what this process knows from other processes of its user. A token is one of its variables, or will be in its
/// memory.
fn keep_private(word: Option<&OsString>) {
    limits::open_oom_score();
    if let Err(error) = process::forbid_inspection() {
        log::warn!("other processes of this user can read this one's memory: {error}");
    }
    // A helper has no variables but those that it shows.
    if word.is_none_or(|word| word != confined::ARGUMENT) {
        initial_environment::hide();
    }
}

fn command(args: Vec<OsString>) -> Result<ExitCode, RunError> {
    match args.get(1) {
        Some(word) if word == confined::ARGUMENT => return answer_file_requests(),
        Some(word) if word == completion::WORD => return Ok(completion::run(&args[2..])),
        _ => {}
    }
    match select(args).map_err(RunError::Usage)? {
        Selected::Command(command, args) => (command.perform)(args).map_err(RunError::Usage),
        Selected::Serve(args) => serving(args),
    }
}

fn serving(args: Vec<OsString>) -> Result<ExitCode, RunError> {
    let env = |name: &str| std::env::var_os(name);
    match serve::GRAMMAR.parse(args, env).map_err(RunError::Usage)? {
        Request::Perform(flags) => serve::run(*flags)?,
        Request::Help => print(&overview()),
        Request::Version { verbose: true } => print(&format!("{}\n", version::verbose())),
        Request::Version { verbose: false } => print(&format!("{}\n", version::with_origin())),
    }
    Ok(ExitCode::SUCCESS)
}

/// The life of a helper in a sandbox, which no person starts.
fn answer_file_requests() -> Result<ExitCode, RunError> {
    confined::answer_file_requests().map_err(RunError::Helper)?;
    Ok(ExitCode::SUCCESS)
}

/// What a command line is for.
enum Selected {
    /// A command, and its arguments with its own name first.
    Command(&'static Command, Vec<OsString>),
    /// Serving, with all arguments.
    Serve(Vec<OsString>),
}

/// What the reference's scripts write behind the program's name: `codex exec-server`.
const REFERENCE_WORD: &str = "exec-server";

/// Finds the command; `args` begins with the program's name. The reference's word and `--config`
/// may stand before it.
///
/// # Errors
/// The first word resembles a command and is none, or is one of those that others have.
fn select(mut args: Vec<OsString>) -> Result<Selected, UsageError> {
    if args.get(1).is_some_and(|word| word == REFERENCE_WORD) {
        args.remove(1);
    }
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
    match tip(&name) {
        Some(tip) if !name.starts_with('-') => {
            let message = format!("unexpected argument '{name}' found{tip}");
            Err(serve::GRAMMAR.error(message))
        }
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

/// What somebody who types this word for a command may want instead.
fn tip(name: &str) -> Option<String> {
    let meant = match name {
        "ls" | "ps" => format!("to run it in an environment: 'exec-server run {name}'"),
        "shell" => "for a shell in an environment: 'exec-server run -t bash'".to_owned(),
        "version" => "the version is told by 'exec-server --version'".to_owned(),
        _ => {
            let similar = closest(name, COMMANDS.iter().map(|command| command.name))?;
            format!("a similar command exists: '{similar}'")
        }
    };
    Some(format!("\n\n  tip: {meant}"))
}

/// Reads a command's arguments and does what they ask for.
///
/// # Errors
/// They make no sense.
fn with_flags<T: Default>(
    grammar: &Grammar<T>,
    args: Vec<OsString>,
    work: impl FnOnce(T) -> Result<ExitCode, UsageError>,
) -> Result<ExitCode, UsageError> {
    match grammar.parse(args, |name| std::env::var_os(name))? {
        Request::Perform(flags) => work(*flags),
        Request::Help | Request::Version { .. } => {
            print(&grammar.describe().help(&[]));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The words of a command that has no flags but `--help`.
#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    const FLAGS: &'static [Flag<Self>] = &[Flag::help()];

    fn push(&mut self, word: OsString) -> Result<(), String> {
        self.0.push(word);
        Ok(())
    }

    /// The words as texts; one that is none is shown as nobody writes it.
    fn texts(&self) -> Vec<&str> {
        let words = self.0.iter();
        words
            .map(|word| word.to_str().unwrap_or("\u{fffd}"))
            .collect()
    }
}

/// What `ask` answers, on a thread of its own, if that is within this time.
fn answered_within<T: Send + 'static>(
    limit: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    start_thread("answer", ANSWER_STACK, move || sender.send(ask())).ok()?;
    receiver.wait(Some(limit)).ok()
}

const ANSWER_STACK: usize = 256 * 1024;

/// The command that explains the others.
static HELP: Command = Command {
    name: "help",
    summary: "Explain a command, or list them all",
    perform: |args| with_flags(&HELP_GRAMMAR, args, explain),
    describe: || HELP_GRAMMAR.describe(),
};

static HELP_GRAMMAR: Grammar<Words> = Grammar {
    about: "Explains a command, or lists them all.\n",
    usage: "exec-server help [COMMAND]",
    flags: Words::FLAGS,
    candidates: Candidates::Commands,
    operands: Operands::Anywhere(Words::push),
    notes: "",
};

fn explain(topic: Words) -> Result<ExitCode, UsageError> {
    let text = match topic.texts()[..] {
        [] => overview(),
        [name] => match named(name) {
            Some(command) => (command.describe)().help(&[]),
            None => {
                let tip = tip(name).unwrap_or_default();
                return Err(HELP_GRAMMAR.error(format!("there is no command '{name}'{tip}")));
            }
        },
        _ => return Err(HELP_GRAMMAR.error("one command at a time".to_owned())),
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The commands with what they do.
fn summaries() -> Vec<(&'static str, &'static str)> {
    let commands = COMMANDS.iter();
    commands
        .map(|command| (command.name, command.summary))
        .collect()
}

/// The help for the program as a whole.
fn overview() -> String {
    serve::GRAMMAR.describe().help(&summaries())
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
    fn the_word_of_the_reference_is_left_out_once() {
        let Ok(Selected::Serve(args)) = selected(&["exec-server", "--listen", "stdio"]) else {
            panic!("no serving");
        };
        assert_eq!(args, ["exec-server", "--listen", "stdio"]);
        let Ok(Selected::Serve(args)) = selected(&["exec-server", "exec-server"]) else {
            panic!("no serving");
        };
        assert_eq!(args, ["exec-server", "exec-server"]);
        let command = selected(&["exec-server", "help"]);
        assert!(matches!(command, Ok(Selected::Command(..))));
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

//! What a person types: the command line, its errors and exit codes.
//!
//! A command is a folder with its flags in one table and a row in [`command::COMMANDS`]; without
//! one the program serves. [`parse`] reads any command line by its table, [`help`] explains it.
//! Called by the name of a 0.130 client's sandbox helper, the program is that ([`helper`]).

mod command;
mod cp;
mod doctor;
mod env;
mod environments;
mod grammar;
mod help;
mod helper;
mod notice;
mod parse;
mod run;
mod serve;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::cloud::OfferError;
use crate::log;
use crate::sandbox::inside;
use crate::serve::listen::ListenUrlError;
use crate::serve::{ServeError, confined};
use crate::sys::{initial_environment, limits, process};
use crate::version;

use command::Selected;
use parse::Request;
pub use parse::UsageError;

/// Why the program ends without success. `Display` is the whole text for standard error.
#[derive(Debug)]
enum RunError {
    Usage(UsageError),
    Listen(ListenUrlError),
    Serve(ServeError),
    Helper(std::io::Error),
    Offer(OfferError),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Usage(_) => ExitCode::from(2),
            RunError::Listen(_) | RunError::Serve(_) | RunError::Helper(_) | RunError::Offer(_) => {
                ExitCode::from(1)
            }
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Usage(error) => error.fmt(f),
            RunError::Listen(error) => write!(f, "Error: {error}"),
            RunError::Serve(error) => write!(f, "Error: {error}"),
            RunError::Helper(error) => write!(f, "Error: cannot read requests: {error}"),
            RunError::Offer(error) => write!(f, "Error: {error}"),
        }
    }
}

/// Runs the program with its arguments (the first is the program's own name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = inside::take_over(args.get(1).map(OsString::as_os_str)) {
        return ExitCode::from(code);
    }
    keep_private(args.get(1));
    if helper::is_meant(args.first()) {
        return helper::run(args);
    }
    match command(args) {
        Ok(code) => code,
        Err(error) => {
            // There is nobody to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit_code()
        }
    }
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
    if args.get(1).is_some_and(|word| word == confined::ARGUMENT) {
        return answer_file_requests();
    }
    match command::select(args).map_err(RunError::Usage)? {
        Selected::Command(command, args) => (command.perform)(args).map_err(RunError::Usage),
        Selected::Serve(args) => serving(args),
    }
}

fn serving(args: Vec<OsString>) -> Result<ExitCode, RunError> {
    let env = |name: &str| std::env::var_os(name);
    match parse::parse(&serve::GRAMMAR, args, env).map_err(RunError::Usage)? {
        Request::Perform(flags) => serve::run(*flags)?,
        Request::Help => print(&command::overview()),
        Request::Version { verbose: true } => print(&format!("{}\n", version::verbose())),
        Request::Version { verbose: false } => print(&format!("{}\n", version::short())),
    }
    Ok(ExitCode::SUCCESS)
}

/// The life of a helper in a sandbox, which no person starts.
fn answer_file_requests() -> Result<ExitCode, RunError> {
    confined::answer_file_requests().map_err(RunError::Helper)?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) {
    // A reader that has seen enough, as in `--help | head -1`, is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

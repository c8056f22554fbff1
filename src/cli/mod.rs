//! What a person types: the command line, its errors and exit codes.

mod flags;
mod help;
mod serve;
mod table;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::serve::ServeError;
use crate::serve::listen::ListenUrlError;
use crate::version;

pub use flags::{Command, ServeFlags, UsageError};

/// Why the program ends without success. `Display` is the whole text for standard error.
#[derive(Debug)]
enum RunError {
    Usage(UsageError),
    Listen(ListenUrlError),
    Serve(ServeError),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            RunError::Usage(_) => ExitCode::from(2),
            RunError::Listen(_) | RunError::Serve(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Usage(error) => error.fmt(f),
            RunError::Listen(error) => write!(f, "Error: {error}"),
            RunError::Serve(error) => write!(f, "Error: {error}"),
        }
    }
}

/// Runs the program with its arguments (the first is the program's own name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match command(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit_code()
        }
    }
}

fn command(args: impl IntoIterator<Item = OsString>) -> Result<(), RunError> {
    match flags::parse(args, |name| std::env::var_os(name)).map_err(RunError::Usage)? {
        Command::Serve(flags) => serve::run(*flags),
        Command::Help => {
            print(&help::text());
            Ok(())
        }
        Command::Version { verbose } => {
            let text = if verbose {
                version::verbose()
            } else {
                version::short()
            };
            print(&format!("{text}\n"));
            Ok(())
        }
    }
}

fn print(text: &str) {
    // A reader that has seen enough, as in `--help | head -1`, is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

//! Reading the command line.

use std::ffi::{OsStr, OsString};
use std::fmt;

use lexopt::Arg;

use super::table::{FLAGS, Kind, Value};
use crate::log::Level;
use crate::serve::Options;
use crate::suggest::closest;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve clients.
    Serve(Box<ServeFlags>),
    /// Explain the flags.
    Help,
    /// Say which version this is.
    Version {
        /// Also what it was built from and what is inside.
        verbose: bool,
    },
}

/// The flags of serving, as given or by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServeFlags {
    /// Where to listen; not looked into yet.
    pub listen: String,
    /// How to serve; nothing in it is looked into yet.
    pub options: Options,
    /// What to log.
    pub log_level: Level,
}

/// A command line that makes no sense. `Display` is the whole text for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error: {}\n\nUsage: exec-server [OPTIONS]\n\nFor more information, try '--help'.",
            self.0
        )
    }
}

impl std::error::Error for UsageError {}

/// Reads a command line; `args` begins with the program's name, `env` looks a variable up.
///
/// # Errors
/// An unknown, repeated or incomplete argument, or a value that is none of its kind.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, UsageError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut parser = lexopt::Parser::from_iter(args);
    let mut flags = ServeFlags::default();
    let mut given = [false; FLAGS.len()];
    let (mut version, mut verbose) = (false, false);

    while let Some(argument) = parser.next().map_err(surplus_value)? {
        let index = find(&argument).ok_or_else(|| unexpected(argument))?;
        let flag = &FLAGS[index];
        match &flag.kind {
            Kind::Help => return Ok(Command::Help),
            Kind::Version => version = true,
            Kind::Verbose => verbose = true,
            Kind::Switch(set) => {
                if given[index] {
                    return Err(used_twice(&format!("--{}", flag.long)));
                }
                given[index] = true;
                set(&mut flags);
            }
            Kind::Value(value) => {
                let full = format!("--{} <{}>", flag.long, value.name);
                if given[index] && !value.repeatable {
                    return Err(used_twice(&full));
                }
                given[index] = true;
                let text = parser.value().ok().filter(|text| !is_flag(text));
                let text = text.ok_or_else(|| {
                    UsageError(format!(
                        "a value is required for '{full}' but none was supplied"
                    ))
                })?;
                store(&mut flags, value, &text, &full)?;
            }
        }
    }

    if version {
        return Ok(Command::Version { verbose });
    }
    if verbose {
        return Err(UsageError(
            "'--verbose' goes with '--version'; to log more, use '--log-level debug'".to_owned(),
        ));
    }
    for (flag, given) in FLAGS.iter().zip(given) {
        let Kind::Value(value) = &flag.kind else {
            continue;
        };
        if given {
            continue;
        }
        let variable = value
            .env
            .and_then(|name| Some((name, env(name).filter(|text| !text.is_empty())?)));
        if let Some((name, text)) = variable {
            store(&mut flags, value, &text, name)?;
        } else if let Some(default) = value.default {
            store(&mut flags, value, default.as_ref(), flag.long)?;
        }
    }
    Ok(Command::Serve(Box::new(flags)))
}

fn find(argument: &Arg<'_>) -> Option<usize> {
    FLAGS.iter().position(|flag| match argument {
        Arg::Long(name) => flag.long == *name,
        Arg::Short(name) => flag.short == Some(*name),
        Arg::Value(_) => false,
    })
}

fn used_twice(argument: &str) -> UsageError {
    UsageError(format!(
        "the argument '{argument}' cannot be used multiple times"
    ))
}

/// Whether what stands where a value should is the next flag.
fn is_flag(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(b"-")
}

fn store(
    flags: &mut ServeFlags,
    value: &Value,
    text: &OsStr,
    origin: &str,
) -> Result<(), UsageError> {
    let stored = match text.to_str() {
        Some(text) => (value.store)(flags, text),
        None => Err("it is not UTF-8".to_owned()),
    };
    stored.map_err(|fault| {
        UsageError(format!(
            "invalid value '{}' for '{origin}': {fault}",
            text.display()
        ))
    })
}

fn unexpected(argument: Arg<'_>) -> UsageError {
    let (shown, name) = match argument {
        Arg::Long(name) => (format!("--{name}"), Some(name)),
        Arg::Short(name) => (format!("-{name}"), None),
        Arg::Value(word) => (word.display().to_string(), None),
    };
    let names = FLAGS.iter().map(|flag| flag.long);
    let tip = match name.and_then(|name| closest(name, names)) {
        Some(similar) => format!("\n\n  tip: a similar argument exists: '--{similar}'"),
        None => String::new(),
    };
    UsageError(format!("unexpected argument '{shown}' found{tip}"))
}

/// The one way in which the next argument cannot be read: a value behind a switch.
fn surplus_value(error: lexopt::Error) -> UsageError {
    UsageError(error.to_string())
}

#[cfg(test)]
mod tests;

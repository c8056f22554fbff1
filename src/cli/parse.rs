//! Reading a command line by its grammar.

use std::ffi::{OsStr, OsString};
use std::fmt;

use lexopt::Arg;

use super::grammar::{Flag, FlagKind, Grammar, Operands, Value};
use crate::suggest::closest;

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Request<T> {
    /// To do what the command is for.
    Perform(Box<T>),
    /// To explain the flags.
    Help,
    /// To say which version this is.
    Version {
        /// Also what it was built from and what is inside.
        verbose: bool,
    },
}

/// A command line that makes no sense. `Display` is the whole text for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    pub(super) message: String,
    usage: &'static str,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, usage } = self;
        write!(
            f,
            "error: {message}\n\nUsage: {usage}\n\nFor more information, try '--help'."
        )
    }
}

impl std::error::Error for UsageError {}

impl<T> Grammar<T> {
    /// The error of a command line of this command.
    pub(super) fn error(&self, message: String) -> UsageError {
        UsageError {
            message,
            usage: self.usage,
        }
    }
}

/// Reads a command line; `args` begins with the program's name, `env` looks a variable up.
///
/// # Errors
/// An unknown, repeated or incomplete argument, or a value that is none of its kind.
pub(super) fn parse<T: Default>(
    grammar: &Grammar<T>,
    args: Vec<OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Request<T>, UsageError> {
    Reading {
        grammar,
        flags: Box::default(),
        given: vec![false; grammar.flags.len()],
    }
    .read(args, env)
    .map_err(|message| grammar.error(message))
}

/// A command line that is being read.
struct Reading<'a, T: 'static> {
    grammar: &'a Grammar<T>,
    flags: Box<T>,
    given: Vec<bool>,
}

impl<T> Reading<'_, T> {
    fn read(
        mut self,
        args: Vec<OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Request<T>, String> {
        let mut parser = lexopt::Parser::from_iter(args);
        let (mut version, mut verbose) = (false, false);
        // The one way in which this fails is a value behind a switch.
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            let argument = match (argument, &self.grammar.operands) {
                (Arg::Value(word), Operands::Anywhere(store)) => {
                    store(&mut self.flags, word)?;
                    continue;
                }
                (Arg::Value(word), Operands::Rest(store)) => {
                    let rest = parser.raw_args().map_err(|error| error.to_string())?;
                    store(&mut self.flags, std::iter::once(word).chain(rest).collect());
                    break;
                }
                (argument, _) => argument,
            };
            let index = self
                .find(&argument)
                .ok_or_else(|| self.unexpected(argument))?;
            let flag = &self.grammar.flags[index];
            match &flag.kind {
                FlagKind::Help => return Ok(Request::Help),
                FlagKind::Version => version = true,
                FlagKind::VersionDetails => verbose = true,
                FlagKind::Switch(set) => {
                    self.mark(index, false, &format!("--{}", flag.long))?;
                    set(&mut self.flags);
                }
                FlagKind::Value(value) => {
                    let full = format!("--{} <{}>", flag.long, value.name);
                    self.mark(index, value.repeatable, &full)?;
                    let text = parser.value().ok().filter(|text| !is_flag(text));
                    let text = text.ok_or_else(|| {
                        format!("a value is required for '{full}' but none was supplied")
                    })?;
                    self.store(value, &text, &full)?;
                }
            }
        }

        if version {
            return Ok(Request::Version { verbose });
        }
        if verbose {
            let message = "'--verbose' goes with '--version'; to log more, use '--log-level debug'";
            return Err(message.to_owned());
        }
        self.fill_in(env)?;
        Ok(Request::Perform(self.flags))
    }

    fn find(&self, argument: &Arg<'_>) -> Option<usize> {
        let is_meant = |flag: &Flag<T>| match argument {
            Arg::Long(name) => flag.long == *name,
            Arg::Short(name) => flag.short == Some(*name),
            Arg::Value(_) => false,
        };
        self.grammar.flags.iter().position(is_meant)
    }

    fn mark(&mut self, index: usize, is_repeatable: bool, argument: &str) -> Result<(), String> {
        if self.given[index] && !is_repeatable {
            return Err(format!(
                "the argument '{argument}' cannot be used multiple times"
            ));
        }
        self.given[index] = true;
        Ok(())
    }

    /// What the variables and the defaults say where the command line is silent.
    fn fill_in(&mut self, env: impl Fn(&str) -> Option<OsString>) -> Result<(), String> {
        let grammar = self.grammar;
        for (index, flag) in grammar.flags.iter().enumerate() {
            let FlagKind::Value(value) = &flag.kind else {
                continue;
            };
            if self.given[index] {
                continue;
            }
            let variable = value
                .env
                .and_then(|name| Some((name, env(name).filter(|text| !text.is_empty())?)));
            if let Some((name, text)) = variable {
                self.store(value, &text, name)?;
            } else if let Some(default) = value.default {
                self.store(value, default.as_ref(), flag.long)?;
            }
        }
        Ok(())
    }

    fn store(&mut self, value: &Value<T>, text: &OsStr, origin: &str) -> Result<(), String> {
        let stored = match text.to_str() {
            Some(text) => (value.store)(&mut self.flags, text),
            None => Err("it is not UTF-8".to_owned()),
        };
        stored
            .map_err(|fault| format!("invalid value '{}' for '{origin}': {fault}", text.display()))
    }

    fn unexpected(&self, argument: Arg<'_>) -> String {
        let (shown, name) = match argument {
            Arg::Long(name) => (format!("--{name}"), Some(name)),
            Arg::Short(name) => (format!("-{name}"), None),
            Arg::Value(word) => (word.display().to_string(), None),
        };
        let names = self.grammar.flags.iter().map(|flag| flag.long);
        let tip = match name.and_then(|name| closest(name, names)) {
            Some(similar) => format!("\n\n  tip: a similar argument exists: '--{similar}'"),
            None => String::new(),
        };
        format!("unexpected argument '{shown}' found{tip}")
    }
}

/// Whether what stands where a value should is the next flag.
fn is_flag(text: &OsStr) -> bool {
    text.as_encoded_bytes().starts_with(b"-")
}

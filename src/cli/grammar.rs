//! What a command's arguments look like: the table from which they are read.
//!
//! A command is one [`Grammar`]. `T` is the struct that its flags are stored in. A flag's row has a
//! function that reads its text, mostly by one of those at the end of this file, whose errors say
//! what is wrong with the text. Help, manual and completions are made of what [`Grammar::describe`] says.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser};

use super::description::{Candidates, Description, FlagRow, ValueRow};
use crate::deadline::FOREVER;
use crate::env::local::{CpuLimit, MOST_PIDS};
use crate::suggest::closest;

/// A command's arguments.
pub(crate) struct Grammar<T: 'static> {
    /// What `--help` says first, with a line end.
    pub(crate) about: &'static str,
    /// How to call it, as one line.
    pub(crate) usage: &'static str,
    pub(crate) flags: &'static [Flag<T>],
    pub(crate) operands: Operands<T>,
    /// What may stand there, for completions.
    pub(crate) candidates: Candidates,
    /// What `--help` says last, with line ends; may be empty.
    pub(crate) notes: &'static str,
}

/// What arguments that are no flags mean.
pub(crate) enum Operands<T> {
    /// There are none.
    None,
    /// They stand anywhere among the flags.
    Anywhere(fn(&mut T, OsString) -> Result<(), String>),
    /// The first one ends the flags, and all that follow belong to it.
    Rest(fn(&mut T, Vec<OsString>)),
}

/// One row of a table.
pub(crate) struct Flag<T> {
    pub(crate) category: Category,
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: FlagKind<T>,
}

/// Where `--help` lists a flag; the categories come in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Listening,
    Access,
    Cloud,
    Limits,
    Where,
    Command,
    Copying,
    General,
    Unused,
}

impl Category {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Listening => "Listening",
            Self::Access => "Access",
            Self::Cloud => "Being offered elsewhere",
            Self::Limits => "Limits",
            Self::Where => "Where",
            Self::Command => "The command",
            Self::Copying => "Copying",
            Self::General => "General",
            Self::Unused => "Of codex exec-server, and without a meaning here",
        }
    }
}

pub(crate) enum FlagKind<T> {
    Help,
    Version,
    /// More words with `Version`, and nothing without it.
    VersionDetails,
    /// Sets something when it is there.
    Switch(fn(&mut T)),
    Value(Value<T>),
    /// An option of the reference that means nothing here.
    Unused(Unused<T>),
}

/// What becomes of an option that means nothing here; why it does not is its row's help.
pub(crate) struct Unused<T> {
    /// The form of its value, if it has one.
    pub(crate) value: Option<Form>,
    /// Takes note of it by its long name and the reason. Without this it is refused.
    pub(crate) note: Option<Note<T>>,
}

type Note<T> = fn(&mut T, &'static str, &'static str);

/// A value that is looked at and forgotten.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// What `--help` and errors call it.
    pub(crate) name: &'static str,
    /// The error says what is wrong with the text.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

pub(crate) struct Value<T> {
    /// What `--help` and errors call it.
    pub(crate) name: &'static str,
    /// The text that holds when there is none.
    pub(crate) default: Option<&'static str>,
    /// The variable that holds when the flag is absent.
    pub(crate) env: Option<&'static str>,
    pub(crate) repeatable: bool,
    /// The text that holds when the flag stands alone, if it may.
    pub(crate) alone: Option<&'static str>,
    /// What it may be, for completions; unless given, what its name says.
    pub(crate) candidates: Option<Candidates>,
    /// Reads the text into its place; the error says what is wrong with it.
    pub(crate) store: Store<T>,
}

pub(crate) type Store<T> = fn(&mut T, &str) -> Result<(), String>;

impl<T> Value<T> {
    pub(crate) const fn new(name: &'static str, default: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: Some(default),
            env: None,
            repeatable: false,
            alone: None,
            candidates: None,
            store,
        }
    }

    pub(crate) const fn optional(name: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: None,
            env: None,
            repeatable: false,
            alone: None,
            candidates: None,
            store,
        }
    }

    pub(crate) const fn list(name: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: None,
            env: None,
            repeatable: true,
            alone: None,
            candidates: None,
            store,
        }
    }
}

impl<T> Unused<T> {
    /// What becomes of it, in a word.
    pub(crate) fn outcome(&self) -> &'static str {
        match self.note {
            Some(_) => "Accepted",
            None => "Refused",
        }
    }
}

impl<T> Flag<T> {
    pub(crate) const fn value(
        category: Category,
        long: &'static str,
        help: &'static str,
        value: Value<T>,
    ) -> Self {
        Flag {
            category,
            short: None,
            long,
            help,
            kind: FlagKind::Value(value),
        }
    }

    pub(crate) const fn switch(
        category: Category,
        short: Option<char>,
        long: &'static str,
        help: &'static str,
        kind: FlagKind<T>,
    ) -> Self {
        Flag {
            category,
            short,
            long,
            help,
            kind,
        }
    }

    /// The row of an option that means nothing here.
    pub(crate) const fn unused(long: &'static str, why: &'static str, unused: Unused<T>) -> Self {
        Self::switch(Category::Unused, None, long, why, FlagKind::Unused(unused))
    }

    /// The row that every table ends with.
    pub(crate) const fn help() -> Self {
        Self::switch(
            Category::General,
            Some('h'),
            "help",
            "Print this and exit",
            FlagKind::Help,
        )
    }

    /// Sets what the value may be, for completions.
    pub(crate) const fn completes(mut self, candidates: Candidates) -> Self {
        if let FlagKind::Value(ref mut value) = self.kind {
            value.candidates = Some(candidates);
        }
        self
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    fn describe(&self) -> FlagRow {
        let (mut value, mut outcome) = (None, None);
        match &self.kind {
            FlagKind::Value(of) => {
                value = Some(ValueRow {
                    name: of.name,
                    is_optional: of.alone.is_some(),
                    default: of.default,
                    env: of.env,
                    candidates: of.candidates.unwrap_or(Candidates::of_value(of.name)),
                });
            }
            FlagKind::Unused(unused) => {
                outcome = Some(unused.outcome());
                value = unused.value.map(|form| ValueRow::of_form(form.name));
            }
            _ => {}
        }
        FlagRow {
            category: self.category,
            short: self.short,
            long: self.long,
            help: self.help,
            outcome,
            value,
        }
    }
}

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Request<T> {
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
    pub(crate) message: String,
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
    pub(crate) fn error(&self, message: String) -> UsageError {
        UsageError {
            message,
            usage: self.usage,
        }
    }

    /// Reads a command line; `args` begins with the program's name, `env` looks a variable up.
    ///
    /// # Errors
    /// An unknown, repeated or incomplete argument, or a value that is none of its kind.
    pub(crate) fn parse(
        &self,
        args: Vec<OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Request<T>, UsageError>
    where
        T: Default,
    {
        let line = CommandLine {
            grammar: self,
            flags: Box::default(),
            given: vec![false; self.flags.len()],
        };
        line.read(args, env).map_err(|message| self.error(message))
    }

    /// What the table says, without the places that it writes to.
    pub(crate) fn describe(&self) -> Description {
        Description {
            about: self.about,
            usage: self.usage,
            notes: self.notes,
            candidates: self.candidates,
            ends_at_operand: matches!(self.operands, Operands::Rest(_)),
            flags: self.flags.iter().map(Flag::describe).collect(),
        }
    }
}

/// A command line that is being read.
struct CommandLine<'a, T: 'static> {
    grammar: &'a Grammar<T>,
    flags: Box<T>,
    given: Vec<bool>,
}

impl<T> CommandLine<'_, T> {
    fn read(
        mut self,
        args: Vec<OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Request<T>, String> {
        let mut parser = Parser::from_iter(args);
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
                    let text = match value.alone.filter(|_| !has_value(&mut parser)) {
                        Some(alone) => alone.into(),
                        None => value_of(&mut parser, &full)?,
                    };
                    self.store(value, &text, &full)?;
                }
                FlagKind::Unused(unused) => {
                    let Some(note) = unused.note else {
                        let Flag { long, help, .. } = flag;
                        return Err(format!("'--{long}' is not supported: {help}"));
                    };
                    if let Some(form) = unused.value {
                        let full = format!("--{} <{}>", flag.long, form.name);
                        let text = value_of(&mut parser, &full)?;
                        checked(form.check, &text, &full)?;
                    }
                    note(&mut self.flags, flag.long, flag.help);
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
        checked(|text| (value.store)(&mut self.flags, text), text, origin)
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

/// The text behind the flag that is called `full`.
fn value_of(parser: &mut Parser, full: &str) -> Result<OsString, String> {
    let text = parser.value().ok().filter(|text| !is_flag(text));
    text.ok_or_else(|| format!("a value is required for '{full}' but none was supplied"))
}

/// Reads the text of a flag or a variable; the error names that.
fn checked(
    read: impl FnOnce(&str) -> Result<(), String>,
    text: &OsStr,
    origin: &str,
) -> Result<(), String> {
    let outcome = match text.to_str() {
        Some(text) => read(text),
        None => Err("it is not UTF-8".to_owned()),
    };
    outcome.map_err(|fault| format!("invalid value '{}' for '{origin}': {fault}", text.display()))
}

/// Whether the flag that was read last has a value.
fn has_value(parser: &mut Parser) -> bool {
    // None where one stands behind a `=`.
    let rest = parser.try_raw_args();
    rest.is_none_or(|rest| rest.peek().is_some_and(|word| !is_flag(word)))
}

/// Whether a word is no value. A lone dash is: it stands for a standard stream.
fn is_flag(text: &OsStr) -> bool {
    text != "-" && text.as_encoded_bytes().starts_with(b"-")
}

pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(crate) fn count(text: &str) -> Result<usize, String> {
    match parsed(text)? {
        0 => Err("must be at least 1".to_owned()),
        count => Ok(count),
    }
}

pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = if let Some(digits) = lower.strip_suffix('k') {
        (digits, 1 << 10)
    } else if let Some(digits) = lower.strip_suffix('m') {
        (digits, 1 << 20)
    } else if let Some(digits) = lower.strip_suffix('g') {
        (digits, 1 << 30)
    } else {
        (&lower[..], 1)
    };
    count(digits)?
        .checked_mul(unit)
        .ok_or_else(|| "number too large".to_owned())
}

/// A number of processors, as limits have it.
pub(crate) fn processors(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| CpuLimit::of(*number).is_some())
        .ok_or_else(|| "expected a number of processors from 0.01 to 10000, such as 0.5".to_owned())
}

/// A number of processes and threads, as limits have it.
pub(crate) fn pids(text: &str) -> Result<u64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=MOST_PIDS).contains(number))
        .ok_or_else(|| format!("expected a number from 1 to {MOST_PIDS}"))
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    // `f64` would also take `inf`, `1e3` and signs.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("expected seconds, such as 90 or 0.5".to_owned());
    }
    let seconds = Duration::try_from_secs_f64(parsed(text)?);
    let seconds = seconds.map_err(|error| error.to_string())?;
    Ok(seconds.min(FOREVER))
}

/// Seconds, or a number with one of the units `ms`, `s`, `m` and `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "expected a time, such as 10, 1.5s, 500ms, 5m or 2h".to_owned();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = seconds(&text[..text.len() - unit.len()]).map_err(|_| fault())?;
    match unit {
        "ms" => Ok(number / 1000),
        "" | "s" => Ok(number),
        "m" => number.checked_mul(60).ok_or_else(fault),
        "h" => number.checked_mul(3600).ok_or_else(fault),
        _ => Err(fault()),
    }
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("expected the path of a file".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(crate) fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', ' '])
    });
    if is_origin || text == "null" {
        Ok(text.to_owned())
    } else {
        Err("expected SCHEME://HOST[:PORT] as browsers send it, with no path".to_owned())
    }
}

pub(crate) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '*', '@', ' ']) {
        Err("expected a host name, with or without :PORT".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("10", 10_000),
            ("0.5", 500),
            ("1.5s", 1500),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "1d",
            "1 s",
            "1e3",
            "inf",
            "99999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

//! What a command's arguments look like: the tables from which they are read and `--help` is made.
//!
//! A command is one [`Grammar`]. `T` is the struct that its flags are stored in.

use std::ffi::OsString;

/// A command's arguments.
pub(super) struct Grammar<T: 'static> {
    /// What `--help` says first, with a line end.
    pub(super) about: &'static str,
    /// How to call it, as one line.
    pub(super) usage: &'static str,
    pub(super) flags: &'static [Flag<T>],
    pub(super) operands: Operands<T>,
    /// What `--help` says last, with line ends; may be empty.
    pub(super) notes: &'static str,
}

/// What arguments that are no flags mean.
pub(super) enum Operands<T> {
    /// There are none.
    None,
    /// They stand anywhere among the flags.
    Anywhere(fn(&mut T, OsString) -> Result<(), String>),
    /// The first one ends the flags, and all that follow belong to it.
    Rest(fn(&mut T, Vec<OsString>)),
}

/// One row of a table.
pub(super) struct Flag<T> {
    pub(super) category: Category,
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: FlagKind<T>,
}

/// Where `--help` lists a flag; the categories come in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Listening,
    Access,
    Cloud,
    Limits,
    Where,
    Command,
    Copying,
    General,
}

impl Category {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Listening => "Listening",
            Self::Access => "Access",
            Self::Cloud => "Being offered elsewhere",
            Self::Limits => "Limits",
            Self::Where => "Where",
            Self::Command => "The command",
            Self::Copying => "Copying",
            Self::General => "General",
        }
    }
}

pub(super) enum FlagKind<T> {
    Help,
    Version,
    /// More words with `Version`, and nothing without it.
    VersionDetails,
    /// Sets something when it is there.
    Switch(fn(&mut T)),
    Value(Value<T>),
}

pub(super) struct Value<T> {
    /// What `--help` and errors call it.
    pub(super) name: &'static str,
    /// The text that holds when there is none.
    pub(super) default: Option<&'static str>,
    /// The variable that holds when the flag is absent.
    pub(super) env: Option<&'static str>,
    pub(super) repeatable: bool,
    /// Reads the text into its place; the error says what is wrong with it.
    pub(super) store: Store<T>,
}

type Store<T> = fn(&mut T, &str) -> Result<(), String>;

impl<T> Value<T> {
    pub(super) const fn new(name: &'static str, default: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: Some(default),
            env: None,
            repeatable: false,
            store,
        }
    }

    pub(super) const fn optional(name: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: None,
            env: None,
            repeatable: false,
            store,
        }
    }

    pub(super) const fn list(name: &'static str, store: Store<T>) -> Self {
        Value {
            name,
            default: None,
            env: None,
            repeatable: true,
            store,
        }
    }
}

impl<T> Flag<T> {
    pub(super) const fn value(
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

    pub(super) const fn switch(
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

    /// The row that every table ends with.
    pub(super) const fn help() -> Self {
        Self::switch(
            Category::General,
            Some('h'),
            "help",
            "Print this and exit",
            FlagKind::Help,
        )
    }

    pub(super) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }
}

//! The flags of `run`.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value};
use crate::cli::values::{duration, path};
use crate::sandbox::policy::Waivers;
use crate::sandbox::preset::Preset;

/// The flags of `run`, as given or by default.
#[derive(Debug, Default)]
pub(super) struct RunFlags {
    pub(super) config: Option<PathBuf>,
    pub(super) environment: Option<String>,
    pub(super) has_terminal: bool,
    pub(super) has_input: bool,
    pub(super) has_no_input: bool,
    pub(super) directory: Option<String>,
    /// Names with values; one without takes ours.
    pub(super) variables: Vec<(String, Option<String>)>,
    pub(super) timeout: Option<Duration>,
    pub(super) sandbox: Option<Preset>,
    /// Paths as given.
    pub(super) write: Vec<String>,
    pub(super) has_network: bool,
    pub(super) waivers: Waivers,
    pub(super) is_verbose: bool,
    pub(super) command: Vec<std::ffi::OsString>,
}

pub(super) static GRAMMAR: Grammar<RunFlags> = Grammar {
    about: "Runs a command in an environment, as ssh does on a host: what it prints comes\n\
            out here, what comes in here is its input, and its exit code is ours.\n",
    usage: "exec-server run [OPTIONS] [--] COMMAND [ARG]...",
    flags: &[
        Flag::value(
            Category::Where,
            "environment",
            "Its name in environments.toml, or a URL: ws://, wss:// or unix:///PATH, with the \
             token in EXEC_SERVER_TOKEN; the default environment unless given",
            Value::optional("ENV", |flags: &mut RunFlags, text| {
                flags.environment = Some(text.to_owned());
                Ok(())
            }),
        )
        .short('e'),
        Flag::value(
            Category::Where,
            "directory",
            "Where to start. A relative one, and ~/, is the environment's matter; unless given, \
             this directory on this machine, and elsewhere the one the server is in",
            Value::optional("DIR", |flags: &mut RunFlags, text| {
                flags.directory = Some(text.to_owned());
                Ok(())
            }),
        )
        .short('C'),
        Flag::value(
            Category::Where,
            "config",
            "Read this file of environments",
            Value::optional("FILE", |flags: &mut RunFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        Flag::switch(
            Category::Command,
            Some('t'),
            "terminal",
            "Give it a terminal. ~. at the start of a line ends the connection, ~~ is a tilde",
            FlagKind::Switch(|flags| flags.has_terminal = true),
        ),
        Flag::switch(
            Category::Command,
            Some('i'),
            "input",
            "Pass our standard input on, which is so unless -n is given",
            FlagKind::Switch(|flags| flags.has_input = true),
        ),
        Flag::switch(
            Category::Command,
            Some('n'),
            "no-input",
            "Leave our standard input alone: it gets an empty one",
            FlagKind::Switch(|flags| flags.has_no_input = true),
        ),
        Flag::value(
            Category::Command,
            "env",
            "Set a variable, or without a value pass ours on; may be repeated",
            Value::list("K[=V]", |flags: &mut RunFlags, text| {
                flags.variables.push(variable(text)?);
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "timeout",
            "End it after this time, with exit code 124: seconds, or with a unit (500ms, 5m, 2h)",
            Value::optional("T", |flags: &mut RunFlags, text| {
                flags.timeout = Some(duration(text)?);
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "sandbox",
            "Confine it: read-only, workspace-write (its directory and those for temporary files), \
             both without a network, or off, which is so unless given. Where that cannot be \
             enforced, nothing runs",
            Value::optional("KIND", |flags: &mut RunFlags, text| {
                flags.sandbox = sandbox(text)?;
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "write",
            "With --sandbox: let this directory or file be written, too; a relative one, and ~/, is \
             the environment's matter. May be repeated",
            Value::list("PATH", |flags: &mut RunFlags, text| {
                if text.is_empty() {
                    return Err("expected the path of a directory or file".to_owned());
                }
                flags.write.push(text.to_owned());
                Ok(())
            }),
        ),
        Flag::switch(
            Category::Command,
            None,
            "network",
            "With --sandbox: let it use the network",
            FlagKind::Switch(|flags| flags.has_network = true),
        ),
        Flag::value(
            Category::Command,
            "accept-weaker",
            "With --sandbox: where the policy cannot be enforced whole, run without this protection: \
             metadata (.git, .codex, .agents and .aws in directories that may be written); may be repeated",
            Value::list("NAMES", |flags: &mut RunFlags, text| {
                flags.waivers.add(text)
            }),
        ),
        Flag::switch(
            Category::General,
            Some('v'),
            "verbose",
            "Say more on standard error: where it runs, how it ended",
            FlagKind::Switch(|flags| flags.is_verbose = true),
        ),
        Flag::help(),
    ],
    operands: Operands::Rest(|flags, words| flags.command = words),
    notes: "Exit code: the command's, 128+n if signal n ended it, 124 if its time was up,\n\
            255 if we failed or the connection did, 2 for a wrong command line.\n\
            Without -t, INT, TERM, HUP and QUIT are passed on to the command's group;\n\
            a second one within 2 s ends the command, a third one only us.\n",
};

impl RunFlags {
    /// What cannot be meant together.
    pub(super) fn conflict(&self) -> Option<String> {
        if self.has_input && self.has_no_input {
            return Some("'--input' cannot be used with '--no-input'".to_owned());
        }
        let of_sandbox = [
            ("--write <PATH>", !self.write.is_empty()),
            ("--network", self.has_network),
            (
                "--accept-weaker <NAMES>",
                self.waivers != Waivers::default(),
            ),
        ];
        let (name, _) = of_sandbox.iter().find(|(_, is_given)| *is_given)?;
        let is_free = self.sandbox.is_none();
        is_free
            .then(|| format!("'{name}' needs '--sandbox read-only' or '--sandbox workspace-write'"))
    }
}

fn sandbox(text: &str) -> Result<Option<Preset>, String> {
    match Preset::from_name(text) {
        None if text != "off" => Err("expected read-only, workspace-write or off".to_owned()),
        preset => Ok(preset),
    }
}

fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("expected NAME or NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value))
}

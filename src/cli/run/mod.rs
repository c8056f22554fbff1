//! `exec-server run`: a command in an environment, with our streams.
//!
//! The main thread takes the command's events and writes its output. `stdin` passes input on,
//! `signals` and `actions` pass signals on ([`signals`]). The last three are told to end by one
//! wake event, and none of them holds the main thread up. `silence` tells when the server does not
//! answer, or is lost ([`OutageWatch`]).

mod denied;
mod signals;
mod streams;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::description::Candidates;
use super::environments::{self, NoDirectory};
use super::grammar::{
    Category, Flag, FlagKind, Grammar, Operands, Value, bytes, duration, parsed, path, pids,
    processors,
};
use super::outage::OutageWatch;
use super::output::{Speaker, begin_log};
use super::{Command, with_flags};
use crate::deadline;
use crate::env::{
    self, Confined, Environment, EnvironmentError, EnvironmentFacts, Exit, ProcessEvent, Stream,
    TerminalSize,
};
use crate::log;
use crate::net::Fingerprint;
use crate::rpc::client::{ClientError, Process};
use crate::rpc::error::Reason;
use crate::rpc::methods::process::{EnvPolicy, Inherit, Rlimit};
use crate::sandbox::policy::Waivers;
use crate::sandbox::preset::{Preset, WholeMachine, Widened};
use crate::sys::poll::WakeEvent;
use crate::sys::signal::Signal;
use crate::sys::terminal::{self, RawMode};

use signals::Signals;
use streams::{Escape, Input, Output};

/// The row in the table of commands.
pub(crate) static RUN: Command = Command {
    name: "run",
    summary: "Run a command in an environment",
    perform: |args| {
        with_flags(&GRAMMAR, args, |mut flags| {
            flags.choose_terminal();
            match flags.conflict() {
                Some(message) => Err(GRAMMAR.error(message)),
                None => Ok(report(run(&flags), &flags)),
            }
        })
    },
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<RunFlags> = Grammar {
    about: "Runs a command in an environment, as ssh does on a host: what it prints comes\n\
            out here, what comes in here is its input, and its exit code is ours.\n\
            Without one, on a terminal: the user's login shell there, as with -t.\n",
    usage: "exec-server run [OPTIONS] [--] [COMMAND [ARG]...]",
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
        ).completes(Candidates::PathsThere)
        .short('C'),
        Flag::value(
            Category::Where,
            "config",
            "Read this file of environments, or those of this directory",
            Value::optional("PATH", |flags: &mut RunFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        environments::pin_flag(Category::Where, |flags: &mut RunFlags, text| {
            flags.pin = Some(parsed(text)?);
            Ok(())
        }),
        Flag::switch(
            Category::Command,
            Some('t'),
            "terminal",
            "Give it a terminal, and our TERM, LANG and LC_*. ~. at the start of a line ends the \
             connection, ~~ is a tilde",
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
            "rlimit",
            "Limit what it may have, as prlimit does: NAME=N or NAME=SOFT:HARD, with NAME as, core, cpu, \
             data, fsize, memlock, nofile, nproc or stack; sizes may end in k, m or g. May be repeated",
            Value::list("LIMIT", |flags: &mut RunFlags, text| {
                let (name, limit) = rlimit(text)?;
                flags.rlimits.insert(name, limit);
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "memory",
            "Most memory of it and all that it starts together; sizes may end in k, m or g. Above \
             that it is killed. Like the next two, where the server has a cgroup for it",
            Value::optional("SIZE", |flags: &mut RunFlags, text| {
                flags.memory = Some(bytes(text)? as u64);
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "pids",
            "Most processes and threads of it",
            Value::optional("N", |flags: &mut RunFlags, text| {
                flags.pids = Some(pids(text)?);
                Ok(())
            }),
        ),
        Flag::value(
            Category::Command,
            "cpu",
            "Most processors' time of it, such as 2 or 0.5",
            Value::optional("N", |flags: &mut RunFlags, text| {
                flags.cpu = Some(processors(text)?);
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
        ).completes(Candidates::Words(&["read-only", "workspace-write", "off"])),
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
        ).completes(Candidates::PathsThere),
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
        ).completes(Candidates::Words(&["metadata"])),
        Flag::switch(
            Category::General,
            Some('v'),
            "verbose",
            "Say more on standard error: where it runs, how it ended",
            FlagKind::Switch(|flags| flags.is_verbose = true),
        ),
        Flag::value(
            Category::General,
            "log",
            "Append what our side does to this file, for a bug report; - is standard error",
            Value::optional("FILE", |flags: &mut RunFlags, text| {
                flags.log = Some(path(text)?);
                Ok(())
            }),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Programs,
    operands: Operands::Rest(|flags, words| flags.command = words),
    notes: "Exit code: the command's, 128+n if signal n ended it, 124 if its time was up,\n\
            127 if there is no such program there, 126 if it cannot be run, 125 if the\n\
            server refused (sandbox, limits, directory), 255 if we failed or the\n\
            connection did, 2 for a wrong command line.\n\
            Without -t, INT, TERM, HUP and QUIT are passed on to the command's group;\n\
            a second one within 2 s ends the command, a third one only us.\n",
};

/// The flags of `run`, as given or by default.
#[derive(Debug, Default)]
struct RunFlags {
    config: Option<PathBuf>,
    environment: Option<String>,
    pin: Option<Fingerprint>,
    has_terminal: bool,
    has_input: bool,
    has_no_input: bool,
    directory: Option<String>,
    /// Names with values; one without takes ours.
    variables: Vec<(String, Option<String>)>,
    timeout: Option<Duration>,
    rlimits: BTreeMap<String, Rlimit>,
    memory: Option<u64>,
    pids: Option<u64>,
    cpu: Option<f64>,
    sandbox: Option<Preset>,
    /// Paths as given.
    write: Vec<String>,
    has_network: bool,
    waivers: Waivers,
    is_verbose: bool,
    log: Option<PathBuf>,
    command: Vec<OsString>,
}

impl RunFlags {
    /// A login shell gets a terminal, if there is one here.
    fn choose_terminal(&mut self) {
        let wants_shell = self.command.is_empty() && !self.has_no_input;
        if wants_shell && io::stdin().is_terminal() && io::stdout().is_terminal() {
            self.has_terminal = true;
        }
    }

    /// What cannot be meant together, or not be meant at all.
    fn conflict(&self) -> Option<String> {
        if self.command.is_empty() && !self.has_terminal {
            return Some(
                "no command was given; a login shell needs a terminal: standard input and output \
                 must be one, or -t be given"
                    .to_owned(),
            );
        }
        if self.has_input && self.has_no_input {
            return Some("'--input' cannot be used with '--no-input'".to_owned());
        }
        if let Some(message) = environments::pin_conflict(self.pin, self.environment.as_deref()) {
            return Some(message);
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

fn rlimit(text: &str) -> Result<(String, Rlimit), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=N or NAME=SOFT:HARD")?;
    let number = |text: &str| match text {
        "0" => Ok(0),
        _ => bytes(text).map(|number| number as u64),
    };
    let limit = match value.split_once(':') {
        Some((soft, hard)) => Rlimit::Each {
            soft: number(soft)?,
            hard: number(hard)?,
        },
        None => Rlimit::Both(number(value)?),
    };
    Ok((name.to_owned(), limit))
}

const SPEAKER: Speaker = Speaker("exec-server run");

/// Our own failure, and the transport's.
const FAILED: u8 = 255;
/// The server has refused, or failed, to run the command.
const REFUSED: u8 = 125;
/// The program is there and cannot be run, as `env` and shells have it.
const NOT_RUNNABLE: u8 = 126;
/// There is no such program.
const NO_PROGRAM: u8 = 127;
/// As `timeout` has it.
const TIMED_OUT: u8 = 124;

/// The time that a command has after TERM, when its output is not wanted any more or its time is up.
const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for the end of a command that was told to end.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Between two looks at what is due, where nothing happens.
const LONG: Duration = Duration::from_secs(60);
/// A terminal whose size is not known.
const USUAL_SIZE: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// Why there is no exit code of the command's.
enum RunError {
    /// Something of this machine; the text names it.
    Here(&'static str, io::Error),
    Environment(EnvironmentError),
    NoDirectory(NoDirectory),
    /// An argument that the wire has no form for.
    NotText(String),
    /// The sandbox would be none.
    WholeMachine(WholeMachine),
    /// Output was lost on the way.
    Gap(u64),
    /// It was told to end and did not.
    DoesNotEnd,
    /// The end came without an exit.
    NoExit,
}

impl From<EnvironmentError> for RunError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl From<NoDirectory> for RunError {
    fn from(error: NoDirectory) -> Self {
        Self::NoDirectory(error)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(what, error) => write!(f, "{what}: {error}"),
            Self::Environment(error) => error.fmt(f),
            Self::NoDirectory(error) => error.fmt(f),
            Self::NotText(word) => write!(f, "{word} is not UTF-8, and cannot be passed on"),
            Self::WholeMachine(error) => error.fmt(f),
            Self::Gap(count) => write!(
                f,
                "{count} pieces of output were lost while the connection was away\n\
                 the command has ended; what was printed here is not complete"
            ),
            Self::DoesNotEnd => f.write_str("the command was told to end and does not"),
            Self::NoExit => f.write_str("the server did not tell how the command ended"),
        }
    }
}

impl RunError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(EnvironmentError::Failed { error, .. }) => match error {
                ClientError::Rejected { message, data, .. } => match data.reason {
                    Some(Reason::NotFound) if data.stage.as_deref() == Some("program") => {
                        NO_PROGRAM
                    }
                    Some(Reason::NotExecutable) => NOT_RUNNABLE,
                    Some(_) => REFUSED,
                    // The reference's servers tell no more than the system's words.
                    None if message.ends_with("(os error 2)") => NO_PROGRAM,
                    None if message.ends_with("(os error 20)") => NO_PROGRAM,
                    None if message.ends_with("(os error 13)") => NOT_RUNNABLE,
                    None if message.ends_with("(os error 8)") => NOT_RUNNABLE,
                    None => REFUSED,
                },
                ClientError::Unsupported(_) | ClientError::NotConfined(_) => REFUSED,
                _ => FAILED,
            },
            Self::NoDirectory(_) | Self::WholeMachine(_) => REFUSED,
            _ => FAILED,
        }
    }
}

fn report(result: Result<u8, RunError>, flags: &RunFlags) -> ExitCode {
    let code = result.unwrap_or_else(|error| {
        let code = error.exit_code();
        log::debug!("no exit code of the command: {error}");
        match advice(flags).filter(|_| code == NO_PROGRAM) {
            Some(advice) => SPEAKER.say(format_args!("{error}\n{advice}")),
            None => SPEAKER.say(error),
        }
        code
    });
    log::debug!("exit code {code}");
    ExitCode::from(code)
}

/// What may have been meant by a command whose program is not there.
fn advice(flags: &RunFlags) -> Option<String> {
    let (program, arguments) = flags.command.split_first()?;
    let program = program.to_str()?;
    if arguments.is_empty() && program.contains(char::is_whitespace) {
        let line = quoted(program);
        // The options are not repeated: one that was forgotten, such as --sandbox, would be missed.
        return Some(format!(
            "one word is the name of a program; for a shell that reads a command line, put this in \
             its place:\nsh -c {line}"
        ));
    }
    let is_environment = flags.environment.is_none()
        && environments::is_configured(flags.config.as_deref(), program);
    is_environment.then(|| {
        format!(
            "`{program}` is an environment; to run a command in it, put this in its place:\n\
             -e {program} --"
        )
    })
}

/// A word as a shell has to be given it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn run(flags: &RunFlags) -> Result<u8, RunError> {
    begin_log("run", flags.log.as_deref()).map_err(|error| RunError::Here("log", error))?;
    let restore_first = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        restore_first(panic);
    }));
    let done = Arc::new(WakeEvent::new().map_err(|error| RunError::Here("event", error))?);
    // Before anything starts a thread.
    let signals = Signals::collect(flags.has_terminal, Arc::clone(&done), SPEAKER)
        .map_err(|error| RunError::Here("signals", error))?;
    let config = flags.config.as_deref();
    let environment = environments::select(config, flags.environment.as_deref(), flags.pin)?;
    let result = Session::start(flags, &environment, &signals, &done)
        .and_then(|mut session| session.carry_on());
    done.set();
    result
}

/// A command that runs, and what is known about its end.
struct Session<'a> {
    environment: &'a Environment,
    process: Arc<Process>,
    stdout: Output,
    stderr: Output,
    /// Set on `-t`.
    raw: Option<RawMode>,
    is_verbose: bool,
    /// Whether it was confined by a preset.
    is_confined: bool,
    /// Whether it had the network all the same.
    has_network: bool,
    exit: Option<Exit>,
    lost: u64,
    /// Why its output is not written any more.
    unwanted: Option<io::Error>,
    /// When we end its time, because the server does not.
    time_is_up: Option<Instant>,
    has_timed_out: bool,
    /// When we stop to wait for its end.
    last_moment: Option<Instant>,
    _outages: Option<OutageWatch>,
}

impl<'a> Session<'a> {
    fn start(
        flags: &RunFlags,
        environment: &'a Arc<Environment>,
        signals: &Signals,
        done: &Arc<WakeEvent>,
    ) -> Result<Self, RunError> {
        let here = |what| move |error| RunError::Here(what, error);
        let stdout = Output::new(io::stdout().as_fd()).map_err(here("standard output"))?;
        let stderr = Output::new(io::stderr().as_fd()).map_err(here("standard error"))?;
        let say = |what: fmt::Arguments<'_>| SPEAKER.say(what);
        let outages = OutageWatch::begin(environment, say).map_err(here("thread"))?;
        let facts = environment.facts()?;
        let knows = |extension: &str| {
            !environment.is_remote() || facts.extensions.iter().any(|known| known == extension)
        };

        let mut input = match flags.has_no_input {
            true => None,
            false => Some(Input::open(flags.has_terminal).map_err(here("standard input"))?),
        };
        if !flags.has_terminal && !knows("process/closeStdin") {
            // Such a server gives an empty input only to a command that has none.
            input = input.and_then(|mut input| (!input.is_empty()).then_some(input));
        }
        let mut order = order(flags, environment, &facts)?;
        order.pipe_stdin = input.is_some();
        if flags.is_verbose {
            let version = facts.version.as_deref().unwrap_or("of an unknown version");
            SPEAKER.say(format_args!("in `{}`, server {version}", environment.id()));
        }
        let process = Arc::new(environment.start(&order)?);
        outages.iter().for_each(OutageWatch::answered);
        if flags.is_verbose
            && let Some(confined) = process.confined()
        {
            say_confined(confined);
        }
        signals.forward_to(Arc::clone(&process));

        let is_typed = flags.has_terminal && io::stdin().is_terminal();
        let raw = match is_typed && input.is_some() {
            true => Some(RawMode::enter(io::stdin().as_fd()).map_err(here("terminal"))?),
            false => None,
        };
        if flags.has_terminal {
            signals.resize();
        }
        match input {
            Some(input) => {
                let escape = raw.is_some().then(Escape::new);
                let leave = || {
                    terminal::restore();
                    SPEAKER.say("left; the command ends with its session");
                    signals::leave(i32::from(FAILED));
                };
                let (to, done) = (Arc::clone(&process), Arc::clone(done));
                input
                    .forward_on_thread(to, done, escape, SPEAKER, leave)
                    .map_err(here("thread"))?;
            }
            // A terminal takes input whether we have any or not.
            None if flags.has_terminal => drop(process.close_stdin()),
            None => {}
        }
        let own_timing = flags.timeout.filter(|_| !knows("process/start.timeoutMs"));
        Ok(Self {
            environment,
            process,
            stdout,
            stderr,
            raw,
            is_verbose: flags.is_verbose,
            is_confined: flags.sandbox.is_some(),
            has_network: flags.has_network,
            exit: None,
            lost: 0,
            unwanted: None,
            time_is_up: own_timing.map(deadline::after),
            has_timed_out: false,
            last_moment: None,
            _outages: outages,
        })
    }

    /// Passes everything on until the command has ended and all its output is here.
    fn carry_on(&mut self) -> Result<u8, RunError> {
        loop {
            let event = self.process.next_event(self.time_to_wait());
            match self.environment.named(event)? {
                Some(ProcessEvent::Output { stream, data }) => self.write(stream, &data)?,
                Some(ProcessEvent::Gap { first, last }) => {
                    self.lost += last.saturating_sub(first) + 1;
                }
                Some(ProcessEvent::Exited(exit)) => self.exit = Some(exit),
                Some(ProcessEvent::Closed) => break,
                None => {}
            }
            self.look_at_the_clock()?;
        }
        // The terminal is the user's again before anything is said.
        self.raw = None;
        self.result()
    }

    fn time_to_wait(&self) -> Duration {
        let due = [self.time_is_up, self.last_moment].into_iter().flatten();
        due.min()
            .map_or(LONG, |due| due.saturating_duration_since(Instant::now()))
    }

    fn look_at_the_clock(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        if self.last_moment.is_some_and(|last| last <= now) {
            return Err(RunError::DoesNotEnd);
        }
        if self.time_is_up.is_some_and(|due| due <= now) {
            self.time_is_up = None;
            self.has_timed_out = true;
            self.end()?;
        }
        Ok(())
    }

    /// Ends the command; its last output still comes.
    fn end(&mut self) -> Result<(), EnvironmentError> {
        self.last_moment = Some(Instant::now() + AFTERWARDS);
        self.environment.named(self.process.terminate(GRACE))
    }

    fn write(&mut self, stream: Stream, data: &[u8]) -> Result<(), EnvironmentError> {
        if self.unwanted.is_some() {
            return Ok(());
        }
        let written = match stream {
            Stream::Stdout | Stream::Pty => self.stdout.write(data),
            // Nobody wants the complaints; that is no reason to end the work.
            Stream::Stderr => self.stderr.write(data).or(Ok(())),
        };
        if let Err(error) = written {
            self.unwanted = Some(error);
            self.end()?;
        }
        Ok(())
    }

    fn result(&mut self) -> Result<u8, RunError> {
        match self.unwanted.take() {
            // What the command itself would have died of.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => {
                const SIGPIPE: u8 = 13;
                return Ok(128 + SIGPIPE);
            }
            Some(error) => return Err(RunError::Here("cannot write to standard output", error)),
            None => {}
        }
        if self.lost > 0 {
            return Err(RunError::Gap(self.lost));
        }
        let exit = self.exit.take().ok_or(RunError::NoExit)?;
        if self.is_confined && exit.sandbox_denied {
            SPEAKER.say(denied::line(exit.denial.as_ref(), self.has_network));
        }
        if exit.oom_killed {
            SPEAKER.say("the command was killed: it had no memory left that it may use");
        }
        if exit.timed_out || self.has_timed_out {
            if self.is_verbose {
                SPEAKER.say("its time was up");
            }
            return Ok(TIMED_OUT);
        }
        if self.is_verbose {
            match &exit.signal {
                Some(name) => SPEAKER.say(format_args!("ended by signal {name}")),
                None => SPEAKER.say(format_args!("exit code {}", exit.code)),
            }
        }
        let signal = exit
            .signal
            .as_deref()
            .and_then(Signal::from_name)
            .map(|signal| 128 + signal.number());
        let code = signal.unwrap_or(exit.code);
        Ok(u8::try_from(code).unwrap_or_else(|_| {
            match code {
                // As 0.130 has it.
                -1 => SPEAKER.say("the command has no exit code; a signal may have ended it"),
                _ => SPEAKER.say(format_args!(
                    "the server told the exit code {code}, which no process can have"
                )),
            }
            FAILED
        }))
    }
}

/// The command as the environment is to start it.
fn order(
    flags: &RunFlags,
    environment: &Environment,
    facts: &EnvironmentFacts,
) -> Result<env::Command, RunError> {
    let (argv, arg0) = match flags.command.is_empty() {
        true => login_shell(facts.shell.as_deref()),
        false => {
            let words = flags.command.iter().map(|word| match word.to_str() {
                Some(word) => Ok(word.to_owned()),
                None => Err(RunError::NotText(format!("`{}`", word.display()))),
            });
            (words.collect::<Result<_, _>>()?, None)
        }
    };
    let mut variables = BTreeMap::new();
    for (name, value) in &flags.variables {
        let value = match value {
            Some(value) => Some(value.clone()),
            None => match std::env::var(name) {
                Ok(value) => Some(value),
                Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(RunError::NotText(format!("the variable {name}")));
                }
            },
        };
        if let Some(value) = value {
            variables.insert(name.clone(), value);
        }
    }
    if flags.has_terminal {
        // What is no text has no form on the wire, and no use there.
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            goes_with_a_terminal(&name).then_some((name, value))
        });
        for (name, value) in ours {
            variables.entry(name).or_insert(value);
        }
    }
    let size = signals::own_size().unwrap_or(USUAL_SIZE);
    let cwd = environments::directory(environment, facts, flags.directory.as_deref())?;
    let sandbox = match flags.sandbox {
        // What may be written has to be known where it is asked for.
        Some(preset) => {
            let start = match &cwd {
                Some(cwd) => cwd.clone(),
                None => environments::absolute(environment, facts, ".")?,
            };
            let write = flags.write.iter();
            let write = write.map(|path| environments::absolute(environment, facts, path));
            let write = write.collect::<Result<Vec<_>, _>>()?;
            for path in &write {
                tell_if_missing(environment, path)?;
            }
            let widened = Widened {
                write: write.into_iter().map(PathBuf::from).collect(),
                network: flags.has_network,
                waivers: flags.waivers,
            };
            let sandbox = preset.sandbox(Path::new(&start), &widened);
            Some(sandbox.map_err(RunError::WholeMachine)?)
        }
        None => None,
    };
    Ok(env::Command {
        argv,
        arg0,
        cwd,
        sandbox,
        env: variables,
        env_policy: Some(as_a_login_has()),
        terminal: flags.has_terminal.then_some(size),
        timeout: flags.timeout,
        rlimits: flags.rlimits.clone(),
        memory_max: flags.memory,
        pids_max: flags.pids,
        cpu_max: flags.cpu,
        ..env::Command::default()
    })
}

/// What is to be written may be made by the command, if it can be made there, or be a wrong name.
fn tell_if_missing(environment: &Environment, path: &str) -> Result<(), EnvironmentError> {
    if let Err(error) = environment.client()?.metadata(path, true)
        && error.is_not_found()
    {
        SPEAKER.say(format_args!(
            "--write {path}: there is no such file or directory, so the command can only make it, \
             where it may write in the directory above"
        ));
    }
    Ok(())
}

/// Whether a variable of ours is about the terminal that a command is used on, as ssh has it.
fn goes_with_a_terminal(name: &str) -> bool {
    name == "TERM" || name == "LANG" || name.starts_with("LC_")
}

/// The command line of the shell at this path as a login shell, and the name that tells it so. Where
/// an environment names none, it is found there.
fn login_shell(path: Option<&str>) -> (Vec<String>, Option<String>) {
    match path {
        Some(path) => {
            let name = path.rsplit('/').next().unwrap_or(path);
            (vec![path.to_owned()], Some(format!("-{name}")))
        }
        None => {
            let find = "exec \"${SHELL:-/bin/sh}\" -l";
            let words = ["/bin/sh", "-c", find].map(str::to_owned);
            (words.into(), None)
        }
    }
}

fn say_confined(confined: &Confined) {
    let by = confined.launcher.as_deref();
    SPEAKER.say(format_args!(
        "confined by {}",
        by.unwrap_or(&confined.sandbox_type)
    ));
    for sentence in &confined.weaker {
        SPEAKER.say(format_args!("weaker than asked: {sentence}"));
    }
}

/// All that the server's own environment has; it keeps what is secret to itself.
fn as_a_login_has() -> EnvPolicy {
    EnvPolicy {
        inherit: Some(Inherit::All),
        ignore_default_excludes: true,
        exclude: Vec::new(),
        set: BTreeMap::new(),
        include_only: Vec::new(),
    }
}

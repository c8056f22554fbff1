//! `exec-server run`: a command in an environment, with our streams.
//!
//! The main thread takes the command's events and writes its output. `stdin` passes input on,
//! `signals` and `actions` pass signals on ([`signals`]). The last three are told to end by one
//! wake event, and none of them holds the main thread up.

mod denied;
mod escape;
mod flags;
mod input;
mod outage;
mod output;
mod signals;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{self, Command};
use super::environments::NoDirectory;
use super::notice::Speaker;
use super::{environments, help};
use crate::env::{
    self, Confined, Environment, EnvironmentError, EnvironmentFacts, Exit, ProcessEvent, Stream,
    TerminalSize,
};
use crate::rpc::client::Process;
use crate::rpc::methods::env_policy::{EnvPolicy, Inherit};
use crate::sandbox::preset::{WholeMachine, Widened};
use crate::sys::event::WakeEvent;
use crate::sys::signal::Signal;
use crate::sys::terminal::{self, RawMode};

use escape::Escape;
use flags::{GRAMMAR, RunFlags};
use input::Input;
use outage::OutageWatch;
use output::Output;
use signals::Signals;

/// The row in the table of commands.
pub(super) static RUN: Command = Command {
    name: "run",
    summary: "Run a command in an environment",
    perform: |args| {
        command::perform(&GRAMMAR, args, |flags| match flags.command.is_empty() {
            true => Err(GRAMMAR.error("no command was given".to_owned())),
            false => match flags.conflict() {
                Some(message) => Err(GRAMMAR.error(message)),
                None => Ok(report(run(flags))),
            },
        })
    },
    help: || help::text(&GRAMMAR, &[]),
};

const SPEAKER: Speaker = Speaker("exec-server run");

/// Our own failure, and the transport's.
const FAILED: u8 = 255;
/// As `timeout` has it.
const TIMED_OUT: u8 = 124;

/// The time that a command has after TERM, when its output is not wanted any more or its time is up.
const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for the end of a command that was told to end.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Between two looks at what is due, where nothing happens.
const LONG: Duration = Duration::from_secs(1);
/// A terminal whose size is not known.
const USUAL_SIZE: TerminalSize = TerminalSize { rows: 24, cols: 80 };

/// A command that runs.
type Running = Process;

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

fn report(result: Result<u8, RunError>) -> ExitCode {
    ExitCode::from(result.unwrap_or_else(|error| {
        SPEAKER.say(error);
        FAILED
    }))
}

fn run(flags: RunFlags) -> Result<u8, RunError> {
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
    let environment = environments::select(config, flags.environment.as_deref())?;
    let result = Session::start(&flags, &environment, &signals, &done)
        .and_then(|mut session| session.carry_on());
    done.set();
    result
}

/// A command that runs, and what is known about its end.
struct Session<'a> {
    environment: &'a Environment,
    process: Arc<Running>,
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
}

impl<'a> Session<'a> {
    fn start(
        flags: &RunFlags,
        environment: &'a Environment,
        signals: &Signals,
        done: &Arc<WakeEvent>,
    ) -> Result<Self, RunError> {
        let here = |what| move |error| RunError::Here(what, error);
        let stdout = Output::new(io::stdout().as_fd()).map_err(here("standard output"))?;
        let stderr = Output::new(io::stderr().as_fd()).map_err(here("standard error"))?;
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
                input::spawn(input, to, done, escape, SPEAKER, leave).map_err(here("thread"))?;
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
            time_is_up: own_timing.map(|timeout| Instant::now() + timeout),
            has_timed_out: false,
            last_moment: None,
        })
    }

    /// Passes everything on until the command has ended and all its output is here.
    fn carry_on(&mut self) -> Result<u8, RunError> {
        let mut watch = OutageWatch::new(self.is_verbose);
        loop {
            let event = self.process.next_event(self.time_to_wait());
            match self.environment.named(event)? {
                Some(ProcessEvent::Output { stream, data }) => self.write(stream, &data)?,
                Some(ProcessEvent::Gap { first, last }) => {
                    self.lost += last.saturating_sub(first) + 1;
                }
                Some(ProcessEvent::Exited(exit)) => self.exit = Some(exit),
                Some(ProcessEvent::Closed) => break,
                None => watch.look(self.environment),
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
        // As the kernel hands it to a parent: the low eight bits.
        Ok((signal.unwrap_or(exit.code) & 0xff) as u8)
    }
}

/// The command as the environment is to start it.
fn order(
    flags: &RunFlags,
    environment: &Environment,
    facts: &EnvironmentFacts,
) -> Result<env::Command, RunError> {
    let argv = flags.command.iter().map(|word| match word.to_str() {
        Some(word) => Ok(word.to_owned()),
        None => Err(RunError::NotText(format!("`{}`", word.display()))),
    });
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
    if flags.has_terminal
        && !variables.contains_key("TERM")
        && let Ok(term) = std::env::var("TERM")
    {
        variables.insert("TERM".to_owned(), term);
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
            let widened = Widened {
                write: write
                    .map(|path| path.map(PathBuf::from))
                    .collect::<Result<_, _>>()?,
                network: flags.has_network,
                waivers: flags.waivers,
            };
            let sandbox = preset.sandbox(Path::new(&start), &widened);
            Some(sandbox.map_err(RunError::WholeMachine)?)
        }
        None => None,
    };
    Ok(env::Command {
        argv: argv.collect::<Result<_, _>>()?,
        cwd,
        sandbox,
        env: variables,
        env_policy: Some(as_a_login_has()),
        terminal: flags.has_terminal.then_some(size),
        timeout: flags.timeout,
        ..env::Command::default()
    })
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
        inherit: Inherit::All,
        ignore_default_excludes: true,
        exclude: Vec::new(),
        set: BTreeMap::new(),
        include_only: Vec::new(),
    }
}

//! `codex-linux-sandbox`: the sandbox helper of a 0.130 client, which this program is under that name.
//!
//! One thread does everything: it starts the command with our streams, passes signals on, and waits. Whoever kills us
//! kills the command, too, by the guardian.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::output::Speaker;
use crate::env::local::{
    CgroupLimits, Confined, ProcessSpec, StartError, helper_confinement, launch_confined,
};
use crate::sandbox::helper_form::{HelperForm, NAME};
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::{Config, Confinement, Launchers, SpawnContext};
use crate::sys::guardian::Guardian;
use crate::sys::poll::{self, PollFd, READABLE};
use crate::sys::process::{Exit, Leader};
use crate::sys::signal::{Signal, SignalEvents};

/// A command line that makes no sense.
const USAGE: u8 = 2;
/// Our own failure, or no sandbox that would hold; as `env` and `timeout` have it.
const FAILED: u8 = 125;
/// The program is there and cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// There is no such program.
const NOT_FOUND: u8 = 127;

/// Between looks at a child, where the kernel has no pidfd.
const TICK: Duration = Duration::from_millis(20);

const SPEAKER: Speaker = Speaker(NAME);

/// Whether the program was called by the helper's name.
pub(crate) fn is_meant(name: Option<&OsString>) -> bool {
    name.and_then(|name| Path::new(name).file_name()) == Some(OsStr::new(NAME))
}

/// Does what the helper does. `args` begins with its name.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let code = order(args).and_then(|(form, confinement)| carry_out(form, &confinement));
    ExitCode::from(code.unwrap_or_else(|(code, message)| {
        SPEAKER.say(message);
        code
    }))
}

/// An exit code, and what to say.
type Failed = (u8, String);

fn order(args: Vec<OsString>) -> Result<(HelperForm, Confinement), Failed> {
    let words = args.into_iter().skip(1).map(|word| {
        word.into_string()
            .map_err(|word| (USAGE, format!("{} is not UTF-8", word.display())))
    });
    let form = HelperForm::parse(&words.collect::<Result<Vec<_>, _>>()?).map_err(|error| {
        let message = error.to_string();
        // The speaker says the name already.
        let bare = message.strip_prefix(&format!("{NAME}: "));
        (USAGE, bare.unwrap_or(&message).to_owned())
    })?;
    let confinement = helper_confinement(&form).map_err(|error| (FAILED, error.message))?;
    Ok((form, confinement))
}

fn carry_out(form: HelperForm, confinement: &Confinement) -> Result<u8, Failed> {
    let unable = |what| move |error: io::Error| (FAILED, format!("{what}: {error}"));
    // Before anything starts a thread.
    let signals = SignalEvents::collect(&[
        Signal::INTERRUPT,
        Signal::TERMINATE,
        Signal::HANGUP,
        Signal::QUIT,
        Signal::USER_1,
        Signal::USER_2,
    ])
    .map_err(unable("signals"))?;
    let standard = standard().map_err(unable("the standard descriptors"))?;
    let null = null().map_err(unable("/dev/null"))?;
    let guardian = Guardian::start(None).map_err(unable("a guardian process"))?;
    let launchers = Launchers::new(Config::default(), Journal::open());
    let spec = ProcessSpec {
        id: NAME.to_owned(),
        argv: form.command,
        is_own_program: false,
        arg0: None,
        cwd: form.command_cwd,
        env: std::env::vars_os().collect(),
        terminal: None,
        pipe_stdin: false,
        timeout: None,
        limits: Vec::new(),
        cgroup_limits: CgroupLimits::default(),
        socket: None,
        confinement: None,
    };
    let context = SpawnContext {
        standard: standard.each_ref().map(|fd| Some(fd.as_fd())),
        null: null.as_fd(),
        guardian: &guardian,
        cgroup: None,
        // A signal ends us while the sandbox is not there yet.
        cancel: Some(signals.as_fd()),
    };
    let started = launch_confined(&launchers, &spec, confinement, &context);
    let Confined {
        mut leader, claim, ..
    } = match started {
        Ok(started) => started,
        Err(error) => return not_started(&signals, &error),
    };
    let exit = attend(&mut leader, &signals).map_err(unable("cannot wait for the command"))?;
    guardian.remove(leader.pid());
    // The mount points that were made for it go.
    drop(claim);
    Ok(code(exit))
}

fn not_started(signals: &SignalEvents, error: &StartError) -> Result<u8, Failed> {
    if let Some(signal) = signals.take() {
        return Ok(code(Exit::Killed(signal)));
    }
    let code = match error {
        StartError::Program(_, error) | StartError::NotOnPath(_, _, error) => match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_RUNNABLE,
        },
        StartError::Interpreter(..) => NOT_RUNNABLE,
        _ => FAILED,
    };
    Err((code, format!("{error}; the command was not run")))
}

/// Passes signals on until the command has ended.
fn attend(leader: &mut Leader, signals: &SignalEvents) -> io::Result<Exit> {
    loop {
        while let Some(signal) = signals.take() {
            // A command that is gone needs no signal.
            let _ = leader.signal_group(signal);
        }
        if let Some(exit) = leader.reap()? {
            return Ok(exit);
        }
        let event = leader.exit_event();
        let mut fds = vec![PollFd::new(signals.as_fd(), READABLE)];
        fds.extend(
            event
                .as_ref()
                .map(|event| PollFd::new(event.as_fd(), READABLE)),
        );
        poll::wait(&mut fds, event.is_none().then_some(TICK))?;
    }
}

fn code(exit: Exit) -> u8 {
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Killed(signal) => 128 + signal.number(),
    };
    // As the kernel hands it to a parent: the low eight bits.
    (code & 0xff) as u8
}

/// Our streams, at numbers of their own.
fn standard() -> io::Result<[OwnedFd; 3]> {
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
    Ok([
        own(io::stdin().as_fd())?,
        own(io::stdout().as_fd())?,
        own(io::stderr().as_fd())?,
    ])
}

fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

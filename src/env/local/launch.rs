//! From what a client asks for to a running program, or to a precise refusal.

mod streams;
mod strings;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::streams::Streams;
use self::strings::Strings;
use super::host::Host;
use super::output::Stream;
use crate::sandbox::inside::{Request, Rest};
use crate::sandbox::journal::Claim;
use crate::sandbox::launcher::{Confinement, Failure, Launchers, Level, Refusal, SpawnContext};
use crate::sys::file;
use crate::sys::guardian::Guardian;
use crate::sys::limits::Resource;
use crate::sys::mark::Mark;
use crate::sys::process::Leader;
use crate::sys::pty::WindowSize;
use crate::sys::spawn::{self, Launch, Program, Restrictions, SpawnError, Stage};

/// What to run, and how.
#[derive(Debug)]
pub struct ProcessSpec {
    /// The client's name for it.
    pub id: String,
    /// The program and its arguments; not empty.
    pub argv: Vec<String>,
    /// Whether this very program is to be run, wherever `argv[0]` leads.
    pub is_own_program: bool,
    /// What the program sees as its name, if not `argv[0]`.
    pub arg0: Option<String>,
    /// Where to start.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<WindowSize>,
    /// Whether standard input is a pipe. A terminal always takes input.
    pub pipe_stdin: bool,
    /// Becomes standard input as it is, instead of either.
    pub socket: Option<OwnedFd>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Resource limits.
    pub limits: Vec<(Resource, u64)>,
    /// What it must be kept from.
    pub confinement: Option<Confinement>,
}

/// What is told of a start that succeeded.
#[derive(Debug)]
pub struct Started {
    /// The confinement in force, if one was asked for.
    pub level: Option<Level>,
}

/// Why a process did not start. Nothing is left of it.
#[derive(Debug)]
pub enum StartError {
    /// `argv[0]` is empty.
    NoProgram,
    /// A text for the kernel has a NUL byte inside.
    Nul(&'static str),
    /// As many processes run as may.
    TooMany(usize),
    /// The kernel gave no thread, pipe, terminal or process.
    Resources(&'static str, io::Error),
    /// The working directory cannot be entered.
    Directory(PathBuf, io::Error),
    /// The program cannot be run.
    Program(PathBuf, io::Error),
    /// The program is nowhere on PATH.
    NotOnPath(String, OsString, io::Error),
    /// A resource limit was refused.
    Limit(u64, io::Error),
    /// It could not be confined as it must be.
    Sandbox(Box<Refusal>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram => f.write_str("argv[0] must not be empty"),
            Self::Nul(what) => write!(f, "nul byte found in provided data: {what}"),
            Self::TooMany(limit) => write!(
                f,
                "{limit} processes are running, as many as --max-processes allows; \
                 terminate some or wait for their end"
            ),
            Self::Resources(what, error) => write!(f, "cannot get {what}: {error}"),
            Self::Directory(path, error) => write!(
                f,
                "cannot start in the working directory {}: {error}",
                path.display()
            ),
            Self::Program(path, error) => {
                write!(f, "cannot run the program {}: {error}", path.display())
            }
            Self::NotOnPath(name, path, error) => write!(
                f,
                "cannot find the program {name} on the process's PATH ({}): {error}",
                path.display()
            ),
            Self::Limit(value, error) => {
                write!(f, "cannot set a resource limit to {value}: {error}")
            }
            Self::Sandbox(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A program that has been started, and our ends of its streams.
pub(super) struct Launched {
    pub(super) leader: Leader,
    pub(super) guardian: Guardian,
    pub(super) outputs: Vec<(Stream, Arc<File>)>,
    pub(super) stdin: Option<File>,
    pub(super) terminal: Option<Arc<File>>,
    pub(super) level: Option<Level>,
    /// To be kept until the last process of the sandbox has ended.
    pub(super) claim: Option<Claim>,
}

/// Starts the program, with this mark. The calling thread must stay until it has ended.
pub(super) fn launch(
    host: &Host,
    spec: &ProcessSpec,
    mark: Option<Mark>,
    cancel: Option<BorrowedFd<'_>>,
) -> Result<Launched, StartError> {
    let strings = Strings::new(spec)?;
    let streams = Streams::open(spec)?;
    let guardian = host
        .guardian()
        .map_err(|error| StartError::Resources("a guardian process", error))?
        .marking(mark);
    let null = host.null();
    let standard = streams
        .child
        .each_ref()
        .map(|fd| fd.as_ref().map(AsFd::as_fd));
    let started = match &spec.confinement {
        Some(confinement) => {
            let context = SpawnContext {
                standard,
                null,
                guardian: &guardian,
                cancel,
            };
            confined(host.launchers(), spec, &strings, confinement, &context)
        }
        None => {
            let standard = standard.map(|fd| fd.unwrap_or(null));
            plain(spec, &strings, standard, &guardian)
        }
    };
    let Confined {
        leader,
        level,
        claim,
    } = started.map_err(|failure| strings.tell(spec, failure))?;
    Ok(Launched {
        leader,
        guardian,
        outputs: streams.outputs,
        stdin: streams.stdin,
        terminal: streams.terminal,
        level,
        claim,
    })
}

/// Starts the program of `spec`, which has a confinement, with the caller's own streams. The calling thread must stay
/// until it has ended.
///
/// # Errors
/// Nothing runs then.
pub fn launch_confined(
    launchers: &Launchers,
    spec: &ProcessSpec,
    confinement: &Confinement,
    context: &SpawnContext<'_>,
) -> Result<Confined, StartError> {
    let strings = Strings::new(spec)?;
    confined(launchers, spec, &strings, confinement, context)
        .map_err(|failure| strings.tell(spec, failure))
}

/// A program that runs, confined or not.
#[derive(Debug)]
pub struct Confined {
    /// The process to wait for.
    pub leader: Leader,
    /// The confinement in force, if one was asked for.
    pub level: Option<Level>,
    /// To be kept until the last process of the sandbox has ended.
    pub claim: Option<Claim>,
}

fn plain(
    spec: &ProcessSpec,
    strings: &Strings,
    standard: [BorrowedFd<'_>; 3],
    guardian: &Guardian,
) -> Result<Confined, Failure> {
    let [stdin, stdout, stderr] = standard;
    let launch = Launch {
        program: Program::Paths(&strings.image.programs),
        argv: &strings.image.argv,
        env: &strings.image.env,
        cwd: &strings.image.cwd,
        stdin,
        stdout,
        stderr,
        has_terminal: spec.terminal.is_some(),
        limits: &spec.limits,
        descriptors: &[],
        restrictions: Restrictions::default(),
        guardian,
    };
    Ok(Confined {
        leader: spawn::spawn(&launch).map_err(Failure::Program)?,
        level: None,
        claim: None,
    })
}

fn confined(
    launchers: &Launchers,
    spec: &ProcessSpec,
    strings: &Strings,
    confinement: &Confinement,
    context: &SpawnContext<'_>,
) -> Result<Confined, Failure> {
    // A directory that is not there is told as such; inside, one that is not shown looks the same. What we have open
    // ourselves is none of the client's.
    let found = file::locate_directory_without_magic(&strings.image.cwd);
    found.map_err(|error| {
        Failure::Program(SpawnError {
            stage: Stage::Directory,
            error,
        })
    })?;
    let request = Request {
        image: Some(strings.image.clone()),
        is_own_program: spec.is_own_program,
        has_terminal: spec.terminal.is_some(),
        null: context
            .standard
            .map(|fd| fd.is_none_or(file::is_null_device)),
        rest: Rest::default(),
    };
    let launched = launchers.launch(confinement, request, context)?;
    Ok(Confined {
        leader: launched.leader,
        level: Some(launched.level),
        claim: launched.claim,
    })
}

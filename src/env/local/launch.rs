//! From what a client asks for to a running program, or to a precise refusal.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cgroup::{Cgroup, CgroupError, CgroupLimits};
use super::host::Host;
use super::streams::Stream;
use crate::rpc::error::{DenyingRule, RpcError};
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sandbox::helper_form::HelperForm;
use crate::sandbox::inside::{Request, Rest};
use crate::sandbox::journal::Claim;
use crate::sandbox::launcher::{Confinement, Failure, Launchers, Level, Refusal, SpawnContext};
use crate::sandbox::policy::{Access, Context, Policy};
use crate::sys::enter::Image;
use crate::sys::file;
use crate::sys::guardian::Guardian;
use crate::sys::limits::Limit;
use crate::sys::mark::Mark;
use crate::sys::process::{Exit, Leader};
use crate::sys::pty::{self, WindowSize};
use crate::sys::socket::set_nonblocking;
use crate::sys::spawn::{
    self, DEFAULT_PATH, Interpreter, Launch, NAME_MAX, PATH_MAX, Program, Restrictions, Search,
    SpawnError, Stage,
};

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
    pub env: Vec<(OsString, OsString)>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<WindowSize>,
    /// Whether standard input is a pipe. A terminal always takes input.
    pub pipe_stdin: bool,
    /// Becomes standard input as it is, instead of either.
    pub socket: Option<OwnedFd>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    pub limits: Vec<Limit>,
    /// What it may have together with all that descends from it.
    pub cgroup_limits: CgroupLimits,
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
    /// `argv[0]` is empty. The reference names what the program was to run on.
    NoProgram(&'static str),
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
    /// The policy denies the program.
    Denied(PathBuf, io::Error, Box<DenyingRule>),
    /// What has to run the program is not there.
    Interpreter(PathBuf, Interpreter, io::Error),
    /// The program is nowhere on PATH.
    NotOnPath(String, OsString, io::Error),
    /// A resource limit was refused.
    Limit(Limit, io::Error),
    /// Its group cannot be limited.
    Cgroup(CgroupError),
    /// It could not be confined as it must be.
    Sandbox(Box<Refusal>),
}

/// Bytes of PATH that an error shows at most.
const SHOWN_PATH: usize = 120;

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(place) => write!(f, "missing program for {place} spawn"),
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
            Self::Denied(path, error, _) => write!(
                f,
                "cannot run the program {}: the policy denies it: {error}",
                path.display()
            ),
            Self::Interpreter(path, interpreter, error) => {
                let program = path.display();
                let name = String::from_utf8_lossy(interpreter.name());
                if name.is_empty() {
                    write!(
                        f,
                        "cannot run the program {program}: the dynamic loader that it is linked for \
                         is not here, as with a program for another C library: {error}"
                    )
                } else if let Some(name) = name.strip_suffix('\r') {
                    write!(
                        f,
                        "cannot run the program {program}: its first line ends with a carriage \
                         return (CRLF), which makes its interpreter `{name}\\r`; save it with LF \
                         alone: {error}"
                    )
                } else {
                    write!(
                        f,
                        "cannot run the program {program}: its interpreter {name} is not here: {error}"
                    )
                }
            }
            Self::NotOnPath(name, path, error) => {
                let path = path.to_string_lossy();
                let shown = &path[..path.floor_char_boundary(SHOWN_PATH)];
                let more = if shown.len() < path.len() { "..." } else { "" };
                write!(
                    f,
                    "cannot find the program {name}: {error}; the process's PATH is {shown}{more}"
                )
            }
            Self::Limit(limit, error) => {
                let (name, Limit { soft, hard, .. }) = (limit.resource.name(), limit);
                let more = match error.kind() {
                    io::ErrorKind::PermissionDenied => "; it can be lowered only",
                    _ => "",
                };
                write!(
                    f,
                    "cannot set the resource limit {name} to {soft}, at most {hard}: {error}{more}"
                )
            }
            Self::Cgroup(error) => write!(f, "cannot limit the process by a cgroup: {error}"),
            Self::Sandbox(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// The confinement of a process that is to start in `cwd`, from the JSON of its `sandbox`.
///
/// # Errors
/// The policy is malformed, or cannot be enforced as it stands.
pub fn confinement(sandbox: &str, cwd: &WirePath) -> Result<Confinement, RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: Some(&cwd.path),
        tmpdir: tmpdir.as_deref(),
        style: cwd.style,
    };
    Ok(Confinement {
        policy: Policy::parse(sandbox, &context)?,
        cwd: cwd.path.clone(),
    })
}

/// The confinement that the command line of a 0.130 client's helper asks for.
///
/// # Errors
/// As for [`confinement`].
pub fn helper_confinement(form: &HelperForm) -> Result<Confinement, RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: None,
        tmpdir: tmpdir.as_deref(),
        style: PathStyle::Native,
    };
    Ok(Confinement {
        policy: form.policy(&context)?,
        cwd: form.command_cwd.clone(),
    })
}

/// A program that has been started, and our ends of its streams.
pub(crate) struct Launched {
    pub(crate) leader: Leader,
    pub(crate) guardian: Guardian,
    pub(crate) outputs: Vec<(Stream, Arc<File>)>,
    pub(crate) stdin: Option<File>,
    pub(crate) terminal: Option<Arc<File>>,
    pub(crate) level: Option<Level>,
    /// To be kept until the last process of the sandbox has ended.
    pub(crate) claim: Option<Claim>,
    /// What limits it.
    pub(crate) cgroup: Option<Arc<Cgroup>>,
}

/// Starts the program, with this mark, in this cgroup. The calling thread must stay until it has ended.
pub(crate) fn launch(
    host: &Host,
    spec: &ProcessSpec,
    mark: Option<Mark>,
    cgroup: Option<Arc<Cgroup>>,
    cancel: Option<BorrowedFd<'_>>,
) -> Result<Launched, StartError> {
    let strings = Strings::new(spec)?;
    let streams = Streams::open(spec)?;
    let guardian = host
        .guardian()
        .map_err(|error| StartError::Resources("a guardian process", error))?
        .marking(mark);
    host.cgroups().guard_by(&guardian);
    let entrance = cgroup.as_deref().map(Cgroup::entrance).transpose();
    let entrance = entrance.map_err(StartError::Cgroup)?;
    let entrance = entrance.as_ref().map(AsFd::as_fd);
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
                cgroup: entrance,
                cancel,
            };
            confined(host.launchers(), spec, &strings, confinement, &context)
        }
        None => {
            let standard = standard.map(|fd| fd.unwrap_or(null));
            plain(spec, &strings, standard, entrance, &guardian)
        }
    };
    let Confined {
        leader,
        level,
        claim,
    } = started.map_err(|failure| {
        let program = match &failure {
            Failure::Program(error) => Some(error),
            Failure::Refused(_) => None,
        };
        let told = cgroup.as_deref().and_then(|it| why(program, it));
        told.map_or_else(|| strings.tell(spec, failure), StartError::Cgroup)
    })?;
    Ok(Launched {
        leader,
        guardian,
        outputs: streams.outputs,
        stdin: streams.stdin,
        terminal: streams.terminal,
        level,
        claim,
        cgroup,
    })
}

/// What of a cgroup has made a start in it fail, if that is why.
fn why(failure: Option<&SpawnError>, cgroup: &Cgroup) -> Option<CgroupError> {
    match failure {
        Some(failure) if failure.stage == Stage::Cgroup => Some(cgroup.closed(&failure.error)),
        _ => cgroup.shortage(),
    }
}

/// How long the process of a trial may take.
const TRIAL_TIME: Duration = Duration::from_secs(10);

/// Runs a process in the cgroup.
///
/// # Errors
/// None can.
pub(crate) fn try_cgroup(
    cgroup: &Cgroup,
    null: BorrowedFd<'_>,
    guardian: &Guardian,
) -> Result<(), CgroupError> {
    let entrance = cgroup.entrance()?;
    let program = File::open("/proc/self/exe").map_err(|error| cgroup.unusable(error))?;
    let context = SpawnContext {
        standard: [None; 3],
        null,
        guardian,
        cgroup: Some(entrance.as_fd()),
        cancel: None,
    };
    let launch = Launch {
        program: Program::Open(program.as_fd()),
        argv: &[c"exec-server".to_owned(), c"--version".to_owned()],
        env: &[],
        cwd: c"/",
        stdin: null,
        stdout: null,
        stderr: null,
        has_terminal: false,
        limits: &[],
        descriptors: &[],
        cgroup: context.cgroup,
        restrictions: Restrictions::default(),
        guardian,
    };
    let leader = spawn::spawn(&launch).map_err(|failure| {
        why(Some(&failure), cgroup).unwrap_or_else(|| cgroup.unusable(failure.error))
    })?;
    // It may write nowhere, so its code means nothing.
    match context.see_out(leader, Instant::now() + TRIAL_TIME) {
        Some(Exit::Code(_)) => Ok(()),
        _ => Err(cgroup
            .shortage()
            .unwrap_or_else(|| cgroup.unusable(io::ErrorKind::TimedOut.into()))),
    }
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
    cgroup: Option<BorrowedFd<'_>>,
    guardian: &Guardian,
) -> Result<Confined, Failure> {
    let [stdin, stdout, stderr] = standard;
    let launch = Launch {
        program: Program::Search(&strings.image.program),
        argv: &strings.image.argv,
        env: &strings.image.env,
        cwd: &strings.image.cwd,
        stdin,
        stdout,
        stderr,
        has_terminal: spec.terminal.is_some(),
        limits: &spec.limits,
        descriptors: &[],
        cgroup,
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

/// A longer variable no kernel with pages of 4 KiB takes.
const LONGEST_PATH: usize = 128 * 1024;

/// The texts for the kernel.
struct Strings {
    image: Image,
    /// The PATH that was searched, if one was.
    searched: Option<OsString>,
}

impl Strings {
    fn new(spec: &ProcessSpec) -> Result<Self, StartError> {
        let name = spec.argv.first().map_or("", String::as_str);
        if name.is_empty() {
            let place = if spec.terminal.is_some() {
                "PTY"
            } else {
                "pipe"
            };
            return Err(StartError::NoProgram(place));
        }
        let searched = (!name.contains('/')).then(|| path_of(&spec.env));
        let longest = if searched.is_some() {
            NAME_MAX
        } else {
            PATH_MAX - 1
        };
        if name.len() > longest {
            // As the kernel says it, without a process to ask it.
            let error = io::Error::from_raw_os_error(libc::ENAMETOOLONG);
            return Err(StartError::Program(name.into(), error));
        }
        if searched.as_ref().is_some_and(|it| it.len() > LONGEST_PATH) {
            let error = io::ErrorKind::ArgumentListTooLong.into();
            return Err(StartError::Program(name.into(), error));
        }
        let program = Search::new(name, searched.as_deref()).map_err(|_| {
            let is_path = !name.contains('\0');
            StartError::Nul(if is_path { "PATH" } else { "argv" })
        })?;
        let shown = spec.arg0.as_deref().unwrap_or(name);
        let argv = std::iter::once(shown)
            .chain(spec.argv.iter().skip(1).map(String::as_str))
            .map(|argument| c_string("argv", argument))
            .collect::<Result<_, _>>()?;
        let env = spec
            .env
            .iter()
            .map(|(name, value)| {
                c_string("env", [name.as_bytes(), b"=", value.as_bytes()].concat())
            })
            .collect::<Result<_, _>>()?;
        let image = Image {
            program,
            argv,
            env,
            cwd: c_string("cwd", spec.cwd.as_os_str().as_bytes())?,
            limits: spec.limits.clone(),
        };
        Ok(Self { image, searched })
    }

    fn tell(self, spec: &ProcessSpec, failure: Failure) -> StartError {
        match failure {
            Failure::Program(error) => self.explain(spec, error),
            Failure::Refused(refusal) => StartError::Sandbox(Box::new(refusal)),
        }
    }

    /// Names the stage that failed and what it was about.
    fn explain(self, spec: &ProcessSpec, failure: SpawnError) -> StartError {
        let error = failure.error;
        match failure.stage {
            Stage::Directory => StartError::Directory(spec.cwd.clone(), error),
            Stage::Limit(place) => match spec.limits.get(place) {
                Some(limit) => StartError::Limit(*limit, error),
                None => StartError::Resources("resource limits", error),
            },
            Stage::Exec(place) => match self.searched {
                Some(path) if error.kind() == io::ErrorKind::NotFound => {
                    StartError::NotOnPath(spec.argv[0].clone(), path, error)
                }
                _ => {
                    let program = self.program(place);
                    match denying_rule(spec, &program, &error) {
                        Some(rule) => StartError::Denied(program, error, Box::new(rule)),
                        None => StartError::Program(program, error),
                    }
                }
            },
            Stage::Interpreter(place, interpreter) => {
                StartError::Interpreter(self.program(place), interpreter, error)
            }
            Stage::Clone => StartError::Resources("a process", error),
            Stage::Session => StartError::Resources("a session", error),
            Stage::Cgroup => StartError::Resources("into the cgroup", error),
            Stage::Terminal => StartError::Resources("control of the terminal", error),
            Stage::Descriptors => StartError::Resources("the standard descriptors", error),
            Stage::Capabilities => StartError::Resources("rid of capabilities", error),
            Stage::NoNewPrivs => StartError::Resources("no_new_privs", error),
            Stage::Landlock => StartError::Resources("into the Landlock domain", error),
            Stage::Seccomp => StartError::Resources("the filter of system calls", error),
            Stage::Device => StartError::Resources("devices that nobody can change", error),
            Stage::Mount(_) => StartError::Resources("a cover on what is denied", error),
        }
    }
}

impl Strings {
    /// The candidate at this place.
    fn program(self, place: usize) -> PathBuf {
        self.image.program.candidate(place)
    }
}

/// The rule for which a program may not be run, if its policy is why.
fn denying_rule(spec: &ProcessSpec, program: &Path, error: &io::Error) -> Option<DenyingRule> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let policy = &spec.confinement.as_ref()?.policy;
    let denial = policy.denial(&spec.cwd.join(program), Access::Read, false)?;
    Some(denial.rule(PathStyle::Native))
}

fn path_of(env: &[(OsString, OsString)]) -> OsString {
    env.iter().find(|(name, _)| name == "PATH").map_or_else(
        || OsStr::new(DEFAULT_PATH).to_owned(),
        |(_, value)| value.clone(),
    )
}

fn c_string(what: &'static str, text: impl Into<Vec<u8>>) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| StartError::Nul(what))
}

/// The child's ends of its streams, where `None` is one that is at its end, and ours.
struct Streams {
    child: [Option<OwnedFd>; 3],
    outputs: Vec<(Stream, Arc<File>)>,
    stdin: Option<File>,
    terminal: Option<Arc<File>>,
}

impl Streams {
    fn open(spec: &ProcessSpec) -> Result<Self, StartError> {
        let opened = match spec.terminal {
            Some(size) => Self::open_terminal(size),
            None => Self::open_pipes(spec),
        };
        let what = if spec.terminal.is_some() {
            "a terminal from /dev/ptmx"
        } else {
            "a pipe"
        };
        opened.map_err(|error| StartError::Resources(what, error))
    }

    fn open_terminal(size: WindowSize) -> io::Result<Self> {
        let pty = pty::open(size)?;
        let master = Arc::new(File::from(pty.master));
        Ok(Self {
            child: [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave].map(Some),
            outputs: vec![(Stream::Pty, Arc::clone(&master))],
            stdin: None,
            terminal: Some(master),
        })
    }

    fn open_pipes(spec: &ProcessSpec) -> io::Result<Self> {
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        let (child_stdin, stdin) = if let Some(socket) = &spec.socket {
            (Some(socket.try_clone()?), None)
        } else if spec.pipe_stdin {
            let (reader, writer) = io::pipe()?;
            set_nonblocking(writer.as_fd())?;
            (
                Some(OwnedFd::from(reader)),
                Some(File::from(OwnedFd::from(writer))),
            )
        } else {
            (None, None)
        };
        Ok(Self {
            child: [child_stdin, Some(child_stdout), Some(child_stderr)],
            outputs: vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)],
            stdin,
            terminal: None,
        })
    }
}

/// A pipe whose reading end, ours, does not wait.
fn output_pipe() -> io::Result<(Arc<File>, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(reader.as_fd())?;
    Ok((Arc::new(File::from(OwnedFd::from(reader))), writer.into()))
}

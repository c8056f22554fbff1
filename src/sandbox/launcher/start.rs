//! Starting bwrap, and hearing from inside that the program runs.
//!
//! bwrap gets an empty environment, `/dev/null` and a pipe for what it complains about; the program's own descriptors go
//! past it to the process inside. Whether the sandbox stands is known by that process's first message, never by a text or
//! an exit code, which could be the program's as well. All waits end when the start is given up.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::refusal::{Refusal, Stage};
use crate::sandbox::bwrap::Arguments;
use crate::sandbox::inside::{self, Message, Request};
use crate::sandbox::mounts::{Cancel, Mask};
use crate::sys::guardian::Guardian;
use crate::sys::memfd;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::process::{Exit, Inner, Leader};
use crate::sys::signal::Signal;
use crate::sys::socket::{packet_pair, receive_from, set_nonblocking};
use crate::sys::spawn::{self, Launch, Program, Restrictions, SpawnError};

/// How long a launcher may take. It mounts a handful of directories; a machine in distress may need seconds for that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// As much of a launcher's complaint as is repeated, in bytes.
const COMPLAINT: usize = 512;

/// Why a confined start failed.
#[derive(Debug)]
pub enum Failure {
    /// There is no sandbox that would have held.
    Refused(Refusal),
    /// The program could not be started, as it could not have been without a sandbox.
    Program(SpawnError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The refusal of a start that was given up.
pub(crate) fn cancelled() -> Refusal {
    Refusal::new(Stage::Start, "it was told to end before it ran", "")
}

/// A bwrap to run, held so that it stays the one that was looked at.
pub(crate) struct Launcher<'a> {
    pub(crate) bwrap: BorrowedFd<'a>,
    /// This program's own file.
    pub(crate) inside: BorrowedFd<'a>,
    /// What the sandbox holds as long as it lives, if anything.
    pub(crate) lock: Option<BorrowedFd<'a>>,
}

/// Runs the program of `request` in the sandbox that `arguments` describe. Gives bwrap as the leader, with the program as
/// its inner process. The calling thread must stay until it has ended.
pub(crate) fn start(
    launcher: &Launcher<'_>,
    arguments: &Arguments,
    request: &Request,
    context: &SpawnContext<'_>,
) -> Result<Leader, Failure> {
    if context.is_cancelled() {
        return Err(cancelled().into());
    }
    let unable =
        |error: io::Error| Refusal::new(Stage::Start, "no descriptors", "").because(&error);
    let (ours, theirs) = packet_pair().map_err(unable)?;
    let bytes = request.encode();
    let request_file = memfd::once(c"request", &bytes).map_err(unable)?;
    let (complaints, complain) = io::pipe().map_err(unable)?;
    set_nonblocking(complaints.as_fd()).map_err(unable)?;
    // What is /dev/null is opened inside: this one is the host's.
    let [stdin, stdout, stderr] = context.standard.map(|fd| fd.unwrap_or(context.null));
    let mut descriptors = vec![
        launcher.inside,
        theirs.as_fd(),
        request_file.as_fd(),
        stdin,
        stdout,
        stderr,
        launcher.lock.unwrap_or(context.null),
    ];
    debug_assert_eq!(descriptors.len(), inside::DESCRIPTORS);
    descriptors.extend(arguments.descriptors.iter().map(AsFd::as_fd));
    let argv = std::iter::once(Ok(c"bwrap".to_owned()))
        .chain(
            arguments
                .args
                .iter()
                .map(|argument| CString::new(argument.clone().into_vec())),
        )
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Refusal::new(Stage::Policy, "a path has a NUL byte inside", ""))?;
    let launch = Launch {
        program: Program::Open(launcher.bwrap),
        argv: &argv,
        env: &[],
        cwd: c"/",
        stdin: context.null,
        // From its own output bwrap learns which terminal to show inside.
        stdout: if request.has_terminal {
            stdout
        } else {
            context.null
        },
        stderr: complain.as_fd(),
        // The program takes the terminal inside: bwrap must not be in its way.
        has_terminal: false,
        limits: &[],
        descriptors: &descriptors,
        cgroup: context.cgroup,
        restrictions: Restrictions::default(),
        guardian: context.guardian,
    };
    let leader = spawn::spawn(&launch).map_err(|error| match error.stage {
        spawn::Stage::Exec(_) | spawn::Stage::Interpreter(..) => Failure::Refused(
            Refusal::new(Stage::Start, "cannot run bwrap", "").because(&error.error),
        ),
        _ => Failure::Program(error),
    })?;
    drop((theirs, complain));
    let mut started = Started {
        leader,
        control: File::from(ours),
        complaints: File::from(OwnedFd::from(complaints)),
        masks: &request.rest.masks,
        cwd: request.image.as_ref().map(|image| image.cwd.as_c_str()),
        context,
    };
    match started.follow() {
        Ok(()) => Ok(started.leader),
        Err(ending) => Err(started.fail(ending)),
    }
}

fn path_of(path: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

/// A bwrap that runs, while it is not known what comes of it.
struct Started<'a> {
    leader: Leader,
    control: File,
    complaints: File,
    masks: &'a [Mask],
    cwd: Option<&'a CStr>,
    context: &'a SpawnContext<'a>,
}

/// How a start can fail after bwrap runs.
enum Ending {
    /// The process inside said so.
    Said(spawn::Stage, i32),
    /// It ended before it said anything.
    Silent,
    /// Nothing was heard in time, or the socket failed.
    Lost(io::Error),
    /// Nobody wants it any more.
    Cancelled,
}

impl Started<'_> {
    /// Waits until the program runs.
    fn follow(&mut self) -> Result<(), Ending> {
        let deadline = Instant::now() + PATIENCE;
        let sender = match self.hear(deadline)? {
            None => return Err(Ending::Silent),
            Some((Message::Failed(stage, errno), _)) => return Err(Ending::Said(stage, errno)),
            Some((Message::Ready, sender)) => sender,
        };
        // It waits for us, so its number is its own.
        self.leader.set_inner(Inner::of(sender));
        self.control.write_all(&[1]).map_err(Ending::Lost)?;
        match self.hear(deadline)? {
            // Its end of the socket was closed by the exec.
            None => Ok(()),
            Some((Message::Failed(stage, errno), _)) => Err(Ending::Said(stage, errno)),
            Some((Message::Ready, _)) => Err(Ending::Silent),
        }
    }

    /// The next message and who sent it; none at the end.
    fn hear(&self, deadline: Instant) -> Result<Option<(Message, i32)>, Ending> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ending::Lost(io::ErrorKind::TimedOut.into()));
            }
            let awaited = self
                .context
                .await_readable(Some(self.control.as_fd()), left);
            match awaited.map_err(Ending::Lost)? {
                Awaited::Ready => {}
                Awaited::Cancelled => return Err(Ending::Cancelled),
                Awaited::Nothing => continue,
            }
            let mut buffer = [0; inside::SIZE];
            return match receive_from(self.control.as_fd(), &mut buffer) {
                Ok((0, _)) => Ok(None),
                Ok((count, sender)) => Message::decode(&buffer[..count])
                    .map(|message| Some((message, sender)))
                    .ok_or(Ending::Silent),
                // Nobody read what was sent to it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
                Err(error) => Err(Ending::Lost(error)),
            };
        }
    }

    fn fail(mut self, ending: Ending) -> Failure {
        let exit = self.context.end(&mut self.leader);
        let mut complaint = Vec::new();
        // What there is; the pipe does not wait.
        let _ = (&self.complaints)
            .take(COMPLAINT as u64)
            .read_to_end(&mut complaint);
        let complaint = String::from_utf8_lossy(&complaint);
        let error = |errno| io::Error::from_raw_os_error(errno);
        match ending {
            Ending::Said(stage, errno) => match stage {
                spawn::Stage::Mount(place) => {
                    let mut refusal = Refusal::new(
                        Stage::SetUp,
                        "what the policy denies could not be covered",
                        "Deny the directory around it instead",
                    )
                    .because(&error(errno));
                    refusal.path = self.masks.get(place).map(|mask| path_of(&mask.path));
                    refusal.into()
                }
                spawn::Stage::Directory => {
                    let cwd = self.cwd.map(path_of).unwrap_or_default();
                    let what = format!(
                        "the working directory {} cannot be entered in the sandbox",
                        cwd.display()
                    );
                    let hint = "Let the policy read it, or start elsewhere";
                    let mut refusal = Refusal::new(Stage::Start, what, hint).because(&error(errno));
                    refusal.path = Some(cwd);
                    refusal.into()
                }
                spawn::Stage::Device => Refusal::new(
                    Stage::SetUp,
                    "the devices in the sandbox could not be protected",
                    "",
                )
                .because(&error(errno))
                .into(),
                spawn::Stage::Capabilities | spawn::Stage::NoNewPrivs | spawn::Stage::Seccomp => {
                    let what = format!("{stage:?} was not as it must be inside");
                    Refusal::new(Stage::Check, what, "")
                        .because(&error(errno))
                        .into()
                }
                _ => Failure::Program(SpawnError {
                    stage,
                    error: error(errno),
                }),
            },
            Ending::Silent => {
                let what = format!("bwrap ended before the sandbox stood ({})", tell(exit));
                let complaint = complaint.trim();
                let hint = if complaint.is_empty() {
                    String::new()
                } else {
                    format!("It said: {complaint}")
                };
                Refusal::new(Stage::SetUp, what, hint).into()
            }
            Ending::Lost(error) => {
                let what = "nothing was heard from inside the sandbox";
                Refusal::new(Stage::SetUp, what, "").because(&error).into()
            }
            Ending::Cancelled => cancelled().into(),
        }
    }
}

fn tell(exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Code(code)) => format!("exit code {code}"),
        Some(Exit::Killed(signal)) => signal.name(),
        None => "it cannot be killed".to_owned(),
    }
}

/// How long a killed launcher may take to end.
const END: Duration = Duration::from_secs(5);
/// Between looks at a child, where the kernel has no pidfd.
const TICK: Duration = Duration::from_millis(5);

/// What every start needs besides the program.
#[derive(Clone, Copy)]
pub struct SpawnContext<'a> {
    /// Become the program's descriptors 0, 1 and 2; none is `/dev/null`.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// `/dev/null`
    pub null: BorrowedFd<'a>,
    /// Who kills what we started when we die.
    pub guardian: &'a Guardian,
    /// The cgroup to start in, by what [`Launch::cgroup`] is written to.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Becomes readable when the start is to be given up.
    pub cancel: Option<BorrowedFd<'a>>,
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// What was waited for.
    Ready,
    /// The start is to be given up.
    Cancelled,
    /// The end of the time, or nothing yet.
    Nothing,
}

impl SpawnContext<'_> {
    /// Whether the start is to be given up.
    pub(crate) fn is_cancelled(&self) -> bool {
        Cancel(self.cancel).is_set()
    }

    /// Waits until `fd` is readable or the start is given up, at most for `limit`.
    pub(crate) fn await_readable(
        &self,
        fd: Option<BorrowedFd<'_>>,
        limit: Duration,
    ) -> io::Result<Awaited> {
        let mut fds = [fd, self.cancel].map(|fd| match fd {
            Some(fd) => PollFd::new(fd, READABLE),
            None => PollFd::never(),
        });
        poll::wait(&mut fds, Some(limit))?;
        // What has come is taken: a program that runs already is told to end by a signal.
        Ok(match fds.each_ref().map(PollFd::is_ready) {
            [true, _] => Awaited::Ready,
            [false, true] => Awaited::Cancelled,
            [false, false] => Awaited::Nothing,
        })
    }

    /// Waits for an event; false when the start is given up before.
    pub(crate) fn wait_for(&self, event: &WakeEvent) -> bool {
        loop {
            match self.await_readable(Some(event.as_fd()), PATIENCE) {
                Ok(Awaited::Nothing) => {}
                Ok(Awaited::Cancelled) => return false,
                Ok(Awaited::Ready) | Err(_) => return true,
            }
        }
    }

    /// Stays with a launcher until `deadline` or until the start is given up, and then leaves nothing of it. Its exit; none
    /// if it did not end by itself.
    pub(crate) fn see_out(&self, mut leader: Leader, deadline: Instant) -> Option<Exit> {
        let exit = self.wait_for_exit(&mut leader, deadline);
        if exit.is_some() {
            // What it left behind has no business here.
            let _ = leader.signal_group(Signal::KILL);
            self.guardian.remove(leader.pid());
        } else {
            self.end(&mut leader);
        }
        exit
    }

    /// Kills what is left of a launcher and reaps it, also when the start is given up.
    pub(crate) fn end(&self, leader: &mut Leader) -> Option<Exit> {
        let unhurried = Self {
            cancel: None,
            ..*self
        };
        // It may be about to end by itself, unless it was in the middle of what is given up.
        let patience = if self.is_cancelled() {
            Duration::ZERO
        } else {
            TICK
        };
        let exit = unhurried.wait_for_exit(leader, Instant::now() + patience);
        let exit = exit.or_else(|| {
            // One that is gone needs no signal.
            let _ = leader.signal_group(Signal::KILL);
            unhurried.wait_for_exit(leader, Instant::now() + END)
        });
        self.guardian.remove(leader.pid());
        exit
    }

    /// Waits for the exit; none if it has not come by `deadline`, or before the start is given up.
    fn wait_for_exit(&self, leader: &mut Leader, deadline: Instant) -> Option<Exit> {
        loop {
            if let Ok(Some(exit)) = leader.reap() {
                return Some(exit);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let event = leader.exit_event();
            let limit = if event.is_some() {
                left
            } else {
                left.min(TICK)
            };
            match self.await_readable(event.as_ref().map(AsFd::as_fd), limit) {
                Ok(Awaited::Cancelled) => return None,
                Ok(Awaited::Ready | Awaited::Nothing) => {}
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }
}

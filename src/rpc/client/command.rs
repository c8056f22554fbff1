//! The process of a stdio command: its life is that of the connection.
//!
//! A thread of its own starts it, reads its standard error, ends it and reaps it. The kernel kills
//! the process when that thread ends, the guardian kills its group when we are killed. Whoever
//! ends the connection gets TERM sent to the group, and KILL 2 s later; what is left of the group
//! when its leader has ended is killed at once.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::StdioCommand;
use crate::log;
use crate::net::Source;
use crate::oneshot;
use crate::rpc::methods::process::is_our_secret;
use crate::sys::guardian::Guardian;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::process::{Exit, Leader};
use crate::sys::signal::Signal;
use crate::sys::socket::{set_nonblocking, widen_pipe};
use crate::sys::spawn::{self, Launch, Program, Restrictions, Search, SpawnError, Stage};
use crate::sys::sync::{Condvar, Mutex};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);
/// Room in the pipes: a block, so that neither side stops for the other within one.
const PIPE: i32 = 1024 * 1024;
/// How long the last of standard error is waited for after the exit.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often the exit is looked for where the kernel tells of none.
const TICK: Duration = Duration::from_millis(20);

/// A started command.
pub(crate) struct CommandProcess {
    shared: Arc<Shared>,
}

struct Shared {
    /// Set when the process is to end.
    end: WakeEvent,
    /// Set when it has ended, for whoever reads its output.
    ended: Arc<WakeEvent>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tail: Tail,
    exit: Option<Exit>,
    is_over: bool,
}

/// Our ends of its standard input and output.
pub(crate) struct Streams {
    pub(crate) stdin: File,
    pub(crate) stdout: CommandOutput,
}

/// Its standard output, which ends at the latest when it has.
pub(crate) struct CommandOutput {
    stdout: File,
    ended: Arc<WakeEvent>,
}

impl Source for CommandOutput {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut fds = [
            PollFd::new(self.stdout.as_fd(), READABLE),
            PollFd::new(self.ended.as_fd(), READABLE),
        ];
        poll::wait(&mut fds, Some(timeout))?;
        if fds[0].is_ready() {
            return self.stdout.read(buffer);
        }
        // A stranger may hold the pipe open; what the process itself has written is read above.
        if fds[1].is_ready() {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl CommandProcess {
    /// Starts it. The error is for a person, and names neither arguments nor variables.
    pub(crate) fn start(command: &StdioCommand) -> Result<(Self, Streams), String> {
        let prepared = Prepared::new(command)?;
        let no_pipe = |error: io::Error| format!("cannot make a pipe: {error}");
        let (child_stdin, stdin) = io::pipe().map_err(no_pipe)?;
        let (stdout, child_stdout) = io::pipe().map_err(no_pipe)?;
        let (stderr, child_stderr) = io::pipe().map_err(no_pipe)?;
        for pipe in [stdin.as_fd(), stdout.as_fd()] {
            widen_pipe(pipe, PIPE);
        }
        let stdin = OwnedFd::from(stdin);
        let stderr = OwnedFd::from(stderr);
        set_nonblocking(stdin.as_fd()).map_err(no_pipe)?;
        set_nonblocking(stderr.as_fd()).map_err(no_pipe)?;
        let ended = Arc::new(WakeEvent::new().map_err(no_pipe)?);
        let shared = Arc::new(Shared {
            end: WakeEvent::new().map_err(no_pipe)?,
            ended: Arc::clone(&ended),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let child = [child_stdin.into(), child_stdout.into(), child_stderr.into()];
        let (sender, receiver) = oneshot::channel();
        let keeper = Arc::clone(&shared);
        thread::Builder::new()
            .name("stdio-command".into())
            .spawn(move || {
                let guardian = guardian();
                let started = guardian
                    .and_then(|guardian| prepared.spawn(&child, guardian).map(|it| (it, guardian)));
                drop(child);
                match started {
                    Ok((leader, guardian)) => {
                        sender.send(Ok(()));
                        keeper.keep(leader, guardian, &File::from(stderr));
                    }
                    Err(why) => sender.send(Err(why)),
                }
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        receiver
            .wait(None)
            .unwrap_or_else(|_| Err("the thread for it ended".to_owned()))?;
        let stdout = CommandOutput {
            stdout: File::from(OwnedFd::from(stdout)),
            ended,
        };
        let stdin = File::from(stdin);
        Ok((Self { shared }, Streams { stdin, stdout }))
    }

    /// What it has said on standard error last and how it has ended, for an error. Waits a moment
    /// for both, since they come after the end of its output.
    pub(crate) fn last_words(&self) -> String {
        let state = self.wait_until_over(GRACE / 4);
        let mut text = match &state.exit {
            Some(Exit::Code(code)) => format!("it exited with code {code}"),
            Some(Exit::Killed(signal)) => format!("it was killed by {}", signal.name()),
            None => "it is still running".to_owned(),
        };
        if !state.tail.lines.is_empty() {
            text.push_str("; its standard error ends:");
            for line in &state.tail.lines {
                text.push_str("\n  ");
                text.push_str(line);
            }
        }
        text
    }

    /// Ends it, and waits until nothing is left of its group.
    pub(crate) fn end(&self) {
        self.shared.end.set();
        drop(self.wait_until_over(GRACE + GRACE));
    }

    fn wait_until_over(&self, limit: Duration) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !state.is_over;
        let state = self.shared.state.lock();
        let waited = self.shared.changed.wait_timeout_while(state, limit, waits);
        waited.0
    }
}

impl Drop for CommandProcess {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// The life of the thread.
    fn keep(&self, mut leader: Leader, guardian: &Guardian, stderr: &File) {
        let group = leader.pid();
        let event = leader.exit_event();
        let mut is_silent = false;
        let mut kill_at = None;
        let mut wants_end = false;
        loop {
            let mut fds = [
                match &event {
                    Some(event) => PollFd::new(event.as_fd(), READABLE),
                    None => PollFd::never(),
                },
                if is_silent {
                    PollFd::never()
                } else {
                    PollFd::new(stderr.as_fd(), READABLE)
                },
                if wants_end {
                    PollFd::never()
                } else {
                    PollFd::new(self.end.as_fd(), READABLE)
                },
            ];
            let left = kill_at.map(|at: Instant| at.saturating_duration_since(Instant::now()));
            let limit = match (&event, left) {
                (Some(_), left) => left,
                (None, left) => Some(left.map_or(TICK, |left| left.min(TICK))),
            };
            if poll::wait(&mut fds, limit).is_err() {
                // Without it nothing could be waited for.
                let _ = leader.signal_group(Signal::KILL);
                thread::sleep(TICK);
            }
            let [_, has_words, end] = [0, 1, 2].map(|place: usize| fds[place].is_ready());
            if has_words {
                is_silent = !self.take_words(stderr);
            }
            if let Ok(Some(exit)) = leader.reap() {
                guardian.leader_reaped(group);
                // A wrapper ends sooner than the server behind it, which has the same time. The
                // end of a group is no event that could be waited for.
                while kill_at.is_some_and(|at| at > Instant::now()) && !leader.is_group_empty() {
                    thread::sleep(TICK);
                }
                let _ = leader.signal_group(Signal::KILL);
                guardian.remove(group);
                self.bury(exit, stderr, is_silent);
                return;
            }
            if end {
                wants_end = true;
                let _ = leader.signal_group(Signal::TERMINATE);
                kill_at = Some(Instant::now() + GRACE);
            }
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                let _ = leader.signal_group(Signal::KILL);
                kill_at = Some(Instant::now() + GRACE);
            }
        }
    }

    /// Takes what standard error has. False at its end.
    fn take_words(&self, mut stderr: &File) -> bool {
        let mut buffer = [0; 4096];
        match stderr.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.state.lock().tail.push(&buffer[..count]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }

    fn bury(&self, exit: Exit, stderr: &File, mut is_silent: bool) {
        let deadline = Instant::now() + LAST_WORDS;
        while !is_silent {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(stderr.as_fd(), READABLE)];
            // A stranger may hold it open.
            if poll::wait(&mut fds, Some(left)).is_err() || !fds[0].is_ready() {
                break;
            }
            is_silent = !self.take_words(stderr);
        }
        self.ended.set();
        let mut state = self.state.lock();
        state.tail.finish();
        state.exit = Some(exit);
        state.is_over = true;
        self.changed.notify_all();
    }
}

impl StdioCommand {
    /// Lets the command take our place, with our streams. Comes back only with why it could not, for a
    /// person; neither arguments nor variables are named.
    pub fn replace_us(&self) -> String {
        Prepared::new(self).map_or_else(|why| why, |prepared| prepared.replace())
    }
}

/// Kills the groups of all commands when we are killed. One for the whole program: it must be
/// there before the first of them and stay to the end.
fn guardian() -> Result<&'static Guardian, String> {
    static GUARDIAN: Mutex<Option<&'static Guardian>> = Mutex::new(None);
    let mut guardian = GUARDIAN.lock();
    let no_guardian = |error| format!("cannot start a guardian: {error}");
    if let Some(guardian) = *guardian {
        guardian.replace_if_ended().map_err(no_guardian)?;
        return Ok(guardian);
    }
    let started = Guardian::start(None).map_err(no_guardian)?;
    let started: &'static Guardian = Box::leak(Box::new(started));
    *guardian = Some(started);
    Ok(started)
}

/// What is made ready before a command is started: texts for the kernel, without our secrets.
struct Prepared {
    program: Search,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Prepared {
    fn new(command: &StdioCommand) -> Result<Self, String> {
        let text = |text: &[u8], what: &str| {
            CString::new(text).map_err(|_| format!("its {what} has a NUL byte inside"))
        };
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                !is_our_secret(name) && !command.env.keys().any(|key| name == key.as_str())
            })
            .collect();
        let given = command.env.iter();
        env.extend(given.map(|(name, value)| (name.into(), value.into())));
        let path = env.iter().find(|(name, _)| name == "PATH");
        let path = path.map(|(_, value)| value.as_os_str());
        let program = Search::new(&command.program, path)
            .map_err(|_| "its program has a NUL byte inside".to_owned())?;
        let cwd = match &command.cwd {
            Some(cwd) => cwd.as_os_str().as_bytes(),
            None => b".",
        };
        Ok(Self {
            program,
            argv: std::iter::once(&command.program)
                .chain(&command.args)
                .map(|argument| text(argument.as_bytes(), "argument"))
                .collect::<Result<_, _>>()?,
            env: env
                .iter()
                .map(|(name, value)| {
                    text(
                        &[name.as_bytes(), b"=", value.as_bytes()].concat(),
                        "variable",
                    )
                })
                .collect::<Result<_, _>>()?,
            cwd: text(cwd, "directory")?,
        })
    }

    /// Why the command could not take our place.
    fn replace(&self) -> String {
        let there = std::env::set_current_dir(OsStr::from_bytes(self.cwd.as_bytes()));
        let error = match there {
            Ok(()) => spawn::replace(&self.program, &self.argv, &self.env),
            Err(error) => error,
        };
        error.to_string()
    }

    fn spawn(&self, child: &[OwnedFd; 3], guardian: &Guardian) -> Result<Leader, String> {
        let launch = Launch {
            program: Program::Search(&self.program),
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            stdin: child[0].as_fd(),
            stdout: child[1].as_fd(),
            stderr: child[2].as_fd(),
            has_terminal: false,
            limits: &[],
            descriptors: &[],
            cgroup: None,
            restrictions: Restrictions::default(),
            guardian,
        };
        spawn::spawn(&launch).map_err(|error| self.explain(&error))
    }

    fn explain(&self, failure: &SpawnError) -> String {
        let error = &failure.error;
        match failure.stage {
            Stage::Directory => {
                let cwd = String::from_utf8_lossy(self.cwd.as_bytes());
                format!("cannot enter its directory {cwd}: {error}")
            }
            Stage::Exec(_) | Stage::Interpreter(..) => {
                let program = self.argv.first().map(|it| it.to_string_lossy());
                format!(
                    "cannot run its program {}: {error}; is it installed here, and on PATH?",
                    program.unwrap_or_default()
                )
            }
            _ => format!("cannot start a process: {failure}"),
        }
    }
}

/// What is kept of standard error: lines and bytes.
const TAIL: (usize, usize) = (20, 4096);

/// The last lines of a text without end.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    unfinished: Vec<u8>,
}

impl Tail {
    fn push(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = TAIL.1.saturating_sub(self.unfinished.len());
            self.unfinished
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.finish();
            }
        }
    }

    /// Ends the line that has been begun.
    fn finish(&mut self) {
        let line = std::mem::take(&mut self.unfinished);
        let line = String::from_utf8_lossy(&line);
        let line: String = line
            .trim_end()
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        if line.is_empty() {
            return;
        }
        log::debug!("exec-server stdio stderr: {line}");
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > TAIL.0 || (self.bytes > TAIL.1 && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_however_long_they_are() {
        let mut tail = Tail::default();
        for number in 0..100 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        tail.push(b"\x1b[31mred\r\n\nunfi");
        tail.push(b"nished");
        tail.finish();
        assert_eq!(tail.lines.len(), TAIL.0);
        let last: Vec<_> = tail.lines.iter().skip(TAIL.0 - 2).collect();
        assert_eq!(last, ["[31mred", "unfinished"]);
        for _ in 0..3 {
            tail.push(&[b'x'; 10_000]);
            tail.push(b"\n");
        }
        assert_eq!(tail.lines.len(), 1);
        assert_eq!((tail.bytes, tail.unfinished.len()), (TAIL.1, 0));
    }
}

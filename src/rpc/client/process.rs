//! A process on the server, as its owner sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::connection::{Answer, CallError, Params};
use super::events::EventQueue;
use super::session::Session;
use super::{ClientError, ExecServerClient};
use crate::deadline;
use crate::rpc::methods::Method;
use crate::rpc::methods::process::{
    CapturedOutput, CloseStdin, CloseStdinParams, Denial, EnvPolicy, ExitFacts, MissingBytes,
    Resize, ResizeParams, Rlimit, Run, RunParams, Signal, SignalParams, Size, Start, StartParams,
    StreamName, Terminate, TerminateParams, Write, WriteStatus,
};
use crate::rpc::path_uri::PathStyle;
use crate::rpc::{base64, encode};

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
    /// What the program sees as its name, if not `argv[0]`.
    pub arg0: Option<String>,
    /// Where to start: an absolute path; none is the environment's own directory.
    pub cwd: Option<String>,
    /// Laid over what `env_policy` lets through.
    pub env: BTreeMap<String, String>,
    /// What to inherit of the environment variables there; none inherits nothing.
    pub env_policy: Option<EnvPolicy>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<Size>,
    /// Whether standard input is a pipe. A terminal always takes input.
    pub pipe_stdin: bool,
    /// How long it may run; then its group gets TERM and 2 s later KILL.
    pub timeout: Option<Duration>,
    /// What it may have of the system's resources, by their names for `prlimit`.
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Bytes of memory that it may have together with all that descends from it.
    pub memory_max: Option<u64>,
    /// Processes and threads that these may be.
    pub pids_max: Option<u64>,
    /// Processors whose time they may use, such as 1.5.
    pub cpu_max: Option<f64>,
    /// The confinement, as JSON of the wire.
    pub sandbox: Option<String>,
}

/// The confinement in force, as a start tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confined {
    /// The reference's word for it; `none` for none.
    pub sandbox_type: String,
    /// What has made it, such as `bundled`, where the server tells.
    pub launcher: Option<String>,
    /// What is not enforced as asked, a sentence each, where the server tells.
    pub weaker: Vec<String>,
}

/// A program that was run to its end by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// What it has written there, or on its terminal.
    pub stdout: Captured,
    /// What it has written there.
    pub stderr: Captured,
    /// From its start to its exit.
    pub duration: Duration,
    /// The confinement that was in force, if one was asked for.
    pub confined: Option<Confined>,
}

/// What a program has written to one of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// All of it, or where that was too much the first and the last bytes.
    pub data: Vec<u8>,
    /// What was left out between them.
    pub missing: Option<MissingBytes>,
}

/// What happens to a process, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It has printed something.
    Output {
        /// Where.
        stream: StreamName,
        /// At least one byte.
        data: Vec<u8>,
    },
    /// Events of these numbers are lost for good: output that was no longer kept.
    Gap {
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// It has ended.
    Exited(Exit),
    /// Nothing more will come.
    Closed,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its code, or 128+n when signal n killed it.
    pub code: i32,
    /// The name of the signal that killed it, without `SIG`, where the server tells.
    pub signal: Option<String>,
    /// Whether its time was up, where the server tells.
    pub timed_out: bool,
    /// Whether its group had no memory left and the kernel has ended it, where the server tells.
    pub oom_killed: bool,
    /// Whether the sandbox is what it failed of, as far as the server can tell.
    pub sandbox_denied: bool,
    /// What was denied, where the server tells.
    pub denial: Option<Denial>,
}

/// A process on the server. Dropping it does not end the process.
pub struct Process {
    client: ExecServerClient,
    session: Arc<Session>,
    events: Arc<EventQueue>,
    confined: Option<Confined>,
}

impl ExecServerClient {
    /// Starts a program; returns when it runs.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, does not know what is asked for, or does not confine
    /// what must be.
    pub fn start(&self, command: &Command) -> Result<Process, ClientError> {
        let (session, _) = self.connector().ready()?;
        let events = session.open_events()?;
        let params = start_json(&session, &events.id, command);
        let mut process = Process {
            client: self.clone(),
            session,
            events,
            confined: None,
        };
        let started = params.and_then(|params| {
            let limit = Some(self.call_timeout());
            process.call_with::<Start>(&|out| out.extend_from_slice(&params), limit, false)
        });
        let confined = started.and_then(|answer| {
            let confined = answer.reply::<Start>().and_then(|reply| {
                let wanted = Wanted::of(command);
                confined(wanted, reply.sandbox_type.as_deref(), reply.sandbox_level)
            });
            confined.map_err(|error| match Wanted::of(command) {
                Wanted::Nothing => error,
                Wanted::Network | Wanted::Files => {
                    // It has run for a moment already. Should even this fail, its session's end ends it.
                    let _ = process.terminate(Duration::ZERO);
                    ClientError::NotConfined("and the command was ended at once")
                }
            })
        });
        match confined {
            Ok(confined) => process.confined = confined,
            Err(error) => {
                process.session.close_events(&process.events.id);
                if matches!(
                    error,
                    ClientError::Disconnected(_) | ClientError::TimedOut(_)
                ) {
                    let connector = self.connector();
                    connector.note_stray(&process.session, &process.events.id);
                }
                return Err(error);
            }
        }
        Ok(process)
    }
}

impl ExecServerClient {
    /// Runs a program to its end, with this on its standard input, in one request. Of each of its
    /// streams at most `max_output` bytes are answered, where that is not the server's to choose.
    /// Should the connection be lost meanwhile, the program is ended.
    ///
    /// # Errors
    /// The server cannot be reached, does not know this extension, refuses, or does not confine
    /// what must be; or the connection was lost.
    pub fn run(
        &self,
        command: &Command,
        stdin: Option<&[u8]>,
        max_output: Option<u64>,
    ) -> Result<Finished, ClientError> {
        let (session, connection) = self.connector().ready()?;
        session.facts.needs(Run::NAME)?;
        let id = session.fresh_name();
        let sandbox = sandbox_of(&session, command)?;
        let start = start_params(&session, &id, command, sandbox.as_deref())?;
        let params = RunParams {
            stdin: stdin.map(|bytes| base64::encode(bytes).into()),
            max_output_bytes: max_output,
            ..RunParams::of(start)
        };
        // It takes as long as the program does; a server that is gone is noticed.
        let answer = connection.call(Run::NAME, &|out| encode::json(out, &params), None);
        let answer = answer.map_err(|error| match error {
            CallError::NotSent(why) => ClientError::Disconnected(why),
            CallError::Failed(error) => error,
        })?;
        let reply = answer.reply::<Run>()?;
        let wanted = Wanted::of(command);
        let confined = confined(wanted, reply.sandbox_type.as_deref(), reply.sandbox_level)?;
        Ok(Finished {
            exit: reply.exit.into(),
            stdout: captured(&reply.stdout)?,
            stderr: captured(&reply.stderr)?,
            duration: Duration::from_millis(reply.duration_ms),
            confined,
        })
    }
}

fn captured(output: &CapturedOutput<'_>) -> Result<Captured, ClientError> {
    let data = base64::decode(&output.data_base64)
        .map_err(|error| ClientError::Protocol(format!("output is no base64: {error}")))?;
    let missing = output.missing;
    Ok(Captured { data, missing })
}

impl Process {
    /// The next event in order; none if nothing happens within `timeout`, and at once after
    /// [`ProcessEvent::Closed`]. A lost connection that is recovered meanwhile shows nowhere.
    ///
    /// # Errors
    /// The session is lost for good; what became of the process is not known.
    pub fn next_event(&self, timeout: Duration) -> Result<Option<ProcessEvent>, ClientError> {
        self.events.next(timeout)
    }

    /// Waits for the exit, without taking any event; none if it does not come within `timeout`.
    /// Somebody must take the events meanwhile if there are many.
    ///
    /// # Errors
    /// As [`Process::next_event`].
    pub fn wait(&self, timeout: Duration) -> Result<Option<Exit>, ClientError> {
        self.events.exit(timeout)
    }

    /// Writes to its standard input or terminal. Returns when the server has taken all of it,
    /// which it delays when much is waiting to be read by the process; only the end of the
    /// connection ends that wait early.
    ///
    /// # Errors
    /// Its input is closed, or the session is lost.
    pub fn write(&self, data: &[u8]) -> Result<(), ClientError> {
        for piece in data.chunks(WRITE_PIECE) {
            let write_id = self.session.fresh_name();
            loop {
                match self.write_piece(piece, &write_id) {
                    Err(ClientError::Rejected { code: BUSY, .. }) => {
                        std::thread::sleep(BUSY_PAUSE);
                    }
                    Err(error) => return Err(error),
                    Ok(WriteStatus::Accepted) => break,
                    Ok(WriteStatus::Starting) => std::thread::sleep(BUSY_PAUSE),
                    Ok(status) => return Err(refused(&status)),
                }
            }
        }
        Ok(())
    }

    fn write_piece(&self, piece: &[u8], write_id: &str) -> Result<WriteStatus, ClientError> {
        // The id makes a repetition harmless.
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"processId\":");
            encode::json(out, &self.events.id);
            out.extend_from_slice(b",\"writeId\":");
            encode::json(out, write_id);
            out.extend_from_slice(b",\"chunk\":\"");
            base64::encode_into(piece, out);
            out.extend_from_slice(b"\"}");
        };
        let answer = self.call_with::<Write>(&write, None, true)?;
        Ok(answer.reply::<Write>()?.status)
    }

    /// Ends its standard input behind what was written.
    ///
    /// # Errors
    /// The server does not know this extension, its input is closed, or the session is lost.
    pub fn close_stdin(&self) -> Result<(), ClientError> {
        self.session.facts.needs(CloseStdin::NAME)?;
        let process_id = self.process_id();
        let answer = self.call::<CloseStdin>(&CloseStdinParams { process_id }, true)?;
        match answer.reply::<CloseStdin>()?.status {
            status @ WriteStatus::UnknownProcess => Err(refused(&status)),
            // Closed is what was wanted.
            _ => Ok(()),
        }
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    /// The server does not know this extension, there is no terminal, or the session is lost.
    pub fn resize(&self, size: Size) -> Result<(), ClientError> {
        self.session.facts.needs(Resize::NAME)?;
        let params = ResizeParams {
            process_id: self.process_id(),
            rows: size.rows,
            cols: size.cols,
        };
        self.call::<Resize>(&params, true).map(drop)
    }

    /// Sends its group a signal, by its name without `SIG`. Without the extension for all of them
    /// `INT` is sent as the reference knows it, and `KILL` by terminating the process.
    ///
    /// # Errors
    /// The server does not know this signal, or the session is lost.
    pub fn signal(&self, name: &str) -> Result<(), ClientError> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let spoken = match bare {
            "INT" => "interrupt",
            "KILL" if !self.session.facts.has("process/signal.anySignal") => {
                return self.terminate(Duration::ZERO);
            }
            _ => {
                self.session.facts.needs("process/signal.anySignal")?;
                bare
            }
        };
        let params = SignalParams {
            process_id: self.process_id(),
            signal: spoken.into(),
        };
        self.call::<Signal>(&params, false).map(drop)
    }

    /// Ends its group: TERM, and KILL after `grace`; KILL at once where that is zero, or the server
    /// knows no other way.
    ///
    /// # Errors
    /// The session is lost.
    pub fn terminate(&self, grace: Duration) -> Result<(), ClientError> {
        let has_grace = !grace.is_zero() && self.session.facts.has("process/terminate.graceMs");
        let params = TerminateParams {
            process_id: self.process_id(),
            grace_ms: has_grace.then(|| millis(grace)),
        };
        self.call::<Terminate>(&params, true).map(drop)
    }

    /// Takes all events until [`ProcessEvent::Closed`], or for at most `limit`.
    ///
    /// # Errors
    /// The session is lost, or time is up.
    pub fn collect(&self, limit: Duration) -> Result<Vec<ProcessEvent>, ClientError> {
        let deadline = deadline::after(limit);
        let mut events = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_event(left)? {
                Some(ProcessEvent::Closed) => {
                    events.push(ProcessEvent::Closed);
                    return Ok(events);
                }
                Some(event) => events.push(event),
                None if left.is_zero() => {
                    let why = format!("the process has not ended within {limit:?}");
                    return Err(ClientError::TimedOut(why));
                }
                None => {}
            }
        }
    }

    /// The confinement in force, if one was asked for.
    pub fn confined(&self) -> Option<&Confined> {
        self.confined.as_ref()
    }

    /// Its name on the wire, unique in the session.
    pub fn id(&self) -> &str {
        &self.events.id
    }

    fn process_id(&self) -> Cow<'_, str> {
        (&*self.events.id).into()
    }

    fn call<M: Method>(
        &self,
        params: &M::Params<'_>,
        repeats: bool,
    ) -> Result<Answer, ClientError> {
        let limit = Some(self.client.call_timeout());
        self.call_with::<M>(&|out| encode::json(out, params), limit, repeats)
    }

    /// The same with parameters that the caller writes.
    fn call_with<M: Method>(
        &self,
        params: Params<'_>,
        limit: Option<Duration>,
        repeats: bool,
    ) -> Result<Answer, ClientError> {
        let connector = self.client.connector();
        connector.call_in(&self.session, M::NAME, params, limit, repeats)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.client.connector().abandon(&self.session, &self.events);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.events.id).finish()
    }
}

/// Input is sent in pieces of so many bytes; the server delays its answer when that many wait.
const WRITE_PIECE: usize = 256 * 1024;
/// Between attempts to write while the server holds as much input as it may.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The code of a limit that is reached for the moment.
const BUSY: i64 = -32000;

fn refused(status: &WriteStatus) -> ClientError {
    let why = match status {
        WriteStatus::UnknownProcess => "the server does not know this process any more",
        _ => "the standard input of the process is closed, or was never open",
    };
    ClientError::InputClosed(why.to_owned())
}

/// The JSON of the parameters of a start.
fn start_json(session: &Session, id: &str, command: &Command) -> Result<Vec<u8>, ClientError> {
    let sandbox = sandbox_of(session, command)?;
    let mut params = start_params(session, id, command, sandbox.as_deref())?;
    params.acknowledges = session.facts.has("process/start.acknowledges");
    let mut json = Vec::new();
    encode::json(&mut json, &params);
    Ok(json)
}

/// The confinement that a command asks for, for the wire.
fn sandbox_of(session: &Session, command: &Command) -> Result<Option<Box<RawValue>>, ClientError> {
    // One that tells nothing about itself is 0.130, which ignores it.
    if Wanted::of(command) != Wanted::Nothing && session.facts.style == PathStyle::Native {
        return Err(ClientError::NotConfined(
            "as far as it tells, so nothing was started",
        ));
    }
    let sandbox = command.sandbox.as_deref().map(on_one_line).transpose();
    sandbox.map_err(|error| {
        ClientError::Protocol(format!("the sandbox of a command is no JSON: {error}"))
    })
}

fn start_params<'a>(
    session: &Session,
    id: &'a str,
    command: &Command,
    sandbox: Option<&'a RawValue>,
) -> Result<StartParams<'a>, ClientError> {
    let facts = &session.facts;
    let cwd = command.cwd.as_deref().or(facts.environment.cwd.as_deref());
    if command.timeout.is_some() {
        facts.needs("process/start.timeoutMs")?;
    }
    if !command.rlimits.is_empty() {
        facts.needs("process/start.rlimits")?;
    }
    let is_each = |limit: &Rlimit| matches!(limit, Rlimit::Each { .. });
    if command.rlimits.values().any(is_each) {
        facts.needs("process/start.softRlimits")?;
    }
    for (is_wanted, name) in [
        (command.memory_max.is_some(), "process/start.memoryMax"),
        (command.pids_max.is_some(), "process/start.pidsMax"),
        (command.cpu_max.is_some(), "process/start.cpuMax"),
    ] {
        if is_wanted {
            facts.needs(name)?;
        }
    }
    let size = command.terminal.filter(|_| facts.has("process/start.size"));
    Ok(StartParams {
        process_id: id.into(),
        argv: command.argv.clone(),
        cwd: Some(facts.path(cwd.unwrap_or("/")).into()),
        env: Some(command.env.clone()),
        tty: command.terminal.is_some(),
        pipe_stdin: command.pipe_stdin,
        arg0: command.arg0.clone(),
        env_policy: command.env_policy.clone(),
        sandbox,
        size,
        timeout_ms: command.timeout.map(millis),
        rlimits: command.rlimits.clone(),
        memory_max: command.memory_max,
        pids_max: command.pids_max,
        cpu_max: command.cpu_max,
        ..StartParams::default()
    })
}

/// The same JSON without the line breaks that a person may have put in: a message may be a line.
fn on_one_line(json: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    to_raw_value(&value)
}

/// What has to be confined, or the command must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// The network alone.
    Network,
    /// Its files, with or without the network.
    Files,
}

impl Wanted {
    fn of(command: &Command) -> Self {
        let Some(sandbox) = &command.sandbox else {
            return Self::Nothing;
        };
        let sandbox: Value = serde_json::from_str(sandbox).unwrap_or_default();
        let permissions = &sandbox["permissions"];
        let leaves_files = permissions["type"] == "external"
            || permissions["file_system"]["type"] == "unrestricted";
        if permissions["type"] == "disabled"
            || (leaves_files && permissions["network"] == "enabled")
        {
            return Self::Nothing;
        }
        match leaves_files {
            true => Self::Network,
            false => Self::Files,
        }
    }

    /// Whether what a server tells is a confinement of it. The reference tells no launcher.
    fn is_met(self, sandbox_type: Option<&str>, launcher: Option<&str>) -> bool {
        const TYPES: [&str; 3] = ["linuxSeccomp", "macosSeatbelt", "windowsRestrictedToken"];
        let is_confined = sandbox_type.is_some_and(|it| TYPES.contains(&it));
        match self {
            Self::Nothing => true,
            Self::Network if launcher == Some("seccomp") => is_confined,
            Self::Network | Self::Files => {
                let confines_files = |it| ["system", "bundled", "landlock"].contains(&it);
                is_confined && launcher.is_none_or(confines_files)
            }
        }
    }
}

#[derive(Deserialize)]
struct LevelReply {
    launcher: String,
    #[serde(default)]
    weaker: Vec<String>,
}

/// The confinement that a server tells, which must be one of what is wanted: 0.130 ignores a `sandbox`
/// and says nothing.
fn confined(
    wanted: Wanted,
    sandbox_type: Option<&str>,
    sandbox_level: Option<Value>,
) -> Result<Option<Confined>, ClientError> {
    let level: Option<LevelReply> = sandbox_level
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| ClientError::Protocol(format!("sandboxLevel: {error}")))?;
    let launcher = level.as_ref().map(|level| level.launcher.as_str());
    if !wanted.is_met(sandbox_type, launcher) {
        return Err(ClientError::NotConfined("and the command has run"));
    }
    let Some(sandbox_type) = sandbox_type else {
        return Ok(None);
    };
    if sandbox_type == "none" && level.is_none() {
        return Ok(None);
    }
    let (launcher, weaker) = level.map(|level| (level.launcher, level.weaker)).unzip();
    Ok(Some(Confined {
        sandbox_type: sandbox_type.to_owned(),
        launcher,
        weaker: weaker.unwrap_or_default(),
    }))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<ExitFacts> for Exit {
    fn from(facts: ExitFacts) -> Self {
        let signal = facts.signal.map(|name| match name.strip_prefix("SIG") {
            Some(bare) => bare.to_owned(),
            None => name,
        });
        Self {
            // 0.130 says -1 of a process that a signal has ended; none at all is as little known.
            code: facts.exit_code.map_or(-1, |code| {
                code.clamp(i32::MIN.into(), i32::MAX.into()) as i32
            }),
            signal,
            timed_out: facts.timed_out.unwrap_or(false),
            oom_killed: facts.oom_killed.unwrap_or(false),
            sandbox_denied: facts.sandbox_denied.unwrap_or(false),
            denial: facts.sandbox_denial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods::process::EndParams;

    #[test]
    fn an_exit_is_understood_from_every_generation() {
        let exit =
            |json: &str| Exit::from(serde_json::from_str::<EndParams<'_>>(json).unwrap().exit);
        let old = exit(r#"{"processId":"p","seq":1,"exitCode":3}"#);
        assert_eq!((old.code, old.signal, old.timed_out), (3, None, false));
        let ours = exit(
            r#"{"processId":"p","seq":1,"exitCode":137,"sandboxDenied":true,"signal":"SIGKILL","timedOut":true}"#,
        );
        assert_eq!((ours.code, ours.signal.as_deref()), (137, Some("KILL")));
        assert!(ours.timed_out && ours.sandbox_denied);
    }
}

//! A process on the server, as its owner sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::connection::{Answer, Params};
use super::events::EventQueue;
use super::session::Session;
use super::{ClientError, ExecServerClient};
use crate::rpc::methods::Method;
use crate::rpc::methods::process::{
    CloseStdin, CloseStdinParams, Denial, EnvPolicy, ExitFacts, Resize, ResizeParams, Signal,
    SignalParams, Size, Start, StartParams, StartReply, StreamName, Terminate, TerminateParams,
    Write, WriteStatus,
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
        let params = start_params(&session, &events.id, command);
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
            let confined = confined(answer.reply::<Start>()?)?;
            let must_be = command.sandbox.as_deref().is_some_and(must_be_confined);
            if must_be && confined.is_none() {
                // It has run for a moment already. Should even this fail, its session's end ends it.
                let _ = process.terminate(Duration::ZERO);
                return Err(ClientError::NotConfined(
                    "and the command was ended at once",
                ));
            }
            Ok(confined)
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
        let deadline = Instant::now() + limit;
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
fn start_params(session: &Session, id: &str, command: &Command) -> Result<Vec<u8>, ClientError> {
    let facts = &session.facts;
    let cwd = command.cwd.as_deref().or(facts.environment.cwd.as_deref());
    if command.timeout.is_some() {
        facts.needs("process/start.timeoutMs")?;
    }
    let size = command.terminal.filter(|_| facts.has("process/start.size"));
    let sandbox = command.sandbox.as_deref();
    // One that tells nothing about itself is 0.130, which ignores it.
    if sandbox.is_some_and(must_be_confined) && facts.style == PathStyle::Native {
        return Err(ClientError::NotConfined(
            "as far as it tells, so nothing was started",
        ));
    }
    let sandbox = sandbox.map(on_one_line).transpose().map_err(|error| {
        ClientError::Protocol(format!("the sandbox of a command is no JSON: {error}"))
    })?;
    let mut json = Vec::new();
    let params = StartParams {
        process_id: id.into(),
        argv: command.argv.clone(),
        cwd: Some(facts.path(cwd.unwrap_or("/")).into()),
        env: Some(command.env.clone()),
        tty: command.terminal.is_some(),
        pipe_stdin: command.pipe_stdin,
        arg0: command.arg0.clone(),
        env_policy: command.env_policy.clone(),
        sandbox: sandbox.as_deref(),
        size,
        timeout_ms: command.timeout.map(millis),
        acknowledges: facts.has("process/start.acknowledges"),
        ..StartParams::default()
    };
    encode::json(&mut json, &params);
    Ok(json)
}

/// The same JSON without the line breaks that a person may have put in: a message may be a line.
fn on_one_line(json: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    to_raw_value(&value)
}

/// Whether a command runs only if it is confined; one without a confinement may ask for none, too.
fn must_be_confined(sandbox: &str) -> bool {
    let sandbox: Value = serde_json::from_str(sandbox).unwrap_or_default();
    sandbox["permissions"]["type"] != "disabled"
}

#[derive(Deserialize)]
struct LevelReply {
    launcher: String,
    #[serde(default)]
    weaker: Vec<String>,
}

/// The confinement, if there is proof of one: 0.130 ignores a `sandbox` and says nothing.
fn confined(reply: StartReply<'_>) -> Result<Option<Confined>, ClientError> {
    let Some(sandbox_type) = reply.sandbox_type else {
        return Ok(None);
    };
    if sandbox_type == "none" && reply.sandbox_level.is_none() {
        return Ok(None);
    }
    let (launcher, weaker) = match reply.sandbox_level {
        Some(level) => {
            let level: LevelReply = serde_json::from_value(level)
                .map_err(|error| ClientError::Protocol(format!("sandboxLevel: {error}")))?;
            (Some(level.launcher), level.weaker)
        }
        None => (None, Vec::new()),
    };
    Ok(Some(Confined {
        sandbox_type: sandbox_type.into_owned(),
        launcher,
        weaker,
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

//! A process on the server, as its owner sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::connection::Answer;
use super::route::Route;
use super::session::Session;
use super::types::{Command, Confined, Exit, ProcessEvent, TerminalSize};
use super::{ClientError, ExecServerClient, wire};
use crate::rpc::path_uri::PathStyle;
use crate::rpc::protocol::env_policy::{EnvPolicy, Inherit};
use crate::rpc::{base64, encode};

/// Input is sent in pieces of so many bytes; the server delays its answer when that many wait.
const WRITE_PIECE: usize = 256 * 1024;
/// Between attempts to write while the server holds as much input as it may.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The code of a limit that is reached for the moment.
const BUSY: i64 = -32000;

/// A process on the server. Dropping it does not end the process.
pub struct RemoteProcess {
    client: ExecServerClient,
    session: Arc<Session>,
    route: Arc<Route>,
    confined: Option<Confined>,
}

/// What of the answer to a start is of use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartReply {
    #[serde(default)]
    sandbox_type: Option<String>,
    #[serde(default)]
    sandbox_level: Option<LevelReply>,
}

#[derive(Deserialize)]
struct LevelReply {
    launcher: String,
    #[serde(default)]
    weaker: Vec<String>,
}

impl StartReply {
    /// The confinement, if there is proof of one: 0.130 ignores a `sandbox` and says nothing.
    fn confined(self) -> Option<Confined> {
        let sandbox_type = self.sandbox_type?;
        if sandbox_type == "none" && self.sandbox_level.is_none() {
            return None;
        }
        let (launcher, weaker) = match self.sandbox_level {
            Some(level) => (Some(level.launcher), level.weaker),
            None => (None, Vec::new()),
        };
        Some(Confined {
            sandbox_type,
            launcher,
            weaker,
        })
    }
}

#[derive(Deserialize)]
struct StatusReply {
    status: Status,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
enum Status {
    Accepted,
    UnknownProcess,
    StdinClosed,
    /// 0.130: the process is not up yet.
    Starting,
}

impl ExecServerClient {
    /// Starts a program; returns when it runs.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, does not know what is asked for, or does not confine
    /// what must be.
    pub fn start(&self, command: &Command) -> Result<RemoteProcess, ClientError> {
        let (session, _) = self.shared().ready()?;
        let route = session.open_route()?;
        let params = start_params(&session, &route.id, command);
        let mut process = RemoteProcess {
            client: self.clone(),
            session,
            route,
            confined: None,
        };
        let started = params.and_then(|params| {
            process.call("process/start", &params, Some(self.call_timeout()), false)
        });
        let confined = started.and_then(|json| {
            let reply: StartReply = wire::result("process/start", &json)?;
            let confined = reply.confined();
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
                process.session.close_route(&process.route.id);
                if matches!(
                    error,
                    ClientError::Disconnected(_) | ClientError::TimedOut(_)
                ) {
                    let shared = self.shared();
                    shared.note_stray(&process.session, &process.route.id);
                }
                return Err(error);
            }
        }
        Ok(process)
    }
}

/// Whether a command runs only if it is confined; one without a confinement may ask for none, too.
fn must_be_confined(sandbox: &str) -> bool {
    let sandbox: Value = serde_json::from_str(sandbox).unwrap_or_default();
    sandbox["permissions"]["type"] != "disabled"
}

impl RemoteProcess {
    /// The next event in order; none if nothing happens within `timeout`, and at once after
    /// [`ProcessEvent::Closed`]. A lost connection that is recovered meanwhile shows nowhere.
    ///
    /// # Errors
    /// The session is lost for good; what became of the process is not known.
    pub fn next_event(&self, timeout: Duration) -> Result<Option<ProcessEvent>, ClientError> {
        self.route.next(timeout)
    }

    /// Waits for the exit, without taking any event; none if it does not come within `timeout`.
    /// Somebody must take the events meanwhile if there are many.
    ///
    /// # Errors
    /// As [`RemoteProcess::next_event`].
    pub fn wait(&self, timeout: Duration) -> Result<Option<Exit>, ClientError> {
        self.route.exit(timeout)
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
                    Ok(Status::Accepted) => break,
                    Ok(Status::Starting) => std::thread::sleep(BUSY_PAUSE),
                    Ok(status) => return Err(refused(&status)),
                }
            }
        }
        Ok(())
    }

    fn write_piece(&self, piece: &[u8], write_id: &str) -> Result<Status, ClientError> {
        // The id makes a repetition harmless.
        let json = self.client.shared().call_in(
            &self.session,
            "process/write",
            |out| {
                out.extend_from_slice(b"{\"processId\":");
                encode::json(out, &self.route.id);
                out.extend_from_slice(b",\"writeId\":");
                encode::json(out, write_id);
                out.extend_from_slice(b",\"chunk\":\"");
                base64::encode_into(piece, out);
                out.extend_from_slice(b"\"}");
            },
            None,
            true,
        )?;
        let reply: StatusReply = wire::result("process/write", &json)?;
        Ok(reply.status)
    }

    /// Ends its standard input behind what was written.
    ///
    /// # Errors
    /// The server does not know this extension, its input is closed, or the session is lost.
    pub fn close_stdin(&self) -> Result<(), ClientError> {
        self.session.facts.needs("process/closeStdin")?;
        let params = json!({ "processId": self.route.id });
        let json = self.call("process/closeStdin", &params, self.limit(), true)?;
        let reply: StatusReply = wire::result("process/closeStdin", &json)?;
        match reply.status {
            Status::UnknownProcess => Err(refused(&reply.status)),
            // Closed is what was wanted.
            _ => Ok(()),
        }
    }

    /// Gives its terminal another size.
    ///
    /// # Errors
    /// The server does not know this extension, there is no terminal, or the session is lost.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ClientError> {
        self.session.facts.needs("process/resize")?;
        let params = json!({
            "processId": self.route.id, "rows": size.rows, "cols": size.cols,
        });
        self.call("process/resize", &params, self.limit(), true)
            .map(drop)
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
        let params = json!({ "processId": self.route.id, "signal": spoken });
        self.call("process/signal", &params, self.limit(), false)
            .map(drop)
    }

    /// Ends its group: TERM, and KILL after `grace`; KILL at once where that is zero, or the server
    /// knows no other way.
    ///
    /// # Errors
    /// The session is lost.
    pub fn terminate(&self, grace: Duration) -> Result<(), ClientError> {
        let mut params = json!({ "processId": self.route.id });
        if !grace.is_zero() && self.session.facts.has("process/terminate.graceMs") {
            params["graceMs"] = millis(grace).into();
        }
        self.call("process/terminate", &params, self.limit(), true)
            .map(drop)
    }

    /// The confinement in force, if one was asked for.
    pub fn confined(&self) -> Option<&Confined> {
        self.confined.as_ref()
    }

    /// Its name on the wire, unique in the session.
    pub fn id(&self) -> &str {
        &self.route.id
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.client.call_timeout())
    }

    fn call(
        &self,
        method: &str,
        params: &Value,
        limit: Option<Duration>,
        repeats: bool,
    ) -> Result<Answer, ClientError> {
        let write = |out: &mut Vec<u8>| encode::json(out, params);
        let shared = self.client.shared();
        shared.call_in(&self.session, method, write, limit, repeats)
    }
}

impl Drop for RemoteProcess {
    fn drop(&mut self) {
        self.client.shared().abandon(&self.session, &self.route);
    }
}

impl fmt::Debug for RemoteProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteProcess")
            .field(&self.route.id)
            .finish()
    }
}

fn refused(status: &Status) -> ClientError {
    let why = match status {
        Status::UnknownProcess => "the server does not know this process any more",
        _ => "the standard input of the process is closed, or was never open",
    };
    ClientError::InputClosed(why.to_owned())
}

fn start_params(session: &Session, id: &str, command: &Command) -> Result<Value, ClientError> {
    let facts = &session.facts;
    let cwd = command.cwd.as_deref().or(facts.facts.cwd.as_deref());
    let mut params = Map::new();
    let mut set = |name: &str, value: Value| {
        params.insert(name.to_owned(), value);
    };
    set("processId", id.into());
    set("argv", json!(command.argv));
    set("cwd", facts.path(cwd.unwrap_or("/")).into());
    set("env", json!(command.env));
    set("tty", command.terminal.is_some().into());
    set("pipeStdin", command.pipe_stdin.into());
    set("arg0", json!(command.arg0));
    if let Some(policy) = &command.env_policy {
        set("envPolicy", policy_json(policy));
    }
    if let Some(size) = command.terminal
        && facts.has("process/start.size")
    {
        set("size", json!({ "rows": size.rows, "cols": size.cols }));
    }
    if let Some(timeout) = command.timeout {
        facts.needs("process/start.timeoutMs")?;
        set("timeoutMs", millis(timeout).into());
    }
    if facts.has("process/start.acknowledges") {
        set("acknowledges", true.into());
    }
    if let Some(sandbox) = &command.sandbox {
        // One that tells nothing about itself is 0.130, which ignores it.
        if must_be_confined(sandbox) && facts.style == PathStyle::Native {
            return Err(ClientError::NotConfined(
                "as far as it tells, so nothing was started",
            ));
        }
        let sandbox = serde_json::from_str(sandbox).map_err(|error| {
            ClientError::Protocol(format!("the sandbox of a command is no JSON: {error}"))
        })?;
        set("sandbox", sandbox);
    }
    Ok(Value::Object(params))
}

fn policy_json(policy: &EnvPolicy) -> Value {
    json!({
        "inherit": match policy.inherit {
            Inherit::Core => "core",
            Inherit::All => "all",
            Inherit::None => "none",
        },
        "ignoreDefaultExcludes": policy.ignore_default_excludes,
        "exclude": policy.exclude,
        "set": policy.set,
        "includeOnly": policy.include_only,
    })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl RemoteProcess {
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
}

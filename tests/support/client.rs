//! A client: sends, files what arrives, and waits for what must come.

mod connect;
mod processes;
mod sending;

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::link::{Incoming, Link};
use super::observed::Observed;
use super::transcript::Transcript;
use super::websocket::CUT;
use super::{PATIENCE, Server};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
}

/// One connection. On failure it prints what was said.
pub struct Client {
    link: Link,
    /// The server, where it lives for this client alone; dropped after the link.
    pub server: Option<Server>,
    /// The session it belongs to, once initialized.
    pub session: String,
    /// What `initialize` answered.
    pub greeting: Value,
    /// How long every wait lasts at most.
    pub patience: Duration,
    /// Whether the server may end the connection in the middle of a message.
    pub may_be_cut: bool,
    next_id: i64,
    answers: HashMap<String, Value>,
    starting: HashMap<String, String>,
    processes: BTreeMap<String, Observed>,
    resumed: bool,
    notices: Vec<Value>,
    pongs: Vec<Vec<u8>>,
    closes: Vec<u16>,
    gone: bool,
    recorded: Option<Vec<Value>>,
    transcript: Transcript,
}

/// Params of a request on one process, with more members.
pub fn params(process: &str, more: Value) -> Value {
    let mut params = json!({"processId": process});
    for (member, value) in more.as_object().into_iter().flatten() {
        params[member] = value.clone();
    }
    params
}

impl Client {
    /// A client on which nothing has been said yet.
    pub fn new(link: Link) -> Self {
        Self {
            link,
            server: None,
            session: String::new(),
            greeting: Value::Null,
            patience: PATIENCE,
            may_be_cut: false,
            next_id: 1,
            answers: HashMap::new(),
            starting: HashMap::new(),
            processes: BTreeMap::new(),
            resumed: false,
            notices: Vec::new(),
            pongs: Vec::new(),
            closes: Vec::new(),
            gone: false,
            recorded: None,
            transcript: Transcript::new(),
        }
    }

    /// The process id of the client's own server.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().unwrap().pid()
    }

    /// Says `initialize` and `initialized`.
    pub fn initialize(&mut self) {
        let greeting = self.ok(
            "initialize",
            json!({"clientName": "test", "resumeSessionId": null}),
        );
        self.greeted(greeting);
    }

    /// Takes up a session again, which may be refused.
    pub fn try_resume(&mut self, session: &str) -> Result<(), RpcError> {
        let greeting = self.request(
            "initialize",
            json!({"clientName": "test", "resumeSessionId": session}),
        )?;
        self.resumed = true;
        self.greeted(greeting);
        assert_eq!(self.session, session);
        Ok(())
    }

    fn greeted(&mut self, greeting: Value) {
        self.session = greeting["sessionId"].as_str().unwrap().to_string();
        self.greeting = greeting;
        self.notify("initialized", json!({}));
    }

    /// Answers no ping from here on, like a peer that has lost its network.
    pub fn ignore_pings(&self) {
        let answers = &self.link.answers_pings;
        answers.store(false, std::sync::atomic::Ordering::Relaxed);
    }

    /// After a resume: a read has told everything up to `seq`, and what comes of later events must follow it.
    pub fn skip_to(&mut self, process: &str, seq: u64) {
        let seen = self.observed(process);
        assert!(
            seen.last_seq.is_none_or(|last| last <= seq),
            "notifications have gone further than {seq}"
        );
        *seen = Observed {
            last_seq: Some(seq),
            read_to: seq,
            ..Observed::default()
        };
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"method": method, "params": params}).to_string());
    }

    /// Sends a request and does not wait; gives its id.
    pub fn ask(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "method": method, "params": params}).to_string());
        id
    }

    /// Waits for the answer to an id; gives the whole message.
    #[track_caller]
    pub fn whole_answer(&mut self, id: impl Into<Value>) -> Value {
        let key = id.into().to_string();
        self.wait(&format!("the answer to {key}"), |client| {
            client.answers.remove(&key)
        })
    }

    /// Waits for the answer to an id.
    #[track_caller]
    pub fn answer(&mut self, id: impl Into<Value>) -> Result<Value, RpcError> {
        let answer = self.whole_answer(id);
        match answer.get("error") {
            Some(error) => Err(RpcError {
                code: error["code"].as_i64().expect("a code"),
                message: error["message"].as_str().expect("a message").to_string(),
            }),
            None => Ok(answer.get("result").expect("result or error").clone()),
        }
    }

    /// Fails unless a session is another connection's, so that it cannot be taken up.
    #[track_caller]
    pub fn finds_attached(&mut self, session: &str) {
        let error = self.try_resume(session).unwrap_err();
        let expected = format!("session {session} is already attached to another connection");
        assert_eq!((error.code, error.message), (-32010, expected));
    }

    /// Whether the answer to an id is already here.
    pub fn has_answer(&self, id: impl Into<Value>) -> bool {
        self.answers.contains_key(&id.into().to_string())
    }

    /// Waits for any answer at all; gives its id too.
    #[track_caller]
    pub fn any_answer(&mut self) -> (Value, Result<Value, RpcError>) {
        let key = self.wait("any answer", |client| client.answers.keys().next().cloned());
        let id: Value = serde_json::from_str(&key).unwrap();
        (id.clone(), self.answer(id))
    }

    /// Forgets all answers that have come.
    pub fn claim_all(&mut self) {
        self.answers.clear();
    }

    /// The ids of answers that nobody has asked for yet.
    pub fn unclaimed(&self) -> Vec<&String> {
        self.answers.keys().collect()
    }

    /// A request and its answer.
    pub fn request(&mut self, method: &str, params: Value) -> Result<Value, RpcError> {
        let id = self.ask(method, params);
        self.answer(id)
    }

    /// A request that must succeed.
    #[track_caller]
    pub fn ok(&mut self, method: &str, params: Value) -> Value {
        self.request(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    /// A request that must fail.
    #[track_caller]
    pub fn err(&mut self, method: &str, params: Value) -> RpcError {
        match self.request(method, params) {
            Err(error) => error,
            Ok(result) => panic!("{method} succeeded: {result}"),
        }
    }

    /// Waits for the pong to our ping.
    #[track_caller]
    pub fn pong(&mut self) -> Vec<u8> {
        self.wait("a pong", |client| client.pongs.pop())
    }

    /// Waits for the next notification of a method that is not about processes; gives its params.
    #[track_caller]
    pub fn notice(&mut self, method: &str) -> Value {
        self.wait(method, |client| {
            let of_method = |notice: &Value| notice["method"] == method;
            let place = client.notices.iter().position(of_method)?;
            Some(client.notices.remove(place)["params"].take())
        })
    }

    /// Notifications not about processes that nobody has asked for yet.
    pub fn unclaimed_notices(&self) -> &[Value] {
        &self.notices
    }

    /// Whether the server has hung up.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Waits for the server to hang up; gives the close codes it sent before.
    #[track_caller]
    pub fn hang_up(&mut self) -> Vec<u16> {
        let deadline = Instant::now() + self.patience;
        while !self.gone {
            assert!(self.pump(deadline), "the server does not hang up");
        }
        std::mem::take(&mut self.closes)
    }

    /// Files whatever arrives until `found` gives something; fails after the client's patience.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(value) = found(self) {
                return value;
            }
            assert!(!self.gone, "the server hung up before {what}");
            assert!(self.pump(deadline), "waited {:?} for {what}", self.patience);
        }
    }

    /// Files what arrives until `done`, for at most `limit`.
    pub fn settle(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !done(self) && !self.gone && self.pump(deadline) {}
    }

    /// Keeps every message from here on; gives what was kept so far.
    pub fn record(&mut self) -> Vec<Value> {
        self.recorded.replace(Vec::new()).unwrap_or_default()
    }

    /// What was kept since.
    pub fn recorded(&self) -> &[Value] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// Whether the start of a process has been answered well.
    pub fn has_started(&self, process: &str) -> bool {
        self.processes.get(process).is_some_and(|seen| seen.started)
    }

    /// Files one arrival; false if none came in time.
    fn pump(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.link.incoming.recv_timeout(left) {
            Ok(Incoming::Message(bytes)) => {
                self.transcript.note("<-", &bytes);
                self.file(&bytes);
            }
            Ok(Incoming::Pong(payload)) => self.pongs.push(payload),
            Ok(Incoming::Close(code)) => {
                self.transcript
                    .note("<-", format!("(close {code})").as_bytes());
                self.closes.push(code);
            }
            Ok(Incoming::Violation(what)) if self.may_be_cut && what.starts_with(CUT) => {
                self.transcript.note("<-", b"(cut)");
                self.gone = true;
            }
            Ok(Incoming::Violation(what)) => panic!("the server broke the transport: {what}"),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                self.transcript.note("<-", b"(hung up)");
                self.gone = true;
            }
        }
        true
    }

    fn file(&mut self, bytes: &[u8]) {
        let message: Value = serde_json::from_slice(bytes).unwrap_or_else(|error| {
            panic!(
                "not JSON ({error}): {:.200}",
                String::from_utf8_lossy(bytes)
            )
        });
        assert!(
            message.get("jsonrpc").is_none(),
            "the wire has no jsonrpc member"
        );
        if let Some(recorded) = &mut self.recorded {
            recorded.push(message.clone());
        }
        let Some(method) = message["method"].as_str() else {
            let id = message["id"].to_string();
            if let Some(process) = self.starting.remove(&id)
                && message.get("result").is_some()
            {
                let sink = self.processes.remove(&process).and_then(|seen| seen.sink);
                self.processes.insert(
                    process,
                    Observed {
                        sink,
                        ..Observed::fresh()
                    },
                );
            }
            let before = self.answers.insert(id.clone(), message);
            assert!(before.is_none(), "answered {id} twice");
            return;
        };
        assert!(
            message.get("id").is_none(),
            "the server asks nothing: {method}"
        );
        if !method.starts_with("process/") {
            self.notices.push(message);
            return;
        }
        let process = message["params"]["processId"]
            .as_str()
            .expect("a processId");
        assert!(
            self.resumed || self.processes.get(process).is_some_and(|seen| seen.started),
            "{method} for {process} before the answer to its start"
        );
        let filed = self
            .processes
            .entry(process.to_string())
            .or_default()
            .file(method, &message["params"]);
        if let Err(broken) = filed {
            panic!("{method} for {process}: {broken}");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.transcript.print();
        }
    }
}

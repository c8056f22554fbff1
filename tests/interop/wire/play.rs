//! A case played to one server, and everything it came to as fields.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::{Case, Step};
use super::cases::http;
use super::connection::Connection;
use super::fixture::Fixture;
use super::heard::{bytes, told};
use super::identity::Identity;
use crate::children::Guarded;
use crate::isolation::Place;
use crate::subject::{Generation, Transport, Whose, listening, server_command};
use support::recorded::fields::Fields;

/// How long an answer may take. The reference lets some requests wait for ever.
const LIMIT: Duration = Duration::from_secs(6);
/// How long nothing may come before a server on pipes counts as gone: the reference falls silent without hanging up.
const SILENCE: Duration = Duration::from_millis(1500);

/// A server that plays its part.
pub struct Peer {
    program: PathBuf,
    home: PathBuf,
    whose: Whose,
    generation: Generation,
    identity: Identity,
    /// The one for all websockets; pipes have a server each.
    listening: Option<(Guarded, SocketAddr)>,
    /// Where `http/request` goes.
    web: SocketAddr,
    /// What the last session is called.
    session: RefCell<String>,
}

impl Peer {
    /// Starts the server, if one serves all connections.
    pub fn start(
        place: &Place,
        program: &Path,
        whose: Whose,
        generation: Generation,
        transport: Transport,
        identity: Identity,
    ) -> Self {
        // Made by the user it is for, since the reference writes there.
        let home = place
            .scratch
            .join(format!("{identity}-home").replace(' ', "-"));
        let open = place.scratch.join("homes");
        let _ = std::fs::create_dir(&open);
        for made in [&home, &home.join("tmp")] {
            let _ = std::fs::create_dir(made);
            if identity == Identity::Nobody {
                std::os::unix::fs::chown(made, Some(65534), Some(65534))
                    .expect("root may give away");
            }
        }
        let mut peer = Self {
            program: program.to_path_buf(),
            home,
            whose,
            generation,
            identity,
            listening: None,
            web: http::web(),
            session: RefCell::default(),
        };
        if transport == Transport::Websocket {
            peer.listening = Some(listening(peer.command(transport).stderr(Stdio::null())));
        }
        peer
    }

    fn command(&self, transport: Transport) -> Command {
        let server = server_command(&self.program, self.whose, transport, &self.home);
        let mut command = self.identity.command(server.get_program());
        command.args(server.get_args()).env_clear().current_dir("/");
        let variables = server
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        command
            .envs(variables)
            .envs(FIXED_ENVIRONMENT.iter().copied())
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.join("tmp"));
        command
    }

    fn connect(&self) -> Connection {
        match &self.listening {
            Some((_, address)) => Connection::websocket(*address),
            None => Connection::stdio(self.command(Transport::Stdio)),
        }
    }

    /// Plays a case in a fresh fixture.
    pub fn play(&self, case: &Case, fixture: &Fixture) -> Fields {
        fixture.reset(case.ground);
        let mut connection = self.connect();
        if case.greeted {
            self.greet(&mut connection);
        }
        let mut fields = Fields::new();
        let mut kept = Vec::new();
        for (number, step) in case.steps.iter().enumerate() {
            match step {
                Step::Resume => {
                    told(&connection.heard, "before the resume: ", case, &mut fields);
                    drop(connection);
                    connection = self.resume();
                }
                Step::Intrude => {
                    let session = self.session.borrow().clone();
                    kept.push(std::mem::replace(&mut connection, self.connect()));
                    let params = json!({"clientName": "interop", "resumeSessionId": session});
                    connection.send(
                        &json!({"id": number, "method": "initialize", "params": params})
                            .to_string(),
                    );
                    connection.hear(LIMIT, |heard| answered(heard, &number.into()));
                }
                step => self.step(step, number, &mut connection, fixture),
            }
        }
        told(&connection.heard, "", case, &mut fields);
        if connection.closed {
            fields.insert("/connection".into(), "closed".into());
        }
        if case.files {
            fields.extend(fixture.state());
        }
        let session = self.session.borrow();
        if !session.is_empty() {
            for value in fields.values_mut() {
                *value = value.replace(session.as_str(), "(the session)");
            }
        }
        fields
    }

    fn step(&self, step: &Step, number: usize, connection: &mut Connection, fixture: &Fixture) {
        let at = |value: &Value| {
            let mut value = value.clone();
            self.place(&mut value, fixture);
            value
        };
        match step {
            Step::Ask(method, params) => {
                let request = json!({"id": number, "method": method, "params": at(params)});
                connection.send(&request.to_string());
                connection.hear(LIMIT, |heard| answered(heard, &number.into()));
            }
            Step::Send(text) => {
                connection.send(text);
                self.settle(number, connection);
            }
            Step::Closed(process) => {
                let told = |heard: &[Value], method| {
                    heard
                        .iter()
                        .any(|message| is(message, method) && of(message, process))
                };
                connection.hear(LIMIT, |heard| {
                    told(heard, "process/closed") && told(heard, "process/exited")
                });
            }
            Step::Output(process, text) => {
                connection.hear(LIMIT, |heard| {
                    let output = heard
                        .iter()
                        .filter(|message| is(message, "process/output") && of(message, process));
                    let bytes: Vec<u8> = output
                        .flat_map(|message| bytes(&message["params"]["chunk"]))
                        .collect();
                    String::from_utf8_lossy(&bytes).contains(text)
                });
            }
            Step::Told(method) => {
                let last =
                    |message: &Value| is(message, method) && message["params"]["done"] != false;
                // Nothing is told of what has failed.
                connection.hear(LIMIT, |heard| {
                    heard
                        .iter()
                        .any(|message| last(message) || message.get("error").is_some())
                });
            }
            Step::Make(name) => {
                std::fs::write(fixture.path.join(name), "").expect("the fixture can be written")
            }
            Step::Resume | Step::Intrude => unreachable!("they are no steps of one connection"),
        }
    }

    /// Greets for a new session, which must be given, and remembers it.
    fn greet(&self, connection: &mut Connection) {
        let answer = self.introduce(connection, Value::Null);
        let session = answer["result"]["sessionId"].as_str();
        *self.session.borrow_mut() = session
            .unwrap_or_else(|| panic!("greeted with {answer}"))
            .into();
    }

    /// The program by another name, as 0.130's client has a link to its own on its own disk.
    fn helper(&self) -> PathBuf {
        let link = self.home.join("codex-linux-sandbox");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&self.program, &link).expect("the home is ours");
        link
    }

    /// Takes the last session up again, as soon as the server sees that its connection is gone.
    fn resume(&self) -> Connection {
        let begun = Instant::now();
        loop {
            let mut connection = self.connect();
            let answer = self.introduce(&mut connection, self.session.borrow().as_str().into());
            if answer["result"].is_object() {
                return connection;
            }
            assert!(begun.elapsed() < LIMIT, "not taken up again: {answer}");
        }
    }

    fn introduce(&self, connection: &mut Connection, session: Value) -> Value {
        let params = json!({"clientName": "interop", "resumeSessionId": session});
        let greeting = Value::from("greeting");
        connection
            .send(&json!({"id": greeting, "method": "initialize", "params": params}).to_string());
        assert!(
            connection.hear(LIMIT, |heard| answered(heard, &greeting)),
            "no answer to initialize"
        );
        connection.send(r#"{"method":"initialized","params":{}}"#);
        let place = connection
            .heard
            .iter()
            .position(|message| message["id"] == greeting);
        connection.heard.remove(place.expect("it was heard"))
    }

    /// Waits until everything before has been handled: nobody knows this method, and every server says so in turn.
    fn settle(&self, number: usize, connection: &mut Connection) {
        let id = Value::from(format!("settled {number}"));
        connection.send(&json!({"id": id, "method": "interop/settle"}).to_string());
        if !connection.hear(SILENCE, |heard| answered(heard, &id)) {
            connection.closed = true;
        }
        connection.heard.retain(|message| message["id"] != id);
    }

    /// Puts the places into a text.
    fn place(&self, value: &mut Value, fixture: &Fixture) {
        match value {
            Value::String(text) => {
                let native =
                    |path: &Path| path.to_str().expect("paths of a run are text").to_owned();
                let own = |kind: &str| native(&read_link(format!("/proc/self/ns/{kind}")));
                for (word, place) in [
                    ("{F}", &|| native(&fixture.path) as String),
                    ("{T}", &|| native(&self.home.join("tmp"))),
                    ("{HTTP}", &|| self.web.to_string()),
                    ("{HELPER}", &|| native(&self.helper())),
                    ("{NET}", &|| own("net")),
                    ("{USER}", &|| own("user")),
                    ("{PID}", &|| own("pid")),
                ] as [(&str, &dyn Fn() -> String); 7]
                {
                    if text.contains(word) {
                        *text = text.replace(word, &place());
                    }
                }
                if let Some(name) = text.strip_prefix('@') {
                    *text = self.generation.path(&fixture.path.join(name));
                    // An empty name leaves a slash.
                    text.truncate(text.trim_end_matches('/').len());
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.place(item, fixture)),
            Value::Object(members) => members
                .values_mut()
                .for_each(|member| self.place(member, fixture)),
            _ => {}
        }
    }
}

/// What every server inherits, so that nothing of the caller's shows.
const FIXED_ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("LANG", "C.UTF-8"),
    ("INTEROP_PLAIN", "plain"),
    ("INTEROP_API_KEY", "key"),
    ("INTEROP_secret", "secret"),
];

fn read_link(path: String) -> PathBuf {
    std::fs::read_link(path).expect("there is /proc")
}

fn is(message: &Value, method: &str) -> bool {
    message["method"] == method
}

fn of(message: &Value, process: &str) -> bool {
    message["params"]["processId"] == process
}

fn answered(heard: &[Value], id: &Value) -> bool {
    heard
        .iter()
        .any(|message| message["id"] == *id && message["method"].is_null())
}

//! From a transport to a connection: dialled or started, greeted, and what is said when that fails.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{BoxedReader, Shared};
use crate::rpc::client::ClientError;
use crate::rpc::client::command::CommandProcess;
use crate::rpc::client::connection::Connection;
use crate::rpc::client::handshake::{FIRST_FREE_ID, Handshake, HandshakeError, HandshakeResult};
use crate::rpc::client::options::Transport;
use crate::rpc::client::session::Session;
use crate::rpc::client::throttle::ReadThrottle;
use crate::rpc::dial::{Dial, DialError};
use crate::rpc::transport::{Framing, LineReader, Outbound, Role, Sink, WebSocketReader};

/// How a stdio connection is called: its arguments and variables may be secrets.
pub(super) const COMMAND_LABEL: &str = "exec-server stdio command";

/// A transport before its handshake.
pub(super) struct Opened {
    reader: BoxedReader,
    outbound: Arc<Outbound>,
    command: Option<Arc<CommandProcess>>,
}

impl Shared {
    /// The first connection of a session, with its thread.
    pub(super) fn connect(
        self: &Arc<Self>,
    ) -> Result<(Arc<Session>, Arc<Connection>), ClientError> {
        let mut opened = match &self.options.transport {
            Transport::WebSocket(dial) => self
                .dial(dial)
                .map_err(|error| ClientError::Connect(error.to_string()))?,
            Transport::Command(command) => {
                let (process, streams) = CommandProcess::start(command).map_err(|why| {
                    ClientError::Connect(format!("failed to spawn {COMMAND_LABEL}: {why}"))
                })?;
                let sink = Sink::Stream(streams.stdin);
                let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
                Opened {
                    reader: Box::new(LineReader::new(streams.stdout, Arc::clone(&outbound))),
                    outbound,
                    command: Some(Arc::new(process)),
                }
            }
        };
        let mut junk = Vec::new();
        let handshake = self
            .handshake(
                &mut opened,
                None,
                self.options.initialize_timeout,
                &mut junk,
            )
            .map_err(|error| self.explain(&error, opened.command.as_deref(), &junk))?;
        let throttle = Arc::new(ReadThrottle::default());
        let session = Session::new(handshake.session_id, handshake.facts, Arc::clone(&throttle));
        let session = Arc::new(session);
        let (connection, reader) = self.establish(opened, throttle);
        let (shared, kept) = (Arc::clone(self), Arc::clone(&connection));
        let its_session = Arc::clone(&session);
        thread::Builder::new()
            .name("client".into())
            .spawn(move || shared.serve(reader, kept, &its_session))
            .map_err(|error| {
                connection.close("no thread");
                ClientError::Connect(format!("cannot start a thread: {error}"))
            })?;
        Ok((session, connection))
    }

    fn explain(
        &self,
        error: &HandshakeError,
        command: Option<&CommandProcess>,
        junk: &[String],
    ) -> ClientError {
        let Some(command) = command else {
            let Transport::WebSocket(dial) = &self.options.transport else {
                return ClientError::Connect(error.to_string());
            };
            let label = dial.target.label();
            return ClientError::Connect(format!("exec-server websocket `{label}`: {error}"));
        };
        if matches!(
            error,
            HandshakeError::TimedOut(_) | HandshakeError::Protocol(_)
        ) {
            command.end();
        }
        let mut text = format!("{COMMAND_LABEL}: {error}; {}", command.last_words());
        if !junk.is_empty() {
            text.push_str("\nbefore that its standard output said:");
            for line in junk {
                text.push_str("\n  ");
                text.push_str(line);
            }
        }
        text.push_str(
            "\nThe command must run `exec-server --listen stdio` in the end, and nothing else may \
             write to its standard output: try it in a terminal",
        );
        ClientError::Connect(text)
    }

    pub(super) fn dial(&self, dial: &Dial) -> Result<Opened, DialError> {
        let dialled = dial.run()?;
        let framing = Framing::WebSocket(Role::Client);
        let outbound = Arc::new(Outbound::new(dialled.sink, framing));
        let reader = WebSocketReader::new(dialled.source, dialled.buffer, Arc::clone(&outbound));
        Ok(Opened {
            reader: Box::new(reader),
            outbound,
            command: None,
        })
    }

    pub(super) fn handshake(
        &self,
        opened: &mut Opened,
        resume: Option<&str>,
        limit: Duration,
        junk: &mut Vec<String>,
    ) -> Result<HandshakeResult, HandshakeError> {
        let handshake = Handshake {
            reader: &mut *opened.reader,
            outbound: &opened.outbound,
            limit,
            junk,
        };
        let handshake = handshake.run(&self.options.client_name, resume);
        if handshake.is_err() {
            opened.outbound.kill();
        }
        handshake
    }

    pub(super) fn establish(
        &self,
        opened: Opened,
        throttle: Arc<ReadThrottle>,
    ) -> (Arc<Connection>, BoxedReader) {
        let connection = Connection::new(
            opened.outbound,
            throttle,
            opened.command,
            self.options.ping_interval,
            FIRST_FREE_ID,
        );
        (Arc::new(connection), opened.reader)
    }
}

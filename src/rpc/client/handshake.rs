//! The handshake: who we are, which session, and what the server says of itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ClientError;
use super::connection::shown;
use super::facts::ServerFacts;
use super::wire::{self, Incoming};
use crate::rpc::encode;
use crate::rpc::error::ErrorKind;
use crate::rpc::methods::session::{Info, Initialize, InitializeParams, InitializeReply};
use crate::rpc::methods::{Method, NoParams};
use crate::rpc::transport::{Framing, Outbound, Reader, Received};

/// Lines before the greeting that are no messages: the message of the day, the echo of a shell's
/// configuration.
const MAX_JUNK: usize = 64;
/// The handshake uses up the ids below.
pub(super) const FIRST_FREE_ID: i64 = 3;

/// What came of a handshake.
pub(super) struct HandshakeResult {
    pub(super) session_id: String,
    pub(super) facts: ServerFacts,
}

/// Why it failed.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The connection ended.
    Lost(String),
    /// Time is up.
    TimedOut(Duration),
    /// The server refuses.
    Rejected { code: i64, message: String },
    /// Its answer makes no sense.
    Protocol(String),
}

impl HandshakeError {
    /// Whether another attempt may fare better.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Lost(_) | Self::TimedOut(_) => true,
            Self::Rejected { code, .. } => *code == i64::from(ErrorKind::SessionAttached.code()),
            Self::Protocol(_) => false,
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "the connection ended during the handshake: {why}"),
            Self::TimedOut(limit) => write!(
                f,
                "timed out waiting for exec-server initialize handshake after {limit:?}"
            ),
            Self::Rejected { code, message } => {
                write!(f, "exec-server rejected request ({code}): {message}")
            }
            Self::Protocol(why) => write!(f, "exec-server protocol error: {why}"),
        }
    }
}

/// One handshake under way.
pub(super) struct Handshake<'a> {
    pub(super) reader: &'a mut dyn Reader,
    pub(super) outbound: &'a Arc<Outbound>,
    pub(super) limit: Duration,
    /// Gets the lines before the greeting.
    pub(super) junk: &'a mut Vec<String>,
}

impl Handshake<'_> {
    /// Says who we are and waits for the answer.
    pub(super) fn run(
        mut self,
        client_name: &str,
        resume: Option<&str>,
    ) -> Result<HandshakeResult, HandshakeError> {
        let deadline = Instant::now() + self.limit;
        self.request::<Initialize>(
            1,
            &InitializeParams {
                client_name: client_name.into(),
                resume_session_id: resume.map(Into::into),
            },
        );
        let json = self.answer(1, deadline)?;
        let reply: InitializeReply<'_> = serde_json::from_str(&json)
            .map_err(|error| HandshakeError::Protocol(format!("initialize: {error}")))?;
        if resume.is_some_and(|wanted| wanted != reply.session_id) {
            let why = format!(
                "exec-server initialized an unexpected session {}",
                reply.session_id
            );
            return Err(HandshakeError::Protocol(why));
        }
        // It goes out with what comes next, be it the reader's first wait.
        self.outbound
            .add(|out| out.extend_from_slice(b"{\"method\":\"initialized\",\"params\":{}}"));
        let facts = match reply.environment_info {
            Some(info) => facts(info.get())?,
            // They are those of the first connection.
            None if resume.is_some() => ServerFacts::silent(),
            None => self.ask_for_facts(deadline)?,
        };
        Ok(HandshakeResult {
            session_id: reply.session_id.into_owned(),
            facts,
        })
    }

    /// Asks a server that has told nothing by itself.
    fn ask_for_facts(&mut self, deadline: Instant) -> Result<ServerFacts, HandshakeError> {
        self.request::<Info>(2, &NoParams {});
        match self.answer(2, deadline) {
            Ok(json) => facts(&json),
            // As 0.130 has it.
            Err(HandshakeError::Rejected { code, .. })
                if code == i64::from(ErrorKind::UnknownMethod.code()) =>
            {
                Ok(ServerFacts::silent())
            }
            Err(error) => Err(error),
        }
    }

    fn request<M: Method>(&self, id: i64, params: &M::Params<'_>) {
        self.outbound
            .send(|out| encode::request(out, id, M::NAME, &|out| encode::json(out, params)));
    }

    /// Waits for the answer to `wanted`; what else comes is passed over.
    fn answer(&mut self, wanted: i64, deadline: Instant) -> Result<String, HandshakeError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HandshakeError::TimedOut(self.limit));
            }
            match self.reader.receive(left) {
                Received::Message => {}
                // A payload comes only where one was announced.
                Received::Idle | Received::Payload(_) => continue,
                Received::Refused(why) => return Err(HandshakeError::Protocol(format!("{why:?}"))),
                Received::Closed(why) => return Err(HandshakeError::Lost(why)),
            }
            let message = self.reader.message();
            match wire::decode(message) {
                Ok(Incoming::Answer { id, outcome }) if id == wanted => {
                    return match outcome {
                        Ok(json) => Ok(json.to_owned()),
                        Err(ClientError::Rejected { code, message }) => {
                            Err(HandshakeError::Rejected { code, message })
                        }
                        Err(other) => Err(HandshakeError::Protocol(other.to_string())),
                    };
                }
                Ok(Incoming::Complaint(why)) => return Err(HandshakeError::Protocol(why)),
                Ok(_) => {}
                Err(error) if self.outbound.framing() != Framing::Lines => {
                    let shown = shown(message);
                    return Err(HandshakeError::Protocol(format!(
                        "no message: `{shown}` ({error})"
                    )));
                }
                Err(_) => {
                    self.junk.push(shown(message));
                    if self.junk.len() > MAX_JUNK {
                        let why = format!("more than {MAX_JUNK} lines that are no messages");
                        return Err(HandshakeError::Protocol(why));
                    }
                }
            }
        }
    }
}

fn facts(json: &str) -> Result<ServerFacts, HandshakeError> {
    ServerFacts::from_info(json)
        .map_err(|error| HandshakeError::Protocol(format!("environmentInfo: {error}")))
}

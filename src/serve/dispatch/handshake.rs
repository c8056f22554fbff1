//! The handshake: what must be said before anything else may be asked for.

use std::sync::Arc;

use super::{Call, Dispatch};
use crate::log;
use crate::rpc::encode;
use crate::rpc::error::RpcError;
use crate::rpc::message::RequestId;
use crate::rpc::protocol::initialize::InitializeParams;
use crate::serve::session::Session;
use crate::serve::session_owner::SessionOwner;

/// How far the handshake has come.
pub(super) enum Stage {
    New,
    /// `initialize` was answered.
    Initialized(Arc<Session>),
    /// The client has said `initialized`.
    Ready(Arc<Session>),
}

impl Dispatch {
    /// Whether `initialize` has succeeded.
    pub(in crate::serve) fn is_initialized(&self) -> bool {
        !matches!(self.stage, Stage::New)
    }

    pub(super) fn initialize(
        &mut self,
        id: RequestId<'_>,
        params: &InitializeParams<'_>,
    ) -> Result<(), RpcError> {
        if self.is_initialized() {
            let message = "initialize may only be sent once per connection";
            return Err(RpcError::invalid_request(message));
        }
        let info = self.server.info();
        let answer = |session: &Session| {
            self.outbound.add(|out| {
                encode::result_with(out, id, |out| {
                    out.extend_from_slice(b"{\"sessionId\":");
                    encode::json(out, session.id());
                    out.extend_from_slice(b",\"environmentInfo\":");
                    encode::json(out, info);
                    out.push(b'}');
                });
            });
        };
        let sessions = self.server.sessions();
        let session_owner = SessionOwner::new(self.connection, &self.outbound, &self.subscriber);
        let session = match &params.resume_session_id {
            Some(wanted) => {
                let session = sessions.find(wanted)?;
                session.attach(session_owner, || answer(&session))?;
                session
            }
            None => {
                let session = sessions.begin(self.server.host(), session_owner)?;
                answer(&session);
                session
            }
        };
        self.server.note_session();
        log::info!("{}: client {} connected", self.peer, params.client_name);
        self.stage = Stage::Initialized(session);
        Ok(())
    }

    pub(super) fn notification(&mut self, method: &str) {
        if method != "initialized" {
            log::info!("{}: ignored the unknown notification {method}", self.peer);
            return;
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Initialized(session) => Stage::Ready(session),
            Stage::New => {
                log::info!("{}: ignored initialized before initialize", self.peer);
                Stage::New
            }
            ready => ready,
        };
    }

    /// What a request needs, once the handshake is complete.
    pub(super) fn call<'a>(
        &'a self,
        id: RequestId<'a>,
        family: &str,
    ) -> Result<Call<'a>, RpcError> {
        let missing = match &self.stage {
            Stage::Ready(session) => {
                return Ok(Call {
                    id,
                    outbound: &self.outbound,
                    server: &self.server,
                    session,
                    connection_state: &self.connection_state,
                });
            }
            Stage::New => "call initialize",
            Stage::Initialized(_) => "send initialized",
        };
        let message = format!("client must {missing} before using {family} methods");
        Err(RpcError::invalid_request(message))
    }
}

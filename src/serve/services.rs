//! What the handlers of requests work with.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::config::Options;
use super::confined::ConfinedFiles;
use super::connection::ConnectionState;
use super::file_queue::FileWorkers;
use super::handover::Handover;
use super::machine_info::MachineInfo;
use super::methods::http::HttpService;
use super::reply::{Responder, Source};
use super::request_limit::Slot;
use super::session::Session;
use crate::env::local::{Host, Watches};
use crate::rpc::encode;
use crate::rpc::message::RequestId;
use crate::rpc::methods::Method;
use crate::rpc::transport::Outbound;
use crate::workers::Workers;

/// Connections that are gone whose file requests may still be at work: those that a file system
/// does not answer.
const LEFT_AT_WORK: usize = 64;

/// What the requests of all connections share.
pub(super) struct Services {
    pub(super) host: Arc<Host>,
    pub(super) machine: Arc<MachineInfo>,
    pub(super) watches: Watches,
    /// What makes HTTP requests, unless that is turned off.
    pub(super) http: Option<Arc<HttpService>>,
    /// What carries out file requests under a policy.
    pub(super) confined: Arc<ConfinedFiles>,
    /// The threads for file requests.
    pub(super) file_workers: FileWorkers,
    /// What reads on while a connection's thread carries out a file request.
    pub(super) handover: Handover,
    /// The threads for requests that wait for their turn.
    pub(super) request_workers: Workers,
    /// Where whoever is on this machine may connect without a token, if anywhere.
    pub(super) unprotected_url: OnceLock<String>,
    /// Whether the log may have arguments.
    pub(super) logs_argv: bool,
    is_draining: AtomicBool,
}

impl Services {
    pub(super) fn new(options: &Options, host: Arc<Host>) -> Self {
        Self {
            machine: MachineInfo::new(!options.no_http),
            watches: Watches::default(),
            http: (!options.no_http).then(|| HttpService::new(options.allow_link_local)),
            confined: Arc::new(ConfinedFiles::new(&host)),
            file_workers: FileWorkers::new(options.max_connections + LEFT_AT_WORK),
            handover: Handover::new(),
            request_workers: Workers::named("requests"),
            unprotected_url: OnceLock::new(),
            logs_argv: options.log_argv,
            is_draining: AtomicBool::new(false),
            host,
        }
    }

    /// Lets no process start any more: the server ends.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

/// What the handler of a request works with.
pub(super) struct Call<'a> {
    pub(super) id: RequestId<'a>,
    pub(super) source: Source,
    pub(super) outbound: &'a Arc<Outbound>,
    pub(super) services: &'a Arc<Services>,
    pub(super) session: &'a Arc<Session>,
    pub(super) connection_state: &'a ConnectionState,
    /// Counts the request until it is answered, where requests are counted.
    pub(super) slot: &'a Cell<Option<Slot>>,
}

impl Call<'_> {
    /// Answers. Sent together with the answers to what else has arrived.
    pub(super) fn answer<M: Method>(&self, reply: &M::Reply<'_>) {
        self.outbound.add(|out| encode::result(out, self.id, reply));
    }

    /// A way to answer later, from any thread.
    pub(super) fn responder(&self) -> Responder {
        let responder = Responder::new(self.id, self.outbound, self.source);
        if let Some(slot) = self.slot.take() {
            responder.occupy(slot);
        }
        responder
    }
}

//! The server as a whole: what all connections share.

mod main_thread;

pub use main_thread::{run, run_outgoing};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::config::Options;
use super::confined::ConfinedFiles;
use super::http_requests::HttpService;
use super::injector::ShutdownHook;
use super::level::KnownLevel;
use super::session::Sessions;
use crate::env::local::extensions::EXTENSIONS;
use crate::env::local::info::environment_info;
use crate::env::local::{Host, Watches};
use crate::rpc::protocol::environment::EnvironmentInfo;
use crate::rpc::transport::{Goodbye, Outbound};
use crate::sys::event::WakeEvent;
use crate::sys::sync::Mutex;
use crate::workers::Workers;

/// A connection thread's stack, of which only the touched pages count.
pub(super) const STACK_BYTES: usize = 256 * 1024;
/// Time for processes to end after TERM, when the server ends.
const TERM_TIME: Duration = Duration::from_millis(800);
/// Time for processes to end after KILL.
const KILL_TIME: Duration = Duration::from_millis(400);
/// Time for clients to take the last messages.
const FLUSH_TIME: Duration = Duration::from_millis(500);
/// The one connection of a server on standard input and output.
const STDIO_CONNECTION: u64 = 0;

/// What all connections share.
pub(super) struct Server {
    host: Arc<Host>,
    sessions: Sessions,
    watches: Watches,
    http: Option<Arc<HttpService>>,
    retention: Duration,
    ping_interval: Duration,
    info: OnceLock<EnvironmentInfo>,
    level: KnownLevel,
    open_door: OnceLock<String>,
    file_workers: Workers,
    confined: Arc<ConfinedFiles>,
    /// The living connections by number.
    connections: Mutex<HashMap<u64, Arc<Outbound>>>,
    is_draining: AtomicBool,
    /// Connections so far, for their numbers.
    connection_count: AtomicU64,
    /// Whether there is nobody to serve any more.
    is_over: AtomicBool,
    /// What has the last word, when it is not a connection.
    shutdown_hook: Mutex<Option<Arc<dyn ShutdownHook>>>,
    /// Wakes the main thread.
    wake: Arc<WakeEvent>,
}

impl Server {
    fn new(options: &Options, host: Arc<Host>, wake: Arc<WakeEvent>) -> Self {
        Self {
            confined: Arc::new(ConfinedFiles::new(&host)),
            host,
            sessions: Sessions::default(),
            watches: Watches::default(),
            http: (!options.no_http).then(|| HttpService::new(options.allow_link_local)),
            retention: options.session_retention,
            // Zero would ping without end.
            ping_interval: options.ping_interval.max(Duration::from_millis(10)),
            info: OnceLock::new(),
            level: KnownLevel::default(),
            open_door: OnceLock::new(),
            file_workers: Workers::named("files"),
            connections: Mutex::default(),
            is_draining: AtomicBool::new(false),
            connection_count: AtomicU64::new(STDIO_CONNECTION + 1),
            is_over: AtomicBool::new(false),
            shutdown_hook: Mutex::default(),
            wake,
        }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The threads for file requests.
    pub(super) fn file_workers(&self) -> &Workers {
        &self.file_workers
    }

    /// What carries out file requests under a policy.
    pub(super) fn confined(&self) -> &Arc<ConfinedFiles> {
        &self.confined
    }

    /// Time between pings.
    pub(super) fn ping_interval(&self) -> Duration {
        self.ping_interval
    }

    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// What makes HTTP requests, unless that is turned off.
    pub(super) fn http(&self) -> Option<&Arc<HttpService>> {
        self.http.as_ref()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// The user's shell.
    pub(super) fn shell(&self) -> &str {
        &self.info().shell.path
    }

    /// The confinement that it gives.
    pub(super) fn level(&self) -> &KnownLevel {
        &self.level
    }

    /// Where whoever is on this machine may connect without a token, if anywhere.
    pub(super) fn open_door(&self) -> Option<&str> {
        self.open_door.get().map(String::as_str)
    }

    /// What is told of this machine; found out once.
    pub(super) fn info(&self) -> &EnvironmentInfo {
        self.info.get_or_init(|| {
            let mut info = environment_info(EXTENSIONS);
            info.capabilities.http_header_env_vars = self.http.is_some();
            info
        })
    }

    /// There is a session, so the main thread has something to watch over.
    pub(super) fn note_session(&self) {
        self.wake.set();
    }

    /// A number for the next connection.
    pub(super) fn next_number(&self) -> u64 {
        self.connection_count.fetch_add(1, Ordering::Relaxed)
    }

    /// There is nobody to serve any more, so the server may end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake.set();
    }

    /// Calls `shutdown_hook` last at the end of the server from now on, if anything.
    pub(super) fn set_shutdown_hook(&self, shutdown_hook: Option<Arc<dyn ShutdownHook>>) {
        *self.shutdown_hook() = shutdown_hook;
    }

    fn shutdown_hook(&self) -> MutexGuard<'_, Option<Arc<dyn ShutdownHook>>> {
        self.shutdown_hook.lock()
    }

    pub(super) fn register(&self, number: u64, outbound: &Arc<Outbound>) {
        self.connections().insert(number, Arc::clone(outbound));
        // Whoever collects the connections to end them has set the flag before.
        if self.is_draining() {
            outbound.kill();
        }
    }

    pub(super) fn unregister(&self, number: u64) {
        self.connections().remove(&number);
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Outbound>>> {
        self.connections.lock()
    }

    /// Ends processes, tells clients, and leaves; about 1.7 s at most.
    fn shut_down(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.confined.close();
        let processes: Vec<_> = self
            .sessions
            .all()
            .iter()
            .flat_map(|session| session.everything())
            .collect();
        for process in &processes {
            process.ask_to_end();
        }
        let deadline = Instant::now() + TERM_TIME;
        if !(self.host.wait_until_idle(deadline) && self.host.wait_for_descendants(deadline)) {
            for process in &processes {
                process.terminate(None, |_| ());
            }
            self.host.wait_until_idle(Instant::now() + KILL_TIME);
        }
        for process in &processes {
            process.abandon();
        }
        self.confined.wait_until_none(Instant::now() + KILL_TIME);
        self.host.end_descendants(Instant::now() + KILL_TIME);
        let connections: Vec<_> = self.connections().values().cloned().collect();
        let shutdown_hook = self.shutdown_hook().clone();
        let now = Instant::now();
        let deadline = now + FLUSH_TIME;
        // One that takes nothing must not use up the time of who has the last word.
        let theirs = match shutdown_hook {
            Some(_) => now + FLUSH_TIME / 2,
            None => deadline,
        };
        for outbound in &connections {
            outbound.say_goodbye(Goodbye::Away);
        }
        for outbound in connections {
            outbound.drain(theirs);
        }
        if let Some(shutdown_hook) = shutdown_hook {
            shutdown_hook.say(deadline);
        }
    }
}

//! The server as a whole, and its main thread.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::access::Access;
use super::config::{Config, Options};
use super::confined::ConfinedFiles;
use super::connection::{self, Peer};
use super::door::{Door, Farewell};
use super::error::ServeError;
use super::http_requests::HttpService;
use super::level::KnownLevel;
use super::listener::Listener;
use super::session::Sessions;
use crate::env::local::extensions::EXTENSIONS;
use crate::env::local::info::environment_info;
use crate::env::local::{Host, HostConfig, Watches};
use crate::log;
use crate::rpc::protocol::environment::EnvironmentInfo;
use crate::rpc::transport::{Framing, Goodbye, LineReader, Outbound, Sink, StreamSource};
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::Launchers;
use crate::sys::event::WakeEvent;
use crate::sys::limits::raise_descriptor_limit;
use crate::sys::poll::{self, PollFd, READABLE};
use crate::sys::signal::{Signal, SignalEvents};
use crate::sys::socket::{is_private_stream, set_blocking, set_nonblocking, widen_pipe};
use crate::workers::Workers;

/// A connection thread's stack, of which only the touched pages count.
pub(super) const STACK_BYTES: usize = 256 * 1024;
/// Between looks at what has expired, while there are sessions.
const SWEEP: Duration = Duration::from_secs(1);
/// Time for processes to end after TERM, when the server ends.
const TERM_TIME: Duration = Duration::from_millis(800);
/// Time for processes to end after KILL.
const KILL_TIME: Duration = Duration::from_millis(400);
/// Time for clients to take the last messages.
const FLUSH_TIME: Duration = Duration::from_millis(500);
/// Time for all of that, should one of them take longer than it may.
const END_TIME: Duration = Duration::from_millis(1900);
/// Room in a standard input or output that is a pipe.
const PIPE: i32 = 1024 * 1024;
/// The one connection of a server on standard input and output.
pub(super) const STDIO_CONNECTION: u64 = 0;

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
    farewell: Mutex<Option<Arc<dyn Farewell>>>,
    /// Wakes the main thread.
    wake: Arc<WakeEvent>,
}

impl Server {
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

    /// Lets `farewell` have the last word from now on, if anything.
    pub(super) fn set_farewell(&self, farewell: Option<Arc<dyn Farewell>>) {
        *self.farewell() = farewell;
    }

    fn farewell(&self) -> MutexGuard<'_, Option<Arc<dyn Farewell>>> {
        self.farewell.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        if !self.host.wait_until_idle(Instant::now() + TERM_TIME) {
            for process in &processes {
                process.terminate(None, |_| ());
            }
            self.host.wait_until_idle(Instant::now() + KILL_TIME);
        }
        for process in &processes {
            process.abandon();
        }
        self.confined.wait_until_none(Instant::now() + KILL_TIME);
        let connections: Vec<_> = self.connections().values().cloned().collect();
        let farewell = self.farewell().clone();
        let now = Instant::now();
        let deadline = now + FLUSH_TIME;
        // One that takes nothing must not use up the time of who has the last word.
        let theirs = match farewell {
            Some(_) => now + FLUSH_TIME / 2,
            None => deadline,
        };
        for outbound in &connections {
            outbound.say_goodbye(Goodbye::Away);
        }
        for outbound in connections {
            outbound.drain(theirs);
        }
        if let Some(farewell) = farewell {
            farewell.say(deadline);
        }
    }
}

/// Serves until a signal, or on standard input and output until its end.
/// Every child is gone on return.
pub fn run(config: Config) -> Result<(), ServeError> {
    let access = Access::open(&config)?;
    let mut main = Main::begin(&config.options, access.has_files())?;
    main.listener = Listener::open(&config, access)?;
    match &main.listener {
        Some(listener) => {
            if let Some(url) = listener.open_door() {
                let _first = main.server.open_door.set(url);
            }
            listener.announce();
        }
        None => main.serve_stdio().map_err(system("read standard input"))?,
    }
    main.watch_and_end()
}

/// Serves clients that come from where `start` gets them, until a signal, or until it says that
/// there are no more, or if wanted until standard input ends. `start` is called once and must not
/// wait. Every child is gone on return.
pub fn run_outgoing(
    options: &Options,
    exit_on_stdin_close: bool,
    start: impl FnOnce(Door) -> io::Result<()>,
) -> Result<(), ServeError> {
    let mut main = Main::begin(options, false)?;
    if exit_on_stdin_close {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        main.watched_stdin = Some(stdin.map_err(system("watch standard input"))?.into());
    }
    start(Door::new(Arc::clone(&main.server))).map_err(system("start a thread"))?;
    main.watch_and_end()
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::System(what, error)
}

/// Ends the program after `limit` whatever its threads wait for, such as a terminal whose output
/// was stopped. What still runs of our children dies with us.
fn end_at_the_latest(limit: Duration, borrowed: Arc<Vec<OwnedFd>>) {
    let end = move || {
        thread::sleep(limit);
        give_back(&borrowed);
        std::process::exit(0)
    };
    // Without a thread to spare, the end is as soon as the streams let it be.
    let _ = thread::Builder::new().name("end".into()).spawn(end);
}

/// Makes streams wait again that others may share with us, such as the shell that started us.
fn give_back(borrowed: &[OwnedFd]) {
    for stream in borrowed {
        // There is nobody left to be told.
        let _ = set_blocking(stream.as_fd());
    }
}

/// The main thread.
struct Main {
    server: Arc<Server>,
    signals: SignalEvents,
    listener: Option<Listener>,
    /// Standard input, when its end is ours too.
    watched_stdin: Option<File>,
    /// Streams that we have made non-blocking.
    borrowed: Arc<Vec<OwnedFd>>,
}

impl Main {
    /// Gets everything that serving needs but clients; `has_files` if a hang-up means to read
    /// files again.
    fn begin(options: &Options, has_files: bool) -> Result<Self, ServeError> {
        let mut wanted = vec![Signal::TERMINATE, Signal::INTERRUPT];
        if Host::has_orphans() {
            wanted.push(Signal::CHILD);
        }
        if has_files {
            wanted.push(Signal::HANGUP);
        }
        let signals = SignalEvents::collect(&wanted).map_err(system("receive signals"))?;
        if let Err(error) = raise_descriptor_limit() {
            log::warn!("the limit on open files stays as it is: {error}");
        }
        let limits = HostConfig {
            retained_output: options.retained_output,
            retained_total: options.retained_total,
            drain_window: options.drain_window,
            max_processes: options.max_processes,
        };
        let journal = Journal::open();
        for fault in journal.foreign() {
            log::warn!("not used for the notes about mount points: {fault}");
        }
        let launchers = Launchers::new(options.sandbox.clone(), journal);
        let host = Host::new(limits, launchers)
            .map(Host::with_orphans)
            .map_err(system("get what processes will need"))?;
        let host = Arc::new(host);
        let wake = Arc::new(WakeEvent::new().map_err(system("make an event"))?);
        let server = Arc::new(Server {
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
            farewell: Mutex::default(),
            wake,
        });
        Ok(Self {
            server,
            signals,
            listener: None,
            watched_stdin: None,
            borrowed: Arc::default(),
        })
    }

    /// Serves to the end.
    fn watch_and_end(mut self) -> Result<(), ServeError> {
        self.watch().map_err(system("wait for clients"))?;
        self.listener = None;
        end_at_the_latest(END_TIME, Arc::clone(&self.borrowed));
        self.server.shut_down();
        give_back(&self.borrowed);
        Ok(())
    }

    /// Accepts, sweeps and reaps until it is time to end.
    fn watch(&mut self) -> io::Result<()> {
        let mut has_reaped_all = true;
        loop {
            let never = PollFd::never;
            // The first start makes one, which is seen within a second.
            let guardian = self.server.host.guardian_ended();
            let mut fds = [
                guardian
                    .as_ref()
                    .map_or_else(never, |it| PollFd::new(it.as_fd(), READABLE)),
                PollFd::new(self.signals.as_fd(), READABLE),
                PollFd::new(self.server.wake.as_fd(), READABLE),
                self.listener
                    .as_ref()
                    .map_or_else(never, |it| PollFd::new(it.as_fd(), READABLE)),
                self.watched_stdin
                    .as_ref()
                    .map_or_else(never, |it| PollFd::new(it.as_fd(), READABLE)),
            ];
            let has_sessions = !self.server.sessions.is_empty();
            let has_helpers = self.server.confined.has_idle();
            let must_sweep = has_sessions || has_helpers || !has_reaped_all;
            poll::wait(&mut fds, must_sweep.then_some(SWEEP))?;
            let [_, _, woken, incoming, typed] = fds.map(|fd| fd.is_ready());
            if woken {
                self.server.wake.take();
            }
            if self.server.is_over.load(Ordering::Acquire) {
                return Ok(());
            }
            if typed && self.has_stdin_ended() {
                log::info!("ending with standard input");
                return Ok(());
            }
            while let Some(signal) = self.signals.take() {
                match signal {
                    Signal::CHILD => {}
                    Signal::HANGUP => self.listener.iter().for_each(Listener::reload),
                    _ => {
                        log::info!("ending on {}", signal.name());
                        return Ok(());
                    }
                }
            }
            has_reaped_all = self.server.host.reap();
            if incoming && let Some(listener) = &mut self.listener {
                listener.accept(&self.server);
            }
            if has_sessions {
                self.server
                    .sessions
                    .sweep(Instant::now(), self.server.retention);
                self.server.level.sweep(&self.server, Instant::now());
            }
            if has_helpers {
                self.server.confined.sweep(Instant::now());
            }
        }
    }

    /// What comes on a standard input that is only watched means nothing but that it goes on.
    fn has_stdin_ended(&mut self) -> bool {
        let read = self
            .watched_stdin
            .as_mut()
            .map(|it| it.read(&mut [0; 4096]));
        match read {
            Some(Err(error)) => !matches!(
                error.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
            ),
            Some(Ok(count)) => count == 0,
            None => false,
        }
    }

    /// Serves the one client that started us, on a thread beside this one.
    fn serve_stdio(&mut self) -> io::Result<()> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let mut borrowed = Vec::new();
        for stream in [&stdin, &stdout] {
            widen_pipe(stream.as_fd(), PIPE);
            if is_private_stream(stream.as_fd()) && set_nonblocking(stream.as_fd())? {
                borrowed.push(stream.try_clone()?);
            }
        }
        self.borrowed = Arc::new(borrowed);
        let server = Arc::clone(&self.server);
        thread::Builder::new()
            .name("conn-stdio".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                serve_streams(&server, stdin, stdout);
                server.end();
            })?;
        Ok(())
    }
}

fn serve_streams(server: &Arc<Server>, stdin: OwnedFd, stdout: OwnedFd) {
    let outbound = Arc::new(Outbound::new(Sink::Stream(stdout.into()), Framing::Lines));
    server.register(STDIO_CONNECTION, &outbound);
    let mut reader = LineReader::new(StreamSource::new(stdin), Arc::clone(&outbound));
    connection::serve_messages(
        server,
        &mut reader,
        &outbound,
        STDIO_CONNECTION,
        Peer::Stdio,
    );
}

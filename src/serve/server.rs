//! The server as a whole: what all connections share, and the main thread, which listens, sweeps
//! and reaps until it is time to end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::access::Access;
use super::config::{Config, MetricsPlace, Options, ServeError};
use super::connection::{self, Connection, Peer};
use super::injector::{Injector, ShutdownHook};
use super::listen::{Listener, Serves};
use super::service_manager::ServiceManager;
use super::services::Services;
use super::session::Sessions;
use crate::blocks;
use crate::env::local::{Host, info};
use crate::log::{self, Event, Level};
use crate::memory;
use crate::net::{Sink, StreamSource};
use crate::rpc::transport::{Framing, Goodbye, LineReader, Outbound};
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::Launchers;
use crate::sys::limits::{address_space_limit, raise_descriptor_limit};
use crate::sys::pages;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::reserve;
use crate::sys::signal::{Signal, SignalEvents};
use crate::sys::socket::{is_private_stream, set_blocking, set_nonblocking, widen_pipe};
use crate::sys::sync::Mutex;

/// A connection thread's stack, of which only the touched pages count.
pub(super) const STACK_BYTES: usize = 256 * 1024;
/// Time for processes to end after TERM, when the server ends.
const TERM_TIME: Duration = Duration::from_millis(800);
/// Time for processes to end after KILL.
pub(super) const KILL_TIME: Duration = Duration::from_millis(400);
/// Time for clients to take the last messages.
const FLUSH_TIME: Duration = Duration::from_millis(500);
/// The one connection of a server on standard input and output.
pub(super) const STDIO_CONNECTION: u64 = 0;

/// What all connections share.
pub(crate) struct Server {
    pub(super) services: Arc<Services>,
    pub(super) sessions: Sessions,
    /// For metrics.
    pub(super) started: SystemTime,
    retention: Duration,
    /// Between pings.
    pub(super) ping_interval: Duration,
    /// Requests of a connection at work at once, if that is limited.
    pub(super) concurrent_requests: Option<usize>,
    /// The living connections by number.
    connections: Mutex<HashMap<u64, Arc<Outbound>>>,
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
    pub(super) fn new(options: &Options, host: Arc<Host>, wake: Arc<WakeEvent>) -> Self {
        Self {
            services: Arc::new(Services::new(options, host)),
            sessions: Sessions::default(),
            started: SystemTime::now(),
            retention: options.session_retention,
            // Zero would ping without end.
            ping_interval: options.ping_interval.max(Duration::from_millis(10)),
            concurrent_requests: options.concurrent_requests,
            connections: Mutex::default(),
            connection_count: AtomicU64::new(STDIO_CONNECTION + 1),
            is_over: AtomicBool::new(false),
            shutdown_hook: Mutex::default(),
            wake,
        }
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
        *self.shutdown_hook.lock() = shutdown_hook;
    }

    pub(super) fn register(&self, number: u64, outbound: &Arc<Outbound>) {
        self.connections.lock().insert(number, Arc::clone(outbound));
        // Whoever collects the connections to end them has set the flag before.
        if self.services.is_draining() {
            outbound.kill();
        }
    }

    pub(super) fn unregister(&self, number: u64) {
        self.connections.lock().remove(&number);
    }

    /// How many connections have clients.
    pub(super) fn living_connections(&self) -> usize {
        self.connections.lock().len()
    }

    /// Once a second at most, forgets what has expired, and answers who has waited too long;
    /// whether it was time.
    pub(super) fn sweep(&self, swept_at: &mut Instant) -> bool {
        let now = Instant::now();
        if now.saturating_duration_since(*swept_at) < SWEEP {
            return false;
        }
        *swept_at = now;
        self.sessions.sweep(now, self.retention);
        self.services.machine.sweep(now);
        self.services.confined.sweep(now);
        self.services.host.cgroups().sweep();
        blocks::shrink_if_unused();
        true
    }

    /// Ends all connections at once.
    pub(super) fn hang_up(&self) {
        self.connections
            .lock()
            .values()
            .for_each(|outbound| outbound.kill());
    }

    /// Ends processes, tells clients, and leaves; about 1.7 s at most, and by `end` in any case.
    fn shut_down(&self, end: Instant) {
        let Services { host, confined, .. } = &*self.services;
        self.services.drain();
        confined.close();
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
        if !(host.wait_until_idle(deadline) && host.wait_for_descendants(deadline)) {
            host.cgroups().kill();
            for process in &processes {
                process.terminate(None, |_| ());
            }
            host.wait_until_idle(Instant::now() + KILL_TIME);
        }
        for process in &processes {
            process.abandon();
        }
        confined.wait_until_none(Instant::now() + KILL_TIME);
        host.end_descendants(Instant::now() + KILL_TIME);
        let connections: Vec<_> = self.connections.lock().values().cloned().collect();
        let shutdown_hook = self.shutdown_hook.lock().clone();
        // Processes may have taken longer than they are given.
        let left = end.saturating_duration_since(Instant::now());
        let flush_time = FLUSH_TIME.min(left);
        let deadline = Instant::now() + flush_time;
        // One that takes nothing must not use up the time of who has the last word.
        let theirs = match shutdown_hook {
            Some(_) => deadline - flush_time / 2,
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

/// Between looks at what has expired, while there are sessions.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// Time for all of [`Server::shut_down`], should something in it take longer than it may.
const END_TIME: Duration = Duration::from_millis(1900);
/// Less memory for clients is not to be had, however little there is.
const LEAST_MEMORY: usize = 1024 * 1024;
/// Room in a standard input or output that is a pipe.
const PIPE: i32 = 1024 * 1024;

/// Serves until a signal, or on standard input and output until its end.
/// Every child is gone on return.
pub fn run(config: Config) -> Result<(), ServeError> {
    let access = Arc::new(Access::open(&config)?);
    let mut main = Main::begin(&config.options)?;
    let options = &config.options;
    let (address, handed) = (&config.listen, config.handed);
    main.listener = Listener::open(address, handed, options, Arc::clone(&access), Serves::All)?;
    main.serve_metrics(options, access)?;
    match &main.listener {
        Some(listener) => {
            if let Some(url) = listener.unprotected_url() {
                let _first = main.server.services.unprotected_url.set(url);
            }
            listener.announce();
        }
        None => main.serve_stdio().map_err(system("read standard input"))?,
    }
    main.manager.tell("READY=1");
    main.watch_and_end()
}

/// Serves clients that come from where `start` gets them, until a signal, or until it says that
/// there are no more, or if wanted until standard input ends. `start` is called once and must not
/// wait. Every child is gone on return.
pub fn run_outgoing(
    options: &Options,
    exit_on_stdin_close: bool,
    start: impl FnOnce(Injector) -> io::Result<()>,
) -> Result<(), ServeError> {
    let mut main = Main::begin(options)?;
    main.serve_metrics(options, Arc::default())?;
    if exit_on_stdin_close {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        main.watched_stdin = Some(stdin.map_err(system("watch standard input"))?.into());
    }
    start(Injector::new(Arc::clone(&main.server))).map_err(system("start a thread"))?;
    main.manager.tell("READY=1");
    main.watch_and_end()
}

/// What clients can make us hold unless we are told: no more than a quarter of what this program may
/// have. The rest is for what no account has: threads, our own structures, and what a message becomes
/// while it is handled.
fn memory_limit() -> usize {
    let limits = [info::memory_limit(), address_space_limit()];
    let least = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
    usize::try_from(least / 4)
        .unwrap_or(usize::MAX)
        .clamp(LEAST_MEMORY, memory::DEFAULT)
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::System(what, error)
}

/// Ends the program at `end` whatever its threads wait for, such as a terminal whose output
/// was stopped. What still runs is killed.
fn end_at_the_latest(end: Instant, host: Arc<Host>, borrowed: Arc<Vec<OwnedFd>>) {
    let end = move || {
        thread::sleep(end.saturating_duration_since(Instant::now()));
        host.end_guardian();
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

/// Tells the operator that the server ends, and of what.
fn note_end(of: &str) {
    log::event(Level::Info, Event::Ending, &|line| line.text("of", of));
}

/// The main thread.
struct Main {
    server: Arc<Server>,
    signals: SignalEvents,
    listener: Option<Listener>,
    /// Where metrics have a listener of their own.
    metrics_listener: Option<Listener>,
    /// Standard input, when its end is ours too.
    watched_stdin: Option<File>,
    /// Streams that we have made non-blocking.
    borrowed: Arc<Vec<OwnedFd>>,
    /// Who started us and wants to be told how we are.
    manager: ServiceManager,
}

impl Main {
    /// Gets everything that serving needs but clients. A hang-up means to read files again, and
    /// never the end: who logs out would end the work of others.
    fn begin(options: &Options) -> Result<Self, ServeError> {
        let wanted = [
            Signal::TERMINATE,
            Signal::INTERRUPT,
            Signal::CHILD,
            Signal::HANGUP,
        ];
        let signals = SignalEvents::collect(&wanted).map_err(system("receive signals"))?;
        if let Err(error) = raise_descriptor_limit() {
            log::warn!("the limit on open files stays as it is: {error}");
        }
        let journal = Journal::open();
        for fault in journal.foreign() {
            log::warn!("not used for the notes about mount points: {fault}");
        }
        let launchers = Launchers::new(options.sandbox.clone(), journal);
        memory::set_limit(options.memory_limit.unwrap_or_else(memory_limit));
        reserve::keep(address_space_limit());
        let host = Host::new(options.processes, launchers)
            .map(Host::with_orphans)
            .map_err(system("get what processes will need"))?
            .with_cgroups(options.cgroups.clone())
            .map_err(ServeError::Cgroup)?;
        let host = Arc::new(host);
        let wake = Arc::new(WakeEvent::new().map_err(system("make an event"))?);
        log::wake_on_repeats(Arc::clone(&wake));
        let server = Arc::new(Server::new(options, host, wake));
        Ok(Self {
            server,
            signals,
            listener: None,
            metrics_listener: None,
            watched_stdin: None,
            borrowed: Arc::default(),
            manager: options.manager.clone(),
        })
    }

    /// Listens for who asks for metrics, where that is wanted.
    fn serve_metrics(&mut self, options: &Options, access: Arc<Access>) -> Result<(), ServeError> {
        if let Some(MetricsPlace::Own(address)) = &options.metrics {
            let listener = Listener::open(address, None, options, access, Serves::Metrics)?;
            listener.iter().for_each(Listener::note);
            self.metrics_listener = listener;
        }
        Ok(())
    }

    /// Serves to the end.
    fn watch_and_end(mut self) -> Result<(), ServeError> {
        self.watch().map_err(system("wait for clients"))?;
        self.manager.tell("STOPPING=1");
        self.listener = None;
        self.metrics_listener = None;
        let host = Arc::clone(&self.server.services.host);
        let end = Instant::now() + END_TIME;
        end_at_the_latest(end, host, Arc::clone(&self.borrowed));
        self.server.shut_down(end);
        log::tell_repeats(true);
        give_back(&self.borrowed);
        Ok(())
    }

    /// Accepts, sweeps and reaps until it is time to end.
    fn watch(&mut self) -> io::Result<()> {
        let mut swept_at = Instant::now();
        let mut is_resting = false;
        let mut signed_at = Instant::now();
        loop {
            let mut until_sign = self.manager.until_sign(signed_at);
            if until_sign == Some(Duration::ZERO) {
                self.manager.tell("WATCHDOG=1");
                signed_at = Instant::now();
                until_sign = self.manager.until_sign(signed_at);
            }
            let never = PollFd::never;
            // The first start makes one, which is seen within a second.
            let guardian = self.server.services.host.guardian_ended();
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
                self.metrics_listener
                    .as_ref()
                    .map_or_else(never, |it| PollFd::new(it.as_fd(), READABLE)),
            ];
            let must_sweep = !self.server.sessions.is_empty()
                || self.server.living_connections() > 0
                || blocks::are_kept()
                || self.server.services.confined.has_idle()
                || self.server.services.host.cgroups().has_leftovers()
                || log::has_repeats();
            let until_sweep = (swept_at + SWEEP).saturating_duration_since(Instant::now());
            let until_rest = (!is_resting).then_some(SWEEP);
            let until = must_sweep.then_some(until_sweep).or(until_rest);
            poll::wait(&mut fds, until.into_iter().chain(until_sign).min())?;
            is_resting = !fds.iter().any(PollFd::is_ready);
            match is_resting {
                true => pages::release_code(),
                false => pages::note_run(),
            }
            let [_, _, woken, incoming, typed, asked] = fds.map(|fd| fd.is_ready());
            if woken {
                self.server.wake.take();
            }
            if self.server.is_over.load(Ordering::Acquire) {
                return Ok(());
            }
            if typed && self.has_stdin_ended() {
                note_end("standard input");
                return Ok(());
            }
            while let Some(signal) = self.signals.take() {
                match signal {
                    Signal::CHILD => {}
                    Signal::HANGUP => self.reload(),
                    _ => {
                        note_end(&signal.name());
                        return Ok(());
                    }
                }
            }
            self.server.services.host.reap();
            if incoming && let Some(listener) = &mut self.listener {
                listener.accept(&self.server);
            }
            if asked && let Some(listener) = &mut self.metrics_listener {
                listener.accept(&self.server);
            }
            if self.server.sweep(&mut swept_at) {
                log::tell_repeats(false);
            }
        }
    }

    /// Reads again what is in files, and tells the operator what came of it.
    fn reload(&self) {
        // Both listeners have the same files.
        let listener = self.listener.as_ref().or(self.metrics_listener.as_ref());
        let mut all = listener.map(Listener::reload).unwrap_or_default();
        all.extend(log::reopen().map(|it| ("log", it.map_err(|error| error.to_string()))));
        let failed = all
            .iter()
            .filter_map(|(what, it)| Some((what, it.as_ref().err()?)));
        let failed: Vec<_> = failed.map(|(what, why)| format!("{what}: {why}")).collect();
        let good: Vec<_> = all
            .iter()
            .filter(|(_, it)| it.is_ok())
            .map(|(what, _)| *what)
            .collect();
        let level = match failed.is_empty() {
            true => Level::Info,
            false => Level::Warn,
        };
        log::event(level, Event::Reloaded, &|line| {
            line.text("files", good.join(","));
            if !failed.is_empty() {
                line.text("kept", "the former ones of what failed");
                line.text("why", failed.join("; "));
            }
        });
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
        let streams = (stdin, stdout.try_clone()?, stdout);
        connection::spawn(STDIO_CONNECTION, move || serve_streams(&server, streams))
    }
}

fn serve_streams(server: &Arc<Server>, (stdin, stdout, answers): (OwnedFd, OwnedFd, OwnedFd)) {
    let outbound = Arc::new(Outbound::new(Sink::Stream(stdout.into()), Framing::Lines));
    let reader = LineReader::new(StreamSource::new(stdin, answers), Arc::clone(&outbound));
    let reader = Box::new(reader);
    Connection::new(server, reader, outbound, STDIO_CONNECTION, Peer::Stdio).run();
}

//! The thread that keeps this machine on offer: registers, connects, serves, waits, and again.

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::auth::Authority;
use super::error::{CloudError, Service};
use super::registration::{Form, Launch, Registration, register};
use super::relay::{self, Destination};
use super::settings::{self, Plan, Settings};
use crate::hex::hex;
use crate::log;
use crate::net::http::Network;
use crate::net::{Dial, DialError, Dialled};
use crate::oneshot::{self, Sender};
use crate::serve::injector::Injector;
use crate::serve::{Options, ServeError, run_outgoing};
use crate::sys::{initial_environment, random};

/// So many connections in a row that come to nothing, and their URL is given up.
const MAX_FAILURES: u32 = 3;
/// A connection that has lasted so long was one, even if nobody came through it.
const STEADY: Duration = Duration::from_secs(10);
/// The first wait before another attempt.
const FIRST: Duration = Duration::from_secs(1);
/// The longest that a service may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// The thread's stack: TLS and relay frames are on it.
const STACK_BYTES: usize = 512 * 1024;

/// Why this machine is not on offer any more.
#[derive(Debug)]
pub enum OfferError {
    /// The control plane, or what leads to it.
    Cloud(CloudError),
    /// The server itself.
    Serve(ServeError),
}

impl std::fmt::Display for OfferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cloud(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OfferError {}

/// Offers this machine until a signal, or if wanted until standard input ends.
///
/// # Errors
/// The first registration failed, or a later one in a way that another attempt cannot mend.
pub fn run(settings: &Settings, options: &Options) -> Result<(), OfferError> {
    let plan = settings.plan(variable).map_err(OfferError::Cloud)?;
    let (sender, receiver) = oneshot::channel();
    let exits_on_stdin_close = plan.exits_on_stdin_close;
    run_outgoing(options, exits_on_stdin_close, |injector| {
        let registration_loop = RegistrationLoop::new(plan, injector)?;
        thread::Builder::new()
            .name("cloud".into())
            .stack_size(STACK_BYTES)
            .spawn(move || registration_loop.run(sender))
            .map(drop)
    })
    .map_err(OfferError::Serve)?;
    match receiver.wait(Some(Duration::ZERO)) {
        Ok(error) => Err(OfferError::Cloud(error)),
        Err(_) => Ok(()),
    }
}

/// A variable; what it takes to be us is one no more.
fn variable(name: &str) -> Option<OsString> {
    if settings::CREDENTIALS.contains(&name) {
        initial_environment::take_variable(name)
    } else {
        std::env::var_os(name)
    }
}

/// What the loop needs and remembers.
struct RegistrationLoop {
    form: Form,
    /// Who serves the clients of a relay, if not this server.
    destination: Option<Arc<Destination>>,
    authority: Authority,
    network: Network,
    launch: Launch,
    backoff: Backoff,
    injector: Injector,
    /// A registration that may be used for more than one connection.
    current: Option<Registration>,
    /// Connections in a row that came to nothing.
    failures: u32,
    has_registered: bool,
}

impl RegistrationLoop {
    fn new(plan: Plan, injector: Injector) -> io::Result<Self> {
        Ok(Self {
            form: plan.form,
            destination: plan.connect.map(|dial| {
                let ping_interval = injector.ping_interval();
                Arc::new(Destination::new(dial, ping_interval))
            }),
            authority: plan.authority,
            // A control plane may be anywhere; whoever starts us has named it.
            network: Network::new(true),
            launch: Launch::new()?,
            backoff: Backoff::new(plan.max_delay),
            injector,
            current: None,
            failures: 0,
            has_registered: false,
        })
    }

    fn run(mut self, failed: Sender<CloudError>) {
        while !self.injector.is_draining() {
            let asked = match self.round() {
                Ok(()) => None,
                Err(error) if self.has_registered && error.is_transient() => {
                    log::warn!("{error}; trying again");
                    error.retry_after()
                }
                Err(error) => {
                    // Whoever would read it is waiting for the server to end.
                    failed.send(error);
                    self.injector.close();
                    return;
                }
            };
            thread::sleep(self.backoff.wait(asked));
        }
    }

    /// From a registration to the end of its connection. A connection that fails is no error: the
    /// next round may fare better.
    fn round(&mut self) -> Result<(), CloudError> {
        let current = self.current.take();
        let is_fresh = current.is_none();
        let registration = match current {
            Some(current) => current,
            None => self.register()?,
        };
        let websocket = match dial(&registration) {
            Ok(websocket) => websocket,
            Err(error) => return self.refused(registration, is_fresh, &error),
        };
        log::info!("connected to {}", registration.rendezvous.label());
        let begun = Instant::now();
        if self.serve(websocket) || begun.elapsed() >= STEADY {
            self.backoff.reset();
            self.failures = 0;
            self.keep(registration);
        } else {
            self.keep_after_failure(registration);
        }
        Ok(())
    }

    fn register(&mut self) -> Result<Registration, CloudError> {
        let registration = register(&self.form, &self.launch, &mut self.authority, &self.network)?;
        self.has_registered = true;
        if let Some(news) = &registration.news {
            // There is nobody to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "{news}");
        }
        Ok(registration)
    }

    /// After a refused connection: whether its URL, which may be a fresh one, is worth another
    /// attempt.
    fn refused(
        &mut self,
        registration: Registration,
        is_fresh: bool,
        error: &DialError,
    ) -> Result<(), CloudError> {
        match (&self.form, error.status()) {
            // The signature of an older URL may have run out.
            (Form::Direct { .. }, Some(status @ (401 | 403))) if is_fresh => {
                let why = format!("rendezvous refused the connection with status {status}");
                return Err(CloudError::Refused(Service::EnvironmentRegistry, why));
            }
            (_, None | Some(500..)) => self.keep_after_failure(registration),
            _ => self.failures = 0,
        }
        let (label, reason) = (&error.label, error.reason());
        log::warn!("no connection to the rendezvous {label}: {reason}; trying again");
        Ok(())
    }

    /// Keeps the URL for the next connection, if it is for more than one.
    fn keep(&mut self, registration: Registration) {
        if matches!(self.form, Form::Relay { .. } | Form::Direct { .. }) {
            self.current = Some(registration);
        }
    }

    /// The same after a connection that came to nothing: not for ever, since the rendezvous may
    /// have moved, or refuse us in a way of its own.
    fn keep_after_failure(&mut self, registration: Registration) {
        self.failures += 1;
        if self.failures < MAX_FAILURES {
            self.keep(registration);
        } else {
            self.failures = 0;
        }
    }

    /// Serves to the end of the connection; whether anybody came through it.
    fn serve(&self, websocket: Dialled) -> bool {
        let name = match self.form {
            Form::Relay { .. } => {
                let served = relay::serve(&self.injector, self.destination.as_ref(), websocket);
                return served.unwrap_or_else(|error| {
                    log::warn!("cannot serve the relay: {error}");
                    false
                });
            }
            Form::Cloud { .. } => "cloud exec-server websocket",
            Form::Executor { .. } | Form::Direct { .. } => "remote exec-server websocket",
        };
        self.injector.serve_websocket(websocket, name)
    }
}

fn dial(registration: &Registration) -> Result<Dialled, DialError> {
    let mut dial = Dial::new(registration.rendezvous.clone());
    if let Ok(id) = request_id() {
        dial.headers.push(("X-Request-ID".to_owned(), id));
    }
    dial.run()
}

/// What the rendezvous may find this connection by in its logs.
fn request_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(format!("req_{}", hex(&bytes)))
}

/// Waits that double up to a limit. Each is cut at random, so that a thousand machines that lost
/// the same service do not come back at the same moment.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    fn new(limit: Duration) -> Self {
        Self {
            next: FIRST.min(limit),
            limit,
        }
    }

    /// After a success the next failure begins from the start.
    fn reset(&mut self) {
        self.next = FIRST.min(self.limit);
    }

    /// The next wait; what the service has asked for, if it has, is the least.
    fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.limit);
        let cut = whole.mul_f64(fraction());
        // Not cut below what was asked for, but still spread beyond it.
        asked.map_or(cut, |asked| asked.min(LONGEST_ASKED) + cut)
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the wait is whole, which is as right.
    match random::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            assert!(backoff.wait(None) <= Duration::from_secs(whole));
        }
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_secs(1));
    }

    #[test]
    fn waits_are_spread() {
        let wait = || Backoff::new(Duration::from_secs(30)).wait(None).as_millis() / 100;
        let distinct: std::collections::HashSet<_> = (0..200).map(|_| wait()).collect();
        assert!(distinct.len() >= 8, "{distinct:?}");
    }

    #[test]
    fn what_is_asked_for_is_the_least_and_has_an_end() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        assert!(backoff.wait(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(backoff.wait(Some(Duration::MAX)) <= Duration::from_secs(3601));
    }
}

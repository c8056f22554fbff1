//! File requests under a policy, carried out by a helper in the sandbox of that policy.
//!
//! A helper is this program again, behind the same walls as a command of the client's would be, at
//! the other end of a socket pair. It answers the very requests that the client sends with the code
//! that answers them elsewhere ([`inside`]); what it may touch, the kernel decides. Should a helper
//! not come up, not answer or die, its request fails, and nothing is ever done outside instead.
//!
//! ```text
//!   files thread ── request ──► Channel ══ socket pair ══► helper in the sandbox: FileService
//!        │                         ▲                            │
//!        │                         └── answer, open file ◄──────┘
//!        └── answer as it is ──► Outbound
//!   file-helper thread   one a helper: starts it, hears its last words, reaps it
//! ```
//!
//! A helper that has answered waits in the [`Pool`] for the next request under the same policy. It
//! is used again only while its sandbox is what a new one would be: everything that its policy names
//! is what it was, its patterns match the same, and nothing was mounted. The same look at the file
//! system tells whether a policy has to be read anew ([`Reading`]).
//! When a connection ends, so does the helper that works for it ([`Leash`]).
//! Only what no program would be confined for either ([`Policy::is_free`]) is answered without one.

mod channel;
mod error;
mod inside;
mod known;
mod leash;
mod pool;
mod relay;
mod request;

pub use inside::answer_file_requests;
pub(super) use leash::{Leash, Wanted};
pub(super) use request::ConfinedRequest;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use self::channel::Channel;
use self::error::{ConfinedError, Failure};
use self::known::{Known, Reading};
use self::pool::Pool;
use self::relay::{Answers, Relayed};
use super::dispatch::Later;
use super::files::FileService;
use crate::env::local::{Helper, Helpers, Host, ProcessSpec, StartError, StartedHelper};
use crate::log;
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::WirePath;
use crate::rpc::protocol::process::Empty;
use crate::sandbox::launcher::{Confinement, Kind};
use crate::sandbox::mounts::{MountList, Scan};
use crate::sandbox::policy::{Context, Evidence, Policy};
use crate::sys::event::WakeEvent;

/// How long a sandbox may take to be set up.
const SET_UP: Duration = Duration::from_secs(20);
/// How long a helper that is of no more use may take to end.
const END: Duration = Duration::from_secs(2);
/// The argument that makes this program a helper.
pub const ARGUMENT: &str = "__files";
/// The variables of the server that a helper sees.
const VARIABLES: [&str; 4] = ["PATH", "TMPDIR", "TMP", "TEMP"];

/// Carries out the file requests under a policy of all connections.
pub(super) struct ConfinedFiles {
    helpers: Arc<Helpers>,
    pool: Pool<Warm>,
    known: Known,
}

/// A helper that waits for a request.
struct Warm {
    // Hanging up comes before the kill.
    channel: Channel,
    helper: Helper,
    made_for: Made,
    /// Whether it has carried out a request already, and may have ended while it waited.
    has_worked: bool,
    /// Whether permissions can be changed wherever the user may, whatever the policy says.
    has_free_modes: bool,
}

/// What a sandbox was made for. Taken before it is made: what changes meanwhile makes it look old,
/// never new.
struct Made {
    reading: Arc<Reading>,
    scan: Arc<Scan>,
    /// How often the list of mounts had changed.
    mounts: u64,
}

impl Made {
    /// Whether it would be made the same now, when `now` has just been looked at.
    fn is_current(&self, now: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.reading, &now.reading);
        self.mounts == now.mounts
            && (Arc::ptr_eq(&self.scan, &now.scan) || self.scan.matches == now.scan.matches)
            && (is_same || self.reading.evidence.holds())
    }
}

impl ConfinedFiles {
    /// No helper yet.
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self {
            helpers: Helpers::new(host),
            pool: Pool::default(),
            known: Known::default(),
        }
    }

    /// Carries a request out, in a sandbox if its policy needs one, and adds the answer.
    pub(super) fn answer(
        &self,
        service: &mut FileService,
        later: &Later,
        request: &ConfinedRequest,
        leash: &Leash,
    ) {
        if let Err(error) = self.carry_out(service, later, request, leash) {
            later.add(Err::<&Empty, _>(&error));
        }
    }

    /// Whether some helper waits, so that [`ConfinedFiles::sweep`] has something to do.
    pub(super) fn has_idle(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Ends helpers that have had no work for long.
    pub(super) fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }

    /// Ends all helpers that wait.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Waits until no helper is left, at most until `deadline`.
    pub(super) fn wait_until_none(&self, deadline: Instant) {
        self.helpers.wait_until_none(deadline);
    }

    fn carry_out(
        &self,
        service: &mut FileService,
        later: &Later,
        request: &ConfinedRequest,
        leash: &Leash,
    ) -> Result<(), RpcError> {
        let reading = self.read(request)?;
        if reading.is_free {
            return answer_here(service, later, request);
        }
        if let Some((handle, _)) = &request.handle {
            service.check_free(handle)?;
        }
        self.answer_inside(service, later, (request, &reading), leash)
            .map_err(|error| error.into_rpc(request.path.style.render(&request.path.path)))
    }

    /// What the policy of a request says, as it would be read now.
    fn read(&self, request: &ConfinedRequest) -> Result<Arc<Reading>, RpcError> {
        let json = request.sandbox.get();
        if let Some(reading) = self.known.find(json) {
            return Ok(reading);
        }
        let (policy, evidence) = read(&request.sandbox, &request.path)?;
        let reading = Reading::new(policy, evidence);
        self.known.remember(json, &reading);
        Ok(reading)
    }

    fn answer_inside(
        &self,
        service: &mut FileService,
        later: &Later,
        (request, reading): (&ConfinedRequest, &Arc<Reading>),
        leash: &Leash,
    ) -> Result<(), ConfinedError> {
        // Helpers that wait are for those who do.
        if !leash.wants(request.purpose) {
            return Err(ConfinedError::GivenUp);
        }
        let mut warm = self.with_request(request, reading, leash)?;
        let channel = &mut warm.channel;
        let limit = request.limit;
        let rule_of = |errno| request.denying_rule(&reading.policy, errno);
        let answers = Answers {
            later,
            rule_of: &rule_of,
        };
        let answered = match &request.handle {
            None => relay::relay(channel, &answers, service, request.passing, limit),
            Some((handle, mode)) => {
                relay::keep_opened(channel, &answers, service, (handle, *mode), limit)
            }
        };
        match answered {
            Ok(Relayed::Whole) => {
                warm.channel.relax();
                self.keep(warm, leash);
                Ok(())
            }
            Ok(Relayed::BrokenOff(error)) => {
                // One that was told to end has not failed.
                if leash.release() {
                    log::warn!("reading a file in its sandbox failed in the middle: {error}");
                }
                Ok(())
            }
            Ok(Relayed::Untaken) => Ok(()),
            Err(error) => Err(ConfinedError::Helper(Failure::of(&warm.helper, error))),
        }
    }

    /// A helper that has the request.
    fn with_request(
        &self,
        request: &ConfinedRequest,
        reading: &Arc<Reading>,
        leash: &Leash,
    ) -> Result<Warm, ConfinedError> {
        loop {
            let mut warm = self.helper_for(request, reading, leash)?;
            if request.changes_mode && warm.has_free_modes {
                self.keep(warm, leash);
                return Err(ConfinedError::FreeModes);
            }
            match warm.channel.send(&request.framed) {
                Ok(()) => return Ok(warm),
                // Half a request is not carried out, so another helper may have it.
                Err(_) if warm.has_worked => warm.helper.end(END),
                Err(error) => return Err(ConfinedError::Helper(Failure::of(&warm.helper, error))),
            }
        }
    }

    /// A helper for the policy that has just been read, and a current one, on the connection's
    /// leash: one that waits, or a new one.
    fn helper_for(
        &self,
        request: &ConfinedRequest,
        reading: &Arc<Reading>,
        leash: &Leash,
    ) -> Result<Warm, ConfinedError> {
        let made = Made {
            scan: Scan::of(&reading.policy).map_err(ConfinedError::Policy)?,
            mounts: MountList::shared().changes(),
            reading: Arc::clone(reading),
        };
        while let Some(warm) = self.pool.take(&made.reading.policy) {
            if !warm.helper.has_ended() && warm.made_for.is_current(&made) {
                hold(leash, request, warm.helper.stop())?;
                return Ok(warm);
            }
            // The next sandbox would find its mount points, and they would go meanwhile.
            warm.helper.end(END);
        }
        self.start(request, made, leash)
    }

    /// Lets a helper wait for the next request, of any connection.
    fn keep(&self, mut warm: Warm, leash: &Leash) {
        if !leash.release() {
            return;
        }
        warm.has_worked = true;
        let policy = Arc::clone(&warm.made_for.reading.policy);
        self.pool.put(policy, warm, Instant::now());
    }

    fn start(
        &self,
        request: &ConfinedRequest,
        mut made: Made,
        leash: &Leash,
    ) -> Result<Warm, ConfinedError> {
        let (ours, theirs) = UnixStream::pair().map_err(ConfinedError::Socket)?;
        let mut channel = Channel::new(ours).map_err(ConfinedError::Socket)?;
        let spec = ProcessSpec {
            id: String::new(),
            // Behind every wall this is the file that the server runs.
            argv: vec!["/proc/self/exe".into(), ARGUMENT.into()],
            is_own_program: true,
            arg0: Some("exec-server".into()),
            cwd: "/".into(),
            env: environment(),
            terminal: None,
            pipe_stdin: false,
            socket: Some(theirs.into()),
            timeout: None,
            limits: Vec::new(),
            confinement: Some(Confinement {
                policy: Policy::clone(&made.reading.policy),
                cwd: "/".into(),
            }),
        };
        let stop = WakeEvent::new()
            .map(Arc::new)
            .map_err(|error| ConfinedError::Start(StartError::Resources("an event", error)))?;
        hold(leash, request, &stop)?;
        let started = self.helpers.start(spec, stop);
        let StartedHelper {
            helper,
            level,
            points,
        } = started.map_err(ConfinedError::Start)?;
        if !points.is_empty() {
            made.reading = made.reading.with_points(points);
            self.known.remember(request.sandbox.get(), &made.reading);
        }
        match channel.await_ready(SET_UP) {
            Ok(()) => Ok(Warm {
                channel,
                helper,
                made_for: made,
                has_worked: false,
                has_free_modes: level.is_none_or(|level| level.launcher == Kind::Landlock),
            }),
            Err(error) => Err(ConfinedError::SetUp(Failure::of(&helper, error))),
        }
    }
}

/// Ties the helper that `stop` ends to the connection of a request, which must still be there.
fn hold(
    leash: &Leash,
    request: &ConfinedRequest,
    stop: &Arc<WakeEvent>,
) -> Result<(), ConfinedError> {
    if leash.hold(request.purpose, stop) {
        Ok(())
    } else {
        Err(ConfinedError::GivenUp)
    }
}

/// The policy of a file request about `path`, and what it was read from. Nothing in it depends on
/// where the server runs.
pub(super) fn read(sandbox: &RawValue, path: &WirePath) -> Result<(Policy, Evidence), RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: None,
        tmpdir: tmpdir.as_deref(),
        style: path.style,
    };
    Ok(Policy::parse_with_evidence(sandbox.get(), &context)?)
}

/// Carries out what needs no sandbox.
fn answer_here(
    service: &mut FileService,
    later: &Later,
    request: &ConfinedRequest,
) -> Result<(), RpcError> {
    // It was put together from what had been decoded.
    let decoded = request::decode(request.framed.json())
        .ok_or_else(|| RpcError::failed("a waiting request was lost; send it again"))?;
    let (plain, path) = decoded.request?;
    service.answer(later, plain, Some(path));
    Ok(())
}

fn environment() -> Vec<(OsString, OsString)> {
    VARIABLES
        .iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
        .collect()
}

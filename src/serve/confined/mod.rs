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
//! system tells whether a policy has to be read anew ([`CachedPolicy`]).
//! When a connection ends, so does the helper that works for it ([`HelperCancel`]).
//! Only what no program would be confined for either ([`Policy::is_free`]) is answered without one.

mod cancel;
mod channel;
mod error;
mod inside;
mod policy_cache;
mod pool;
mod relay;
mod request;

pub(super) use cancel::{HelperCancel, Wanted};
pub use inside::answer_file_requests;
pub(super) use request::ConfinedRequest;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use self::channel::Channel;
use self::error::{ConfinedError, Failure};
use self::policy_cache::{CachedPolicy, PolicyCache};
use self::pool::Pool;
use self::relay::{Answers, Relayed};
use super::files::FileService;
use super::reply::Responder;
use crate::env::local::{Helper, Helpers, Host, ProcessSpec, StartError, StartedHelper};
use crate::log;
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::WirePath;
use crate::sandbox::launcher::{Confinement, LauncherKind};
use crate::sandbox::mounts::{Cancel, MountList, PlanError, Scan};
use crate::sandbox::policy::{Context, Policy, PolicyInputs};
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
    pool: Pool<IdleHelper>,
    policy_cache: PolicyCache,
}

/// A helper that waits for a request.
struct IdleHelper {
    // Hanging up comes before the kill.
    channel: Channel,
    helper: Helper,
    stamp: SandboxStamp,
    /// Whether it has carried out a request already, and may have ended while it waited.
    has_worked: bool,
    /// Whether permissions can be changed wherever the user may, whatever the policy says.
    has_free_modes: bool,
}

/// What a sandbox was made for. Taken before it is made: what changes meanwhile makes it look old,
/// never new.
struct SandboxStamp {
    cached: Arc<CachedPolicy>,
    scan: Arc<Scan>,
    /// How often the list of mounts had changed.
    mounts: u64,
}

impl SandboxStamp {
    /// Whether it would be made the same now, when `now` has just been looked at.
    fn is_current(&self, now: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.cached, &now.cached);
        self.mounts == now.mounts
            && (Arc::ptr_eq(&self.scan, &now.scan) || self.scan.matches == now.scan.matches)
            && (is_same || self.cached.inputs.holds())
    }
}

impl ConfinedFiles {
    /// No helper yet.
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self {
            helpers: Helpers::new(host),
            pool: Pool::default(),
            policy_cache: PolicyCache::default(),
        }
    }

    /// Carries a request out, in a sandbox if its policy needs one, and adds the answer.
    pub(super) fn answer(
        &self,
        service: &mut FileService,
        responder: &Responder,
        request: &ConfinedRequest,
        cancel: &HelperCancel,
    ) {
        if let Err(error) = self.carry_out(service, responder, request, cancel) {
            responder.fail(&error);
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
        responder: &Responder,
        request: &ConfinedRequest,
        cancel: &HelperCancel,
    ) -> Result<(), RpcError> {
        let cached = self.read(request)?;
        if cached.is_free {
            return answer_here(service, responder, request);
        }
        if let Some((handle, _)) = &request.confinement.handle {
            service.check_free(handle)?;
        }
        self.answer_inside(service, responder, (request, &cached), cancel)
            .map_err(|error| {
                error.into_rpc(
                    request
                        .confinement
                        .path
                        .style
                        .render(&request.confinement.path.path),
                )
            })
    }

    /// What the policy of a request says, as it would be read now.
    fn read(&self, request: &ConfinedRequest) -> Result<Arc<CachedPolicy>, RpcError> {
        let json = request.confinement.sandbox.get();
        if let Some(cached) = self.policy_cache.find(json) {
            return Ok(cached);
        }
        let (policy, inputs) = read(&request.confinement.sandbox, &request.confinement.path)?;
        let cached = CachedPolicy::new(policy, inputs);
        self.policy_cache.remember(json, &cached);
        Ok(cached)
    }

    fn answer_inside(
        &self,
        service: &mut FileService,
        responder: &Responder,
        (request, cached): (&ConfinedRequest, &Arc<CachedPolicy>),
        cancel: &HelperCancel,
    ) -> Result<(), ConfinedError> {
        // Helpers that wait are for those who do.
        if !cancel.wants(request.confinement.purpose) {
            return Err(ConfinedError::GivenUp);
        }
        let mut idle = self.with_request(request, cached, cancel)?;
        let channel = &mut idle.channel;
        let limit = request.confinement.limit;
        let rule_of = |errno| request.denying_rule(&cached.policy, errno);
        let answers = Answers {
            responder,
            rule_of: &rule_of,
        };
        let answered = match &request.confinement.handle {
            None => relay::relay(channel, &answers, service, request.passing(), limit),
            Some((handle, mode)) => {
                relay::keep_opened(channel, &answers, service, (handle, *mode), limit)
            }
        };
        match answered {
            Ok(Relayed::Whole) => {
                idle.channel.shrink();
                self.keep(idle, cancel);
                Ok(())
            }
            Ok(Relayed::BrokenOff(error)) => {
                // One that was told to end has not failed.
                if cancel.release() {
                    log::warn!("reading a file in its sandbox failed in the middle: {error}");
                }
                Ok(())
            }
            Ok(Relayed::Untaken) => Ok(()),
            Err(error) => Err(ConfinedError::Helper(Failure::of(&idle.helper, error))),
        }
    }

    /// A helper that has the request.
    fn with_request(
        &self,
        request: &ConfinedRequest,
        cached: &Arc<CachedPolicy>,
        cancel: &HelperCancel,
    ) -> Result<IdleHelper, ConfinedError> {
        loop {
            let mut idle = self.helper_for(request, cached, cancel)?;
            if request.confinement.changes_mode && idle.has_free_modes {
                self.keep(idle, cancel);
                return Err(ConfinedError::FreeModes);
            }
            match idle.channel.send(&request.framed) {
                Ok(()) => return Ok(idle),
                // Half a request is not carried out, so another helper may have it.
                Err(_) if idle.has_worked => idle.helper.end(END),
                Err(error) => return Err(ConfinedError::Helper(Failure::of(&idle.helper, error))),
            }
        }
    }

    /// A helper for the policy that has just been read: one that waits, or a new one. The end of the
    /// connection ends it.
    fn helper_for(
        &self,
        request: &ConfinedRequest,
        cached: &Arc<CachedPolicy>,
        cancel: &HelperCancel,
    ) -> Result<IdleHelper, ConfinedError> {
        let stamp = SandboxStamp {
            scan: scan(request, cached, cancel)?,
            mounts: MountList::shared().changes(),
            cached: Arc::clone(cached),
        };
        while let Some(idle) = self.pool.take(&stamp.cached.policy) {
            if !idle.helper.has_ended() && idle.stamp.is_current(&stamp) {
                hold(cancel, request, idle.helper.stop())?;
                return Ok(idle);
            }
            // The next sandbox would find its mount points, and they would go meanwhile.
            idle.helper.end(END);
        }
        self.start(request, stamp, cancel)
    }

    /// Lets a helper wait for the next request, of any connection.
    fn keep(&self, mut idle: IdleHelper, cancel: &HelperCancel) {
        if !cancel.release() {
            return;
        }
        idle.has_worked = true;
        let policy = Arc::clone(&idle.stamp.cached.policy);
        self.pool.put(policy, idle, Instant::now());
    }

    fn start(
        &self,
        request: &ConfinedRequest,
        mut stamp: SandboxStamp,
        cancel: &HelperCancel,
    ) -> Result<IdleHelper, ConfinedError> {
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
                policy: Policy::clone(&stamp.cached.policy),
                cwd: "/".into(),
            }),
        };
        let stop = stop_event(cancel, request)?;
        let started = self.helpers.start(spec, stop);
        let StartedHelper {
            helper,
            level,
            points,
        } = started.map_err(ConfinedError::Start)?;
        if !points.is_empty() {
            stamp.cached = stamp.cached.with_points(points);
            self.policy_cache
                .remember(request.confinement.sandbox.get(), &stamp.cached);
        }
        match channel.await_ready(SET_UP) {
            Ok(()) => Ok(IdleHelper {
                channel,
                helper,
                stamp,
                has_worked: false,
                has_free_modes: level.is_none_or(|level| level.launcher == LauncherKind::Landlock),
            }),
            Err(error) => Err(ConfinedError::SetUp(Failure::of(&helper, error))),
        }
    }
}

/// What the patterns of a policy match now. The end of the connection ends the search.
fn scan(
    request: &ConfinedRequest,
    cached: &CachedPolicy,
    cancel: &HelperCancel,
) -> Result<Arc<Scan>, ConfinedError> {
    if cached.policy.globs().is_empty() {
        return Ok(Arc::default());
    }
    let stop = stop_event(cancel, request)?;
    Scan::of(&cached.policy, Cancel(Some(stop.as_fd()))).map_err(|error| match error {
        PlanError::Cancelled => ConfinedError::GivenUp,
        error => ConfinedError::Policy(error),
    })
}

/// A new event that is set when a request's connection ends, which must still be there.
fn stop_event(
    cancel: &HelperCancel,
    request: &ConfinedRequest,
) -> Result<Arc<WakeEvent>, ConfinedError> {
    let stop = WakeEvent::new()
        .map(Arc::new)
        .map_err(|error| ConfinedError::Start(StartError::Resources("an event", error)))?;
    hold(cancel, request, &stop)?;
    Ok(stop)
}

/// Ties the helper that `stop` ends to the connection of a request, which must still be there.
fn hold(
    cancel: &HelperCancel,
    request: &ConfinedRequest,
    stop: &Arc<WakeEvent>,
) -> Result<(), ConfinedError> {
    if cancel.hold(request.confinement.purpose, stop) {
        Ok(())
    } else {
        Err(ConfinedError::GivenUp)
    }
}

/// The policy of a file request about `path`, and what it was read from. Nothing in it depends on
/// where the server runs.
pub(super) fn read(
    sandbox: &RawValue,
    path: &WirePath,
) -> Result<(Policy, PolicyInputs), RpcError> {
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
    responder: &Responder,
    request: &ConfinedRequest,
) -> Result<(), RpcError> {
    // It was put together from what had been decoded.
    let decoded = request::decode(request.framed.json())
        .ok_or_else(|| RpcError::failed("a waiting request was lost; send it again"))?;
    let (plain, path) = decoded.request?;
    service.answer(responder, plain, Some(path));
    Ok(())
}

fn environment() -> Vec<(OsString, OsString)> {
    VARIABLES
        .iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
        .collect()
}

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
//! is used again only while its sandbox is what a new one would be: everything that its policy
//! names is what it was, its patterns match the same, and nothing was mounted. The same look at the
//! file system tells whether a policy has to be read anew ([`CachedPolicy`]). When a connection
//! ends, so does the helper that works for it ([`HelperCancel`]). Only what no program would be
//! confined for either ([`Policy::is_free`]) is answered without one.

mod helper;
mod inside;
mod relay;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use serde_json::value::RawValue;

use self::helper::Pool;
use self::helper::{Channel, ChannelError, Framed};
use self::relay::{Answers, Passing, Relayed};
use super::files::{FileConfinement, FileService, FileWork, METHODS};
use super::reply::Responder;
use crate::env::local::{
    CgroupLimits, Helper, Helpers, Host, ProcessSpec, StartError, StartedHelper,
};
use crate::log;
use crate::rpc::error::{DenyingRule, ErrorData, ErrorKind, Reason, RpcError};
use crate::rpc::message::{Message, RequestId};
use crate::rpc::path_uri::WirePath;
use crate::sandbox::launcher::{Confinement, LauncherKind};
use crate::sandbox::mounts::{Cancel, MountList, PlanError, Scan};
use crate::sandbox::policy::{Access, Context, Policy, PolicyInputs};
use crate::sys::file::Identity;
use crate::sys::poll::WakeEvent;
use crate::sys::process::Exit;
use crate::sys::sync::Mutex;

pub(crate) use self::helper::{HelperCancel, Wanted};
pub use self::inside::answer_file_requests;

/// How long a sandbox may take to be set up.
const SET_UP: Duration = Duration::from_secs(20);
/// How long a helper that is of no more use may take to end.
const END: Duration = Duration::from_secs(2);
/// The argument that makes this program a helper.
pub const ARGUMENT: &str = "__files";
/// The variables of the server that a helper sees.
const VARIABLES: [&str; 4] = ["PATH", "TMPDIR", "TMP", "TEMP"];

/// Carries out the file requests under a policy of all connections.
pub(crate) struct ConfinedFiles {
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
    pub(crate) fn new(host: &Arc<Host>) -> Self {
        Self {
            helpers: Helpers::new(host),
            pool: Pool::default(),
            policy_cache: PolicyCache::default(),
        }
    }

    /// Carries a request out, in a sandbox if its policy needs one, and adds the answer.
    pub(crate) fn answer(
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
    pub(crate) fn has_idle(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Ends helpers that have had no work for long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }

    /// Ends all helpers that wait.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Waits until no helper is left, at most until `deadline`.
    pub(crate) fn wait_until_none(&self, deadline: Instant) {
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
        if let Some(handle) = &request.confinement.handle {
            service.check_free(&handle.id)?;
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
            Some(handle) => relay::keep_opened(channel, &answers, service, handle, limit),
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
            Err(ChannelError::NoRoom) => Err(ConfinedError::NoRoom),
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

    /// A helper for the policy that has just been read: one that waits, or a new one. The end of
    /// the connection ends it.
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
            cgroup_limits: CgroupLimits::default(),
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
pub(crate) fn read(
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
    let decoded = decode(request.framed.json())
        .ok_or_else(|| RpcError::failed("a waiting request was lost; send it again"))?;
    service.answer(responder, decoded.request?);
    Ok(())
}

fn environment() -> Vec<(OsString, OsString)> {
    VARIABLES
        .iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
        .collect()
}

/// What the kernel says where a sandbox shows nothing, or lets nothing be changed or moved.
const DENIALS: [i32; 6] = [
    libc::EPERM,
    libc::ENOENT,
    libc::EACCES,
    libc::EBUSY,
    libc::EXDEV,
    libc::EROFS,
];

/// A file request under a policy. It is kept as the client has sent it, since what it is to write
/// is decoded by who writes it.
pub(crate) struct ConfinedRequest {
    pub(crate) framed: Framed,
    pub(crate) confinement: FileConfinement,
}

impl ConfinedRequest {
    /// None where there is no memory for it.
    pub(crate) fn new(
        id: RequestId<'_>,
        method: &str,
        params: Option<&str>,
        confinement: FileConfinement,
    ) -> Option<Self> {
        let params = params.unwrap_or("null");
        Some(Self {
            framed: Framed::new(id, method, params)?,
            confinement,
        })
    }

    /// How its answer passes.
    pub(crate) fn passing(&self) -> Passing {
        match self.confinement.max_message {
            Some(most) => Passing::Pieces { most },
            None => Passing::Whole,
        }
    }

    /// The rule of its policy that it has failed for, by the kernel's number for why.
    pub(crate) fn denying_rule(&self, policy: &Policy, errno: i32) -> Option<DenyingRule> {
        if !DENIALS.contains(&errno) {
            return None;
        }
        let it = &self.confinement;
        let first = policy.denial(&it.path.path, it.wanted, it.with_below);
        let second = || {
            let destination = it.destination.as_ref()?;
            policy.denial(&destination.path, Access::Write, false)
        };
        Some(first.or_else(second)?.rule(it.path.style))
    }
}

/// A framed request, for who carries it out.
pub(crate) struct Decoded<'a> {
    pub(crate) id: RequestId<'a>,
    pub(crate) request: Result<FileWork, RpcError>,
}

/// Decodes a framed request. None for what [`ConfinedRequest::new`] has not made.
pub(crate) fn decode(json: &[u8]) -> Option<Decoded<'_>> {
    let message = Message::decode(str::from_utf8(json).ok()?);
    let Ok(Message::Request { id, method, params }) = message else {
        return None;
    };
    let (_, method) = METHODS.iter().find(|(name, _)| *name == method)?;
    let request = method.prepare_inside(params);
    Some(Decoded { id, request })
}

/// How long the cause of a failure is waited for: a program that hangs up ends at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a file request was not carried out in its sandbox. `Display` is for a person.
#[derive(Debug)]
pub(crate) enum ConfinedError {
    /// What the policy is about could not be looked at.
    Policy(PlanError),
    /// The system gave no socket.
    Socket(io::Error),
    /// The helper could not be started.
    Start(StartError),
    /// The sandbox was not set up, so there is no helper in it.
    SetUp(Failure),
    /// Landlock does not confine who changes permissions.
    FreeModes,
    /// The helper did not answer.
    Helper(Failure),
    /// There was no memory for its answer.
    NoRoom,
    /// The connection is gone.
    GivenUp,
}

/// What is known of a helper that has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ChannelError,
    exit: Option<Exit>,
    said: String,
}

impl Failure {
    /// Asks a helper that is of no more use how it ended.
    pub(crate) fn of(helper: &Helper, error: ChannelError) -> Self {
        let (exit, said) = helper.last_words(LAST_WORDS);
        Self { error, exit, said }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.exit {
            Some(Exit::Code(code)) => write!(f, " with code {code}")?,
            Some(Exit::Killed(signal)) => write!(f, ", killed by {}", signal.name())?,
            None => {}
        }
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        Ok(())
    }
}

impl ConfinedError {
    /// The error of a request whose first path the client wrote as `path`.
    pub(crate) fn into_rpc(self, path: String) -> RpcError {
        if matches!(self, Self::NoRoom) {
            return RpcError::new(ErrorKind::Busy, self.to_string());
        }
        if let Self::Start(error) = &self {
            let told = RpcError::from(error);
            if told.data.reason == Reason::SandboxFailed {
                return told;
            }
        }
        let (stage, errno) = match &self {
            Self::Policy(_) => ("policy", None),
            Self::Socket(error) => ("socket", error.raw_os_error()),
            Self::Start(_) => ("start", None),
            Self::SetUp(_) | Self::FreeModes => ("sandbox", None),
            Self::Helper(failure) => match &failure.error {
                ChannelError::Io(error) => ("helper", error.raw_os_error()),
                _ => ("helper", None),
            },
            Self::NoRoom => ("answer", None),
            Self::GivenUp => ("connection", None),
        };
        RpcError::failed(self.to_string()).with_data(ErrorData {
            stage: Some(stage),
            errno,
            path: Some(path),
            ..Reason::SandboxFailed.into()
        })
    }
}

impl fmt::Display for ConfinedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Socket(error) => write!(f, "no socket for a helper in the sandbox: {error}"),
            Self::Start(error) => write!(f, "the helper in the sandbox did not start: {error}"),
            Self::SetUp(failure) => write!(
                f,
                "the sandbox for file requests was not set up, so nothing was done: {failure}"
            ),
            Self::FreeModes => f.write_str(
                "Landlock, which is all that can confine here, does not confine changes of permissions, \
                 so nothing was done",
            ),
            Self::Helper(failure) => write!(
                f,
                "the helper in the sandbox failed, and how far it came is not known: {failure}"
            ),
            Self::NoRoom => f.write_str(
                "the answer needs more memory than is free for answers; try again later, or ask for less",
            ),
            Self::GivenUp => {
                f.write_str("its connection ended before it began, so nothing was done")
            }
        }
    }
}

impl std::error::Error for ConfinedError {}

/// How many are remembered: twice as many as helpers wait, since some need no helper.
const MAX: usize = 16;
/// The longest JSON that is remembered; the real client's has some 2 KiB.
const LONGEST: usize = 64 * 1024;

/// A policy, and what on the file system it was read from. It is also what the sandbox that is
/// made for it shows: a root that comes later is not in there, what was masked as missing stays
/// masked, and a file that another was renamed over is the former one.
#[derive(Debug)]
pub(crate) struct CachedPolicy {
    /// As it is for files: without a network.
    pub(crate) policy: Arc<Policy>,
    /// Whether the policy, with its network, confines nothing.
    pub(crate) is_free: bool,
    pub(crate) inputs: PolicyInputs,
}

impl CachedPolicy {
    pub(crate) fn new(policy: Policy, inputs: PolicyInputs) -> Arc<Self> {
        Arc::new(Self {
            is_free: policy.is_free(),
            policy: Arc::new(policy.without_network()),
            inputs,
        })
    }

    /// The same with the mount points of a sandbox that was made for it, which are there now.
    pub(crate) fn with_points(&self, points: Vec<(PathBuf, Identity)>) -> Arc<Self> {
        let mut inputs = self.inputs.clone();
        for (path, identity) in points {
            inputs.adopt(&path, identity);
        }
        Arc::new(Self {
            policy: Arc::clone(&self.policy),
            is_free: self.is_free,
            inputs,
        })
    }
}

/// Policies by their JSON.
#[derive(Default)]
pub(crate) struct PolicyCache(Mutex<Vec<(Box<str>, Arc<CachedPolicy>)>>);

impl PolicyCache {
    /// The policy of this JSON, if reading it again would give the same now.
    pub(crate) fn find(&self, json: &str) -> Option<Arc<CachedPolicy>> {
        let cached = {
            let policy_cache = self.0.lock();
            let found = policy_cache.iter().find(|(text, _)| **text == *json);
            Arc::clone(&found?.1)
        };
        cached.inputs.holds().then_some(cached)
    }

    /// Remembers a policy in place of the one of the same JSON, or of the oldest.
    pub(crate) fn remember(&self, json: &str, cached: &Arc<CachedPolicy>) {
        if json.len() > LONGEST {
            return;
        }
        let mut policy_cache = self.0.lock();
        policy_cache.retain(|(text, _)| **text != *json);
        if policy_cache.len() == MAX {
            policy_cache.remove(0);
        }
        policy_cache.push((json.into(), Arc::clone(cached)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;

    const JSON: &str = r#"{"permissions":{"type":"disabled"},"windowsSandboxLevel":"disabled"}"#;

    fn cached() -> Arc<CachedPolicy> {
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        let (policy, inputs) = Policy::parse_with_evidence(JSON, &context).unwrap();
        CachedPolicy::new(policy, inputs)
    }

    #[test]
    fn a_reading_is_found_by_its_very_json() {
        let policy_cache = PolicyCache::default();
        let (one, other) = (cached(), cached());
        policy_cache.remember("a", &one);
        assert!(Arc::ptr_eq(&policy_cache.find("a").unwrap(), &one));
        assert!(policy_cache.find("a ").is_none());
        policy_cache.remember("a", &other);
        assert!(Arc::ptr_eq(&policy_cache.find("a").unwrap(), &other));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let policy_cache = PolicyCache::default();
        let cached = cached();
        for number in 0..=MAX {
            policy_cache.remember(&number.to_string(), &cached);
        }
        assert!(policy_cache.find("0").is_none() && policy_cache.find("1").is_some());
        let long = "x".repeat(LONGEST + 1);
        policy_cache.remember(&long, &cached);
        assert!(policy_cache.find(&long).is_none());
    }
}

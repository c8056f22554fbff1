//! What a bwrap can do here, found out once for all starts: from what it says about itself, from the faults that are known
//! of its version, and by a sandbox that it has to make.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::programs::Identity;
use super::refusal::{Refusal, Stage};
use super::start::{self, Awaited, Failure, Launcher, SpawnContext};
use super::{LauncherKind, Level};
use super::{own_program, refusal};
use crate::rpc::path_uri::PathStyle;
use crate::sandbox::bwrap::{self, Arguments, Capabilities, Proc, Run};
use crate::sandbox::domain::Domain;
use crate::sandbox::inside::{self, Request, Rest};
use crate::sandbox::journal::Journal;
use crate::sandbox::mounts::{Cancel, MountPlan, PlanError};
use crate::sandbox::policy::{Context, Network, Policy};
use crate::sys::file;
use crate::sys::landlock::abi;
use crate::sys::poll::WakeEvent;
use crate::sys::process::{Exit, Leader};
use crate::sys::socket::set_nonblocking;
use crate::sys::spawn::{self, Launch, Program, Restrictions};
use crate::sys::sync::Mutex;

/// In a file's mode: it runs with its owner's rights.
const SET_USER_ID: u32 = 0o4000;
/// The devices of the host that bwrap shows.
const DEVICES: [&CStr; 6] = [
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/random",
    c"/dev/urandom",
    c"/dev/tty",
];

/// What a read-only mount does not stop.
const NO_SECOND_WALL: &str =
    "named pipes of the host can be written to where they can be seen (no Landlock)";

/// What a trial is made with: everything may be read, nothing written, no network.
const TRIAL: &str = r#"{"permissions":{"type":"managed","file_system":{"type":"restricted","entries":[
    {"path":{"type":"special","value":{"kind":"root"}},"access":"read"}]},"network":"restricted"},
    "windowsSandboxLevel":"disabled"}"#;

/// A bwrap that has made a sandbox here.
#[derive(Debug)]
pub(crate) struct Fit {
    pub(crate) kind: LauncherKind,
    pub(crate) program: OwnedFd,
    pub(crate) help: Help,
    has_proc: bool,
    /// What is less than it should be.
    pub(crate) weaker: Vec<String>,
    /// How many faults of its version are known.
    pub(crate) faults: usize,
}

/// A bwrap that has not been tried yet.
pub(crate) struct Unknown {
    pub(crate) kind: LauncherKind,
    pub(crate) program: OwnedFd,
    /// What is known without asking.
    pub(crate) weaker: Vec<String>,
}

/// Asks it, and has it make a sandbox. The error says why it is not fit.
pub(crate) fn examine(
    unknown: Unknown,
    inside: BorrowedFd<'_>,
    journal: &Journal,
    context: &SpawnContext<'_>,
) -> Result<Fit, String> {
    let Unknown {
        kind,
        program,
        weaker,
    } = unknown;
    let help = ask(program.as_fd(), context)?;
    let status = file::status_of(program.as_fd())
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    let faults = known_faults(
        &help.version,
        status.mode & SET_USER_ID != 0,
        help.capabilities.bind_fd,
    );
    let mut fit = Fit {
        kind,
        program,
        help,
        has_proc: true,
        weaker,
        faults: faults.len(),
    };
    fit.weaker.extend(faults);
    refusal::make_base();
    let first = match fit.try_out(inside, journal, context) {
        Ok(()) => return Ok(fit),
        Err(refusal) => refusal,
    };
    fit.has_proc = false;
    if fit.try_out(inside, journal, context).is_ok() {
        let sentence = "/proc is empty, because the kernel lets no new one be mounted here";
        fit.weaker.push(sentence.to_owned());
        return Ok(fit);
    }
    Err(format!("{}. {}", first.what, first.hint))
}

impl Fit {
    fn try_out(
        &self,
        inside: BorrowedFd<'_>,
        journal: &Journal,
        context: &SpawnContext<'_>,
    ) -> Result<(), Refusal> {
        let policy = trial_policy()?;
        let request = Request {
            image: None,
            is_own_program: false,
            has_terminal: false,
            null: [true; 3],
            rest: Rest::default(),
        };
        let plan = plan(&policy, Path::new("/"), journal, Cancel(context.cancel))?;
        match self.start(&policy, &plan, inside, &request, context) {
            Ok(leader) => has_ended_well(leader, context),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(Failure::Program(error)) => {
                let what = format!("{:?}", error.stage);
                Err(Refusal::new(Stage::Start, what, "").because(&error.error))
            }
        }
    }

    /// What its sandboxes give; `weaker` is said of one of them.
    pub(crate) fn level(&self, network: Network, weaker: &[String]) -> Level {
        let mut namespaces = vec!["user", "mount", "pid", "ipc"];
        if network == Network::Restricted {
            namespaces.push("network");
        }
        let abi = abi();
        let no_second_wall = abi.is_none().then(|| NO_SECOND_WALL.to_owned());
        let own = self.weaker.iter().chain(weaker).cloned();
        Level {
            launcher: self.kind,
            version: Some(self.help.version.clone()),
            namespaces,
            landlock_abi: abi.unwrap_or(0),
            seccomp: true,
            weaker: own.chain(no_second_wall).collect(),
        }
    }

    /// Starts what is requested in a sandbox that follows `plan`.
    pub(crate) fn start(
        &self,
        policy: &Policy,
        plan: &MountPlan,
        inside: BorrowedFd<'_>,
        request: &Request,
        context: &SpawnContext<'_>,
    ) -> Result<Leader, Failure> {
        let arguments = self.arguments(plan)?;
        let lock = plan.claim.keep_alive();
        let lock = lock.map_err(|error| {
            Refusal::new(Stage::Start, "no descriptor for a lock", "").because(&error)
        })?;
        let request = Request {
            rest: Self::rest(policy, plan, lock.is_some()),
            ..request.clone()
        };
        // What has no /proc to be found in is mounted by its path, and a file in memory has none.
        let inside = match self.has_proc {
            true => own_program()?,
            false => inside,
        };
        let launcher = Launcher {
            bwrap: self.program.as_fd(),
            inside,
            lock: lock.as_ref().map(AsFd::as_fd),
        };
        start::start(&launcher, &arguments, &request, context)
    }

    fn arguments(&self, plan: &MountPlan) -> Result<Arguments, Refusal> {
        let (path, program, proc) = if self.has_proc {
            (inside::PATH, None, Proc::Mount)
        } else {
            let program = (inside::PROGRAM, inside::WITHOUT_PROC);
            (inside::WITHOUT_PROC, Some(program), Proc::Empty)
        };
        let run = Run {
            argv: vec![path.into(), inside::ARGUMENT.into()],
            program,
            proc,
        };
        bwrap::arguments(plan, &self.help.capabilities, run)
            .map_err(|error| Refusal::new(Stage::Policy, error.to_string(), ""))
    }

    /// What is left to the first process inside.
    fn rest(policy: &Policy, plan: &MountPlan, has_lock: bool) -> Rest {
        let network = policy.network();
        let domain = abi().map(|abi| Domain::of_changes(abi, network, plan.writable()));
        Rest {
            has_lock,
            is_offline: network == Network::Restricted,
            // Root owns them, and needs no capability to change their modes; who may write to one may change its times.
            sealed_devices: DEVICES.map(CStr::to_owned).into(),
            masks: plan.masks.clone(),
            domain,
        }
    }
}

/// The policy of trials.
pub(crate) fn trial_policy() -> Result<Policy, Refusal> {
    let context = Context {
        process_cwd: None,
        tmpdir: None,
        style: PathStyle::Native,
    };
    Policy::parse(TRIAL, &context)
        .map_err(|error| Refusal::new(Stage::Policy, error.to_string(), ""))
}

/// Plans the mounts of a policy.
pub(crate) fn plan(
    policy: &Policy,
    cwd: &Path,
    journal: &Journal,
    cancel: Cancel<'_>,
) -> Result<MountPlan, Refusal> {
    MountPlan::build(policy, cwd, journal, cancel).map_err(|error| {
        if matches!(error, PlanError::Cancelled) {
            return start::cancelled();
        }
        let mut refusal = Refusal::new(Stage::Policy, error.to_string(), "");
        let (path, errno) = error.place();
        refusal.path = path.map(Path::to_owned);
        refusal.errno = errno;
        refusal
    })
}

/// Waits for the end of a trial.
fn has_ended_well(leader: Leader, context: &SpawnContext<'_>) -> Result<(), Refusal> {
    let what = match context.see_out(leader, Instant::now() + start::PATIENCE) {
        Some(Exit::Code(0)) => return Ok(()),
        Some(exit) => format!("the trial ended with {exit:?}"),
        None => "the trial did not end".to_owned(),
    };
    Err(Refusal::new(Stage::SetUp, what, ""))
}

/// How long it is remembered that a bwrap is not fit: a setting of the machine may change.
const REMEMBER_UNFIT: Duration = Duration::from_secs(30);

/// A bwrap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    System(Identity),
    Bundled,
}

/// Why a bwrap is not used.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The start was given up, so it is not known what the bwrap can do.
    GivenUp,
    /// It was found out.
    Because(String),
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GivenUp => "the start was given up during its trial",
            Self::Because(why) => why,
        })
    }
}

/// What is known of each bwrap.
#[derive(Default)]
pub(crate) struct Verdicts(Mutex<Knowledge>);

#[derive(Default)]
struct Knowledge {
    verdicts: HashMap<Key, Verdict>,
    /// Those that are being tried.
    busy: HashSet<Key>,
    /// Set when a trial is over.
    waiting: Vec<Arc<WakeEvent>>,
}

#[derive(Clone)]
struct Verdict {
    outcome: Result<Arc<Fit>, String>,
    at: Instant,
}

impl Verdicts {
    /// What is known of a bwrap, or is now found out. Other starts wait meanwhile, until they are given up. Should this one
    /// be, nothing is known, and one of them tries it in turn.
    pub(crate) fn get(
        &self,
        key: Key,
        context: &SpawnContext<'_>,
        examine: impl FnOnce() -> Result<Fit, String>,
    ) -> Result<Arc<Fit>, Unfit> {
        if let Some(outcome) = self.begin_trial(&key, context) {
            return outcome;
        }
        let outcome = examine().map(Arc::new);
        let is_known = outcome.is_ok() || !context.is_cancelled();
        let mut known = self.0.lock();
        known.busy.remove(&key);
        if is_known {
            let verdict = Verdict {
                outcome: outcome.clone(),
                at: Instant::now(),
            };
            known.verdicts.insert(key, verdict);
        }
        for event in known.waiting.drain(..) {
            event.set();
        }
        match outcome {
            Ok(fit) => Ok(fit),
            Err(why) if is_known => Err(Unfit::Because(why)),
            Err(_) => Err(Unfit::GivenUp),
        }
    }

    /// What is known, or will be when another start has tried it. None: the trial is the caller's.
    fn begin_trial(
        &self,
        key: &Key,
        context: &SpawnContext<'_>,
    ) -> Option<Result<Arc<Fit>, Unfit>> {
        loop {
            let mut known = self.0.lock();
            if let Some(verdict) = known.verdicts.get(key)
                && (verdict.outcome.is_ok() || verdict.at.elapsed() < REMEMBER_UNFIT)
            {
                return Some(verdict.outcome.clone().map_err(Unfit::Because));
            }
            if known.busy.insert(key.clone()) {
                return None;
            }
            let is_over = match WakeEvent::new() {
                Ok(event) => Arc::new(event),
                Err(error) => {
                    let why = format!("no event to wait for its trial: {error}");
                    return Some(Err(Unfit::Because(why)));
                }
            };
            known.waiting.push(Arc::clone(&is_over));
            drop(known);
            if !context.wait_for(&is_over) {
                return Some(Err(Unfit::GivenUp));
            }
        }
    }
}

/// How long it may take.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How much is read: five times what the longest known one prints.
const LONGEST: u64 = 64 * 1024;

/// What was found out about a bwrap by asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Help {
    pub(crate) version: String,
    pub(crate) capabilities: Capabilities,
}

/// Asks a program that is said to be bwrap. The error says why it is not fit.
pub(crate) fn ask(bwrap: BorrowedFd<'_>, context: &SpawnContext<'_>) -> Result<Help, String> {
    let help = said(bwrap, context, c"--help")?;
    let capabilities = Capabilities::from_help(&help);
    if !capabilities.perms {
        return Err("its --help does not list --perms, which bwrap has since 0.5.0".to_owned());
    }
    let version = said(bwrap, context, c"--version")?;
    Ok(Help {
        version: version_of(&version),
        capabilities,
    })
}

fn version_of(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let last = first.split_whitespace().last().unwrap_or("unknown");
    last.chars()
        .filter(|letter| letter.is_ascii_graphic())
        .take(32)
        .collect()
}

/// What a run with one option prints on either stream. The exit code says nothing: old ones fail after `--help`.
fn said(
    bwrap: BorrowedFd<'_>,
    context: &SpawnContext<'_>,
    option: &CStr,
) -> Result<String, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    set_nonblocking(reader.as_fd()).map_err(|error| format!("no pipe: {error}"))?;
    let argv = [c"bwrap".to_owned(), option.to_owned()];
    let launch = Launch {
        program: Program::Open(bwrap),
        argv: &argv,
        env: &[],
        cwd: c"/",
        stdin: context.null,
        stdout: writer.as_fd(),
        stderr: writer.as_fd(),
        has_terminal: false,
        limits: &[],
        descriptors: &[],
        cgroup: None,
        restrictions: Restrictions::default(),
        guardian: context.guardian,
    };
    let leader =
        spawn::spawn(&launch).map_err(|failure| format!("it cannot be run: {}", failure.error))?;
    drop(writer);
    let deadline = Instant::now() + ANSWER_TIME;
    let text = read_until(&File::from(OwnedFd::from(reader)), deadline, context);
    match (text, context.see_out(leader, deadline)) {
        (Some(text), Some(_)) => Ok(text),
        _ => Err(format!(
            "its {} did not end within {} s",
            option.to_string_lossy(),
            ANSWER_TIME.as_secs()
        )),
    }
}

/// All that comes before the end, as far as it is of interest; none if the end does not come in time, or the start is given
/// up.
fn read_until(file: &File, deadline: Instant, context: &SpawnContext<'_>) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let awaited = context.await_readable(Some(file.as_fd()), left).ok()?;
        if awaited == Awaited::Cancelled {
            return None;
        }
        let room = LONGEST - text.len() as u64;
        match file.take(room).read_to_end(&mut text) {
            Ok(_) => return Some(String::from_utf8_lossy(&text).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// A published fault of bubblewrap.
struct Advisory {
    id: &'static str,
    fixed_in: Version,
    affects: Affected,
    /// What it lets happen, as a sentence without its end.
    fault: &'static str,
}

/// Which installations of a version have a fault.
enum Affected {
    All,
    /// Those that are set-user-id.
    SetUserId,
    /// Those without `--bind-fd`, which distributions have put into older versions.
    WithoutBindFd,
}

/// Major, minor and patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 3]);

impl Version {
    /// The version in a text; the lowest where there is none, so that what is not known_faults counts as affected.
    fn read(text: &str) -> Self {
        let mut version = [0; 3];
        for (part, number) in version.iter_mut().zip(text.split('.')) {
            match number.parse() {
                Ok(number) => *part = number,
                Err(_) => return Self([0; 3]),
            }
        }
        Self(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

const ADVISORIES: [Advisory; 3] = [
    Advisory {
        id: "GHSA-pxhw-h44j-8pfx",
        fixed_in: Version([0, 12, 0]),
        affects: Affected::All,
        fault: "a program inside can have a directory made outside while its sandbox is set up",
    },
    Advisory {
        id: "CVE-2026-41163",
        fixed_in: Version([0, 11, 2]),
        affects: Affected::SetUserId,
        fault: "a user can trace it while it has root's rights",
    },
    Advisory {
        id: "CVE-2024-42472",
        fixed_in: Version([0, 10, 0]),
        affects: Affected::WithoutBindFd,
        fault: "what it mounts can be exchanged for something else until it is mounted",
    },
];

/// What is known_faults to be wrong with a bwrap of this version, a sentence each.
fn known_faults(version: &str, is_set_user_id: bool, has_bind_fd: bool) -> Vec<String> {
    let found = Version::read(version);
    let affected = ADVISORIES.iter().filter(|advisory| {
        found < advisory.fixed_in
            && match advisory.affects {
                Affected::All => true,
                Affected::SetUserId => is_set_user_id,
                Affected::WithoutBindFd => !has_bind_fd,
            }
    });
    let sentence = |advisory: &Advisory| {
        format!(
            "bubblewrap {version} has a known_faults fault: {} ({}, fixed in {})",
            advisory.fault, advisory.id, advisory.fixed_in
        )
    };
    affected.map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::bundled::BUNDLED_BWRAP;

    #[test]
    fn a_version_is_a_short_printable_word() {
        assert_eq!(version_of("bubblewrap 0.8.0\n"), "0.8.0");
        assert_eq!(version_of(""), "unknown");
        assert_eq!(version_of("bubblewrap \u{1b}[31m1"), "[31m1");
        assert_eq!(version_of(&"x".repeat(100)).len(), 32);
    }

    fn ids(version: &str, is_set_user_id: bool, has_bind_fd: bool) -> Vec<&'static str> {
        let sentences = known_faults(version, is_set_user_id, has_bind_fd);
        let is_told = |id: &&str| sentences.iter().any(|sentence| sentence.contains(id));
        ADVISORIES
            .map(|it| it.id)
            .into_iter()
            .filter(is_told)
            .collect()
    }

    #[test]
    fn a_version_has_the_faults_that_were_mended_later() {
        let [oldroot, traced, exchanged] = ADVISORIES.map(|advisory| advisory.id);
        assert_eq!(ids("0.8.0", false, false), [oldroot, exchanged]);
        assert_eq!(ids("0.8.0", true, true), [oldroot, traced]);
        assert_eq!(ids("0.11.0", false, true), [oldroot]);
        assert_eq!(ids("0.11.2", true, true), [oldroot]);
        for version in ["0.12.0", "0.12", "0.13.1", "1.0.0"] {
            assert_eq!(ids(version, true, true), [""; 0], "{version}");
        }
    }

    #[test]
    fn a_version_that_is_not_known_has_them_all() {
        for version in ["unknown", "", "0.x.0", "v1.0.0", "99999999999.0.0"] {
            assert_eq!(ids(version, true, false).len(), 3, "{version}");
        }
    }

    #[test]
    fn the_bundled_one_has_none() {
        if let Some(bundled) = BUNDLED_BWRAP {
            assert_eq!(ids(bundled.version, false, true), [""; 0]);
        }
    }
}

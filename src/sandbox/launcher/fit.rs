//! Finding out what a bwrap can do here, once.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use super::advisories;
use super::cause;
use super::context::SpawnContext;
use super::help::{self, Help};
use super::level::{LauncherKind, Level};
use super::own_program;
use super::refusal::{Refusal, Stage};
use super::start::{self, Failure, Launcher};
use crate::rpc::path_uri::PathStyle;
use crate::sandbox::bwrap::{self, Arguments, Proc, Run};
use crate::sandbox::domain::Domain;
use crate::sandbox::inside::{self, Request, Rest};
use crate::sandbox::journal::Journal;
use crate::sandbox::mounts::{Cancel, MountPlan, PlanError};
use crate::sandbox::policy::{Context, Network, Policy};
use crate::sys::file;
use crate::sys::landlock::abi;
use crate::sys::process::{Exit, Leader};

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
pub(super) struct Fit {
    pub(super) kind: LauncherKind,
    pub(super) program: OwnedFd,
    pub(super) help: Help,
    pub(super) has_proc: bool,
    /// What is less than it should be.
    pub(super) weaker: Vec<String>,
    /// How many faults of its version are known.
    pub(super) faults: usize,
}

/// A bwrap that has not been tried yet.
pub(super) struct Unknown {
    pub(super) kind: LauncherKind,
    pub(super) program: OwnedFd,
    /// What is known without asking.
    pub(super) weaker: Vec<String>,
}

/// Asks it, and has it make a sandbox. The error says why it is not fit.
pub(super) fn examine(
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
    let help = help::ask(program.as_fd(), context)?;
    let status = file::status_of(program.as_fd())
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    let faults = advisories::known(
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
    cause::make_base();
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
    pub(super) fn level(&self, network: Network, weaker: &[String]) -> Level {
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
    pub(super) fn start(
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
pub(super) fn trial_policy() -> Result<Policy, Refusal> {
    let context = Context {
        process_cwd: None,
        tmpdir: None,
        style: PathStyle::Native,
    };
    Policy::parse(TRIAL, &context)
        .map_err(|error| Refusal::new(Stage::Policy, error.to_string(), ""))
}

/// Plans the mounts of a policy.
pub(super) fn plan(
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

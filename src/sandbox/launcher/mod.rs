//! Who builds a sandbox, and how a program gets into it.
//!
//! The launchers are tried in this order: the machine's own bwrap if it is able, nobody but root could have put it there
//! ([`candidates`], [`trust`]), and nothing is known to be wrong with its version ([`advisories`]); the one that came with
//! this program ([`bundled`]); the machine's own with a known fault, which `weaker` then tells; Landlock where there are
//! no namespaces ([`landlock`]); otherwise nothing runs, and a [`Refusal`] says why ([`cause`]).
//!
//! A bwrap is asked for its options and makes one sandbox, with nothing in it but a check, before it is used ([`fit`]);
//! what came of that is remembered, so that a start pays for itself only ([`verdicts`], [`choice`]). A start that is given
//! up ends whatever it waits for ([`context`]), and what it was about to find out stays unknown.

mod advisories;
mod bundled;
mod candidates;
pub mod cause;
mod choice;
mod context;
mod direct;
mod fit;
mod help;
mod landlock;
mod level;
mod refusal;
mod start;
mod survey;
mod trust;
mod verdicts;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

pub use context::SpawnContext;
pub use level::{LauncherKind, Level};
pub use refusal::{Refusal, Stage};
pub use start::Failure;
pub use survey::{Available, Surveyed};

use self::fit::Fit;
use self::refusal::Rejected;
use self::verdicts::Verdicts;
use super::inside::{self, Request};
use super::journal::{Claim, Journal};
use super::mounts::Cancel;
use super::policy::{Enforcement, Policy, Waivers};
use crate::sys::memfd::{self, Use};
use crate::sys::process::Leader;

/// How often mounts are planned while what they need keeps vanishing.
const PLANS: usize = 3;

/// The file that this process runs.
const OURS: &str = "/proc/self/exe";

/// Why a bwrap is not used by a program that could not become the first process inside.
const NO_TAKE_OVER: &str =
    "this program's main does not begin with exec_server::env::local::take_over";

/// What an operator chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The only launcher to use.
    pub pinned: Option<LauncherKind>,
    /// The file to take as the bundled bwrap.
    pub bwrap: Option<PathBuf>,
    /// What is given up for every client where it cannot be enforced.
    pub waivers: Waivers,
}

/// How one program is to be confined.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// What it may do.
    pub policy: Policy,
    /// Where it starts, as the client says it.
    pub cwd: PathBuf,
}

/// A program that runs confined. What holds its sandbox up goes when this is dropped, so keep it to the program's end.
#[derive(Debug)]
pub struct Launched {
    /// The process to wait for.
    pub leader: Leader,
    /// The confinement in force.
    pub level: Level,
    /// The mount points that were made for it.
    pub claim: Option<Claim>,
}

/// All launchers of this machine, and what is known of them. One a server.
pub struct Launchers {
    config: Config,
    journal: Journal,
    verdicts: Verdicts,
}

impl Launchers {
    /// Nothing is looked at before the first start that needs it.
    pub fn new(config: Config, journal: Journal) -> Self {
        Self {
            config,
            journal,
            verdicts: Verdicts::default(),
        }
    }

    /// Starts the program of `request`, which must have one, as confined as the policy wants it. The calling thread must
    /// stay until it has ended.
    pub fn launch(
        &self,
        confinement: &Confinement,
        request: Request,
        context: &SpawnContext<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let is_free = policy.enforcement() == Enforcement::Disabled || policy.has_full_write();
        if is_free {
            direct::free(policy.network(), &request, context)
        } else {
            self.confine(confinement, request, context)
        }
    }

    fn confine(
        &self,
        confinement: &Confinement,
        request: Request,
        context: &SpawnContext<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let mut rejected = Vec::new();
        if self.may_use_bwrap() && !inside::is_expected() {
            rejected.push(Rejected {
                kind: LauncherKind::Bundled,
                place: self.bundled_place(),
                why: NO_TAKE_OVER.to_owned(),
            });
        } else if self.may_use_bwrap() {
            let inside = own_file()?;
            let found = self.choose(confinement, inside, context, &mut rejected)?;
            if let Some(fit) = found {
                return self.with_bwrap(&fit, confinement, request, inside, context);
            }
        }
        if !self.may_use(LauncherKind::Landlock) {
            return Err(refusal::refusal(&rejected, None).into());
        }
        let waivers = policy.waivers().or(self.config.waivers);
        direct::with_landlock(policy, waivers, &request, context, &rejected)
    }

    fn may_use(&self, kind: LauncherKind) -> bool {
        self.config.pinned.is_none_or(|pinned| pinned == kind)
    }

    fn may_use_bwrap(&self) -> bool {
        self.may_use(LauncherKind::System) || self.may_use(LauncherKind::Bundled)
    }

    fn with_bwrap(
        &self,
        fit: &Fit,
        confinement: &Confinement,
        mut request: Request,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let mut tries = 1..PLANS;
        let (leader, plan) = loop {
            let mut plan = fit::plan(
                policy,
                &confinement.cwd,
                &self.journal,
                Cancel(context.cancel),
            )?;
            if let Some(image) = &mut request.image {
                let cwd = std::mem::take(&mut plan.cwd);
                image.cwd = CString::new(cwd.clone().into_os_string().into_vec())
                    .unwrap_or_else(|_| c"/".to_owned());
                plan.cwd = cwd;
            }
            match fit.start(policy, &plan, inside, &request, context) {
                Ok(leader) => break (leader, plan),
                // Nothing of the client's has run. Another run's mount point went with that run.
                Err(Failure::Refused(refusal))
                    if refusal.stage == Stage::SetUp
                        && plan.has_lost_a_source()
                        && tries.next().is_some() => {}
                Err(failure) => return Err(failure),
            }
        };
        let level = fit.level(policy.network(), &plan.weaker);
        Ok(Launched {
            leader,
            level,
            claim: Some(plan.claim),
        })
    }
}

/// This program's own file, as it lies on the host. Opened once: it stays what runs here.
fn own_file() -> Result<BorrowedFd<'static>, Refusal> {
    static FILE: OnceLock<File> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file.as_fd());
    }
    let opened = File::open(OURS).map_err(|error| unreadable(&error))?;
    Ok(FILE.get_or_init(|| opened).as_fd())
}

/// A copy of it in memory that nobody can change, which becomes the first process inside: what leads to that process's
/// file leads to no file of the host.
fn own_program() -> Result<BorrowedFd<'static>, Refusal> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program.as_fd());
    }
    let mut bytes = Vec::new();
    // By a position of its own: the descriptor is everybody's.
    let read = File::open(OURS).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| unreadable(&error))?;
    let sealed = memfd::sealed(c"exec-server", &bytes, Use::Program).map_err(|error| {
        let hint = "Allow programs in memory: sysctl vm.memfd_noexec=1 or 0";
        Refusal::new(Stage::Start, "cannot put this program into memory", hint).because(&error)
    })?;
    Ok(PROGRAM.get_or_init(|| sealed).as_fd())
}

fn unreadable(error: &io::Error) -> Refusal {
    let hint = "Mount /proc, and let the server read its own program";
    let mut refusal = Refusal::new(Stage::Start, "cannot read this program", hint).because(error);
    refusal.path = Some(OURS.into());
    refusal
}

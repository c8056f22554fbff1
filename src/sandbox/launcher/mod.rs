//! Who builds a sandbox, and how a program gets into it.
//!
//! The launchers are tried in this order: the machine's own bwrap if nobody but root could have put it there, and nothing
//! is known to be wrong with its version; the one that came with this program ([`programs`]); the machine's own with a
//! known fault, which `weaker` then tells; Landlock where there are no namespaces ([`direct`]); otherwise nothing runs, and
//! a [`Refusal`] says why.
//!
//! A bwrap is asked for its options and makes one sandbox, with nothing in it but a check, before it is used; what came of
//! that is remembered, so that a start pays for itself only ([`fit`]). A start that is given up ends whatever it waits for
//! ([`start`]), and what it was about to find out stays unknown.

mod direct;
mod fit;
mod programs;
pub mod refusal;
mod start;
mod survey;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use self::fit::{Fit, Key, Unfit, Unknown, Verdicts};
use self::programs::{Bundled, Identity};
use self::refusal::Rejected;
use super::bundled::BUNDLED_BWRAP;
use super::inside::{self, Request};
use super::journal::{Claim, Journal};
use super::mounts::Cancel;
use super::policy::{Enforcement, Policy, Waivers};
use crate::sys::memfd::{self, Use};
use crate::sys::process::Leader;

pub use self::refusal::{Refusal, Stage};
pub use self::start::{Failure, SpawnContext};
pub use self::survey::{Available, Surveyed};

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
            // What is found out of a launcher holds for those that no cgroup limits, too.
            let unlimited = SpawnContext {
                cgroup: None,
                ..*context
            };
            let found = self.choose(confinement, inside, &unlimited, &mut rejected)?;
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

/// Who builds sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LauncherKind {
    /// Nobody: nothing is confined.
    None,
    /// The machine's own bwrap.
    System,
    /// The bwrap that came with this program.
    Bundled,
    /// The kernel's Landlock, without namespaces.
    Landlock,
    /// Only a filter of system calls, because files are not confined.
    Seccomp,
}

impl LauncherKind {
    /// The launcher of a name that an operator may choose.
    ///
    /// # Errors
    /// What to choose from.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let choice = [Self::System, Self::Bundled, Self::Landlock];
        let found = choice.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| "expected system, bundled or landlock".to_owned())
    }

    /// Its name on the command line and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::System => "system",
            Self::Bundled => "bundled",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

/// The confinement in force, as the extension `sandboxLevel` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Who built it.
    pub launcher: LauncherKind,
    /// The version of that program, or none.
    pub version: Option<String>,
    /// The namespaces that are new.
    pub namespaces: Vec<&'static str>,
    /// The version of Landlock in force; 0 for none.
    pub landlock_abi: u32,
    /// Whether a filter of system calls is in force.
    pub seccomp: bool,
    /// What is not enforced as asked, a sentence each.
    pub weaker: Vec<String>,
}

impl Level {
    /// What the reference would call it.
    pub fn sandbox_type(&self) -> &'static str {
        match self.launcher {
            LauncherKind::None => "none",
            _ => "linuxSeccomp",
        }
    }

    /// The same for programs to read: the extension `sandboxLevel`.
    pub fn json(&self) -> Value {
        json!({
            "launcher": self.launcher.name(),
            "version": self.version,
            "namespaces": self.namespaces,
            "landlockAbi": self.landlock_abi,
            "seccomp": self.seccomp,
            "weaker": self.weaker,
        })
    }

    /// No confinement.
    pub fn none() -> Self {
        Self {
            launcher: LauncherKind::None,
            version: None,
            namespaces: Vec::new(),
            landlock_abi: 0,
            seccomp: false,
            weaker: Vec::new(),
        }
    }
}

/// A bwrap, and what came of looking at it.
struct Examined {
    pub(crate) kind: LauncherKind,
    /// Where it is.
    pub(crate) place: String,
    pub(crate) outcome: Result<Arc<Fit>, Unfit>,
}

impl Launchers {
    /// The first bwrap that may be used; none if there is no such, and `rejected` then has the reasons. The error is that
    /// the start was given up.
    pub(crate) fn choose(
        &self,
        confinement: &Confinement,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Option<Arc<Fit>>, Refusal> {
        let objection = |path: &Path| {
            let roots = confinement.policy.writable_roots();
            programs::is_in_reach(path, Some(&confinement.cwd), roots)
        };
        let found = self.each_bwrap(inside, context, &objection, &mut |examined| {
            let Examined {
                kind,
                place,
                outcome,
            } = examined;
            match outcome {
                Ok(fit) => return ControlFlow::Break(Ok(Some(fit))),
                // A start that was given up looks for no other.
                Err(Unfit::GivenUp) => return ControlFlow::Break(Err(start::cancelled())),
                Err(Unfit::Because(why)) => rejected.push(Rejected { kind, place, why }),
            }
            ControlFlow::Continue(())
        });
        found.break_value().unwrap_or(Ok(None))
    }

    /// Examines the bwraps that may be used in the order of starts, until `note` has enough: the machine's own, the bundled
    /// one, and the machine's own of versions with known faults, the fewest first. `objection` says why one at a path may
    /// not be used by this start.
    fn each_bwrap<B>(
        &self,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
        objection: &dyn Fn(&Path) -> Option<String>,
        note: &mut dyn FnMut(Examined) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut faulty = Vec::new();
        if self.may_use(LauncherKind::System) {
            let search = std::env::var_os("PATH").unwrap_or_default();
            for candidate in programs::on_path(&search) {
                let outcome = match candidate.file {
                    Err(why) => Err(why.into()),
                    Ok((identity, file)) => match objection(&candidate.path) {
                        Some(why) => Err(format!("it {why}").into()),
                        None => self.system(identity, file, inside, context),
                    },
                };
                let faults = outcome.as_ref().map_or(0, |fit| fit.faults);
                let examined = Examined {
                    kind: LauncherKind::System,
                    place: candidate.path.display().to_string(),
                    outcome,
                };
                match faults {
                    0 => note(examined)?,
                    _ => faulty.push((faults, examined)),
                }
            }
        }
        if self.may_use(LauncherKind::Bundled) {
            note(Examined {
                kind: LauncherKind::Bundled,
                place: self.bundled_place(),
                outcome: self.bundled(inside, context),
            })?;
        }
        faulty.sort_by_key(|(faults, _)| *faults);
        faulty
            .into_iter()
            .try_for_each(|(_, examined)| note(examined))
    }

    /// What is known of one of the machine's own, or is now found out.
    fn system(
        &self,
        identity: Identity,
        file: File,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
    ) -> Result<Arc<Fit>, Unfit> {
        self.verdicts.get(Key::System(identity), context, || {
            let unknown = Unknown {
                kind: LauncherKind::System,
                program: OwnedFd::from(file),
                weaker: Vec::new(),
            };
            fit::examine(unknown, inside, &self.journal, context)
        })
    }

    /// The same of the one that came with this program.
    fn bundled(
        &self,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
    ) -> Result<Arc<Fit>, Unfit> {
        self.verdicts.get(Key::Bundled, context, || {
            let bundled = programs::open_bundled(self.config.bwrap.as_deref())?;
            fit::examine(bundled.into(), inside, &self.journal, context)
        })
    }

    fn bundled_place(&self) -> String {
        match (&self.config.bwrap, BUNDLED_BWRAP) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(_)) => "inside this program".to_owned(),
            (None, None) => "beside this program".to_owned(),
        }
    }
}

impl From<Bundled> for Unknown {
    fn from(bundled: Bundled) -> Self {
        let mut weaker = Vec::new();
        if !bundled.is_verified {
            let sentence =
                "the bwrap is not verified: no digest was known when this program was built";
            weaker.push(sentence.to_owned());
        }
        Self {
            kind: LauncherKind::Bundled,
            program: bundled.program,
            weaker,
        }
    }
}

//! Who builds a sandbox, and how a program gets into it.
//!
//! The launchers are tried in the order of [`Launchers::launch`]: the machine's own bwrap if it is able and nobody but
//! root could have put it there ([`candidates`], [`trust`]); the one that came with this program ([`bundled`]); Landlock
//! where there are no namespaces ([`landlock`]); otherwise nothing runs, and a [`Refusal`] says why ([`cause`]).
//!
//! A bwrap is asked for its options and makes one sandbox, with nothing in it but a check, before it is used ([`fit`]);
//! what came of that is remembered, so that a start pays for itself only.

mod bundled;
mod candidates;
pub mod cause;
mod fit;
mod help;
mod landlock;
mod level;
mod refusal;
mod start;
mod survey;
mod trust;

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use level::{Kind, Level};
pub use refusal::{Refusal, Stage};
pub use start::{Failure, Surroundings};
pub use survey::Surveyed;

use self::bundled::Bundled;
use self::candidates::Identity;
use self::fit::{Fit, Unknown};
use super::bundled::BUNDLED_BWRAP;
use super::inside::{self, Request};
use super::journal::{Claim, Journal};
use super::policy::{Enforcement, Network, Policy};
use super::seccomp;
use crate::sys::capabilities;
use crate::sys::enter::Image;
use crate::sys::process::Leader;
use crate::sys::spawn::{self, Launch, Program, Restrictions};

/// How long it is remembered that a bwrap is not fit: a setting of the machine may change.
const REMEMBER_UNFIT: Duration = Duration::from_secs(30);

/// The file that a process runs, and the server's own program where the server names it: in every sandbox that
/// file becomes the first process, or the child of the server that still runs it.
pub const OURS: &CStr = c"/proc/self/exe";

/// Why a bwrap is not used by a program that could not become the first process inside.
const NO_TAKE_OVER: &str =
    "this program's main does not begin with exec_server::env::local::take_over";

/// What an operator chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The only launcher to use.
    pub pinned: Option<Kind>,
    /// The file to take as the bundled bwrap.
    pub bwrap: Option<PathBuf>,
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

/// A launcher that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub kind: Kind,
    /// Where it is.
    pub place: String,
    /// Why.
    pub why: String,
}

/// All launchers of this machine, and what is known of them. One a server.
pub struct Launchers {
    config: Config,
    journal: Journal,
    known: Mutex<HashMap<Key, Verdict>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    System(Identity),
    Bundled,
}

#[derive(Clone)]
struct Verdict {
    outcome: Result<Arc<Fit>, String>,
    at: Instant,
}

impl Launchers {
    /// Nothing is looked at before the first start that needs it.
    pub fn new(config: Config, journal: Journal) -> Self {
        Self {
            config,
            journal,
            known: Mutex::default(),
        }
    }

    /// Starts the program of `request`, which must have one, as confined as the policy wants it. The calling thread must
    /// stay until it has ended.
    pub fn launch(
        &self,
        confinement: &Confinement,
        request: Request,
        surroundings: &Surroundings<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let is_free = policy.enforcement() == Enforcement::Disabled || policy.has_full_write();
        if !is_free {
            return self.confine(confinement, request, surroundings);
        }
        let mut level = Level::none();
        if policy.network() == Network::Enabled {
            return direct(&request, surroundings, Restrictions::default(), level);
        }
        level.launcher = Kind::Seccomp;
        level.seccomp = true;
        level
            .weaker
            .push("the network is denied by a filter of system calls only".to_owned());
        if !capabilities::has_none().unwrap_or(false) {
            level
                .weaker
                .push("the capabilities of the server are kept".to_owned());
        }
        let filter = seccomp::filter(Network::Restricted);
        let restrictions = Restrictions {
            no_new_privs: true,
            filter: Some(filter),
            ..Restrictions::default()
        };
        direct(&request, surroundings, restrictions, level)
    }

    fn confine(
        &self,
        confinement: &Confinement,
        request: Request,
        surroundings: &Surroundings<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let mut rejected = Vec::new();
        let may_use_bwrap = self.may_use(Kind::System) || self.may_use(Kind::Bundled);
        if may_use_bwrap && !inside::is_expected() {
            rejected.push(Rejected {
                kind: Kind::Bundled,
                place: self.bundled_place(),
                why: NO_TAKE_OVER.to_owned(),
            });
        } else if may_use_bwrap {
            let inside = own_file()?;
            let found = self.fit(confinement, inside, surroundings, &mut rejected);
            if let Some(fit) = found {
                return self.with_bwrap(&fit, confinement, request, inside, surroundings);
            }
        }
        if surroundings.is_cancelled() {
            // Then nothing was found out about any launcher.
            return Err(start::cancelled().into());
        }
        if !self.may_use(Kind::Landlock) {
            return Err(refusal(&rejected, None).into());
        }
        with_landlock(policy, &request, surroundings, &rejected)
    }

    fn may_use(&self, kind: Kind) -> bool {
        self.config.pinned.is_none_or(|pinned| pinned == kind)
    }

    fn with_bwrap(
        &self,
        fit: &Fit,
        confinement: &Confinement,
        mut request: Request,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Launched, Failure> {
        let policy = &confinement.policy;
        let mut plan = fit::plan(policy, &confinement.cwd, &self.journal)?;
        if let Some(image) = &mut request.image {
            let cwd = std::mem::take(&mut plan.cwd);
            image.cwd = CString::new(cwd.clone().into_os_string().into_vec())
                .unwrap_or_else(|_| c"/".to_owned());
            plan.cwd = cwd;
        }
        let leader = fit.start(policy, &plan, inside, &request, surroundings)?;
        let level = fit.level(policy.network(), &plan.weaker);
        Ok(Launched {
            leader,
            level,
            claim: Some(plan.claim),
        })
    }

    /// The first bwrap that is fit and out of the program's reach.
    fn fit(
        &self,
        confinement: &Confinement,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
        rejected: &mut Vec<Rejected>,
    ) -> Option<Arc<Fit>> {
        if self.may_use(Kind::System) {
            let found = self.system(confinement, inside, surroundings, rejected);
            if found.is_some() {
                return found;
            }
        }
        if !self.may_use(Kind::Bundled) {
            return None;
        }
        match self.bundled(inside, surroundings) {
            Ok(fit) => Some(fit),
            Err(why) => {
                rejected.push(Rejected {
                    kind: Kind::Bundled,
                    place: self.bundled_place(),
                    why,
                });
                None
            }
        }
    }

    fn bundled(
        &self,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<Fit>, String> {
        self.remembered(Key::Bundled, surroundings, || {
            let bundled = bundled::open(self.config.bwrap.as_deref())?;
            fit::examine(bundled.into(), inside, &self.journal, surroundings)
        })
    }

    fn bundled_place(&self) -> String {
        match (&self.config.bwrap, BUNDLED_BWRAP) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(_)) => "inside this program".to_owned(),
            (None, None) => "beside this program".to_owned(),
        }
    }

    fn system(
        &self,
        confinement: &Confinement,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
        rejected: &mut Vec<Rejected>,
    ) -> Option<Arc<Fit>> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        for candidate in candidates::on_path(&search) {
            let path = candidate.path;
            let reach = || {
                trust::is_in_reach(
                    &path,
                    Some(&confinement.cwd),
                    confinement.policy.writable_roots(),
                )
            };
            let examined = match candidate.file {
                Err(why) => Err(why),
                Ok((identity, file)) => match reach() {
                    Some(why) => Err(format!("it {why}")),
                    None => self.remembered(Key::System(identity), surroundings, || {
                        let unknown = system_bwrap(file);
                        fit::examine(unknown, inside, &self.journal, surroundings)
                    }),
                },
            };
            match examined {
                Ok(fit) => return Some(fit),
                Err(why) => rejected.push(Rejected {
                    kind: Kind::System,
                    place: path.display().to_string(),
                    why,
                }),
            }
        }
        None
    }

    /// What is known of a bwrap, or is now found out. Other starts wait meanwhile, a few seconds at most.
    fn remembered(
        &self,
        key: Key,
        surroundings: &Surroundings<'_>,
        examine: impl FnOnce() -> Result<Fit, String>,
    ) -> Result<Arc<Fit>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = known.get(&key)
            && (verdict.outcome.is_ok() || verdict.at.elapsed() < REMEMBER_UNFIT)
        {
            return verdict.outcome.clone();
        }
        let verdict = Verdict {
            outcome: examine().map(Arc::new),
            at: Instant::now(),
        };
        if verdict.outcome.is_ok() || !surroundings.is_cancelled() {
            known.insert(key, verdict.clone());
        }
        verdict.outcome
    }
}

fn system_bwrap(file: File) -> Unknown {
    Unknown {
        kind: Kind::System,
        program: OwnedFd::from(file),
        weaker: Vec::new(),
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
            kind: Kind::Bundled,
            program: bundled.program,
            weaker,
        }
    }
}

/// This program's own file, which becomes the first process inside. Opened once: it stays what runs here.
fn own_file() -> Result<BorrowedFd<'static>, Refusal> {
    static FILE: OnceLock<File> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file.as_fd());
    }
    let path = Path::new(OsStr::from_bytes(OURS.to_bytes()));
    let opened = File::open(path).map_err(|error| {
        let hint = "Mount /proc, and let the server read its own program";
        let mut refusal =
            Refusal::new(Stage::Start, "cannot open this program", hint).because(&error);
        refusal.path = Some(path.to_owned());
        refusal
    })?;
    Ok(FILE.get_or_init(|| opened).as_fd())
}

/// Starts a program without bwrap.
fn direct(
    request: &Request,
    surroundings: &Surroundings<'_>,
    restrictions: Restrictions<'_>,
    level: Level,
) -> Result<Launched, Failure> {
    let Some(image) = &request.image else {
        return Err(Refusal::new(Stage::Start, "there is no program", "").into());
    };
    let [stdin, stdout, stderr] = surroundings.standard;
    let launch = Launch {
        program: Program::Paths(&image.programs),
        argv: &image.argv,
        env: &image.env,
        cwd: &image.cwd,
        stdin,
        stdout,
        stderr,
        has_terminal: request.has_terminal,
        limits: &image.limits,
        descriptors: &[],
        restrictions,
        guardian: surroundings.guardian,
    };
    let leader = spawn::spawn(&launch).map_err(Failure::Program)?;
    Ok(Launched {
        leader,
        level,
        claim: None,
    })
}

/// Starts a program under Landlock; `rejected` are the launchers that would have been better.
fn with_landlock(
    policy: &Policy,
    request: &Request,
    surroundings: &Surroundings<'_>,
    rejected: &[Rejected],
) -> Result<Launched, Failure> {
    let has_network = policy.network() == Network::Enabled;
    // A helper of the server is no program of the client's, so no policy has to name it.
    let is_ours = |image: &Image| image.programs.iter().all(|path| **path == *OURS);
    let own = match request.image.as_ref().is_some_and(is_ours) {
        true => Some(own_file()?),
        false => None,
    };
    let domain =
        landlock::domain(policy, has_network, own).map_err(|why| refusal(rejected, Some(why)))?;
    let level = Level {
        launcher: Kind::Landlock,
        version: None,
        namespaces: Vec::new(),
        landlock_abi: domain.abi,
        seccomp: true,
        weaker: domain.weaker,
    };
    let filter = seccomp::filter_without_namespaces(policy.network());
    let restrictions = Restrictions {
        drop_capabilities: true,
        no_new_privs: true,
        landlock: Some(domain.rules.as_fd()),
        filter: Some(filter),
    };
    direct(request, surroundings, restrictions, level)
}

/// The end of the ladder.
fn refusal(rejected: &[Rejected], last: Option<Refusal>) -> Refusal {
    let cause = cause::find();
    let mut what = String::from("no launcher can make the sandbox");
    for (index, one) in rejected.iter().enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        what += &format!(
            "{separator}{} bwrap, {}: {}",
            one.kind.name(),
            one.place,
            one.why
        );
    }
    let mut refusal = last.unwrap_or_else(|| Refusal::new(Stage::Launcher, "", ""));
    if !refusal.what.is_empty() {
        what += &format!("; landlock: {}", refusal.what);
    }
    if let Some(cause) = cause {
        what += &format!("; cause: {cause}");
        refusal.errno = refusal.errno.or(cause.errno);
        refusal.hint = cause.remedy;
    } else if cause::has_apparmor_restriction() {
        refusal.hint = cause::apparmor().1;
    }
    refusal.what = what;
    refusal
}

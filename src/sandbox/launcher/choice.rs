//! Which bwrap a start gets: the first one that is fit and out of the program's reach.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::bundled::{self, Bundled};
use super::candidates::{self, Identity};
use super::context::SpawnContext;
use super::fit::{self, Fit, Unknown};
use super::level::LauncherKind;
use super::refusal::{Refusal, Rejected};
use super::start;
use super::trust;
use super::verdicts::{Key, Unfit};
use super::{Confinement, Launchers};
use crate::sandbox::bundled::BUNDLED_BWRAP;

/// A bwrap, and what came of looking at it.
pub(super) struct Examined {
    pub(super) kind: LauncherKind,
    /// Where it is.
    pub(super) place: String,
    pub(super) outcome: Result<Arc<Fit>, Unfit>,
}

impl Launchers {
    /// The first bwrap that may be used; none if there is no such, and `rejected` then has the reasons. The error is that
    /// the start was given up.
    pub(super) fn choose(
        &self,
        confinement: &Confinement,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Option<Arc<Fit>>, Refusal> {
        let objection = |path: &Path| {
            let roots = confinement.policy.writable_roots();
            trust::is_in_reach(path, Some(&confinement.cwd), roots)
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
    pub(super) fn each_bwrap<B>(
        &self,
        inside: BorrowedFd<'_>,
        context: &SpawnContext<'_>,
        objection: &dyn Fn(&Path) -> Option<String>,
        note: &mut dyn FnMut(Examined) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut faulty = Vec::new();
        if self.may_use(LauncherKind::System) {
            let search = std::env::var_os("PATH").unwrap_or_default();
            for candidate in candidates::on_path(&search) {
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
            let bundled = bundled::open(self.config.bwrap.as_deref())?;
            fit::examine(bundled.into(), inside, &self.journal, context)
        })
    }

    pub(super) fn bundled_place(&self) -> String {
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

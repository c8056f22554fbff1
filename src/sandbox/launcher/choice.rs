//! Which bwrap a start gets: the first one that is fit and out of the program's reach.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::bundled::{self, Bundled};
use super::candidates::{self, Identity};
use super::fit::{self, Fit, Unknown};
use super::level::Kind;
use super::refusal::{Refusal, Rejected};
use super::start;
use super::surroundings::Surroundings;
use super::trust;
use super::verdicts::{Key, Unfit};
use super::{Confinement, Launchers};
use crate::sandbox::bundled::BUNDLED_BWRAP;

impl Launchers {
    /// The first bwrap that may be used; none if there is no such, and `rejected` then has the reasons. The error is that
    /// the start was given up.
    pub(super) fn choose(
        &self,
        confinement: &Confinement,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Option<Arc<Fit>>, Refusal> {
        if self.may_use(Kind::System) {
            let search = std::env::var_os("PATH").unwrap_or_default();
            for candidate in candidates::on_path(&search) {
                let reach = || {
                    trust::is_in_reach(
                        &candidate.path,
                        Some(&confinement.cwd),
                        confinement.policy.writable_roots(),
                    )
                };
                let examined = match candidate.file {
                    Err(why) => Err(why.into()),
                    Ok((identity, file)) => match reach() {
                        Some(why) => Err(format!("it {why}").into()),
                        None => self.system(identity, file, inside, surroundings),
                    },
                };
                let place = || candidate.path.display().to_string();
                let found = unless_rejected(examined, (Kind::System, &place), rejected)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        if !self.may_use(Kind::Bundled) {
            return Ok(None);
        }
        let examined = self.bundled(inside, surroundings);
        let place = || self.bundled_place();
        unless_rejected(examined, (Kind::Bundled, &place), rejected)
    }

    /// What is known of one of the machine's own, or is now found out.
    pub(super) fn system(
        &self,
        identity: Identity,
        file: File,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<Fit>, Unfit> {
        self.verdicts.get(Key::System(identity), surroundings, || {
            let unknown = Unknown {
                kind: Kind::System,
                program: OwnedFd::from(file),
                weaker: Vec::new(),
            };
            fit::examine(unknown, inside, &self.journal, surroundings)
        })
    }

    /// The same of the one that came with this program.
    pub(super) fn bundled(
        &self,
        inside: BorrowedFd<'_>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<Fit>, Unfit> {
        self.verdicts.get(Key::Bundled, surroundings, || {
            let bundled = bundled::open(self.config.bwrap.as_deref())?;
            fit::examine(bundled.into(), inside, &self.journal, surroundings)
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

/// Keeps why a bwrap, at a place, is not used. A start that was given up looks for no other.
fn unless_rejected(
    examined: Result<Arc<Fit>, Unfit>,
    (kind, place): (Kind, &dyn Fn() -> String),
    rejected: &mut Vec<Rejected>,
) -> Result<Option<Arc<Fit>>, Refusal> {
    match examined {
        Ok(fit) => Ok(Some(fit)),
        Err(Unfit::GivenUp) => Err(start::cancelled()),
        Err(Unfit::Because(why)) => {
            let place = place();
            rejected.push(Rejected { kind, place, why });
            Ok(None)
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
            kind: Kind::Bundled,
            program: bundled.program,
            weaker,
        }
    }
}

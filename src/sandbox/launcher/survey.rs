//! Every launcher of this machine, tried.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::fit::{self, Fit};
use super::refusal::{Rejected, refusal};
use super::verdicts::Unfit;
use super::{
    Confinement, Failure, Kind, Launchers, Level, Refusal, Stage, Surroundings, candidates, direct,
    landlock, own_file, start,
};
use crate::sandbox::inside::{self, Request, Rest};
use crate::sandbox::policy::Network;
use crate::sys::enter::Image;
use crate::sys::process::Exit;

/// A launcher, and what came of its trial.
#[derive(Debug)]
pub struct Surveyed {
    /// Which.
    pub kind: Kind,
    /// Where it is.
    pub place: String,
    /// What it gives, or why it cannot be used.
    pub outcome: Result<Level, String>,
}

impl Launchers {
    /// Tries every launcher, also those that a start would never come to, each with a real sandbox.
    pub fn survey(&self, surroundings: &Surroundings<'_>) -> Vec<Surveyed> {
        let mut surveyed = Vec::new();
        let _all = self.each(surroundings, &mut |one| {
            surveyed.push(one);
            ControlFlow::Continue(())
        });
        surveyed
    }

    /// The confinement that a start gets here if every launcher could enforce its policy: that of the first one that
    /// makes a sandbox. What is known from starts is not found out again.
    ///
    /// # Errors
    /// None does, and why.
    pub fn level(&self, surroundings: &Surroundings<'_>) -> Result<Level, Refusal> {
        let (mut rejected, mut last, mut found) = (Vec::new(), None, None);
        let _found = self.each(
            surroundings,
            &mut |Surveyed {
                      kind,
                      place,
                      outcome,
                  }| {
                match outcome {
                    Ok(level) => {
                        found = Some(level);
                        return ControlFlow::Break(());
                    }
                    Err(why) if kind == Kind::Landlock => {
                        last = Some(Refusal::new(Stage::Launcher, why, ""));
                    }
                    Err(why) => rejected.push(Rejected { kind, place, why }),
                }
                ControlFlow::Continue(())
            },
        );
        found.ok_or_else(|| refusal(&rejected, last))
    }

    /// Tries those that may be used, in the order of starts, until `note` has enough.
    fn each(
        &self,
        surroundings: &Surroundings<'_>,
        note: &mut dyn FnMut(Surveyed) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let inside = match inside::is_expected() {
            true => own_file().map_err(|refusal| refusal.to_string()),
            false => Err(super::NO_TAKE_OVER.to_owned()),
        };
        if self.may_use(Kind::System) {
            let search = std::env::var_os("PATH").unwrap_or_default();
            for candidate in candidates::on_path(&search) {
                let examined = candidate.file.map_err(Unfit::Because);
                let examined = examined.and_then(|(identity, file)| {
                    let inside = *inside.as_ref().map_err(Clone::clone)?;
                    self.system(identity, file, inside, surroundings)
                });
                note(Surveyed {
                    kind: Kind::System,
                    place: candidate.path.display().to_string(),
                    outcome: level(examined),
                })?;
            }
        }
        if self.may_use(Kind::Bundled) {
            let inside = inside.map_err(Unfit::Because);
            let examined = inside.and_then(|inside| self.bundled(inside, surroundings));
            note(Surveyed {
                kind: Kind::Bundled,
                place: self.bundled_place(),
                outcome: level(examined),
            })?;
        }
        if self.may_use(Kind::Landlock) {
            note(Surveyed {
                kind: Kind::Landlock,
                place: "the kernel".to_owned(),
                outcome: self.landlock_trial(surroundings),
            })?;
        }
        ControlFlow::Continue(())
    }

    /// Runs this program, to say its version, under Landlock.
    fn landlock_trial(&self, surroundings: &Surroundings<'_>) -> Result<Level, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let program =
            CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let confinement = Confinement {
            policy: fit::trial_policy().map_err(|refusal| refusal.to_string())?,
            cwd: Path::new("/").to_owned(),
        };
        // Without the reasons against all other launchers.
        let waivers = self.config.waivers;
        landlock::ruleset(&confinement.policy, waivers).map_err(|refusal| refusal.what)?;
        let request = Request {
            image: Some(Image {
                programs: vec![program],
                argv: vec![c"exec-server".to_owned(), c"--version".to_owned()],
                env: Vec::new(),
                cwd: c"/".to_owned(),
                limits: Vec::new(),
            }),
            is_own_program: false,
            has_terminal: false,
            null: [true; 3],
            rest: Rest::default(),
        };
        let launched =
            direct::with_landlock(&confinement.policy, waivers, &request, surroundings, &[]);
        let launched = launched.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.to_string(),
            Failure::Program(error) => error.to_string(),
        })?;
        match surroundings.see_out(launched.leader, Instant::now() + start::PATIENCE) {
            Some(Exit::Code(0)) => Ok(launched.level),
            exit => Err(format!("a program under it ended with {exit:?}")),
        }
    }
}

fn level(examined: Result<Arc<Fit>, Unfit>) -> Result<Level, String> {
    let fit = examined.map_err(|unfit| unfit.to_string())?;
    Ok(fit.level(Network::Restricted, &[]))
}

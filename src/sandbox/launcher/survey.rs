//! Every launcher of this machine, tried.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::fit;
use super::refusal::{Rejected, refusal};
use super::{
    Confinement, Failure, LauncherKind, Launchers, Level, Refusal, SpawnContext, Stage, direct,
    own_file, start,
};
use crate::sandbox::inside::{self, Request, Rest};
use crate::sandbox::policy::{Network, Waivers};
use crate::sandbox::preset::Preset;
use crate::sys::enter::Image;
use crate::sys::process::Exit;
use crate::sys::spawn::Search;

/// A launcher, and what came of its trial.
#[derive(Debug)]
pub struct Surveyed {
    /// Which.
    pub kind: LauncherKind,
    /// Where it is.
    pub place: String,
    /// What it gives, or why it cannot be used.
    pub outcome: Result<Level, String>,
}

/// What a start gets on this machine.
#[derive(Clone, Debug)]
pub struct Available {
    /// The confinement, if every launcher could enforce the policy: so of `read-only`.
    pub level: Level,
    /// Why a policy like `workspace-write` is refused, if it is.
    pub no_workspace: Option<Refusal>,
}

impl Available {
    /// What comes of launchers that were tried in the order of starts.
    ///
    /// # Errors
    /// None works, and why.
    pub fn of(surveyed: &[Surveyed], waivers: Waivers) -> Result<Self, Refusal> {
        let faults = |is_landlock: bool| {
            let is_meant =
                move |one: &&Surveyed| (one.kind == LauncherKind::Landlock) == is_landlock;
            let faulty = surveyed.iter().filter(is_meant);
            faulty.filter_map(|one| Some((one, one.outcome.as_ref().err()?)))
        };
        let rejected: Vec<_> = faults(false)
            .map(|(one, why)| Rejected {
                kind: one.kind,
                place: one.place.clone(),
                why: why.clone(),
            })
            .collect();
        let works = surveyed.iter().find_map(|one| one.outcome.as_ref().ok());
        let Some(level) = works.cloned() else {
            let last = faults(true).next();
            let last = last.map(|(_, why)| Refusal::new(Stage::Launcher, why, ""));
            return Err(refusal(&rejected, last));
        };
        let is_short = level.launcher == LauncherKind::Landlock && !waivers.metadata;
        Ok(Self {
            no_workspace: is_short.then(|| refusal(&rejected, Some(direct::no_workspace()))),
            level,
        })
    }

    /// The policies that have names, and why one is refused.
    pub fn policies(found: &Result<Self, Refusal>) -> [(Preset, Option<&Refusal>); 2] {
        let (reading, writing) = match found {
            Ok(available) => (None, available.no_workspace.as_ref()),
            Err(refusal) => (Some(refusal), Some(refusal)),
        };
        [
            (Preset::ReadOnly, reading),
            (Preset::WorkspaceWrite, writing),
        ]
    }

    /// The same for programs to read: the level, and whether each policy of a name can be had.
    pub fn json_of(found: &Result<Self, Refusal>) -> Value {
        let mut json = match found {
            Ok(available) => available.level.json(),
            Err(refusal) => json!({
                "launcher": LauncherKind::None.name(),
                "reason": refusal.to_string(),
            }),
        };
        let policies = Self::policies(found).map(|(preset, refused)| {
            let mut policy = json!({"available": refused.is_none()});
            if let Some(refusal) = refused {
                policy["reason"] = refusal.what.clone().into();
                policy["remedy"] = refusal.hint.clone().into();
            }
            (preset.name().to_owned(), policy)
        });
        json["policies"] = Value::Object(policies.into_iter().collect());
        json
    }
}

impl Launchers {
    /// Tries every launcher, also those that a start would never come to, each with a real sandbox.
    pub fn survey(&self, context: &SpawnContext<'_>) -> Vec<Surveyed> {
        let mut surveyed = Vec::new();
        let _all = self.each(context, &mut |one| {
            surveyed.push(one);
            ControlFlow::Continue(())
        });
        surveyed
    }

    /// What a start gets here, from the first launcher that makes a sandbox. What is known from starts is not found out
    /// again.
    ///
    /// # Errors
    /// None does, and why.
    pub fn available(&self, context: &SpawnContext<'_>) -> Result<Available, Refusal> {
        let mut surveyed = Vec::new();
        let _found = self.each(context, &mut |one| {
            let works = one.outcome.is_ok();
            surveyed.push(one);
            match works {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        Available::of(&surveyed, self.config.waivers)
    }

    /// Tries those that may be used, in the order of starts, until `note` has enough.
    fn each(
        &self,
        context: &SpawnContext<'_>,
        note: &mut dyn FnMut(Surveyed) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let inside = match inside::is_expected() {
            true => own_file().map_err(|refusal| refusal.to_string()),
            false => Err(super::NO_TAKE_OVER.to_owned()),
        };
        match inside {
            Ok(inside) => self.each_bwrap(inside, context, &|_| None, &mut |examined| {
                note(Surveyed {
                    kind: examined.kind,
                    place: examined.place,
                    outcome: match examined.outcome {
                        Ok(fit) => Ok(fit.level(Network::Restricted, &[])),
                        Err(unfit) => Err(unfit.to_string()),
                    },
                })
            })?,
            Err(_) if !self.may_use_bwrap() => {}
            Err(why) => note(Surveyed {
                kind: LauncherKind::Bundled,
                place: self.bundled_place(),
                outcome: Err(why),
            })?,
        }
        if self.may_use(LauncherKind::Landlock) {
            note(Surveyed {
                kind: LauncherKind::Landlock,
                place: "the kernel".to_owned(),
                outcome: self.landlock_trial(context),
            })?;
        }
        ControlFlow::Continue(())
    }

    /// Runs this program, to say its version, under Landlock.
    fn landlock_trial(&self, context: &SpawnContext<'_>) -> Result<Level, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let program =
            CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let confinement = Confinement {
            policy: fit::trial_policy().map_err(|refusal| refusal.to_string())?,
            cwd: Path::new("/").to_owned(),
        };
        // Without the reasons against all other launchers.
        let waivers = self.config.waivers;
        direct::ruleset(&confinement.policy, waivers).map_err(|refusal| refusal.what)?;
        let request = Request {
            image: Some(Image {
                program: Search {
                    name: program,
                    path: None,
                },
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
        let launched = direct::with_landlock(&confinement.policy, waivers, &request, context, &[]);
        let launched = launched.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.to_string(),
            Failure::Program(error) => error.to_string(),
        })?;
        match context.see_out(launched.leader, Instant::now() + start::PATIENCE) {
            Some(Exit::Code(0)) => Ok(launched.level),
            exit => Err(format!("a program under it ended with {exit:?}")),
        }
    }
}

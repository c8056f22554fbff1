//! Every launcher of this machine, tried.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use super::fit::{self, Fit};
use super::{Confinement, Failure, Key, Kind, Launchers, Level, Surroundings, own_file, start};
use crate::sandbox::inside::Request;
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
        match own_file() {
            Ok(inside) => {
                let search = std::env::var_os("PATH").unwrap_or_default();
                for candidate in super::candidates::on_path(&search) {
                    let examined = candidate.file.and_then(|(identity, file)| {
                        self.remembered(Key::System(identity), surroundings, || {
                            fit::examine(
                                super::system_bwrap(file),
                                inside.as_fd(),
                                &self.journal,
                                surroundings,
                            )
                        })
                    });
                    surveyed.push(Surveyed {
                        kind: Kind::System,
                        place: candidate.path.display().to_string(),
                        outcome: examined.map(|fit| level(&fit)),
                    });
                }
                surveyed.push(Surveyed {
                    kind: Kind::Bundled,
                    place: self.bundled_place(),
                    outcome: self.bundled(inside, surroundings).map(|fit| level(&fit)),
                });
            }
            Err(refusal) => surveyed.push(Surveyed {
                kind: Kind::Bundled,
                place: self.bundled_place(),
                outcome: Err(refusal.to_string()),
            }),
        }
        surveyed.push(Surveyed {
            kind: Kind::Landlock,
            place: "the kernel".to_owned(),
            outcome: self.landlock_trial(surroundings),
        });
        surveyed
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
        let request = Request {
            image: Some(Image {
                programs: vec![program],
                argv: vec![c"exec-server".to_owned(), c"--version".to_owned()],
                env: Vec::new(),
                cwd: c"/".to_owned(),
                limits: Vec::new(),
            }),
            has_terminal: false,
        };
        let launched = super::with_landlock(&confinement.policy, &request, surroundings, &[]);
        let mut launched = launched.map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.to_string(),
            Failure::Program(error) => error.to_string(),
        })?;
        let exit = start::wait(&mut launched.leader, Instant::now() + start::PATIENCE);
        if exit.is_none() {
            start::end(&mut launched.leader, surroundings.guardian);
        } else {
            surroundings.guardian.remove(launched.leader.pid());
        }
        match exit {
            Some(Exit::Code(0)) => Ok(launched.level),
            exit => Err(format!("a program under it ended with {exit:?}")),
        }
    }
}

fn level(fit: &Fit) -> Level {
    fit.level(crate::sandbox::policy::Network::Restricted, &[])
}

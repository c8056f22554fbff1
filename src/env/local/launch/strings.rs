//! What a start tells the kernel, and which of it a failure was about.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::{ProcessSpec, StartError};
use crate::sandbox::launcher::Failure;
use crate::sys::enter::Image;
use crate::sys::spawn::{self, DEFAULT_PATH, SpawnError, Stage};

/// A longer variable no kernel with pages of 4 KiB takes, and every colon of PATH is a candidate.
const LONGEST_PATH: usize = 128 * 1024;

/// The texts for the kernel.
pub(super) struct Strings {
    pub(super) image: Image,
    /// The PATH that was searched, if one was.
    searched: Option<OsString>,
}

impl Strings {
    pub(super) fn new(spec: &ProcessSpec) -> Result<Self, StartError> {
        let name = spec.argv.first().map_or("", String::as_str);
        if name.is_empty() {
            return Err(StartError::NoProgram);
        }
        let searched = (!name.contains('/')).then(|| path_of(&spec.env));
        if searched.as_ref().is_some_and(|it| it.len() > LONGEST_PATH) {
            let error = io::ErrorKind::ArgumentListTooLong.into();
            return Err(StartError::Program(name.into(), error));
        }
        let programs = spawn::candidates(name, searched.as_deref()).map_err(|_| {
            let is_path = !name.contains('\0');
            StartError::Nul(if is_path { "PATH" } else { "argv" })
        })?;
        let shown = spec.arg0.as_deref().unwrap_or(name);
        let argv = std::iter::once(shown)
            .chain(spec.argv.iter().skip(1).map(String::as_str))
            .map(|argument| c_string("argv", argument))
            .collect::<Result<_, _>>()?;
        let env = spec
            .env
            .iter()
            .map(|(name, value)| {
                c_string("env", [name.as_bytes(), b"=", value.as_bytes()].concat())
            })
            .collect::<Result<_, _>>()?;
        let image = Image {
            programs,
            argv,
            env,
            cwd: c_string("cwd", spec.cwd.as_os_str().as_bytes())?,
            limits: spec.limits.clone(),
        };
        Ok(Self { image, searched })
    }

    pub(super) fn tell(self, spec: &ProcessSpec, failure: Failure) -> StartError {
        match failure {
            Failure::Program(error) => self.explain(spec, error),
            Failure::Refused(refusal) => StartError::Sandbox(Box::new(refusal)),
        }
    }

    /// Names the stage that failed and what it was about.
    fn explain(self, spec: &ProcessSpec, failure: SpawnError) -> StartError {
        let error = failure.error;
        match failure.stage {
            Stage::Directory => StartError::Directory(spec.cwd.clone(), error),
            Stage::Limit(place) => {
                StartError::Limit(spec.limits.get(place).map_or(0, |limit| limit.1), error)
            }
            Stage::Exec(place) => match self.searched {
                Some(path) if error.kind() == io::ErrorKind::NotFound => {
                    StartError::NotOnPath(spec.argv[0].clone(), path, error)
                }
                _ => {
                    let program = self
                        .image
                        .programs
                        .into_iter()
                        .nth(place)
                        .unwrap_or_default();
                    let path = PathBuf::from(OsString::from_vec(program.into_bytes()));
                    StartError::Program(path, error)
                }
            },
            Stage::Clone => StartError::Resources("a process", error),
            Stage::Session => StartError::Resources("a session", error),
            Stage::Terminal => StartError::Resources("control of the terminal", error),
            Stage::Descriptors => StartError::Resources("the standard descriptors", error),
            Stage::Capabilities => StartError::Resources("rid of capabilities", error),
            Stage::NoNewPrivs => StartError::Resources("no_new_privs", error),
            Stage::Landlock => StartError::Resources("into the Landlock domain", error),
            Stage::Seccomp => StartError::Resources("the filter of system calls", error),
            Stage::Device => StartError::Resources("devices that nobody can change", error),
            Stage::Mount(_) => StartError::Resources("a cover on what is denied", error),
        }
    }
}

fn path_of(env: &[(OsString, OsString)]) -> OsString {
    env.iter().find(|(name, _)| name == "PATH").map_or_else(
        || OsStr::new(DEFAULT_PATH).to_owned(),
        |(_, value)| value.clone(),
    )
}

fn c_string(what: &'static str, text: impl Into<Vec<u8>>) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| StartError::Nul(what))
}

//! What is made ready before a command is started: texts for the kernel, without our secrets.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::rpc::client::options::StdioCommand;
use crate::rpc::methods::env_policy::is_our_secret;
use crate::sys::guardian::Guardian;
use crate::sys::process::Leader;
use crate::sys::spawn::{self, Launch, Program, Restrictions, SpawnError, Stage};

/// The texts for the kernel.
pub(super) struct Prepared {
    programs: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
}

impl Prepared {
    pub(super) fn new(command: &StdioCommand) -> Result<Self, String> {
        let text = |text: &[u8], what: &str| {
            CString::new(text).map_err(|_| format!("its {what} has a NUL byte inside"))
        };
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| {
                !is_our_secret(name) && !command.env.keys().any(|key| name == key.as_str())
            })
            .collect();
        let given = command.env.iter();
        env.extend(given.map(|(name, value)| (name.into(), value.into())));
        let path = env.iter().find(|(name, _)| name == "PATH");
        let path = path.map(|(_, value)| value.as_os_str());
        let programs = spawn::candidates(&command.program, path)
            .map_err(|_| "its program has a NUL byte inside".to_owned())?;
        let cwd = match &command.cwd {
            Some(cwd) => cwd.as_os_str().as_bytes(),
            None => b".",
        };
        Ok(Self {
            programs,
            argv: std::iter::once(&command.program)
                .chain(&command.args)
                .map(|argument| text(argument.as_bytes(), "argument"))
                .collect::<Result<_, _>>()?,
            env: env
                .iter()
                .map(|(name, value)| {
                    text(
                        &[name.as_bytes(), b"=", value.as_bytes()].concat(),
                        "variable",
                    )
                })
                .collect::<Result<_, _>>()?,
            cwd: text(cwd, "directory")?,
        })
    }

    pub(super) fn spawn(
        &self,
        child: &[OwnedFd; 3],
        guardian: &Guardian,
    ) -> Result<Leader, String> {
        let launch = Launch {
            program: Program::Paths(&self.programs),
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            stdin: child[0].as_fd(),
            stdout: child[1].as_fd(),
            stderr: child[2].as_fd(),
            has_terminal: false,
            limits: &[],
            descriptors: &[],
            restrictions: Restrictions::default(),
            guardian,
        };
        spawn::spawn(&launch).map_err(|error| self.explain(&error))
    }

    fn explain(&self, failure: &SpawnError) -> String {
        let error = &failure.error;
        match failure.stage {
            Stage::Directory => {
                let cwd = String::from_utf8_lossy(self.cwd.as_bytes());
                format!("cannot enter its directory {cwd}: {error}")
            }
            Stage::Exec(_) => {
                let program = self.argv.first().map(|it| it.to_string_lossy());
                format!(
                    "cannot run its program {}: {error}; is it installed here, and on PATH?",
                    program.unwrap_or_default()
                )
            }
            _ => format!("cannot start a process: {failure}"),
        }
    }
}

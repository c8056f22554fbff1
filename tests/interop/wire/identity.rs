//! Who a server runs as.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::isolation::Place;

/// A user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Whoever runs this, root as a rule.
    Own,
    /// Somebody with no rights in particular.
    Nobody,
}

impl Identity {
    pub const ALL: [Self; 2] = [Self::Own, Self::Nobody];

    /// The command that runs `program` as this user.
    pub fn command(self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        match self {
            Self::Own => Command::new(program),
            Self::Nobody => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                    .arg(program);
                command
            }
        }
    }

    /// Why it cannot be had here, if so.
    pub fn missing(self, place: &Place) -> Option<&'static str> {
        if self == Self::Own {
            return None;
        }
        if !place.root || !place.namespaces {
            return Some("only root can become somebody else");
        }
        let tried = self.command("true").stderr(Stdio::null()).status();
        (!tried.is_ok_and(|status| status.success())).then_some("setpriv is missing or refused")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "who runs this",
            Self::Nobody => "nobody",
        })
    }
}

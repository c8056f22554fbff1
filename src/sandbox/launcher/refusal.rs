//! Why nothing was started: the stage, what the kernel said, what it was about, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::cause;
use super::level::LauncherKind;
use crate::rpc::error::ErrorData;

/// How far a start came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No launcher is fit for the policy.
    Launcher,
    /// The policy could not be turned into mounts or rules.
    Policy,
    /// The launcher could not be started.
    Start,
    /// The launcher did not finish the sandbox.
    SetUp,
    /// What must be given up was still there inside.
    Check,
}

impl Stage {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Policy => "policy",
            Self::Start => "start",
            Self::SetUp => "setUp",
            Self::Check => "check",
        }
    }
}

/// Nothing was started, and this is why. `Display` is the whole message.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How far it came.
    pub stage: Stage,
    /// What happened, in a sentence without its end.
    pub what: String,
    /// The error of the system call that failed, where one is known.
    pub errno: Option<i32>,
    /// The file that it is about.
    pub path: Option<PathBuf>,
    /// What to do about it.
    pub hint: String,
}

impl Refusal {
    /// A refusal without an errno or a path.
    pub fn new(stage: Stage, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            stage,
            what: what.into(),
            errno: None,
            path: None,
            hint: hint.into(),
        }
    }

    /// The same for programs to read.
    pub fn data(&self) -> ErrorData {
        ErrorData {
            stage: self.stage.name(),
            errno: self.errno,
            path: self.path.as_ref().map(|path| path.display().to_string()),
            hint: (!self.hint.is_empty()).then(|| self.hint.clone()),
            rule: None,
        }
    }

    /// The same with what the kernel said.
    pub fn because(mut self, error: &io::Error) -> Self {
        self.errno = error.raw_os_error();
        self.what = format!("{}: {error}", self.what);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the sandbox was refused ({}): {}",
            self.stage.name(),
            self.what
        )?;
        if !self.hint.is_empty() {
            write!(f, ". {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// A launcher that is not used, and why.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) kind: LauncherKind,
    /// Where it is.
    pub(super) place: String,
    pub(super) why: String,
}

/// The end of the ladder; `last` is what its last step said.
pub(super) fn refusal(rejected: &[Rejected], last: Option<Refusal>) -> Refusal {
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
    let remedy = match cause {
        Some(cause) => {
            what += &format!("; cause: {cause}");
            refusal.errno = refusal.errno.or(cause.errno);
            Some(cause.remedy)
        }
        None => cause::has_apparmor_restriction().then(|| cause::apparmor().1),
    };
    // Both help, and who asks may be able to do only one of them.
    if let Some(remedy) = remedy {
        refusal.hint = match refusal.hint.as_str() {
            "" => remedy,
            other => format!("{remedy}. Otherwise: {other}"),
        };
    }
    refusal.what = what;
    refusal
}

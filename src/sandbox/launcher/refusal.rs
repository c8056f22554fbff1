//! Why nothing was started: the stage, what the kernel said, what it was about, and what to do.
//!
//! Why a bwrap cannot make a sandbox is found out from the kernel's answers and its settings, not from what a program says
//! of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::LauncherKind;
use crate::log;
use crate::rpc::error::{ErrorData, Reason};
use crate::sys::namespaces;

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
            reason: Reason::SandboxFailed,
            stage: Some(self.stage.name()),
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
pub(crate) struct Rejected {
    pub(crate) kind: LauncherKind,
    /// Where it is.
    pub(crate) place: String,
    pub(crate) why: String,
}

/// The end of the ladder; `last` is what its last step said.
pub(crate) fn refusal(rejected: &[Rejected], last: Option<Refusal>) -> Refusal {
    let cause = find_cause();
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
        None => has_apparmor_restriction().then(|| apparmor().1),
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

/// What keeps a sandbox of namespaces from being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What it is.
    pub what: String,
    /// What the kernel said.
    pub errno: Option<i32>,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

const KINDS: [&str; 5] = ["user", "mnt", "pid", "ipc", "net"];

/// Where every bwrap builds a new root; what is there is not touched.
const BASE: &str = "/tmp";

/// Looks for the cause. `None` if there is none of those that are known, so that something later fails.
fn find_cause() -> Option<Cause> {
    no_namespaces().or_else(no_base)
}

/// Why the kernel makes no namespaces for us.
pub fn no_namespaces() -> Option<Cause> {
    let error = namespaces::try_new().err()?;
    let (what, remedy) = match error.kind() {
        io::ErrorKind::StorageFull => exhausted(),
        io::ErrorKind::PermissionDenied => forbidden(),
        _ => (
            format!("the kernel makes no namespaces: {error}"),
            "Boot a kernel with user, mount, pid, ipc and network namespaces".to_owned(),
        ),
    };
    Some(Cause {
        what,
        errno: error.raw_os_error(),
        remedy,
    })
}

/// That there is no `/tmp`, as in an image that holds a program and nothing else.
pub fn no_base() -> Option<Cause> {
    (!Path::new(BASE).is_dir()).then(|| Cause {
        what: format!("there is no directory {BASE}, on which bwrap builds"),
        errno: Some(libc::ENOENT),
        remedy: format!(
            "Put an empty directory {BASE} into the image, or mount one: `docker run --tmpfs {BASE}`, in Kubernetes an \
             emptyDir"
        ),
    })
}

/// Makes that directory where it is missing and we may, as an empty image has a root that can be written.
pub(crate) fn make_base() {
    if fs::create_dir(BASE).is_ok() {
        // Should it stay ours alone, sandboxes stand on it all the same.
        let _ = fs::set_permissions(BASE, fs::Permissions::from_mode(0o1777));
        log::info!("there was no {BASE}, on which bwrap builds: made it");
    }
}

/// ENOSPC: a limit is used up.
fn exhausted() -> (String, String) {
    let limits = KINDS.map(|kind| (kind, limit_of(kind)));
    let zero = limits
        .iter()
        .find(|(_, limit)| limit.as_deref() == Some("0"));
    match zero {
        Some((kind, _)) => (
            format!("user.max_{kind}_namespaces is 0 (ENOSPC)"),
            format!("Set it higher: sysctl -w user.max_{kind}_namespaces=1024"),
        ),
        None => {
            let known = limits
                .into_iter()
                .filter_map(|(kind, limit)| Some(format!("user.max_{kind}_namespaces={}", limit?)));
            let known: Vec<_> = known.collect();
            (
                format!(
                    "a limit of namespaces is used up, or they are nested 32 deep (ENOSPC; {})",
                    known.join(", ")
                ),
                "End sandboxes, or set the limit that is too low higher with sysctl -w".to_owned(),
            )
        }
    }
}

fn limit_of(kind: &str) -> Option<String> {
    setting(&format!("user/max_{kind}_namespaces"))
}

/// EPERM: somebody forbids it.
fn forbidden() -> (String, String) {
    let is = |name: &str, value: &str| setting(name).as_deref() == Some(value);
    if is("kernel/unprivileged_userns_clone", "0") {
        return (
            "kernel.unprivileged_userns_clone is 0 (EPERM)".to_owned(),
            "Allow it: sysctl -w kernel.unprivileged_userns_clone=1".to_owned(),
        );
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return apparmor();
    }
    if seccomp_mode() == Some(2) {
        return (
            "a filter of system calls forbids namespaces (EPERM; Seccomp: 2 in /proc/self/status), as container \
             runtimes set one"
                .to_owned(),
            "Give the container a seccomp profile that allows them: deploy/seccomp-userns.json of this project, by \
             `docker run --security-opt seccomp=seccomp-userns.json` or a Localhost profile in Kubernetes (with \
             AppArmor also `--security-opt apparmor=unconfined`, or appArmorProfile Unconfined)"
                .to_owned(),
        );
    }
    (
        "the kernel or a security module forbids namespaces (EPERM); so it is inside a chroot, too"
            .to_owned(),
        "Run the server outside a chroot, and look for denials in the kernel's log".to_owned(),
    )
}

/// Ubuntu's restriction, which may also show only later, as namespaces in which nothing is allowed.
pub fn apparmor() -> (String, String) {
    let program = std::env::current_exe().unwrap_or_default();
    (
        "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)"
            .to_owned(),
        format!(
            "Allow it for this program by a profile in /etc/apparmor.d with the line `profile exec-server {} \
             flags=(unconfined) {{ userns, }}`, or for all: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            program.display()
        ),
    )
}

/// Whether that restriction is on.
pub fn has_apparmor_restriction() -> bool {
    setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1")
}

fn setting(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    Some(text.trim().to_owned())
}

fn seccomp_mode() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    line.trim().parse().ok()
}

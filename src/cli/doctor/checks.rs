//! What a machine needs to have for sandboxes, one thing a check.

use std::fs;

use crate::sandbox::bundled::BUNDLED_BWRAP;
use crate::sandbox::launcher::refusal;
use crate::sys::pty::{self, WindowSize};
use crate::sys::{landlock, seccomp};

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckState {
    Good,
    /// Something is lost without it.
    Weaker,
}

impl CheckState {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weaker => "weaker",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) state: CheckState,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

fn good(name: &'static str, found: impl Into<String>) -> Check {
    Check {
        name,
        state: CheckState::Good,
        found: found.into(),
        remedy: None,
    }
}

fn weaker(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check {
        name,
        state: CheckState::Weaker,
        found: found.into(),
        remedy: Some(remedy.into()),
    }
}

/// All of them.
pub(super) fn all() -> Vec<Check> {
    vec![
        good(
            "kernel",
            read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
        ),
        namespaces(),
        base(),
        security_modules(),
        landlock(),
        seccomp_filters(),
        embedded(),
        terminal(),
        limits(),
    ]
}

fn namespaces() -> Check {
    match refusal::no_namespaces() {
        Some(cause) => weaker("namespaces", cause.what, cause.remedy),
        None if refusal::has_apparmor_restriction() => {
            let (what, remedy) = refusal::apparmor();
            weaker("namespaces", what, remedy)
        }
        None => good(
            "namespaces",
            "user, mount, pid, ipc and network can be made",
        ),
    }
}

fn base() -> Check {
    match refusal::no_base() {
        Some(cause) => weaker("/tmp", cause.what, cause.remedy),
        None => good("/tmp", "is there"),
    }
}

fn security_modules() -> Check {
    let modules = read("/sys/kernel/security/lsm");
    let own = read("/proc/self/attr/current").filter(|label| !label.is_empty());
    let mut found = modules.unwrap_or_else(|| "not told (no securityfs)".to_owned());
    if let Some(label) = own {
        found += &format!("; we are {label}");
    }
    good("security modules", found)
}

fn landlock() -> Check {
    match landlock::abi() {
        Some(abi) => good("Landlock", format!("ABI {abi}")),
        None => weaker(
            "Landlock",
            "none",
            "Boot Linux 5.13 or newer with `landlock` in `lsm=`, for sandboxes where namespaces are denied",
        ),
    }
}

fn seccomp_filters() -> Check {
    if seccomp::is_available() {
        return good("seccomp", "filters can be installed");
    }
    weaker(
        "seccomp",
        "no filters",
        "Boot Linux 4.14 or newer with CONFIG_SECCOMP_FILTER; without it nothing can be confined",
    )
}

fn embedded() -> Check {
    match BUNDLED_BWRAP {
        Some(bundled) if bundled.sha256.bytes().any(|byte| byte != b'0') => good(
            "bundled bwrap",
            format!("{}, SHA-256 {}", bundled.version, bundled.sha256),
        ),
        Some(bundled) => weaker(
            "bundled bwrap",
            format!(
                "{}, a development build: its digest is not known and not checked",
                bundled.version
            ),
            "Use a release",
        ),
        None => weaker(
            "bundled bwrap",
            "none inside; a file beside this program would not be checked",
            "Build with bubblewrap's source: vendor/bubblewrap/fetch.sh",
        ),
    }
}

fn terminal() -> Check {
    match pty::open(WindowSize { rows: 24, cols: 80 }) {
        Ok(_) => good("terminals", "can be opened"),
        Err(error) => weaker(
            "terminals",
            format!("cannot be opened: {error}"),
            "Mount devpts on /dev/pts, with /dev/ptmx",
        ),
    }
}

fn limits() -> Check {
    let limits = read("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let (processes, files) = (limit("Max processes"), limit("Max open files"));
    let namespaces = read("/proc/sys/user/max_user_namespaces");
    good(
        "limits",
        format!(
            "processes {}, open files {}, user namespaces {}",
            processes.unwrap_or("unknown"),
            files.unwrap_or("unknown"),
            namespaces.as_deref().unwrap_or("unknown")
        ),
    )
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\n', '\0']).to_owned())
}

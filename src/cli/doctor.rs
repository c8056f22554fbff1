//! `exec-server doctor`: what this machine can confine with, found out by doing it.

use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::description::Candidates;
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands};
use super::output::{Speaker, print, push_row};
use super::{Command, with_flags};
use crate::env;
use crate::env::local::describe_own;
use crate::sandbox::bundled::BUNDLED_BWRAP;
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::{
    self, Available, Launchers, Refusal, SpawnContext, Surveyed, refusal,
};
use crate::sandbox::policy::Waivers;
use crate::serve::local_environment;
use crate::sys::guardian::Guardian;
use crate::sys::pty::{self, WindowSize};
use crate::sys::{landlock, seccomp};

/// The row in the table of commands.
pub(crate) static DOCTOR: Command = Command {
    name: "doctor",
    summary: "Find out what this machine can confine with",
    perform: |args| with_flags(&GRAMMAR, args, |flags| Ok(examine(&flags))),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<DoctorFlags> = Grammar {
    about: "Tries every way to confine a program on this machine, and says what is missing\n\
            and what to do about it.\n",
    usage: "exec-server doctor [OPTIONS]",
    flags: &[
        Flag::switch(
            Category::General,
            None,
            "json",
            "Print JSON: one object",
            FlagKind::Switch(|flags: &mut DoctorFlags| flags.is_json = true),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Unknown,
    operands: Operands::None,
    notes: "Exit code: 0 if all is well, 1 if something is weaker than it could be, 2 if\n\
            nothing can be confined.\n",
};

#[derive(Default)]
struct DoctorFlags {
    is_json: bool,
}

const SPEAKER: Speaker = Speaker("exec-server doctor");

/// Something is weaker than it could be.
const WEAKER: u8 = 1;
/// Nothing can be confined.
const NONE: u8 = 2;

fn examine(flags: &DoctorFlags) -> ExitCode {
    let launchers = match survey() {
        Ok(launchers) => launchers,
        Err(error) => {
            SPEAKER.say(format!("cannot start processes: {error}"));
            return ExitCode::from(NONE);
        }
    };
    let report = Report {
        checks: checks(),
        available: Available::of(&launchers, Waivers::default()),
        launchers,
    };
    let code = report.verdict();
    let text = match flags.is_json {
        true => format!("{}\n", report.as_json(code)),
        false => report.as_text(code),
    };
    print(&text);
    ExitCode::from(code)
}

fn survey() -> std::io::Result<Vec<Surveyed>> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let guardian = Guardian::start(None)?;
    let launchers = Launchers::new(launcher::Config::default(), Journal::open());
    Ok(launchers.survey(&SpawnContext {
        standard: [None; 3],
        null: null.as_fd(),
        guardian: &guardian,
        cgroup: None,
        cancel: None,
    }))
}

/// All that was found.
struct Report {
    checks: Vec<Check>,
    launchers: Vec<Surveyed>,
    available: Result<Available, Refusal>,
}

impl Report {
    /// The first launcher that works is the one that counts.
    fn verdict(&self) -> u8 {
        let Ok(available) = &self.available else {
            return NONE;
        };
        let is_weaker = !available.level.weaker.is_empty()
            || available.no_workspace.is_some()
            || self
                .checks
                .iter()
                .any(|check| check.state != CheckState::Good);
        if is_weaker { WEAKER } else { 0 }
    }

    fn as_json(&self, code: u8) -> Value {
        let check = |check: &Check| {
            json!({
                "name": check.name,
                "state": check.state.name(),
                "found": check.found,
                "remedy": check.remedy,
            })
        };
        let launcher = |one: &Surveyed| {
            let level = one.outcome.as_ref().ok();
            json!({
                "kind": one.kind.name(),
                "place": one.place,
                "works": level.is_some(),
                "version": level.and_then(|level| level.version.as_deref()),
                "namespaces": level.map(|level| &level.namespaces),
                "weaker": level.map(|level| &level.weaker),
                "why": one.outcome.as_ref().err(),
            })
        };
        let mut available = Available::json_of(&self.available);
        json!({
            "exitCode": code,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "launchers": self.launchers.iter().map(launcher).collect::<Vec<_>>(),
            "policies": available["policies"].take(),
        })
    }

    fn as_text(&self, code: u8) -> String {
        let mut text = String::new();
        let mut line = |mark: &str, name: &str, found: &str| {
            push_row(&mut text, [mark, name, found], [6, 18, 0], " ");
        };
        for check in &self.checks {
            line(check.state.name(), check.name, &check.found);
            if let Some(remedy) = &check.remedy {
                line("", "", &format!("-> {remedy}"));
            }
        }
        for one in &self.launchers {
            let name = format!("{} launcher", one.kind.name());
            match &one.outcome {
                Ok(level) => {
                    let version = level.version.as_deref().unwrap_or_default();
                    line("good", &name, format!("{} {version}", one.place).trim());
                    for sentence in &level.weaker {
                        line("", "", &format!("weaker: {sentence}"));
                    }
                }
                Err(why) => line("no", &name, &format!("{}: {why}", one.place)),
            }
        }
        let works = self.available.as_ref().ok();
        let by = works.map_or("nobody", |available| available.level.launcher.name());
        for (preset, refusal) in Available::policies(&self.available) {
            let Some(refusal) = refusal else {
                line("good", preset.name(), &format!("by the {by} launcher"));
                continue;
            };
            line("no", preset.name(), &refusal.what);
            if !refusal.hint.is_empty() {
                line("", "", &format!("-> {}", refusal.hint));
            }
        }
        text + match code {
            0 => "All is well.\n",
            NONE => "Nothing can be confined here: what must be confined will be refused.\n",
            _ => "Programs can be confined, with less than is possible: see above.\n",
        }
    }
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckState {
    Good,
    /// Something is lost without it.
    Weaker,
}

impl CheckState {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weaker => "weaker",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    name: &'static str,
    state: CheckState,
    found: String,
    remedy: Option<String>,
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

/// What a machine needs to have for sandboxes, one thing a check.
fn checks() -> Vec<Check> {
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
        cgroup(),
        configuration(),
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

/// Limits on commands and sessions, without which nothing is less confined.
fn cgroup() -> Check {
    let (found, remedy) = describe_own();
    Check {
        remedy,
        ..good("cgroup", found)
    }
}

/// The environments of `run`, `cp` and `env`.
fn configuration() -> Check {
    match env::configured(None, local_environment()) {
        Ok(environments) => good("configuration", environments.sources().to_string()),
        Err(error) => weaker(
            "configuration",
            error.to_string(),
            "Correct it: until then `run`, `cp` and `env` refuse to do anything",
        ),
    }
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\n', '\0']).to_owned())
}

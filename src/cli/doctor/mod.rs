//! `exec-server doctor`: what this machine can confine with, found out by doing it.

mod checks;

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::command::{self, Command};
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands};
use super::notice::Speaker;
use super::{help, print};
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::{self, Available, Launchers, Refusal, SpawnContext, Surveyed};
use crate::sandbox::policy::Waivers;
use crate::sys::guardian::Guardian;

use checks::{Check, CheckState};

/// The row in the table of commands.
pub(super) static DOCTOR: Command = Command {
    name: "doctor",
    summary: "Find out what this machine can confine with",
    perform: |args| command::perform(&GRAMMAR, args, |flags| Ok(examine(&flags))),
    help: || help::text(&GRAMMAR, &[]),
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
        checks: checks::all(),
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
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let null = std::os::fd::OwnedFd::from(null);
    let null = std::os::fd::AsFd::as_fd(&null);
    let guardian = Guardian::start(None)?;
    let launchers = Launchers::new(launcher::Config::default(), Journal::open());
    Ok(launchers.survey(&SpawnContext {
        standard: [None; 3],
        null,
        guardian: &guardian,
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
        // Writing to a String cannot fail.
        let mut line = |mark: &str, name: &str, found: &str| {
            let _ = writeln!(text, "{mark:<6} {name:<18} {found}");
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

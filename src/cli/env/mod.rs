//! `exec-server env`: which environments there are, and how they are.

mod check;
mod flags;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::command::{self, Command};
use super::notice::Speaker;
use super::{environments, help};
use crate::env::config::Origin;
use crate::env::{Environment, EnvironmentError, SandboxFacts, configured};
use crate::serve::local_environment;
use crate::visible::{Visible, steers};

use check::{Health, check};
use flags::{EnvFlags, GRAMMAR, Task};

/// The row in the table of commands.
pub(super) static ENV: Command = Command {
    name: "env",
    summary: "List the environments, and check them",
    perform: |args| command::perform(&GRAMMAR, args, |flags| Ok(env(&flags))),
    help: || help::text(&GRAMMAR, &[]),
};

const SPEAKER: Speaker = Speaker("exec-server env");

/// The configuration is wrong, there is no such environment, or nothing can be written.
const FAILED: u8 = 255;

fn env(flags: &EnvFlags) -> ExitCode {
    let known = match known(flags) {
        Ok(known) => known,
        Err(error) => {
            SPEAKER.say(error);
            return ExitCode::from(FAILED);
        }
    };
    let (text, code) = match flags.task {
        Task::List => {
            let rows: Vec<Row<'_>> = known.iter().map(|each| each.row()).collect();
            (
                if flags.is_json {
                    json(&rows)
                } else {
                    list(&rows)
                },
                0,
            )
        }
        Task::Check => {
            let all: Vec<_> = known
                .iter()
                .map(|each| Arc::clone(&each.environment))
                .collect();
            let found = check(&all, flags.timeout);
            let failed = found.iter().any(Result::is_err);
            let rows: Vec<Checked<'_>> = known
                .iter()
                .zip(&found)
                .map(|(each, health)| checked(each.row(), health))
                .collect();
            let text = match flags.is_json {
                true => json(&rows),
                false => table(&rows, is_coloured()),
            };
            (text, u8::from(failed))
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            SPEAKER.say(format_args!("cannot write to standard output: {error}"));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(code),
    }
}

/// An environment that is listed.
struct Known {
    environment: Arc<Environment>,
    origin: Origin,
    address: String,
    is_default: bool,
}

fn known(flags: &EnvFlags) -> Result<Vec<Known>, EnvironmentError> {
    let name = flags.environment.as_deref();
    if let Some(environment) = name.and_then(environments::at_url) {
        return Ok(vec![Known {
            address: environment.id().to_owned(),
            environment,
            origin: Origin::BuiltIn,
            is_default: false,
        }]);
    }
    let manager = configured(flags.config.as_deref(), local_environment())?;
    if let Some(name) = name {
        manager.get(name)?;
    }
    let default = manager.default_environment_id();
    let provided = manager.environments().iter();
    let meant = provided.filter(|each| name.is_none_or(|name| each.environment.id() == name));
    Ok(meant
        .map(|each| Known {
            environment: Arc::clone(&each.environment),
            origin: each.origin.clone(),
            address: each.address.clone(),
            is_default: default == Some(each.environment.id()),
        })
        .collect())
}

/// What is known of an environment without asking it. The names are promised.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    id: &'a str,
    kind: &'static str,
    default: bool,
    address: &'a str,
    origin: Source,
}

/// Where it was defined.
#[derive(Clone, Serialize)]
struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'static str>,
}

impl Known {
    fn row(&self) -> Row<'_> {
        let mut origin = Source {
            file: None,
            line: None,
            variable: None,
        };
        match &self.origin {
            Origin::File(position) => {
                origin.file = Some(position.path.display().to_string());
                origin.line = Some(position.line);
            }
            Origin::Variable(name) => origin.variable = Some(name),
            Origin::BuiltIn => {}
        }
        let address = self.address.as_str();
        Row {
            id: self.environment.id(),
            kind: match address.split_once("://") {
                _ if !self.environment.is_remote() => "local",
                Some(("unix", _)) => "unix",
                Some(_) => "websocket",
                None => "program",
            },
            default: self.is_default,
            address,
            origin,
        }
    }
}

impl Source {
    fn text(&self) -> String {
        match (&self.file, self.line, self.variable) {
            (Some(file), Some(line), _) => format!("{file}:{line}"),
            (_, _, Some(variable)) => variable.to_owned(),
            _ => "built in".to_owned(),
        }
    }
}

/// A row with what a check has found. The names are promised.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'a SandboxFacts>,
}

fn checked<'a>(row: Row<'a>, health: &'a Result<Health, String>) -> Checked<'a> {
    let empty = Checked {
        row,
        ok: false,
        error: None,
        version: None,
        platform: None,
        connect_ms: None,
        round_trip_ms: None,
        sandbox: None,
    };
    match health {
        Err(error) => Checked {
            error: Some(error),
            ..empty
        },
        Ok(health) => Checked {
            ok: true,
            version: health.facts.version.as_deref(),
            platform: health.facts.platform.as_deref(),
            connect_ms: Some(millis(health.connect)),
            round_trip_ms: Some(millis(health.round_trip)),
            sandbox: health.sandbox.as_ref(),
            ..empty
        },
    }
}

/// To a microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn json(rows: &impl Serialize) -> String {
    // Texts, numbers and what was parsed before: nothing that has no JSON.
    let json = serde_json::to_string_pretty(rows).unwrap_or_default();
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            // What a server said as JSON may have other blanks than ours between its tokens.
            '\n' | '\r' | '\t' => text.push(if c == '\n' { c } else { ' ' }),
            // Others that steer a terminal are left as they are by JSON, and are in texts only.
            c if steers(c) => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('\n');
    text
}

fn list(rows: &[Row<'_>]) -> String {
    let mut lines = vec![["", "ENVIRONMENT", "ADDRESS", "DEFINED IN"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            mark(row),
            row.id.to_owned(),
            row.address.to_owned(),
            row.origin.text(),
        ]
    }));
    let mut text = columns(&lines);
    if rows.is_empty() {
        text = "No environment is configured.\n".to_owned();
    } else if rows.iter().all(|row| !row.default) {
        text.push_str("\nNone is the default: name one with -e.\n");
    }
    text
}

fn mark(row: &Row<'_>) -> String {
    let mark = if row.default { "*" } else { " " };
    mark.to_owned()
}

fn table(rows: &[Checked<'_>], is_coloured: bool) -> String {
    let head = [
        "",
        "ENVIRONMENT",
        "STATE",
        "VERSION",
        "ROUND TRIP",
        "PLATFORM",
        "SANDBOX",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    let known = |text: Option<&str>| text.unwrap_or("-").to_owned();
    lines.extend(rows.iter().map(|row| {
        [
            mark(&row.row),
            row.row.id.to_owned(),
            if row.ok { "ok" } else { "failed" }.to_owned(),
            known(row.version),
            row.round_trip_ms
                .map_or("-".to_owned(), |time| format!("{time:.3} ms")),
            known(row.platform),
            row.sandbox.map_or_else(|| known(None), level),
        ]
    }));
    let mut text = String::new();
    for (line, row) in columns(&lines)
        .lines()
        .zip(std::iter::once(None).chain(rows.iter().map(Some)))
    {
        let colour = match row {
            Some(row) if is_coloured => Some(if row.ok { 32 } else { 31 }),
            _ => None,
        };
        // Writing to a text cannot fail.
        let _ = match colour {
            Some(colour) => writeln!(text, "\x1b[{colour}m{line}\x1b[0m"),
            None => writeln!(text, "{line}"),
        };
    }
    for row in rows {
        let unconfined = row.sandbox.and_then(|it| it.reason.as_deref());
        let lines: Vec<String> = match row.error.or(unconfined) {
            Some(why) => why.lines().map(str::to_owned).collect(),
            None => row.sandbox.map_or_else(Vec::new, refused_policies),
        };
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{}:", Visible(row.row.id));
        for line in &lines {
            let _ = writeln!(text, "  {}", Visible(line));
        }
    }
    text
}

/// The policies that cannot be had although something can be confined, each with why and what to do.
fn refused_policies(sandbox: &SandboxFacts) -> Vec<String> {
    let refused = sandbox.policies.iter().filter(|(_, it)| !it.available);
    refused
        .flat_map(|(name, policy)| {
            let why = policy
                .reason
                .as_deref()
                .unwrap_or("the server does not tell why");
            let remedy = policy.remedy.as_deref().filter(|it| !it.is_empty());
            let why = format!("{name} is refused: {why}");
            std::iter::once(why).chain(remedy.map(|it| format!("-> {it}")))
        })
        .collect()
}

/// Who confines, and whether that is less than it could be.
fn level(sandbox: &SandboxFacts) -> String {
    let mut text = sandbox.launcher.clone();
    if let Some(version) = &sandbox.version {
        let _ = write!(text, " {version}");
    }
    if sandbox.landlock_abi > 0 {
        let _ = write!(text, " ABI {}", sandbox.landlock_abi);
    }
    if !sandbox.weaker.is_empty() {
        text += ", weaker";
    }
    // Where nothing can be confined that says it all.
    if sandbox.reason.is_none() {
        let refused = sandbox.policies.iter().filter(|(_, it)| !it.available);
        refused.for_each(|(name, _)| text += &format!(", no {name}"));
    }
    text
}

/// Whether a person watches who wants colours.
fn is_coloured() -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !is_off && !is_dumb && io::stdout().is_terminal()
}

/// Lines with their columns below one another; what steers a terminal is shown instead.
fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let shown: Vec<[String; N]> = lines
        .iter()
        .map(|line| line.each_ref().map(|cell| Visible(cell).to_string()))
        .collect();
    let width = |column: usize| {
        let widths = shown.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &shown {
        let cells: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, default: bool) -> Row<'_> {
        Row {
            id,
            kind: "websocket",
            default,
            address: "ws://127.0.0.1:1",
            origin: Source {
                file: Some("/f".to_owned()),
                line: Some(3),
                variable: None,
            },
        }
    }

    #[test]
    fn the_default_is_marked_and_columns_are_aligned() {
        assert_eq!(
            list(&[row("a", false), row("longer", true)]),
            "   ENVIRONMENT  ADDRESS           DEFINED IN\n   \
             a            ws://127.0.0.1:1  /f:3\n\
             *  longer       ws://127.0.0.1:1  /f:3\n"
        );
    }

    #[test]
    fn json_keeps_its_names() {
        let failed = Err("gone".to_owned());
        let text = json(&[checked(row("a", true), &failed)]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!([{"id": "a", "kind": "websocket", "default": true,
                "address": "ws://127.0.0.1:1", "origin": {"file": "/f", "line": 3},
                "ok": false, "error": "gone"}])
        );
    }

    #[test]
    fn what_a_remote_says_cannot_steer_the_terminal() {
        let health = Health {
            facts: crate::env::EnvironmentFacts {
                version: Some("1\x1b[31m".to_owned()),
                ..Default::default()
            },
            sandbox: Some(SandboxFacts {
                launcher: "\x1b[2J".to_owned(),
                ..Default::default()
            }),
            connect: Duration::ZERO,
            round_trip: Duration::ZERO,
        };
        let (well, ill) = (Ok(health), Err("a\x1b]0;b\x07".to_owned()));
        let rows = [
            checked(row("a", true), &well),
            checked(row("b", false), &ill),
        ];
        let text = table(&rows, false);
        assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text}");
        assert!(text.contains("1\\u{1b}[31m"), "{text}");
    }

    #[test]
    fn json_cannot_steer_the_terminal_and_says_the_same() {
        let said = "\u{9b}2J\u{202e}\u{7f}\n\u{fc}";
        let failed = Err(said.to_owned());
        let text = json(&[checked(row("a", true), &failed)]);
        assert!(!text.chars().any(|c| steers(c) && c != '\n'), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["error"], said);
    }
}

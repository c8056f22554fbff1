//! `exec-server env`: which environments there are, and how they are.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::description::Candidates;
use super::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value, duration, parsed, path};
use super::output::{Speaker, table};
use super::{Command, environments, with_flags};
use crate::deadline;
use crate::env::config::{Origin, Sources};
use crate::env::{Environment, EnvironmentError, EnvironmentFacts, SandboxFacts, configured};
use crate::net::Fingerprint;
use crate::oneshot::{self, Receiver};
use crate::serve::local_environment;
use crate::suggest::closest;
use crate::visible::{Visible, steers};

/// The row in the table of commands.
pub(crate) static ENV: Command = Command {
    name: "env",
    summary: "List the environments, and check them",
    perform: |args| {
        with_flags(&GRAMMAR, args, |flags| {
            match environments::pin_conflict(flags.pin, flags.environment.as_deref()) {
                Some(message) => Err(GRAMMAR.error(message)),
                None => Ok(show(&flags)),
            }
        })
    },
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<EnvFlags> = Grammar {
    about: "Lists the environments that are configured; with `check` connects to each of\n\
            them, or to the one that is named, and tells what it found.\n",
    usage: "exec-server env [OPTIONS] [check [ENV]]",
    flags: &[
        Flag::value(
            Category::General,
            "config",
            "Read this file of environments, or those of this directory",
            Value::optional("PATH", |flags: &mut EnvFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        environments::pin_flag(Category::General, |flags: &mut EnvFlags, text| {
            flags.pin = Some(parsed(text)?);
            Ok(())
        }),
        Flag::value(
            Category::General,
            "timeout",
            "How long a check may take: seconds, or with a unit",
            Value::new("T", "15", |flags: &mut EnvFlags, text| {
                flags.timeout = duration(text)?;
                Ok(())
            }),
        ),
        Flag::switch(
            Category::General,
            None,
            "json",
            "Print JSON: one array, an object an environment",
            FlagKind::Switch(|flags| flags.is_json = true),
        ),
        Flag::help(),
    ],
    candidates: Candidates::EnvironmentChecks,
    operands: Operands::Anywhere(|flags, word| {
        let word = word.to_string_lossy().into_owned();
        match (flags.task, &flags.environment) {
            (Task::List, _) if word == "check" => flags.task = Task::Check,
            (Task::Check, None) => flags.environment = Some(word),
            (Task::List, _) => {
                let tip = match closest(&word, ["check"].into_iter()) {
                    Some(_) => "\n\n  tip: a similar word exists: 'check'",
                    None => "",
                };
                return Err(format!("unexpected argument '{word}' found{tip}"));
            }
            (Task::Check, Some(_)) => {
                return Err(format!("unexpected argument '{word}' found"));
            }
        }
        Ok(())
    }),
    notes: "The environments are those of `environments.toml` and `exec-server.toml` in\n\
            EXEC_SERVER_HOME, CODEX_HOME, ~/.codex or ~/.config/exec-server, or that of\n\
            CODEX_EXEC_SERVER_URL. With `check`, ENV may also be a URL. Exit code: 0, or 1\n\
            if an environment failed, 2 for a wrong command line, 255 for a wrong\n\
            configuration. There are colours on a terminal only, and none with NO_COLOR.\n",
};

/// The flags of `env`, as given or by default.
#[derive(Debug, Default)]
struct EnvFlags {
    config: Option<PathBuf>,
    pin: Option<Fingerprint>,
    is_json: bool,
    timeout: Duration,
    task: Task,
    /// The one that is meant; all unless named.
    environment: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Task {
    #[default]
    List,
    Check,
}

const SPEAKER: Speaker = Speaker("exec-server env");

/// The configuration is wrong, there is no such environment, or nothing can be written.
const FAILED: u8 = 255;

fn show(flags: &EnvFlags) -> ExitCode {
    let (known, sources) = match known(flags) {
        Ok(found) => found,
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
                    list_text(&rows, &sources)
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
                false => check_text(&rows, is_coloured()),
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

/// The environments that are meant, and what they were read from.
fn known(flags: &EnvFlags) -> Result<(Vec<Known>, Sources), EnvironmentError> {
    let name = flags.environment.as_deref();
    if let Some(environment) = name.and_then(|name| environments::at_url(name, flags.pin)) {
        let known = Known {
            address: environment.id().to_owned(),
            environment,
            origin: Origin::BuiltIn,
            is_default: false,
        };
        return Ok((vec![known], Sources::default()));
    }
    let manager = configured(flags.config.as_deref(), local_environment())?;
    if let Some(name) = name {
        manager.get(name)?;
    }
    let default = manager.default_environment_id();
    let provided = manager.environments().iter();
    let meant = provided.filter(|each| name.is_none_or(|name| each.environment.id() == name));
    let known = meant.map(|each| Known {
        environment: Arc::clone(&each.environment),
        origin: each.origin.clone(),
        address: each.address.clone(),
        is_default: default == Some(each.environment.id()),
    });
    Ok((known.collect(), manager.sources().clone()))
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

fn list_text(rows: &[Row<'_>], sources: &Sources) -> String {
    let mut lines = vec![["", "ENVIRONMENT", "ADDRESS", "DEFINED IN"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            mark(row),
            row.id.to_owned(),
            row.address.to_owned(),
            row.origin.text(),
        ]
    }));
    let mut text = table(&lines);
    if rows.is_empty() {
        text = "No environment is configured.\n".to_owned();
    } else if rows.iter().all(|row| !row.default) {
        text.push_str("\nNone is the default: name one with -e.\n");
    }
    let _ = writeln!(text, "\nConfiguration: {}", Visible(sources));
    text
}

fn mark(row: &Row<'_>) -> String {
    let mark = if row.default { "*" } else { " " };
    mark.to_owned()
}

fn check_text(rows: &[Checked<'_>], is_coloured: bool) -> String {
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
    for (line, row) in table(&lines)
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

/// What a check has found.
#[derive(Clone, Debug)]
struct Health {
    facts: EnvironmentFacts,
    /// How it confines, where it tells.
    sandbox: Option<SandboxFacts>,
    /// From the start of connecting to the facts.
    connect: Duration,
    /// One request and its answer, the shortest of some.
    round_trip: Duration,
}

/// Round trips that are measured: the first ones find cold caches.
const TRIPS: usize = 5;

/// Checks all of them at the same time; why, for those that are not well within `limit`.
fn check(environments: &[Arc<Environment>], limit: Duration) -> Vec<Result<Health, String>> {
    let deadline = deadline::after(limit);
    let begin = |environment: &Arc<Environment>| {
        let environment = Arc::clone(environment);
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || {
                sender.send(examine(&environment).map_err(|error| error.to_string()));
            })
            .map(|_| receiver)
            .map_err(|error| format!("no thread to check it with: {error}"))
    };
    let begun: Vec<_> = environments.iter().map(begin).collect();
    let end = |begun: Result<Receiver<Result<Health, String>>, String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        begun?
            .wait(Some(left))
            .unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    };
    begun.into_iter().map(end).collect()
}

fn examine(environment: &Environment) -> Result<Health, EnvironmentError> {
    let begun = Instant::now();
    let facts = environment.facts()?;
    let connect = begun.elapsed();
    let mut round_trip = Duration::MAX;
    for _ in 0..TRIPS {
        let begun = Instant::now();
        // The root is everywhere; an error of the server's is an answer, too.
        match environment.client()?.metadata("/", true) {
            Err(error) if error.code().is_none() => return Err(environment.error(error)),
            _ => round_trip = round_trip.min(begun.elapsed()),
        }
    }
    Ok(Health {
        facts,
        sandbox: environment.sandbox()?,
        connect,
        round_trip,
    })
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
            list_text(&[row("a", false), row("longer", true)], &Sources::default()),
            "   ENVIRONMENT  ADDRESS           DEFINED IN\n   \
             a            ws://127.0.0.1:1  /f:3\n\
             *  longer       ws://127.0.0.1:1  /f:3\n\n\
             Configuration: none, and no home to look in\n"
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
            facts: EnvironmentFacts {
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
        let text = check_text(&rows, false);
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

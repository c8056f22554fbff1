//! The flags of `env`.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::grammar::{Category, Flag, FlagKind, Grammar, Operands, Value};
use crate::cli::values::{duration, path};
use crate::suggest::closest;

/// The flags of `env`, as given or by default.
#[derive(Debug, Default)]
pub(super) struct EnvFlags {
    pub(super) config: Option<PathBuf>,
    pub(super) is_json: bool,
    pub(super) timeout: Duration,
    pub(super) task: Task,
    /// The one that is meant; all unless named.
    pub(super) environment: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    #[default]
    List,
    Check,
}

pub(super) static GRAMMAR: Grammar<EnvFlags> = Grammar {
    about: "Lists the environments that are configured; with `check` connects to each of\n\
            them, or to the one that is named, and tells what it found.\n",
    usage: "exec-server env [OPTIONS] [check [ENV]]",
    flags: &[
        Flag::value(
            Category::General,
            "config",
            "Read this file of environments",
            Value::optional("FILE", |flags: &mut EnvFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
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
    notes: "The environments are those of `environments.toml` in EXEC_SERVER_HOME, CODEX_HOME\n\
            or ~/.codex, or that of CODEX_EXEC_SERVER_URL. With `check`, ENV may also be a\n\
            URL. Exit code: 0, or 1 if an environment failed, 2 for a wrong command line,\n\
            255 for a wrong configuration. There are colours on a terminal only, and none\n\
            with NO_COLOR.\n",
};

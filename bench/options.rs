//! What the person asked for.

use std::path::PathBuf;

use crate::subject::Subject;
use crate::workload::{self, Workload};

/// The usage text.
pub const USAGE: &str = "\
Usage: cargo bench --bench compare -- [OPTIONS]

  --quick          one round of shorter measurements (about a minute)
  --rounds N       interleaved rounds (default 5)
  --only NAME      only this workload; may be given several times
  --no-pin         leave short latencies to the scheduler instead of one core
  --markdown       print the comparison as bench/RESULTS.md has it
  --json FILE      also write every figure to FILE

Environment: EXEC_SERVER_BIN is the server of this project (default: the one that cargo built),
EXEC_SERVER_BEFORE another binary of it, to measure a change: its figures stand in a column `before`.
REFERENCE_0130 and REFERENCE_0169 are codex binaries of these versions, if there are any.";

/// The run's options.
pub struct Options {
    pub rounds: usize,
    pub quick: bool,
    pub pin: bool,
    pub only: Vec<&'static Workload>,
    pub markdown: bool,
    pub json: Option<PathBuf>,
}

const ROUNDS: usize = 5;

impl Options {
    /// Reads the command line; `None` if only the usage was asked for.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>, lexopt::Error> {
        let mut rounds = None;
        let mut options = Self {
            rounds: ROUNDS,
            quick: false,
            pin: true,
            only: Vec::new(),
            markdown: false,
            json: None,
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                lexopt::Arg::Long("quick") => options.quick = true,
                lexopt::Arg::Long("no-pin") => options.pin = false,
                lexopt::Arg::Long("markdown") => options.markdown = true,
                lexopt::Arg::Long("rounds") => rounds = Some(positive(&mut parser)?),
                lexopt::Arg::Long("json") => options.json = Some(parser.value()?.into()),
                lexopt::Arg::Long("only") => options.only.push(named(&mut parser)?),
                // What cargo itself passes to every bench.
                lexopt::Arg::Long("bench") => {}
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        options.rounds = rounds.unwrap_or(if options.quick { 1 } else { ROUNDS });
        Ok(Some(options))
    }

    pub fn workloads(&self) -> Vec<&'static Workload> {
        if self.only.is_empty() {
            return workload::ALL.iter().collect();
        }
        self.only.clone()
    }
}

fn positive(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    use lexopt::ValueExt as _;
    let rounds: usize = parser.value()?.parse()?;
    if rounds == 0 {
        return Err("--rounds needs at least 1".into());
    }
    Ok(rounds)
}

fn named(parser: &mut lexopt::Parser) -> Result<&'static Workload, lexopt::Error> {
    let name = parser.value()?;
    let found = name.to_str().and_then(Workload::named);
    found.ok_or_else(|| {
        let names: Vec<_> = workload::ALL.iter().map(|each| each.name).collect();
        let names = names.join(", ");
        format!("no workload {}; there are {names}", name.display()).into()
    })
}

/// The binary of each server that is there; the second half says why others are not.
pub fn binaries() -> (Vec<(Subject, PathBuf)>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let built = PathBuf::from(env!("CARGO_BIN_EXE_exec-server"));
    for (subject, variable, default) in [
        (Subject::Ours, "EXEC_SERVER_BIN", Some(built)),
        (Subject::Before, "EXEC_SERVER_BEFORE", None),
        (Subject::Reference0130, "REFERENCE_0130", None),
        (Subject::Reference0169, "REFERENCE_0169", None),
    ] {
        let given = std::env::var_os(variable).filter(|value| !value.is_empty());
        match given.map(PathBuf::from).or(default) {
            Some(path) if path.is_file() => found.push((subject, path)),
            Some(path) => missing.push(format!(
                "{} is not measured: {} is not a file",
                subject.name(),
                path.display()
            )),
            // It is there only while a change is measured.
            None if subject == Subject::Before => {}
            None => missing.push(format!(
                "{} is not measured: {variable} is not set",
                subject.name()
            )),
        }
    }
    (found, missing)
}

//! What the run found, for a person at a terminal, for RESULTS.md, and for a program.

mod json;
mod markdown;
mod text;

pub use json::json;
pub use markdown::markdown;
pub use text::text;

use crate::options::Options;
use crate::results::Results;
use crate::row::Row;
use crate::sample::Figure;
use crate::subject::Subject;
use crate::workload::Workload;

/// The servers, in the order of the columns.
const SERVERS: [Subject; 4] = [
    Subject::Ours,
    Subject::Before,
    Subject::Reference0130,
    Subject::Reference0169,
];

/// What the figures are.
fn legend(results: &Results) -> String {
    let before = match results.has(Subject::Before) {
        true => " Behind what was before: how much larger ours is.",
        false => "",
    };
    format!(
        "Medians of the rounds. Behind a reference: how many times better ours is.{before} Behind \
         a floor: ours as a multiple of it, or for rates as a share."
    )
}

/// Cores that others may keep busy while the figures are still worth something.
const QUIET: f64 = 0.3;

/// A floor beside a row: its name, and its figure.
fn floors<'a>(
    results: &'a Results,
    workload: &'static Workload,
    row: &'a Row,
) -> impl Iterator<Item = (&'static str, Figure)> + 'a {
    row.floors.iter().filter_map(move |(key, name)| {
        let figure = results.figure(workload, Subject::Floor, key)?;
        Some((*name, figure))
    })
}

/// The columns of a run: without a binary from before there is none for it.
fn columns(results: &Results) -> impl Iterator<Item = Subject> {
    let has_before = results.has(Subject::Before);
    SERVERS
        .into_iter()
        .filter(move |&subject| has_before || subject != Subject::Before)
}

/// How many times better ours is than a reference, or how far it is from what it was before.
fn advantage(row: &Row, ours: f64, subject: Subject, other: f64) -> String {
    if subject == Subject::Before {
        return format!(" ({:+.1} %)", (ours / other - 1.0) * 100.0);
    }
    let times = if row.unit.more_is_better() {
        ours / other
    } else {
        other / ours
    };
    if times.is_finite() {
        let decimals = if times >= 10.0 { 0 } else { 1 };
        format!(" ({times:.decimals$}x)")
    } else {
        String::new()
    }
}

/// How far ours is from a floor.
fn distance(row: &Row, ours: f64, floor: f64) -> String {
    match ours / floor {
        share if !share.is_finite() => String::new(),
        share if row.unit.more_is_better() => format!(" ({:.0} %)", share * 100.0),
        times => format!(" ({times:.1}x)"),
    }
}

/// The floors of a row in one cell.
fn floor_cell(results: &Results, workload: &'static Workload, row: &Row) -> String {
    let ours = results.figure(workload, Subject::Ours, row.key);
    let cells: Vec<String> = floors(results, workload, row)
        .map(|(name, floor)| {
            let distance = ours.map(|ours| distance(row, ours.median, floor.median));
            format!(
                "{name} {}{}",
                row.unit.show(floor.median),
                distance.unwrap_or_default()
            )
        })
        .collect();
    cells.join("; ")
}

/// Whether a row has anything to show.
fn measured(results: &Results, workload: &'static Workload, row: &Row) -> bool {
    let server = |&subject: &Subject| results.figure(workload, subject, row.key).is_some();
    SERVERS.iter().any(server) || floors(results, workload, row).next().is_some()
}

/// The circumstances of the run, a line each.
fn circumstances(options: &Options, results: &Results) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut lines = vec![format!(
        "{} round(s){}, interleaved; {cores} core(s), Linux {}",
        options.rounds,
        if options.quick { " (quick)" } else { "" },
        kernel.trim()
    )];
    if let Some(commit) = &results.commit {
        lines.push(format!("exec-server at commit {commit}"));
    }
    if let Some(busy) = Figure::of(&results.busy) {
        lines.push(format!(
            "others kept {:.1} cores busy before a round [{:.1}..{:.1}]{}",
            busy.median,
            busy.least,
            busy.most,
            if busy.median > QUIET {
                ": too noisy, repeat the run"
            } else {
                ""
            }
        ));
    }
    lines
}

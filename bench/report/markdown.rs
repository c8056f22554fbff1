//! The comparison as RESULTS.md has it.

use std::fmt::Write as _;

use super::{LEGEND, SERVERS, advantage, circumstances, floor_cell, measured};
use crate::options::Options;
use crate::results::Results;
use crate::row::Row;
use crate::subject::Subject;
use crate::workload::Workload;

/// One table of all workloads, with what was measured where, and how.
pub fn markdown(options: &Options, results: &Results) -> String {
    let mut out = String::from(
        "| workload | ours | codex 0.130 | codex 0.169 | floor |\n|---|---|---|---|---|\n",
    );
    for workload in options.workloads() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| **{}** | | | | |", workload.title());
        for row in workload.rows() {
            if measured(results, workload, row) {
                line(&mut out, results, workload, row);
            }
        }
    }
    let _ = writeln!(
        out,
        "\nMeasured by `make bench`: {}. {LEGEND}",
        circumstances(options, results).join("; ")
    );
    for failure in &results.failures {
        let _ = writeln!(out, "\nNot measured, or not fully: {failure}.");
    }
    out
}

fn line(out: &mut String, results: &Results, workload: Workload, row: &Row) {
    let ours = results.figure(workload, Subject::Ours, row.key);
    let _ = write!(out, "| {} |", row.label);
    for subject in SERVERS {
        let cell = match results.figure(workload, subject, row.key) {
            None => "-".to_owned(),
            Some(figure) if subject == Subject::Ours => {
                format!("**{}**", row.unit.show(figure.median))
            }
            Some(figure) => {
                let better = ours.map(|ours| advantage(row, ours.median, figure.median));
                row.unit.show(figure.median) + &better.unwrap_or_default()
            }
        };
        let _ = write!(out, " {cell} |");
    }
    let _ = writeln!(out, " {} |", floor_cell(results, workload, row));
}

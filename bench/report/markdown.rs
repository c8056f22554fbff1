//! The comparison as RESULTS.md has it.

use std::fmt::Write as _;

use super::{advantage, circumstances, columns, floor_cell, legend, measured};
use crate::options::Options;
use crate::results::Results;
use crate::row::Row;
use crate::subject::Subject;
use crate::workload::Workload;

/// One table of all workloads, with what was measured where, and how.
pub fn markdown(options: &Options, results: &Results) -> String {
    let mut head = String::from("| workload |");
    for subject in columns(results) {
        let codex = if subject.is_this_project() {
            ""
        } else {
            "codex "
        };
        let _ = write!(head, " {codex}{} |", subject.name());
    }
    let cells = columns(results).count();
    let mut out = format!("{head} floor |\n|---|{}---|\n", "---|".repeat(cells));
    for workload in options.workloads() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| **{}** |{} |", workload.title, " |".repeat(cells));
        for row in workload.rows {
            if measured(results, workload, row) {
                line(&mut out, results, workload, row);
            }
        }
    }
    let _ = writeln!(
        out,
        "\nMeasured by `make bench`: {}. {}",
        circumstances(options, results).join("; "),
        legend(results)
    );
    for failure in &results.failures {
        let _ = writeln!(out, "\nNot measured, or not fully: {failure}.");
    }
    out
}

fn line(out: &mut String, results: &Results, workload: &'static Workload, row: &Row) {
    let ours = results.figure(workload, Subject::Ours, row.key);
    let _ = write!(out, "| {} |", row.label);
    for subject in columns(results) {
        let cell = match results.figure(workload, subject, row.key) {
            None => "-".to_owned(),
            Some(figure) if subject == Subject::Ours => {
                format!("**{}**", row.unit.show(figure.median))
            }
            Some(figure) => {
                let better = ours.map(|ours| advantage(row, ours.median, subject, figure.median));
                row.unit.show(figure.median) + &better.unwrap_or_default()
            }
        };
        let _ = write!(out, " {cell} |");
    }
    let _ = writeln!(out, " {} |", floor_cell(results, workload, row));
}

//! The report for a terminal.

use std::fmt::Write as _;

use super::{LEGEND, SERVERS, advantage, circumstances, floor_cell, measured};
use crate::options::Options;
use crate::results::Results;
use crate::row::Row;
use crate::subject::Subject;
use crate::workload::Workload;

const LABEL: usize = 33;
const OURS: usize = 32;
const REFERENCE: usize = 20;

/// All workloads of the run.
pub fn text(options: &Options, results: &Results) -> String {
    let mut out = String::new();
    for line in circumstances(options, results) {
        put(&mut out, &line);
    }
    put(
        &mut out,
        &format!("{LEGEND} In brackets: the least and the most."),
    );
    for workload in options.workloads() {
        put(&mut out, "");
        let pinned = match workload.pinned() && options.pin {
            true => " (client and server on one core)",
            false => "",
        };
        put(&mut out, &format!("{}{pinned}", workload.title()));
        let [ours, old, new] = SERVERS.map(Subject::name);
        put(
            &mut out,
            &format!(
                "  {:LABEL$}{ours:OURS$}{old:REFERENCE$}{new:REFERENCE$}floor",
                ""
            ),
        );
        for row in workload.rows() {
            if measured(results, workload, row) {
                put(&mut out, &line(results, workload, row));
            }
        }
    }
    if !results.failures.is_empty() {
        put(&mut out, "\nNot measured, or not fully:");
        for failure in &results.failures {
            put(&mut out, &format!("  {failure}"));
        }
    }
    out
}

fn put(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", line.trim_end());
}

fn line(results: &Results, workload: Workload, row: &Row) -> String {
    let ours = results.figure(workload, Subject::Ours, row.key);
    let mut line = format!("  {:LABEL$}", row.label);
    for subject in SERVERS {
        let figure = results.figure(workload, subject, row.key);
        let cell = match (figure, subject) {
            (None, _) => "-".to_owned(),
            (Some(figure), Subject::Ours) => row.unit.show_spread(figure),
            (Some(figure), _) => {
                let better = ours.map(|ours| advantage(row, ours.median, figure.median));
                row.unit.show(figure.median) + &better.unwrap_or_default()
            }
        };
        let width = if subject == Subject::Ours {
            OURS
        } else {
            REFERENCE
        };
        let _ = write!(line, "{cell:width$}");
    }
    line + &floor_cell(results, workload, row)
}

//! The report for a terminal.

use std::fmt::Write as _;

use super::{advantage, circumstances, columns, floor_cell, legend, measured};
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
        &format!("{} In brackets: the least and the most.", legend(results)),
    );
    for workload in options.workloads() {
        put(&mut out, "");
        let pinned = match workload.is_pinned && options.pin {
            true => " (client and server on one core)",
            false => "",
        };
        put(&mut out, &format!("{}{pinned}", workload.title));
        let mut head = format!("  {:LABEL$}", "");
        for subject in columns(results) {
            let _ = write!(head, "{:width$}", subject.name(), width = width(subject));
        }
        put(&mut out, &(head + "floor"));
        for row in workload.rows {
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

fn width(subject: Subject) -> usize {
    match subject {
        Subject::Ours => OURS,
        _ => REFERENCE,
    }
}

fn put(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", line.trim_end());
}

fn line(results: &Results, workload: &'static Workload, row: &Row) -> String {
    let ours = results.figure(workload, Subject::Ours, row.key);
    let mut line = format!("  {:LABEL$}", row.label);
    for subject in columns(results) {
        let figure = results.figure(workload, subject, row.key);
        let cell = match (figure, subject) {
            (None, _) => "-".to_owned(),
            (Some(figure), Subject::Ours) => row.unit.show_spread(figure),
            (Some(figure), _) => {
                let better = ours.map(|ours| advantage(row, ours.median, subject, figure.median));
                row.unit.show(figure.median) + &better.unwrap_or_default()
            }
        };
        let _ = write!(line, "{cell:width$}", width = width(subject));
    }
    line + &floor_cell(results, workload, row)
}

//! Where ours answers these cases otherwise than the reference, and why: the rows of the recorded exchanges that are
//! about every exchange, and those of single methods and cases here.

use super::case::Case;
use super::recorded::{ANY, BOTH, DIFFERENCES, Difference, V130, V169, row};
use crate::subject::Generation;

/// Why a field of a case may differ, if it may.
pub fn reason(case: &Case, generation: Generation, pointer: &str) -> Option<&'static str> {
    let name = format!("{} {}", case.method, case.name);
    let about = |row: &&Difference, name: &str| row.explains(name, generation.version(), pointer);
    let mut rows = CASES
        .iter()
        .filter(|row| about(row, &name) || about(row, case.method));
    // A name that no recorded exchange has: only rows for every one fit.
    rows.next()
        .or_else(|| DIFFERENCES.iter().find(|row| about(row, "(any)")))
        .map(|row| row.why)
}

/// Method, or method and case; version; field; reason.
const CASES: &[Difference] = &[
    row("(envelope) none", BOTH, "/none", ANY),
    row("(envelope) none", V130, "/none", ""),
    row("(envelope) none", V169, "/none", ""),
];

//! Every figure for a program, in base units: seconds, a second, MB/s, CPU seconds a GiB, bytes.

use serde_json::{Value, json};

use super::{SERVERS, circumstances, floors};
use crate::options::Options;
use crate::results::Results;
use crate::row::{Row, Unit};
use crate::sample::Figure;
use crate::workload::Workload;

/// The run as one JSON object.
pub fn json(options: &Options, results: &Results) -> String {
    let workloads = options.workloads();
    let rows: Vec<Value> = workloads
        .iter()
        .flat_map(|&workload| {
            workload
                .rows
                .iter()
                .map(move |row| one(results, workload, row))
        })
        .collect();
    let run = json!({
        "circumstances": circumstances(options, results),
        "rounds": options.rounds,
        "quick": options.quick,
        "pinned": options.pin,
        "failures": results.failures,
        "rows": rows,
    });
    format!("{run:#}\n")
}

fn one(results: &Results, workload: &'static Workload, row: &Row) -> Value {
    let mut value = json!({
        "workload": workload.name,
        "key": row.key,
        "label": row.label,
        "unit": unit(row.unit),
    });
    for subject in SERVERS {
        if let Some(measured) = results.figure(workload, subject, row.key) {
            value[subject.name()] = figure(measured);
        }
    }
    for (name, measured) in floors(results, workload, row) {
        value["floors"][name] = figure(measured);
    }
    value
}

fn figure(figure: Figure) -> Value {
    json!({"median": figure.median, "least": figure.least, "most": figure.most})
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::PerSecond => "1/s",
        Unit::MegabytesPerSecond => "MB/s",
        Unit::CpuPerGib => "s/GiB",
        Unit::Bytes => "B",
    }
}

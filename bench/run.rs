//! The run: all rounds of all workloads on all subjects, and the report.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::failure::Failure;
use crate::options::{self, Options};
use crate::procfs;
use crate::report;
use crate::results::Results;
use crate::step::{self, Order};
use crate::subject::{self, Subject, Transport};
use crate::workload::Workload;

/// The commit that our server says it was built from.
fn commit(binary: &Path) -> Option<String> {
    let said = Command::new(binary)
        .args(["--version", "--verbose"])
        .output()
        .ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let commit = said.lines().find_map(|line| line.strip_prefix("commit: "));
    commit.map(str::to_owned)
}

/// Measures, prints, and says by the exit status whether our own server could be measured.
pub fn run(options: &Options) -> ExitCode {
    if let Err(error) = std::fs::create_dir_all(subject::state()) {
        eprintln!("bench: {}: {error}", subject::state().display());
        return ExitCode::FAILURE;
    }
    let (binaries, missing) = options::binaries();
    let mut subjects = binaries;
    subjects.push((Subject::Floor, PathBuf::new()));
    let mut results = Results::default();
    results.failures = missing;
    let ours = subjects
        .iter()
        .find(|(subject, _)| *subject == Subject::Ours);
    results.commit = ours.and_then(|(_, binary)| commit(binary));
    let core = if options.pin { pinning() } else { None };
    if options.pin && core.is_none() {
        let note = "taskset does not work here: nothing is pinned, short latencies are noisy";
        results.failures.push(note.to_owned());
    }

    let begun = Instant::now();
    let mut run = Run {
        quick: options.quick,
        core,
        results,
        hanging: Vec::new(),
        ours_failed: !subjects
            .iter()
            .any(|(subject, _)| *subject == Subject::Ours),
    };
    for round in 0..options.rounds {
        run.results.busy.push(procfs::cores_busy());
        for workload in options.workloads() {
            if round >= workload.most_rounds {
                continue;
            }
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                options.rounds,
                workload.name
            );
            // Whoever comes first in one round comes later in the next.
            subjects.rotate_left(1);
            for (subject, binary) in &subjects {
                run.measure(workload, *subject, binary);
            }
        }
    }
    let Run {
        results,
        ours_failed,
        ..
    } = run;
    eprintln!("{:.0} s", begun.elapsed().as_secs_f64());

    let text = if options.markdown {
        report::markdown(options, &results)
    } else {
        report::text(options, &results)
    };
    print!("{text}");
    if let Some(path) = &options.json
        && let Err(error) = std::fs::write(path, report::json(options, &results))
    {
        eprintln!("bench: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if ours_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The state of a run.
struct Run {
    quick: bool,
    core: Option<usize>,
    results: Results,
    /// What did not end in time once would cost as much in every round.
    hanging: Vec<(&'static str, Subject, Transport)>,
    ours_failed: bool,
}

impl Run {
    /// Takes one workload's figures of one subject, over every transport.
    fn measure(&mut self, workload: &'static Workload, subject: Subject, binary: &Path) {
        // A floor has no transport; it emits the keys of both at once.
        let transports = match subject {
            Subject::Floor => &[Transport::Stdio],
            _ => workload.transports,
        };
        for &transport in transports {
            if self.hanging.contains(&(workload.name, subject, transport)) {
                continue;
            }
            let order = Order {
                workload,
                subject,
                transport,
                binary,
                quick: self.quick,
                core: self.core,
            };
            let results = &mut self.results;
            let done = step::perform(&order, |key, value| {
                results.add(workload, subject, key, value);
            });
            let Err(failure) = done else { continue };
            self.ours_failed |= subject == Subject::Ours;
            if matches!(failure, Failure::Late { .. }) {
                self.hanging.push((workload.name, subject, transport));
            }
            let sentence = format!(
                "{} {} {}: {failure}",
                workload.name,
                subject.name(),
                transport.name()
            );
            eprintln!("  {sentence}");
            if !self.results.failures.contains(&sentence) {
                self.results.failures.push(sentence);
            }
        }
    }
}

/// A core that steps can be pinned to.
fn pinning() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let digits: String = allowed
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let works = Command::new("taskset")
        .args(["-c", &digits, "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    works.ok().filter(std::process::ExitStatus::success)?;
    digits.parse().ok()
}

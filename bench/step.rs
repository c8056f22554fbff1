//! A step's process: started by the run, possibly pinned, and timed out by it.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{During, Failure};
use crate::guard::{self, Guarded};
use crate::scratch;
use crate::subject::{self, Subject, Transport};
use crate::workload::{Step, Workload};

/// What the run wants measured.
pub struct Order<'a> {
    pub workload: &'static Workload,
    pub subject: Subject,
    pub transport: Transport,
    pub binary: &'a Path,
    pub quick: bool,
    /// The core to stay on.
    pub core: Option<usize>,
}

/// Runs one step in a process of its own and hands over its figures as they come.
pub fn perform(order: &Order<'_>, mut figure: impl FnMut(&str, f64)) -> Result<(), Failure> {
    let log = subject::state().join("step.log");
    let stderr = std::fs::File::create(&log).during(format_args!("writing {}", log.display()))?;
    let mut command = command(order)?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut step = Guarded::spawn(&mut command)?;
    let (stdin, stdout) = step.with(|child| (child.stdin.take(), child.stdout.take()));
    let stdout = stdout.ok_or_else(|| Failure::Unexpected("the step has no pipe".to_owned()))?;

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let limit = order.workload.deadline;
    let deadline = Instant::now() + limit;
    let mut reason = None;
    let mut timed_out = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.split_once('\t') {
                Some(("failed", why)) => reason = Some(why.to_owned()),
                Some((key, value)) => figure(key, value.parse().unwrap_or(f64::NAN)),
                None => {}
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                timed_out = true;
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if timed_out {
        // The step ends its servers when its standard input does, and then itself.
        drop(stdin);
        let grace = Instant::now() + Duration::from_secs(5);
        while lines
            .recv_timeout(grace.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        return Err(Failure::Late {
            seconds: limit.as_secs(),
        });
    }
    let status = step
        .with(|child| child.wait())
        .during("waiting for the step")?;
    match reason {
        None if status.success() => Ok(()),
        None => Err(Failure::Unexpected(format!(
            "the step ended with {status}{}",
            last_words(&log)
        ))),
        Some(reason) => Err(Failure::Unexpected(reason + &last_words(&log))),
    }
}

/// The last line that a step or its server wrote to standard error.
fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(" (last on stderr: {})", line.trim()),
        None => String::new(),
    }
}

fn command(order: &Order<'_>) -> Result<Command, Failure> {
    let own = std::env::current_exe().during("finding this program")?;
    let pin = order.core.filter(|_| order.workload.is_pinned);
    let mut words: Vec<OsString> = Vec::new();
    if let Some(core) = pin {
        words.extend(["taskset", "-c", &core.to_string()].map(OsString::from));
    }
    if order.workload.name == "memory" {
        // A thousand connections are more than the usual soft limit, for client and server both.
        let raise = r#"ulimit -n 4096 2>/dev/null; exec "$0" "$@""#;
        words.extend(["/bin/sh", "-c", raise].map(OsString::from));
    }
    words.push(own.into_os_string());
    words.push("step".into());
    let effort = if order.quick { "quick" } else { "full" };
    for word in [
        order.workload.name,
        order.subject.name(),
        order.transport.name(),
        effort,
    ] {
        words.push(word.into());
    }
    words.push(order.binary.into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

/// The step's own side: `WORKLOAD SUBJECT TRANSPORT EFFORT BINARY`.
pub fn measure(arguments: &[String]) -> ExitCode {
    end_with_the_run();
    let [workload, subject, transport, effort, binary] = arguments else {
        return ExitCode::from(2);
    };
    let named = (
        Workload::named(workload),
        Subject::named(subject),
        Transport::named(transport),
    );
    let (Some(workload), Some(subject), Some(transport)) = named else {
        return ExitCode::from(2);
    };
    let step = Step {
        subject,
        transport,
        binary: PathBuf::from(OsStr::new(binary)),
        quick: effort == "quick",
    };
    match workload.measure(&step) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("failed\t{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The run holds our standard input open for as long as it wants us.
fn end_with_the_run() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        guard::kill_all();
        scratch::remove();
        std::process::exit(1);
    });
}

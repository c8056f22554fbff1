//! What the operator is told of one process: its start and its end.

use std::time::Instant;

use super::metrics::{Ending, METRICS};
use super::reply::Source;
use super::services::Call;
use crate::env::local::{Milestone, ProcessExit, ProcessSpec};
use crate::log::{self, Event, Level, Line};
use crate::sandbox::launcher::LauncherKind;
use crate::sys::process::user_id;

/// A process in the log, from its request on.
pub(crate) struct ProcessLog {
    source: Source,
    /// None where nobody would read them.
    names: Option<Names>,
    asked: Instant,
    started: Instant,
    pid: i32,
}

/// What the client has chosen.
struct Names {
    process: String,
    /// The program's base name.
    program: String,
    /// Its arguments, if they are to be logged.
    argv: Option<Vec<String>>,
}

impl ProcessLog {
    pub(crate) fn new(call: &Call<'_>, spec: &ProcessSpec) -> Self {
        let names = || Names {
            process: spec.id.clone(),
            program: base_name(spec.argv.first().map_or("", |it| it)).to_owned(),
            argv: call.services.logs_argv.then(|| spec.argv.clone()),
        };
        Self {
            source: call.source,
            names: log::is_enabled(Level::Info).then(names),
            asked: Instant::now(),
            started: Instant::now(),
            pid: 0,
        }
    }

    /// Tells what has become of it.
    pub(crate) fn note(&mut self, milestone: &Milestone) {
        match milestone {
            Milestone::Started { pid, launcher } => {
                self.pid = *pid;
                self.started = Instant::now();
                METRICS.processes_started.add(1);
                METRICS.starts.observe(self.started - self.asked);
                self.write(Event::ProcessStarted, &|line, names| {
                    line.text("program", &names.program);
                    if let Some(argv) = &names.argv {
                        line.list("argv", argv.iter().map(String::as_str));
                    }
                    line.value("user", user_id());
                    let launcher = launcher.unwrap_or(LauncherKind::None);
                    line.text("sandbox", launcher.name());
                });
            }
            Milestone::Exited {
                exit,
                was_terminated,
            } => {
                METRICS.process_ended(ending(exit, *was_terminated));
                self.write(Event::ProcessExited, &|line, _| {
                    let ProcessExit {
                        code,
                        signal,
                        timed_out,
                        oom_killed,
                        sandbox_denied,
                    } = exit;
                    line.value("code", code);
                    if let Some(signal) = signal {
                        line.text("signal", signal.name());
                    }
                    line.value("durationMs", self.started.elapsed().as_millis());
                    line.value("timedOut", timed_out);
                    line.value("terminated", was_terminated);
                    line.value("denied", sandbox_denied);
                    if *oom_killed {
                        line.value("oomKilled", oom_killed);
                    }
                });
            }
        }
    }

    fn write(&self, event: Event, fields: &dyn Fn(&mut Line, &Names)) {
        let Some(names) = &self.names else { return };
        log::event(Level::Info, event, &|line| {
            line.value("connection", self.source.connection);
            if let Some(session) = self.source.session {
                line.text("session", session);
            }
            line.text("process", &names.process);
            line.value("pid", self.pid);
            fields(line, names);
        });
    }
}

fn ending(exit: &ProcessExit, was_terminated: bool) -> Ending {
    match exit {
        ProcessExit {
            oom_killed: true, ..
        } => Ending::OutOfMemory,
        ProcessExit {
            timed_out: true, ..
        } => Ending::TimedOut,
        _ if was_terminated => Ending::Terminated,
        ProcessExit {
            signal: Some(_), ..
        } => Ending::Signalled,
        _ => Ending::Exited,
    }
}

/// The last part of a program's path.
fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

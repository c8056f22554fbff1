//! What `GET /metrics` tells: what has been counted, and what is looked up when it is asked.
//!
//! A counter is an atomic number of the whole program, added to without a lock and without order.
//! No label has anything of a client's: there are as many samples after a year as at the start.

use std::fmt::{Display, Write};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::dispatch;
use super::refusal::Cause;
use super::server::Server;
use crate::log;
use crate::memory::{self, Kind};
use crate::version;

/// What the whole program has counted.
pub(crate) static METRICS: Metrics = Metrics {
    connections: Counter::ZERO,
    sessions: Counter::ZERO,
    processes_started: Counter::ZERO,
    processes_ended: [Counter::ZERO; Ending::ALL.len()],
    bytes: [Counter::ZERO; Flow::ALL.len()],
    requests: [Counter::ZERO; MAX_METHODS],
    refusals: [Counter::ZERO; Cause::ALL.len()],
    starts: Histogram {
        buckets: [Counter::ZERO; BOUNDS.len() + 1],
        nanoseconds: Counter::ZERO,
    },
};

pub(crate) struct Metrics {
    /// Connections that were let in.
    pub(crate) connections: Counter,
    pub(crate) sessions: Counter,
    pub(crate) processes_started: Counter,
    processes_ended: [Counter; Ending::ALL.len()],
    bytes: [Counter; Flow::ALL.len()],
    /// In the order of [`dispatch::method_names`].
    requests: [Counter; MAX_METHODS],
    refusals: [Counter; Cause::ALL.len()],
    /// From the request to the program.
    pub(crate) starts: Histogram,
}

/// More than there are methods.
const MAX_METHODS: usize = 64;

impl Metrics {
    pub(crate) fn process_ended(&self, ending: Ending) {
        self.processes_ended[ending as usize].add(1);
    }

    pub(crate) fn flowed(&self, flow: Flow, bytes: usize) {
        self.bytes[flow as usize].add(bytes as u64);
    }

    /// Counts a request of the method of this number.
    pub(crate) fn requested(&self, number: usize) {
        if let Some(counter) = self.requests.get(number) {
            counter.add(1);
        }
    }

    pub(crate) fn refused(&self, cause: Cause) {
        self.refusals[cause as usize].add(1);
    }
}

/// A number that only grows.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "the beginning of many"
    )]
    const ZERO: Self = Self(AtomicU64::new(0));

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has ended a process.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Exited,
    Signalled,
    TimedOut,
    /// Its client, or the end of its session.
    Terminated,
    /// The kernel, as its cgroup had no memory left.
    OutOfMemory,
}

impl Ending {
    const ALL: [&str; 5] = ["exited", "signalled", "timedOut", "terminated", "oom"];
}

/// Bytes on their way.
#[derive(Clone, Copy)]
pub(crate) enum Flow {
    Output,
    Input,
    FilesRead,
    FilesWritten,
}

impl Flow {
    /// Direction and kind of each.
    const ALL: [(&str, &str); 4] = [
        ("out", "output"),
        ("in", "input"),
        ("out", "files"),
        ("in", "files"),
    ];
}

/// The upper bounds of buckets, in seconds, and in nanoseconds.
const BOUNDS: [(&str, u64); 13] = [
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("10", 10_000_000_000),
];

/// Durations by their size.
pub(crate) struct Histogram {
    /// Each for itself; the last one has no bound.
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(_, bound)| nanoseconds <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].add(1);
        self.nanoseconds.add(nanoseconds);
    }
}

/// The answer's `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page, in Prometheus's text format 0.0.4.
pub(crate) fn page(server: &Server) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    page.about_the_program(server);
    page.about_clients(server);
    page.about_processes(server);
    page.about_requests();
    page.about_memory();
    page.0
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

struct Page(String);

impl Page {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let text = &mut self.0;
        // A String takes everything, here and below.
        let _ = write!(
            text,
            "# HELP exec_server_{name} {help}\n# TYPE exec_server_{name} {kind}\n"
        );
    }

    /// Adds a sample with these labels, none of which needs an escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let text = &mut self.0;
        let _ = write!(text, "exec_server_{name}");
        for (number, (label, its)) in labels.iter().enumerate() {
            let mark = if number == 0 { '{' } else { ',' };
            let _ = write!(text, "{mark}{label}=\"{its}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(text, "{end} {value}");
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn about_the_program(&mut self, server: &Server) {
        self.family("build_info", GAUGE, "What was built; the value is 1.");
        let labels = [("version", version::NUMBER), ("commit", version::COMMIT)];
        self.sample("build_info", &labels, 1);
        let started = server.started.duration_since(UNIX_EPOCH);
        let started = started.unwrap_or_default().as_secs();
        self.single(
            "start_time_seconds",
            GAUGE,
            "When the server has started, in seconds since 1970.",
            started,
        );
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            let help = "Descriptors that are open.";
            // The one that lists them is not there any more.
            let open = entries.count().saturating_sub(1);
            self.single("open_descriptors", GAUGE, help, open);
        }
        if let Some(limit) = field("limits", "Max open files") {
            let help = "Descriptors that may be open.";
            self.single("max_descriptors", GAUGE, help, limit);
        }
        self.single(
            "log_lines_lost_total",
            COUNTER,
            "Lines of the log that were not taken, as its pipe or disk was full.",
            log::lost(),
        );
    }

    fn about_clients(&mut self, server: &Server) {
        let connections = server.living_connections();
        self.single(
            "connections",
            GAUGE,
            "Clients that are connected.",
            connections,
        );
        self.single(
            "connections_total",
            COUNTER,
            "Connections of clients that were let in.",
            METRICS.connections.get(),
        );
        let (attached, detached) = server.sessions.counts();
        self.family("sessions", GAUGE, "Sessions, with a connection or without.");
        self.sample("sessions", &[("state", "attached")], attached);
        self.sample("sessions", &[("state", "detached")], detached);
        let sessions = METRICS.sessions.get();
        self.single(
            "sessions_total",
            COUNTER,
            "Sessions that have begun.",
            sessions,
        );
        self.family(
            "refusals_total",
            COUNTER,
            "Connections and requests refused, by cause.",
        );
        for cause in Cause::ALL {
            let count = METRICS.refusals[cause as usize].get();
            self.sample("refusals_total", &[("cause", cause.name())], count);
        }
    }

    fn about_processes(&mut self, server: &Server) {
        let running = server.services.host.running();
        self.single("processes", GAUGE, "Processes that run.", running);
        self.single(
            "processes_started_total",
            COUNTER,
            "Processes that were started.",
            METRICS.processes_started.get(),
        );
        let help = "Processes that have ended, by what has ended them.";
        self.family("processes_ended_total", COUNTER, help);
        for (name, counter) in Ending::ALL.iter().zip(&METRICS.processes_ended) {
            self.sample("processes_ended_total", &[("cause", name)], counter.get());
        }
        let name = "process_start_seconds";
        self.family(
            name,
            "histogram",
            "Time from a request to the program that it starts.",
        );
        let mut count = 0;
        for (index, bucket) in METRICS.starts.buckets.iter().enumerate() {
            count += bucket.get();
            let bound = BOUNDS.get(index).map_or("+Inf", |(bound, _)| bound);
            self.sample("process_start_seconds_bucket", &[("le", bound)], count);
        }
        let sum = METRICS.starts.nanoseconds.get() as f64 / 1e9;
        self.sample("process_start_seconds_sum", &[], sum);
        self.sample("process_start_seconds_count", &[], count);
    }

    fn about_requests(&mut self) {
        self.family("requests_total", COUNTER, "Requests of clients, by method.");
        for (name, counter) in dispatch::method_names().zip(&METRICS.requests) {
            self.sample("requests_total", &[("method", name)], counter.get());
        }
        let help = "Bytes of processes' output and input and of files' contents.";
        self.family("bytes_total", COUNTER, help);
        for ((direction, kind), counter) in Flow::ALL.iter().zip(&METRICS.bytes) {
            let labels = [("direction", *direction), ("kind", *kind)];
            self.sample("bytes_total", &labels, counter.get());
        }
    }

    fn about_memory(&mut self) {
        if let Some(kibibytes) = field("status", "VmRSS:") {
            let help = "Memory of the server that is resident.";
            self.single("memory_resident_bytes", GAUGE, help, kibibytes * 1024);
        }
        let help = "Memory that is held for clients and their programs.";
        self.family("memory_accounted_bytes", GAUGE, help);
        for (kind, name) in Kind::ALL {
            self.sample("memory_accounted_bytes", &[("kind", name)], kind.used());
        }
        let help = "What all kinds may have together.";
        self.single("memory_limit_bytes", GAUGE, help, memory::limit());
    }
}

/// The first number of the line that begins so in a file of ours in `/proc`; none where there is no
/// `/proc`.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_where_they_belong() {
        let histogram = Histogram {
            buckets: [Counter::ZERO; BOUNDS.len() + 1],
            nanoseconds: Counter::ZERO,
        };
        for (nanoseconds, bucket) in [
            (0, 0),
            (500_000, 0),
            (500_001, 1),
            (10_000_000_000, 12),
            (10_000_000_001, 13),
        ] {
            let before = histogram.buckets[bucket].get();
            histogram.observe(Duration::from_nanos(nanoseconds));
            assert_eq!(histogram.buckets[bucket].get(), before + 1, "{nanoseconds}");
        }
        assert!(BOUNDS.is_sorted_by_key(|(_, bound)| *bound));
    }

    #[test]
    fn every_method_has_a_counter() {
        assert!(dispatch::method_names().count() <= MAX_METHODS);
    }
}

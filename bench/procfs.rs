//! What the kernel knows about a process and about the machine.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::failure::{During, Failure};

/// Linux reports times to userland in hundredths of a second on every architecture of interest.
const TICK: f64 = 0.01;

/// CPU seconds, user and system together.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// Of all threads, ended ones too.
    pub own: f64,
    /// Of children that were waited for.
    pub children: f64,
}

/// Bytes of memory.
pub struct Memory {
    pub resident: f64,
    /// Resident, with shared pages divided by their users.
    pub proportional: f64,
    /// What no file backs: heap and stacks.
    pub anonymous: f64,
}

impl Cpu {
    /// What a process has used so far.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).during(format_args!("reading {path}"))?;
        // The name in parentheses may hold anything; what follows it is numbers, from `state` on.
        let fields: Vec<&str> = text
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        let ticks = |index: usize| {
            let field = fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok());
            field.unwrap_or(f64::NAN)
        };
        Ok(Self {
            own: (ticks(11) + ticks(12)) * TICK,
            children: (ticks(13) + ticks(14)) * TICK,
        })
    }

    /// What was used after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            own: self.own - before.own,
            children: self.children - before.children,
        }
    }
}

impl Memory {
    /// What a process holds now.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).during(format_args!("reading {path}"))?;
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_ascii_whitespace().next());
            kib.and_then(|kib| kib.parse::<f64>().ok())
                .map_or(f64::NAN, |kib| kib * 1024.0)
        };
        Ok(Self {
            resident: bytes("Rss:"),
            proportional: bytes("Pss:"),
            anonymous: bytes("Anonymous:"),
        })
    }
}

/// How many cores others keep busy, watched for a moment in which the bench itself does nothing.
pub fn cores_busy() -> f64 {
    let before = busy_seconds();
    let watched = Duration::from_millis(250);
    thread::sleep(watched);
    ((busy_seconds() - before) / watched.as_secs_f64()).max(0.0)
}

fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, then irq, softirq and steal; idle and iowait are between them.
    [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&index| ticks.get(index))
        .sum::<f64>()
        * TICK
}

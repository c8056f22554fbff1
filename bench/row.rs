//! A row of the comparison: which figure, beside which floors, against which goal.

/// How a figure is written, and which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    /// Megabytes (10^6) a second.
    MegabytesPerSecond,
    /// CPU seconds for each GiB (2^30) moved.
    CpuPerGib,
    Bytes,
}

/// What issue 2 promises of a figure of ours.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most this, in the base unit.
    Limit(f64),
    /// At most so many times a floor.
    TimesFloor(f64, &'static str),
    /// At least this share of a floor.
    ShareOfFloor(f64, &'static str),
    /// At least so many times the better of the references.
    TimesReference(f64),
}

/// One figure of a workload.
pub struct Row {
    /// As the steps emit it, the transport first: `ws.p50`.
    pub key: &'static str,
    pub label: &'static str,
    pub unit: Unit,
    /// Figures of the floor step to print beside it: key and name.
    pub floors: &'static [(&'static str, &'static str)],
    pub goal: Option<Goal>,
}

impl Unit {
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::MegabytesPerSecond)
    }

    /// A figure for a reader, three digits of it.
    pub fn show(self, value: f64) -> String {
        let (scaled, suffix) = match self {
            Self::Seconds if value < 1e-3 => (value * 1e6, " us"),
            Self::Seconds if value < 1.0 => (value * 1e3, " ms"),
            Self::Seconds => (value, " s"),
            Self::PerSecond if value >= 1e4 => (value / 1e3, " k/s"),
            Self::PerSecond => (value, "/s"),
            Self::MegabytesPerSecond => (value, " MB/s"),
            Self::CpuPerGib => (value, " s/GiB"),
            Self::Bytes if value < 1e6 => (value / 1e3, " kB"),
            Self::Bytes => (value / 1e6, " MB"),
        };
        let decimals = match scaled {
            large if large >= 100.0 => 0,
            medium if medium >= 10.0 => 1,
            _ => 2,
        };
        format!("{scaled:.decimals$}{suffix}")
    }
}

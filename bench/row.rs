//! A row of the comparison: which figure and beside which floors.

use crate::sample::Figure;

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

/// One figure of a workload.
pub struct Row {
    /// As the steps emit it, the transport first: `ws.p50`.
    pub key: &'static str,
    pub label: &'static str,
    pub unit: Unit,
    /// Figures of the floor step to print beside it: key and name.
    pub floors: &'static [(&'static str, &'static str)],
}

impl Row {
    /// A figure with floors beside it.
    pub const fn new(
        unit: Unit,
        key: &'static str,
        label: &'static str,
        floors: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            key,
            label,
            unit,
            floors,
        }
    }
}

impl Unit {
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::MegabytesPerSecond)
    }

    /// A figure for a reader, three digits of it.
    pub fn show(self, value: f64) -> String {
        let (factor, suffix) = self.scale(value);
        digits(value * factor) + suffix
    }

    /// A figure with how far the rounds lie apart.
    pub fn show_spread(self, figure: Figure) -> String {
        let (factor, _) = self.scale(figure.median);
        format!(
            "{} [{}..{}]",
            self.show(figure.median),
            digits(figure.least * factor),
            digits(figure.most * factor)
        )
    }

    /// The unit that suits a figure of this size.
    fn scale(self, value: f64) -> (f64, &'static str) {
        match self {
            Self::Seconds if value < 1e-3 => (1e6, " us"),
            Self::Seconds if value < 1.0 => (1e3, " ms"),
            Self::Seconds => (1.0, " s"),
            Self::PerSecond if value >= 1e4 => (1e-3, " k/s"),
            Self::PerSecond => (1.0, "/s"),
            Self::MegabytesPerSecond => (1.0, " MB/s"),
            Self::CpuPerGib => (1.0, " s/GiB"),
            Self::Bytes if value < 1e6 => (1e-3, " kB"),
            Self::Bytes => (1e-6, " MB"),
        }
    }
}

fn digits(value: f64) -> String {
    let decimals = match value {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

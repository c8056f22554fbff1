//! How far a copy is, for whoever watches.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cli::output::Speaker;
use crate::sys::sync::Mutex;
use crate::sys::terminal;

/// The width of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

/// What has been copied, and the line that shows it.
pub(crate) struct Progress {
    speaker: Speaker,
    begun: Instant,
    is_shown: bool,
    /// Bytes that are known of.
    total: AtomicU64,
    bytes: AtomicU64,
    /// Of them those that were there from an earlier copy.
    skipped: AtomicU64,
    files: AtomicU64,
    failures: AtomicU64,
    /// Held while something is written, so that a line of text and the bar do not mix.
    has_bar: Mutex<bool>,
    is_listed: AtomicBool,
}

impl Progress {
    /// With a bar only on a terminal, and not if it is not wanted.
    pub(crate) fn new(speaker: Speaker, is_quiet: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            speaker,
            begun: Instant::now(),
            is_shown: !is_quiet && !is_dumb && io::stderr().is_terminal(),
            total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            files: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            has_bar: Mutex::new(false),
            is_listed: AtomicBool::new(false),
        }
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that need not be copied again.
    pub(crate) fn skip(&self, bytes: u64) {
        self.skipped.fetch_add(bytes, Ordering::Relaxed);
        self.add(bytes);
    }

    pub(crate) fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells from when on the total is the whole.
    pub(crate) fn set_listed(&self, is_listed: bool) {
        self.is_listed.store(is_listed, Ordering::Relaxed);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Says why something was not copied.
    pub(crate) fn fail(&self, why: impl std::fmt::Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.say(why);
    }

    /// Says something between two states of the bar.
    pub(crate) fn say(&self, what: impl std::fmt::Display) {
        let mut has_bar = self.has_bar.lock();
        erase(&mut has_bar);
        self.speaker.say(what);
    }

    /// Draws the bar anew, if there is one.
    pub(crate) fn draw(&self) {
        if !self.is_shown {
            return;
        }
        let width = terminal::window_size(io::stderr().as_fd())
            .map_or(USUAL_WIDTH, |size| usize::from(size.cols));
        let mut has_bar = self.has_bar.lock();
        // The last column stays free, or some terminals begin a new line.
        let line = self.figures().line(width.saturating_sub(1));
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
        *has_bar = true;
    }

    /// Leaves the last state of the bar where it is.
    pub(crate) fn finish(&self) {
        self.draw();
        let mut has_bar = self.has_bar.lock();
        if std::mem::take(&mut *has_bar) {
            let _ = writeln!(io::stderr());
        }
    }

    fn figures(&self) -> Figures {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Figures {
            bytes: load(&self.bytes),
            skipped: load(&self.skipped),
            total: load(&self.total),
            files: load(&self.files),
            is_listed: self.is_listed.load(Ordering::Relaxed),
            time: self.begun.elapsed(),
        }
    }
}

fn erase(has_bar: &mut bool) {
    if std::mem::take(has_bar) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// What the bar shows.
#[derive(Clone, Copy, Debug)]
struct Figures {
    bytes: u64,
    skipped: u64,
    total: u64,
    files: u64,
    is_listed: bool,
    time: Duration,
}

impl Figures {
    /// A line of at most this width; on a narrow terminal with less in it.
    fn line(self, width: usize) -> String {
        let seconds = self.time.as_secs_f64();
        let rate = if seconds > 0.0 {
            (self.bytes.saturating_sub(self.skipped)) as f64 / seconds
        } else {
            0.0
        };
        let mut text = format!("{}  {}/s", size(self.bytes as f64), size(rate));
        if self.files > 1 {
            text = format!("{} files  {text}", self.files);
        }
        if self.is_listed && self.total > 0 {
            let share = (self.bytes as f64 / self.total as f64).min(1.0);
            let left = self.total.saturating_sub(self.bytes) as f64;
            let time = match rate {
                rate if rate > 0.0 && left > 0.0 => format!("{} left", clock(left / rate)),
                _ => clock(seconds),
            };
            text = format!("{:3.0} %  {text}  {time}", (share * 100.0).floor());
            // What else is on the line: two brackets and two blanks.
            let room = width.saturating_sub(text.len() + 4).min(40);
            if room >= 10 {
                let full = (share * room as f64) as usize;
                let bar = format!("{}{}", "=".repeat(full), " ".repeat(room - full));
                text = format!("[{bar}]  {text}");
            }
        }
        text.truncate(width);
        text
    }
}

fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95);
    format!("{value:.decimals$} {}", units[unit])
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.min(359_999.0) as u64;
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        bytes: 512 << 20,
        skipped: 0,
        total: 1 << 30,
        files: 1,
        is_listed: true,
        time: Duration::from_secs(4),
    };

    #[test]
    fn the_bar_shows_share_bytes_rate_and_time_left() {
        assert_eq!(
            FIGURES.line(60),
            "[==========          ]   50 %  512 MiB  128 MiB/s  0:04 left"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_less_and_never_too_much() {
        assert_eq!(FIGURES.line(40), " 50 %  512 MiB  128 MiB/s  0:04 left");
        for width in 0..100 {
            assert!(FIGURES.line(width).len() <= width);
        }
    }

    #[test]
    fn what_is_not_known_yet_is_not_shown() {
        let unlisted = Figures {
            is_listed: false,
            files: 12,
            ..FIGURES
        };
        assert_eq!(unlisted.line(80), "12 files  512 MiB  128 MiB/s");
    }

    #[test]
    fn what_was_there_before_does_not_make_it_fast() {
        let resumed = Figures {
            skipped: 256 << 20,
            ..FIGURES
        };
        assert!(resumed.line(80).contains("64.0 MiB/s  0:08 left"));
    }

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1000.0, "1.0 KiB"),
            (1.5e9, "1.4 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(clock(59.9), "0:59");
        assert_eq!(clock(3661.0), "1:01:01");
    }
}

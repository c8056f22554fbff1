//! Lines on standard error for the operator.
//!
//! Standard output belongs to the protocol. A line never holds argv, environment or contents; what
//! it does quote from a peer is made harmless for the terminal that shows it.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::sys::poll::{self, PollFd, WRITABLE};
use crate::sys::sync::Mutex;
use crate::visible;

/// How much a line matters; a level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot do what it is for.
    Error,
    /// Something is wrong, and the server lives on.
    #[default]
    Warn,
    /// What happens: clients and processes that come and go.
    Info,
    /// What happens inside.
    Debug,
}

impl Level {
    const ALL: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        let named = |level: &Level| level.name().eq_ignore_ascii_case(text);
        Level::ALL.into_iter().find(named).ok_or(UnknownLevel)
    }
}

/// A text that names no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected error, warn, info or debug")
    }
}

impl std::error::Error for UnknownLevel {}

/// A line goes out in one `write`, which a pipe keeps whole up to this many bytes, and which does
/// not wait when the pipe is writable at all.
const MAX_LINE: usize = 4096;

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);

/// Sets the last level that is written, for the whole program.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of that level are written.
pub fn is_enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Lines that a stranger can have us write, as many as he likes: so many a minute are written, and then how many were not.
pub static OF_STRANGERS: Throttle = Throttle(Mutex::new(Minute {
    began: None,
    written: 0,
    left_out: 0,
}));

/// Lines of one throttle that are written in a minute.
const LINES: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Keeps lines from filling the log.
pub struct Throttle(Mutex<Minute>);

struct Minute {
    /// None before the first line.
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is written; how many were left out before it, and whether it is the last for a while.
    Written {
        left_out: u64,
        is_last: bool,
    },
    LeftOut,
}

impl Minute {
    fn judge(&mut self, now: Instant) -> Verdict {
        let is_over = self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= MINUTE);
        if is_over {
            self.began = Some(now);
            self.written = 0;
        }
        if self.written == LINES {
            self.left_out += 1;
            return Verdict::LeftOut;
        }
        self.written += 1;
        Verdict::Written {
            left_out: std::mem::take(&mut self.left_out),
            is_last: self.written == LINES,
        }
    }
}

impl Throttle {
    /// Writes a line if its level is enabled, and not too many were written.
    pub fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        if !is_enabled(level) {
            return;
        }
        let verdict = self.0.lock().judge(Instant::now());
        let Verdict::Written { left_out, is_last } = verdict else {
            return;
        };
        tell(left_out);
        write(level, message);
        if is_last {
            write(
                Level::Warn,
                format_args!("more lines about connections are left out for a minute"),
            );
        }
    }

    /// Tells how many lines were left out since the last that was written.
    pub fn finish(&self) {
        tell(std::mem::take(&mut self.0.lock().left_out));
    }
}

fn tell(left_out: u64) {
    if left_out > 0 {
        write(
            Level::Warn,
            format_args!("{left_out} lines about connections were left out"),
        );
    }
}

/// Writes a line if its level is enabled. Call it through the macros of this module.
///
/// A line that standard error does not take is lost: logging must not stop the server.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if !is_enabled(level) {
        return;
    }
    let line = line(level, message);
    // Locked before the question, so that no other thread takes the room in between.
    let mut stderr = std::io::stderr().lock();
    let mut room = [PollFd::new(stderr.as_fd(), WRITABLE)];
    if poll::wait(&mut room, Some(Duration::ZERO)).is_ok() && room[0].is_ready() {
        let _ = stderr.write(line.as_bytes());
    }
}

fn line(level: Level, message: fmt::Arguments<'_>) -> String {
    let mut line = Line(format!("exec-server: {}: ", level.name()));
    // Fails on a full line, whose beginning is still worth reading.
    let _ = line.write_fmt(message);
    line.0.push('\n');
    line.0
}

/// Takes text and escapes what could steer a terminal, forge a line or reorder it.
struct Line(String);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const LONGEST_ESCAPE: usize = "\\u{10ffff}\n".len();
        for c in text.chars() {
            if self.0.len() + LONGEST_ESCAPE > MAX_LINE {
                return Err(fmt::Error);
            }
            if visible::steers(c) {
                self.0.extend(c.escape_unicode());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

/// Logs at [`Level::Error`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Error, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Warn`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Warn, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Info`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Info, ::std::format_args!($($arguments)*))
    };
}

/// Logs at [`Level::Debug`], with the arguments of `format!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)*) => {
        $crate::log::write($crate::log::Level::Debug, ::std::format_args!($($arguments)*))
    };
}

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_text_cannot_steer_the_terminal() {
        let remote = "a\x1b[2J\n\u{9b}\u{202e}\u{fc}";
        assert_eq!(
            line(Level::Warn, format_args!("peer says {remote}")),
            "exec-server: warn: peer says a\\u{1b}[2J\\u{a}\\u{9b}\\u{202e}\u{fc}\n"
        );
    }

    #[test]
    fn a_line_is_short_enough_to_stay_whole() {
        for text in ["x", "\u{fc}", "\x1b"] {
            let line = line(Level::Error, format_args!("{}", text.repeat(5000)));
            assert!(line.len() <= MAX_LINE && line.len() > MAX_LINE - 24);
            assert!(line.ends_with('\n'));
        }
    }

    #[test]
    fn a_throttle_counts_what_it_leaves_out() {
        let mut minute = Minute {
            began: None,
            written: 0,
            left_out: 0,
        };
        let now = Instant::now();
        let written = |left_out, is_last| Verdict::Written { left_out, is_last };
        for line in 1..=LINES {
            assert_eq!(minute.judge(now), written(0, line == LINES));
        }
        for _ in 0..3 {
            assert_eq!(minute.judge(now + MINUTE / 2), Verdict::LeftOut);
        }
        assert_eq!(minute.judge(now + MINUTE), written(3, false));
        assert_eq!(minute.judge(now + MINUTE), written(0, false));
    }

    #[test]
    fn levels_have_names_and_an_order() {
        for level in Level::ALL {
            assert_eq!(level.name().to_uppercase().parse(), Ok(level));
        }
        assert_eq!("trace".parse::<Level>(), Err(UnknownLevel));
        assert!(is_enabled(Level::Warn) && !is_enabled(Level::Info));
        warn!("a test wrote this line: {}", 1);
        debug!("a test must not write this line");
    }
}

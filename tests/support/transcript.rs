//! What was said on a connection, for the reader of a failure.

use std::collections::VecDeque;
use std::time::Instant;

/// Lines kept; the beginning of a long talk matters less than its end.
const LINES: usize = 400;
/// Characters kept of a line.
const WIDTH: usize = 400;

/// The last messages in both directions, each with its time since the connection began.
pub struct Transcript {
    begun: Instant,
    lines: VecDeque<String>,
    dropped: usize,
}

impl Transcript {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            lines: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Notes one message; `arrow` says which way it went.
    pub fn note(&mut self, arrow: &str, message: &[u8]) {
        let shown = String::from_utf8_lossy(&message[..message.len().min(WIDTH)]);
        let rest = match message.len().checked_sub(WIDTH) {
            Some(more) if more > 0 => format!(" ... ({more} bytes more)"),
            _ => String::new(),
        };
        let at = self.begun.elapsed().as_secs_f64();
        self.lines
            .push_back(format!("{at:9.4} {arrow} {}{rest}", shown.trim_end()));
        if self.lines.len() > LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
    }

    /// Writes everything to the test's captured output.
    pub fn print(&self) {
        eprintln!(
            "--- transcript ({} earlier messages not kept) ---",
            self.dropped
        );
        for line in &self.lines {
            eprintln!("{line}");
        }
        eprintln!("--- end of transcript ---");
    }
}

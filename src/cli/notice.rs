//! What a command says on standard error besides what it was asked for.

use std::fmt;
use std::io::Write;

use crate::sys::terminal;
use crate::visible::Visible;

/// Bytes of one notice that are shown at most: a remote may have put more into it.
const LONGEST: usize = 8 * 1024;

/// Who speaks, such as `exec-server run`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker(pub(super) &'static str);

impl Speaker {
    /// Says it: the first line behind the speaker's name, others below it as hints. What a remote
    /// has put into it cannot steer the terminal, or pass for a line of ours.
    pub(super) fn say(self, what: impl fmt::Display) {
        let mut what = what.to_string();
        if what.len() > LONGEST {
            what.truncate(what.floor_char_boundary(LONGEST));
            what.push('\u{2026}');
        }
        let end = if terminal::is_raw() { "\r\n" } else { "\n" };
        let mut lines = what.split('\n');
        let first = Visible(lines.next().unwrap_or_default());
        let mut text = format!("{}: {first}{end}", self.0);
        for line in lines.filter(|line| !line.trim().is_empty()) {
            text.push_str(&format!("  {}{end}", Visible(line.trim_start())));
        }
        // There is nobody to tell when standard error is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

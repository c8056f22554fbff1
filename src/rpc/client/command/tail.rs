//! The last of what a command says on standard error.

use std::collections::VecDeque;

use crate::log;

/// What is kept of standard error: lines and bytes.
const TAIL: (usize, usize) = (20, 4096);

/// The last lines of a text without end.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) lines: VecDeque<String>,
    bytes: usize,
    unfinished: Vec<u8>,
}

impl Tail {
    pub(super) fn push(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = TAIL.1.saturating_sub(self.unfinished.len());
            self.unfinished
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.finish();
            }
        }
    }

    /// Ends the line that has been begun.
    pub(super) fn finish(&mut self) {
        let line = std::mem::take(&mut self.unfinished);
        let line = String::from_utf8_lossy(&line);
        let line: String = line
            .trim_end()
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        if line.is_empty() {
            return;
        }
        log::debug!("exec-server stdio stderr: {line}");
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > TAIL.0 || (self.bytes > TAIL.1 && self.lines.len() > 1) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_however_long_they_are() {
        let mut tail = Tail::default();
        for number in 0..100 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        tail.push(b"\x1b[31mred\r\n\nunfi");
        tail.push(b"nished");
        tail.finish();
        assert_eq!(tail.lines.len(), TAIL.0);
        let last: Vec<_> = tail.lines.iter().skip(TAIL.0 - 2).collect();
        assert_eq!(last, ["[31mred", "unfinished"]);
        for _ in 0..3 {
            tail.push(&[b'x'; 10_000]);
            tail.push(b"\n");
        }
        assert_eq!(tail.lines.len(), 1);
        assert_eq!((tail.bytes, tail.unfinished.len()), (TAIL.1, 0));
    }
}

//! Text of others on a terminal: what could steer it is shown instead of obeyed.

use std::fmt::{self, Write};

/// Whether a character could steer a terminal, forge a line or reorder it.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows a text with such characters as escapes.
#[derive(Clone, Copy, Debug)]
pub struct Visible<T>(pub T);

impl<T: fmt::Display> fmt::Display for Visible<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if steers(c) {
                write!(self.0, "{}", c.escape_unicode())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown_and_the_rest_is_left_alone() {
        let text = "a\x1b[2Jb\r\n\u{9b}\u{202e}\u{fc} \u{4e2d}";
        assert_eq!(
            Visible(text).to_string(),
            "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9b}\\u{202e}\u{fc} \u{4e2d}"
        );
    }
}

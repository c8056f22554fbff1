//! `~.`: how to leave when the other side does not answer.

/// What was typed on a terminal, on its way to the other side.
#[derive(Debug)]
pub(super) struct Escape {
    place: Place,
}

/// Where in a line the next character is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind a tilde at the start, which is held back until it is clear what it means.
    Tilde,
    Inside,
}

/// What came of a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// To be passed on.
    Text(Vec<u8>),
    /// To leave, now.
    Leave,
}

impl Escape {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Start,
        }
    }

    /// Takes what was typed.
    pub(super) fn take(&mut self, typed: &[u8]) -> Typed {
        let mut text = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.place, byte) {
                (Place::Tilde, b'.') => return Typed::Leave,
                (Place::Start, b'~') => {
                    self.place = Place::Tilde;
                    continue;
                }
                // The second of two is the one that is meant.
                (Place::Tilde, b'~') => {}
                (Place::Tilde, _) => text.push(b'~'),
                (Place::Start | Place::Inside, _) => {}
            }
            text.push(byte);
            self.place = match byte {
                b'\r' | b'\n' => Place::Start,
                _ => Place::Inside,
            };
        }
        Typed::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> Option<String> {
        let mut escape = Escape::new();
        let mut text = Vec::new();
        for piece in pieces {
            match escape.take(piece.as_bytes()) {
                Typed::Text(more) => text.extend(more),
                Typed::Leave => return None,
            }
        }
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_tilde_and_a_dot_at_the_start_of_a_line_leave() {
        for pieces in [&["~."][..], &["~", "."], &["ls\r~."], &["a\n", "~", ".b"]] {
            assert_eq!(typed(pieces), None, "{pieces:?}");
        }
    }

    #[test]
    fn everything_else_is_passed_on() {
        for (pieces, text) in [
            (&["ls ~.\r"][..], "ls ~.\r"),
            (&["~~.\r"], "~.\r"),
            (&["~", "a"], "~a"),
            (&["~\r~~"], "~\r~"),
            (&["x~", "."], "x~."),
        ] {
            assert_eq!(typed(pieces).as_deref(), Some(text), "{pieces:?}");
        }
    }
}

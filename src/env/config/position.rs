//! Where in a file something stands, and where an environment comes from.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub path: PathBuf,
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        write!(f, "{}:{line}:{column}", path.display())
    }
}

/// Where an environment was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(Position),
    /// In this environment variable.
    Variable(&'static str),
    /// Nowhere: it is this machine.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(position) => position.fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::BuiltIn => f.write_str("built in"),
        }
    }
}

/// A file whose bytes are known by their offsets.
pub(super) struct Lines<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let before = &self.bytes[..offset.min(self.bytes.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        Position {
            path: self.path.to_owned(),
            line: 1 + memchr::memchr_iter(b'\n', before).count(),
            column: 1 + String::from_utf8_lossy(&before[line_start..])
                .chars()
                .count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let lines = Lines::new(Path::new("/p"), "a\nüb\n\nc".as_bytes());
        let place = |offset| lines.position(offset).to_string();
        assert_eq!(place(0), "/p:1:1");
        assert_eq!(place(1), "/p:1:2");
        assert_eq!(place(2), "/p:2:1");
        assert_eq!(place(4), "/p:2:2");
        assert_eq!(place(6), "/p:3:1");
        assert_eq!(place(7), "/p:4:1");
        assert_eq!(place(99), "/p:4:2");
    }
}

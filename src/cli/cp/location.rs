//! `ENV:PATH`: where a file is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What stands on the command line for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A path of this machine.
    Local(OsString),
    /// A path in an environment; without a name the one of `-e`, or the default.
    Environment {
        name: Option<OsString>,
        path: OsString,
    },
}

impl Location {
    /// Reads it: what has a colon before any slash names an environment.
    pub(super) fn parse(word: &OsStr) -> Self {
        let bytes = word.as_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':');
        match colon {
            Some(colon) if !bytes[..colon].contains(&b'/') => {
                let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                Self::Environment {
                    name: (colon > 0).then(|| part(&bytes[..colon])),
                    path: part(&bytes[colon + 1..]),
                }
            }
            _ => Self::Local(word.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_names_an_environment() {
        let there = |name: Option<&str>, path: &str| Location::Environment {
            name: name.map(OsString::from),
            path: path.into(),
        };
        for (word, place) in [
            ("dev:/a/b", there(Some("dev"), "/a/b")),
            ("dev:a:b", there(Some("dev"), "a:b")),
            ("dev:", there(Some("dev"), "")),
            (":x", there(None, "x")),
            ("./a:b", Location::Local("./a:b".into())),
            ("/a:b", Location::Local("/a:b".into())),
            ("a", Location::Local("a".into())),
            ("", Location::Local("".into())),
        ] {
            assert_eq!(Location::parse(OsStr::new(word)), place, "{word}");
        }
    }
}

//! Whether a command failed because of its sandbox.
//!
//! Facts first: a signal that only the filter of system calls sends, or a refusal that a program reports about a path
//! where the policy says the same. Only then the guess from words that the reference makes, so that a client sees at least
//! what it is used to, and that it is a guess.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::rpc::error::DenyingRule;
use crate::rpc::path_uri::{PathStyle, resolve_dots};

/// Bytes of output that are looked at, the last ones: an error is said at the end.
const TAIL: usize = 16 * 1024;
/// The exit code of a program that the filter of system calls has killed.
const KILLED_BY_FILTER: i32 = 128 + libc::SIGSYS;
/// What the reference takes for a denial, in lower case.
const WORDS: [&str; 7] = [
    "operation not permitted",
    "permission denied",
    "read-only file system",
    "seccomp",
    "sandbox",
    "landlock",
    "failed to write file",
];

/// The last of a command's output.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// Takes what a command has written, from any of its streams.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        if self.0.len() + bytes.len() > 2 * TAIL {
            let excess = self.0.len().saturating_sub(TAIL - bytes.len().min(TAIL));
            self.0.drain(..excess);
        }
        self.0.extend_from_slice(bytes);
    }

    /// What has been kept.
    pub fn bytes(&self) -> &[u8] {
        &self.0[self.0.len().saturating_sub(TAIL)..]
    }
}

/// What the system said no with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Refusal {
    /// Read-only file system.
    Erofs,
    /// Permission denied.
    Eacces,
    /// Operation not permitted.
    Eperm,
}

const REFUSALS: [(&str, Refusal); 3] = [
    ("read-only file system", Refusal::Erofs),
    ("permission denied", Refusal::Eacces),
    ("operation not permitted", Refusal::Eperm),
];

/// Why a command is taken to have been denied something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The filter of system calls killed it.
    Syscall,
    /// It was refused a path that the policy does not permit.
    Path {
        /// The path, absolute.
        path: PathBuf,
        /// What the system said.
        errno: Refusal,
        /// The rule for which it did, with a path as the system writes it.
        rule: DenyingRule,
    },
    /// A guess: this is in its output.
    Text(&'static str),
}

/// A denial as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DenialData {
    /// `syscall`, `path` or `text`; only the last is a guess.
    pub kind: &'static str,
    /// The path that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the system said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<Refusal>,
    /// The rule for which it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<DenyingRule>,
    /// The words that the guess is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'static str>,
}

impl Denial {
    /// For the wire.
    pub fn data(&self) -> DenialData {
        let mut data = DenialData {
            kind: "syscall",
            path: None,
            errno: None,
            rule: None,
            text: None,
        };
        match self {
            Self::Syscall => {}
            Self::Path { path, errno, rule } => {
                data.kind = "path";
                data.path = Some(PathStyle::Native.render(path));
                data.errno = Some(*errno);
                data.rule = Some(rule.clone());
            }
            Self::Text(text) => {
                data.kind = "text";
                data.text = Some(text);
            }
        }
        data
    }
}

/// Judges a command that has run in a sandbox: by its exit code (128+n for a signal), the last of its output, and `rule_of`,
/// which gives the rule of the policy for which a path can have been refused so. Relative paths in the output are taken
/// from `cwd`.
pub fn judge(
    exit_code: i32,
    output: &[u8],
    cwd: &Path,
    rule_of: impl Fn(&Path, Refusal) -> Option<DenyingRule>,
) -> Option<Denial> {
    if exit_code == 0 {
        return None;
    }
    if exit_code == KILLED_BY_FILTER {
        return Some(Denial::Syscall);
    }
    let lower = output.to_ascii_lowercase();
    refused_path(output, &lower, cwd, rule_of).or_else(|| {
        let contained = |word: &&str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
        WORDS.into_iter().find(contained).map(Denial::Text)
    })
}

/// The last refusal in the output that is about a path which the policy does not permit.
fn refused_path(
    output: &[u8],
    lower: &[u8],
    cwd: &Path,
    rule_of: impl Fn(&Path, Refusal) -> Option<DenyingRule>,
) -> Option<Denial> {
    let mut end = output.len();
    while end > 0 {
        let start = memchr::memrchr(b'\n', &output[..end]).map_or(0, |at| at + 1);
        for (text, errno) in REFUSALS {
            let Some(at) = memchr::memmem::find(&lower[start..end], text.as_bytes()) else {
                continue;
            };
            let (before, after) = output[start..end].split_at(at);
            let named = [named_last(before), named_first(&after[text.len()..])];
            let denial = named.into_iter().flatten().find_map(|name| {
                let path = absolute(name, cwd);
                let rule = rule_of(&path, errno)?;
                Some(Denial::Path { path, errno, rule })
            });
            if denial.is_some() {
                return denial;
            }
        }
        end = start.saturating_sub(1);
    }
    None
}

fn absolute(name: &[u8], cwd: &Path) -> PathBuf {
    let path = cwd.join(OsStr::from_bytes(name));
    resolve_dots(path.as_os_str().as_bytes())
}

/// The path right before a refusal: `cat: /x: `, `cannot touch '/x': `, `cannot create /x: `.
fn named_last(before: &[u8]) -> Option<&[u8]> {
    let text = before.trim_ascii_end().strip_suffix(b":")?;
    if let Some(quoted) = quoted_last(text) {
        return Some(quoted);
    }
    let text = match memchr::memmem::rfind(text, b": ") {
        Some(at) => &text[at + 2..],
        None => text,
    };
    // What some shells say of a redirection, with no quotes.
    let said = [&b"cannot create "[..], b"cannot open "];
    let name = said.into_iter().find_map(|words| text.strip_prefix(words));
    let text = name.unwrap_or(text);
    // Of words before the path only a path that begins at the root can be told apart.
    let name = match memchr::memmem::find(text, b" /") {
        Some(at) => &text[at + 1..],
        None => text,
    };
    (!name.is_empty()).then_some(name)
}

/// The path right after a refusal: `: '/x'`.
fn named_first(after: &[u8]) -> Option<&[u8]> {
    let text = after.strip_prefix(b": ")?.trim_ascii_end();
    let name = quoted_last(text).unwrap_or(text);
    (!name.is_empty()).then_some(name)
}

/// What is between the quotes that end a text.
fn quoted_last(text: &[u8]) -> Option<&[u8]> {
    let quotes: [(&[u8], &[u8]); 4] = [
        (b"'", b"'"),
        (b"\"", b"\""),
        (b"`", b"'"),
        ("\u{2018}".as_bytes(), "\u{2019}".as_bytes()),
    ];
    quotes.into_iter().find_map(|(open, close)| {
        let inside = text.strip_suffix(close)?;
        let at = memchr::memmem::rfind(inside, open)?;
        Some(&inside[at + open.len()..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str) -> DenyingRule {
        DenyingRule {
            path: Some(path.into()),
            ..DenyingRule::default()
        }
    }

    /// `/proj` may be written but for its `.git`, `/secret` not be read.
    fn rule_of(path: &Path, errno: Refusal) -> Option<DenyingRule> {
        for (root, denies) in [
            ("/proj/.git", errno == Refusal::Erofs),
            ("/proj", false),
            ("/secret", true),
        ] {
            if path.starts_with(root) {
                return denies.then(|| rule(root));
            }
        }
        (errno == Refusal::Erofs).then(|| rule("/"))
    }

    fn judged(exit_code: i32, output: &str) -> Option<Denial> {
        judge(exit_code, output.as_bytes(), Path::new("/proj"), rule_of)
    }

    fn path(path: &str, errno: Refusal) -> Option<Denial> {
        let path = PathBuf::from(path);
        let rule = rule_of(&path, errno).unwrap();
        Some(Denial::Path { path, errno, rule })
    }

    #[test]
    fn a_refused_path_is_found_in_what_programs_say() {
        let cases = [
            (
                "touch: cannot touch '/etc/x': Read-only file system\n",
                "/etc/x",
            ),
            (
                "touch: cannot touch \u{2018}/a b\u{2019}: Read-only file system\n",
                "/a b",
            ),
            (
                "sh: 1: cannot create /etc/x: Read-only file system",
                "/etc/x",
            ),
            (
                "sh: 1: cannot create .git/x: Read-only file system\n",
                "/proj/.git/x",
            ),
            (
                "bash: line 1: .git/x: Read-only file system\r\n",
                "/proj/.git/x",
            ),
            ("bash: /proj/../etc/x: Read-only file system\n", "/etc/x"),
            (
                "OSError: [Errno 30] Read-only file system: '/etc/x'\n",
                "/etc/x",
            ),
            (
                "error: \"/etc/x\": read-only file system\nand more\n",
                "/etc/x",
            ),
        ];
        for (output, expected) in cases {
            assert_eq!(
                judged(1, output),
                path(expected, Refusal::Erofs),
                "{output}"
            );
        }
        let output = "cat: /secret/key: Permission denied\n";
        assert_eq!(judged(1, output), path("/secret/key", Refusal::Eacces));
    }

    #[test]
    fn what_the_policy_permits_is_only_a_guess() {
        for output in [
            "cat: /proj/x: Permission denied\n",
            "cat: /etc/shadow: Permission denied\n",
            "Permission denied",
        ] {
            let guess = Some(Denial::Text("permission denied"));
            assert_eq!(judged(1, output), guess, "{output}");
        }
        assert_eq!(judged(9, "in a Sandbox"), Some(Denial::Text("sandbox")));
    }

    #[test]
    fn the_exit_code_counts() {
        let output = "touch: cannot touch '/etc/x': Read-only file system\n";
        assert_eq!(judged(0, output), None);
        assert_eq!(judged(159, ""), Some(Denial::Syscall));
        for code in [1, 2, 7, 126, 127, 137] {
            assert_eq!(judged(code, "nothing of interest"), None);
        }
    }

    #[test]
    fn data_says_what_kind_of_denial_it_is() {
        let text = |denial: Denial| serde_json::to_string(&denial.data()).unwrap();
        let path = path("/a b", Refusal::Erofs).unwrap();
        assert_eq!(
            text(path),
            r#"{"kind":"path","path":"/a b","errno":"EROFS","rule":{"path":"/","access":"","origin":""}}"#
        );
        assert_eq!(text(Denial::Syscall), r#"{"kind":"syscall"}"#);
        assert_eq!(
            text(Denial::Text("seccomp")),
            r#"{"kind":"text","text":"seccomp"}"#
        );
    }

    #[test]
    fn a_tail_is_bounded_and_keeps_the_end() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        assert!(tail.bytes().len() <= TAIL && tail.0.capacity() <= 8 * TAIL);
        assert!(tail.bytes().ends_with(b"line 9999\n"));
        tail.push(&vec![b'x'; 10 * TAIL]);
        tail.push(b"end");
        assert!(tail.bytes().len() == TAIL && tail.bytes().ends_with(b"xend"));
    }
}

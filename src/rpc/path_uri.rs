//! Paths as they travel on the wire.
//!
//! One generation of clients writes native absolute paths, the next writes `file:` URIs. Both are
//! taken everywhere; a text that starts with `/` is native, anything else is a URI. `.`, `..` and
//! doubled slashes are resolved by text alone in both styles, before any symbolic link is followed,
//! because that is what clients of either generation were written against.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::net::url::{decode_host, percent_decode};

/// How a client writes its paths, and so how it wants them written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// `/tmp/a b`
    Native,
    /// `file:///tmp/a%20b`
    Uri,
}

impl PathStyle {
    /// Writes an absolute path in this style. A name that is not UTF-8 has no native form in JSON,
    /// so it is written as a URI, which every method here takes back.
    pub fn render(self, path: &Path) -> String {
        match (self, path.to_str()) {
            (PathStyle::Native, Some(text)) => text.to_owned(),
            _ => to_uri(path),
        }
    }
}

/// A path that a client sent: absolute, without `.`, `..`, empty components or NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WirePath {
    /// The path on this machine.
    pub path: PathBuf,
    /// The form it came in.
    pub style: PathStyle,
}

/// The longest text that is read as a path, in bytes. The kernel takes paths up to 4,095 bytes; with
/// every byte encoded, and some `..` between, there is room for one here.
pub const MAX_TEXT: usize = 64 * 1024;

impl WirePath {
    /// Reads a path in either style.
    ///
    /// # Errors
    /// The text is neither an absolute path nor a `file:` URI of this machine, or too long.
    pub fn parse(text: &str) -> Result<WirePath, PathError> {
        if text.len() > MAX_TEXT {
            return Err(PathError::Long(text.len()));
        }
        if !text.starts_with('/') {
            return parse_uri(text);
        }
        if text.contains('\0') {
            return Err(PathError::Nul {
                uri: to_uri(Path::new(text)),
            });
        }
        Ok(WirePath {
            path: resolve_dots(text.as_bytes()),
            style: PathStyle::Native,
        })
    }
}

/// Why a text is no path of this machine. `Display` is the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// So many bytes, more than [`MAX_TEXT`].
    Long(usize),
    /// Neither absolute nor a URI.
    Relative,
    /// The host part of the URI is no host name; the field says what is wrong with it.
    Host(&'static str),
    /// A URI of another scheme.
    Scheme(String),
    /// `?...` behind the path.
    Query,
    /// `#...` behind the path.
    Fragment,
    /// The path contains a NUL byte.
    Nul {
        /// The path as a URI.
        uri: String,
    },
    /// A well-formed URI of another machine: a host or a drive letter.
    Foreign {
        /// The URI.
        uri: String,
    },
}

impl PathError {
    /// Whether the answer is "invalid params" (-32602); otherwise it is "invalid request" (-32600).
    pub fn is_invalid_params(&self) -> bool {
        !matches!(self, PathError::Foreign { .. })
    }

    /// The message when the path is the `cwd` of `process/start`, where every case is -32602.
    pub fn cwd_message(&self) -> String {
        match self {
            PathError::Foreign { uri } => {
                format!("cwd URI `{uri}` is not valid on this exec-server host: {self}")
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Long(len) => {
                write!(f, "a path has {len} bytes, more than {MAX_TEXT}")
            }
            PathError::Relative => f.write_str("invalid URI: relative URL without a base"),
            PathError::Host(fault) => write!(f, "invalid URI: {fault}"),
            PathError::Scheme(scheme) => write!(f, "unsupported path URI scheme `{scheme}`"),
            PathError::Query => f.write_str("query parameters are not allowed in path URIs"),
            PathError::Fragment => f.write_str("fragments are not allowed in path URIs"),
            PathError::Nul { uri } | PathError::Foreign { uri } => {
                write!(f, "'{uri}' is invalid on '{}'", std::env::consts::OS)
            }
        }
    }
}

impl std::error::Error for PathError {}

/// Writes an absolute path as a `file:` URI; bytes that a URI path cannot hold become `%XX`.
pub fn to_uri(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let mut uri = String::with_capacity("file://".len() + bytes.len() + 8);
    uri.push_str("file://");
    uri.extend(percent_encode(bytes, ENCODED));
    uri
}

/// Appends a name, or a path, as [`to_uri`] writes it behind `file://`. It needs no escapes in JSON.
pub fn push_uri_path(out: &mut Vec<u8>, path: &[u8]) {
    for piece in percent_encode(path, ENCODED) {
        out.extend_from_slice(piece.as_bytes());
    }
}

fn parse_uri(text: &str) -> Result<WirePath, PathError> {
    // A URI parser drops blanks around the text, and tabs and line ends anywhere in it.
    let mut text = text.trim_matches(|c: char| c <= ' ').to_owned();
    text.retain(|c| !matches!(c, '\t' | '\n' | '\r'));

    let (scheme, rest) = text.split_once(':').ok_or(PathError::Relative)?;
    if !is_scheme(scheme) {
        return Err(PathError::Relative);
    }
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(PathError::Scheme(scheme.to_ascii_lowercase()));
    }

    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (location, tail) = rest.split_at(end);
    let location = location.replace('\\', "/");
    let (host, path) = split_host(&location);
    let mut host = decode_host(host).map_err(PathError::Host)?;
    if host == "localhost" {
        host.clear();
    }
    match tail.as_bytes().first() {
        Some(b'?') => return Err(PathError::Query),
        Some(_) => return Err(PathError::Fragment),
        None => {}
    }

    let bytes = percent_decode(path);
    if bytes.contains(&0) {
        return Err(PathError::Nul {
            uri: spell_out(&host, path),
        });
    }
    let resolved = resolve_dots(&bytes);
    let has_drive = [&bytes[..], resolved.as_os_str().as_bytes()]
        .into_iter()
        .any(starts_with_drive);
    if !host.is_empty() || has_drive {
        return Err(PathError::Foreign {
            uri: spell_out(&host, path),
        });
    }
    Ok(WirePath {
        path: resolved,
        style: PathStyle::Uri,
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Splits `//host/path` (and `/path`, `path`, where there is no host).
fn split_host(location: &str) -> (&str, &str) {
    let Some(authority) = location.strip_prefix("//") else {
        return ("", location);
    };
    let (host, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
    if is_drive(host.as_bytes()) {
        ("", authority)
    } else {
        (host, path)
    }
}

fn is_drive(component: &[u8]) -> bool {
    matches!(component, [letter, b':'] if letter.is_ascii_alphabetic())
}

fn starts_with_drive(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/')
        .find(|component| !component.is_empty())
        .is_some_and(is_drive)
}

/// Makes an absolute path of the components, with `.` and `..` resolved by text alone.
pub(crate) fn resolve_dots(path: &[u8]) -> PathBuf {
    let mut resolved = Vec::with_capacity(path.len() + 1);
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = resolved.iter().rposition(|&byte| byte == b'/');
                resolved.truncate(parent.unwrap_or(0));
            }
            name => {
                resolved.push(b'/');
                resolved.extend_from_slice(name);
            }
        }
    }
    if resolved.is_empty() {
        resolved.push(b'/');
    }
    PathBuf::from(OsString::from_vec(resolved))
}

/// The URI as error messages show it.
fn spell_out(host: &str, path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut uri = format!("file://{host}{slash}");
    uri.extend(percent_encode(path.as_bytes(), NO_URI));
    uri
}

/// What no path of a URI can have as it is, besides what is not ASCII.
const NO_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// The same, and what encodes it.
const ENCODED: &AsciiSet = &NO_URI.add(b'%');

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn both_styles_lead_to_the_same_clean_path() {
        let cases: &[(&str, &[u8])] = &[
            ("/", b"/"),
            ("/root", b"/root"),
            ("//root", b"/root"),
            ("/etc/passwd/", b"/etc/passwd"),
            ("/a/./b//c", b"/a/b/c"),
            ("/a/nope/../b", b"/a/b"),
            ("/../../a", b"/a"),
            ("/a/..", b"/"),
            ("/C:/x", b"/C:/x"),
            ("/a%20b\\c?#", b"/a%20b\\c?#"),
            ("file:///root", b"/root"),
            ("file:/root", b"/root"),
            ("file:root", b"/root"),
            ("FILE:///root", b"/root"),
            ("  file:///root \n", b"/root"),
            ("\u{1}fi\tle:///ro\not", b"/root"),
            ("file:\\\\\\root\\x", b"/root/x"),
            ("file://localhost/root", b"/root"),
            ("file://LOCALHOST/root", b"/root"),
            ("file://%6cocal\thost/root", b"/root"),
            ("file:", b"/"),
            ("file://", b"/"),
            ("file:////root//", b"/root"),
            ("file:////host/x", b"/host/x"),
            ("file:///root/%2E%2e/a/.%2e/%2e/b", b"/b"),
            ("file:///a/nope%2F../b%2f", b"/a/b"),
            ("file:///../../a", b"/a"),
            ("file:///C:foo", b"/C:foo"),
            ("file:///CC:/x", b"/CC:/x"),
            ("file:///a/C:/x", b"/a/C:/x"),
            ("file:///c|/x", b"/c|/x"),
            ("file:///d%7C/x", b"/d|/x"),
            ("file:///a%5Cb", b"/a\\b"),
            ("file:///%zz%4", b"/%zz%4"),
            ("file:///a%2520%FF%c3%bc", b"/a%20\xff\xc3\xbc"),
            ("file:///a b\"\u{fc}", b"/a b\"\xc3\xbc"),
        ];
        for (text, path) in cases {
            let parsed = WirePath::parse(text).map(|parsed| parsed.path);
            assert_eq!(
                parsed.as_deref(),
                Ok(Path::new(OsStr::from_bytes(path))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refusals_say_what_the_reference_says() {
        const RELATIVE: &str = "invalid URI: relative URL without a base";
        const NO_NAME: &str = "invalid URI: invalid international domain name";
        let cases: &[(&str, bool, &str)] = &[
            ("", true, RELATIVE),
            ("root", true, RELATIVE),
            (" /root", true, RELATIVE),
            ("./x", true, RELATIVE),
            ("~/x", true, RELATIVE),
            ("\\root", true, RELATIVE),
            ("1abc:def", true, RELATIVE),
            ("://x", true, RELATIVE),
            ("\u{e9}:x", true, RELATIVE),
            ("HTTP://x?q", true, "unsupported path URI scheme `http`"),
            ("C:\\x", true, "unsupported path URI scheme `c`"),
            ("file://localhost:80/x", true, NO_NAME),
            ("file://user@localhost/x", true, NO_NAME),
            ("file://a b/x", true, NO_NAME),
            ("file://exa%mple/x", true, NO_NAME),
            ("file://%ff/x", true, NO_NAME),
            ("file://[::1/x", true, "invalid URI: invalid IPv6 address"),
            (
                "file:///a?",
                true,
                "query parameters are not allowed in path URIs",
            ),
            (
                "file://h/%00?a#b",
                true,
                "query parameters are not allowed in path URIs",
            ),
            (
                "file:///a#b?c",
                true,
                "fragments are not allowed in path URIs",
            ),
            ("/ro\0ot", true, "'file:///ro%00ot' is invalid on 'linux'"),
            (
                "file:///ro\0ot",
                true,
                "'file:///ro%00ot' is invalid on 'linux'",
            ),
            (
                "file:///C:/%00",
                true,
                "'file:///C:/%00' is invalid on 'linux'",
            ),
            (
                "file://Host/x",
                false,
                "'file://host/x' is invalid on 'linux'",
            ),
            (
                "file://127.0.0.1/x",
                false,
                "'file://127.0.0.1/x' is invalid on 'linux'",
            ),
            (
                "file://[0::1]/x",
                false,
                "'file://[::1]/x' is invalid on 'linux'",
            ),
            (
                "file:/\\root",
                false,
                "'file://root/' is invalid on 'linux'",
            ),
            (
                "file:///C:/x",
                false,
                "'file:///C:/x' is invalid on 'linux'",
            ),
            ("file://C:/x", false, "'file:///C:/x' is invalid on 'linux'"),
            ("file:C:/x", false, "'file:///C:/x' is invalid on 'linux'"),
            (
                "file:///C:/../x",
                false,
                "'file:///C:/../x' is invalid on 'linux'",
            ),
            (
                "file:///D%3A/\u{fc}",
                false,
                "'file:///D%3A/%C3%BC' is invalid on 'linux'",
            ),
        ];
        for (text, invalid_params, message) in cases {
            let error = WirePath::parse(text).expect_err(text);
            assert_eq!(error.to_string(), *message, "{text:?}");
            assert_eq!(error.is_invalid_params(), *invalid_params, "{text:?}");
        }
    }

    #[test]
    fn a_foreign_cwd_names_the_member() {
        let error = WirePath::parse("file://host/x").unwrap_err();
        assert_eq!(
            error.cwd_message(),
            "cwd URI `file://host/x` is not valid on this exec-server host: \
             'file://host/x' is invalid on 'linux'"
        );
    }

    #[test]
    fn every_byte_survives_the_way_out_and_back() {
        for byte in (1..=255).filter(|&byte| byte != b'/') {
            let path = PathBuf::from(OsString::from_vec(vec![b'/', b'n', byte, b'n']));
            let uri = to_uri(&path);
            assert!(uri.is_ascii());
            assert_eq!(WirePath::parse(&uri).map(|parsed| parsed.path), Ok(path));
        }
    }

    #[test]
    fn encoding_matches_the_reference() {
        let plain = "/!$&'()*+,-.09:;=@AZ[]^_az|~";
        assert_eq!(to_uri(Path::new(plain)), format!("file://{plain}"));
        assert_eq!(
            to_uri(Path::new("/\u{1} \"#%<>?\\`{}\u{7f}\u{fc}")),
            "file:///%01%20%22%23%25%3C%3E%3F%5C%60%7B%7D%7F%C3%BC"
        );
    }

    #[test]
    fn answers_come_in_the_style_of_the_question() {
        let path = Path::new("/a b");
        assert_eq!(PathStyle::Native.render(path), "/a b");
        assert_eq!(PathStyle::Uri.render(path), "file:///a%20b");
        let odd = Path::new(OsStr::from_bytes(b"/\xff"));
        assert_eq!(PathStyle::Native.render(odd), "file:///%FF");
    }
}

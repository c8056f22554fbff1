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

use crate::net::url::{decode_host, percent_decode, push_encoded};

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

impl WirePath {
    /// Reads a path in either style.
    ///
    /// # Errors
    /// The text is neither an absolute path nor a `file:` URI of this machine.
    pub fn parse(text: &str) -> Result<WirePath, PathError> {
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
    push_encoded(&mut uri, bytes, |byte| must_encode(byte) || byte == b'%');
    uri
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
    if !host.is_empty() || starts_with_drive(&bytes) {
        return Err(PathError::Foreign {
            uri: spell_out(&host, path),
        });
    }
    Ok(WirePath {
        path: resolve_dots(&bytes),
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
    push_encoded(&mut uri, path.as_bytes(), must_encode);
    uri
}

fn must_encode(byte: u8) -> bool {
    !(b'!'..=b'~').contains(&byte) || b"\"#<>?\\`{}".contains(&byte)
}

#[cfg(test)]
mod tests;

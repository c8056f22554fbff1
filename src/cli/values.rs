//! Texts of the command line as values. An error says what is wrong with the text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match parsed(text)? {
        0 => Err("must be at least 1".to_owned()),
        count => Ok(count),
    }
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = if let Some(digits) = lower.strip_suffix('k') {
        (digits, 1 << 10)
    } else if let Some(digits) = lower.strip_suffix('m') {
        (digits, 1 << 20)
    } else {
        (&lower[..], 1)
    };
    count(digits)?
        .checked_mul(unit)
        .ok_or_else(|| "number too large".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    // `f64` would also take `inf`, `1e3` and signs.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("expected seconds, such as 90 or 0.5".to_owned());
    }
    Duration::try_from_secs_f64(parsed(text)?).map_err(|error| error.to_string())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("expected the path of a file".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', ' '])
    });
    if is_origin || text == "null" {
        Ok(text.to_owned())
    } else {
        Err("expected SCHEME://HOST[:PORT] as browsers send it, with no path".to_owned())
    }
}

pub(super) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '*', '@', ' ']) {
        Err("expected a host name, with or without :PORT".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

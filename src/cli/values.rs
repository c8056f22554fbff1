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

/// Seconds, or a number with one of the units `ms`, `s`, `m` and `h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "expected a time, such as 10, 1.5s, 500ms, 5m or 2h".to_owned();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = seconds(&text[..text.len() - unit.len()]).map_err(|_| fault())?;
    match unit {
        "ms" => Ok(number / 1000),
        "" | "s" => Ok(number),
        "m" => number.checked_mul(60).ok_or_else(fault),
        "h" => number.checked_mul(3600).ok_or_else(fault),
        _ => Err(fault()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("10", 10_000),
            ("0.5", 500),
            ("1.5s", 1500),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "1d",
            "1 s",
            "1e3",
            "inf",
            "99999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

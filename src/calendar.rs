//! Points in time as text, in the two forms that files and headers have.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as none.
    since.map_or(0, |since| since.as_secs() as i64)
}

/// As `2026-11-25T14:01:55Z`.
pub fn rfc3339(time: i64) -> String {
    let (year, month, day) = date_of(time.div_euclid(DAY));
    let second = time.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Reads RFC 3339; a fraction of a second falls off.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let days = days_to(date.next()??, date.next()??, date.next()??)?;
    let (time, rest) = rest.split_at_checked(8)?;
    let after_fraction = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match after_fraction.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        ("+", offset) => clock(&format!("{offset}:00"))?,
        ("-", offset) => -clock(&format!("{offset}:00"))?,
        _ => return None,
    };
    Some(days * DAY + clock(time)? - offset)
}

/// Reads the date of an HTTP header, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = digits(words.next()?)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year = digits(words.next()?)?;
    let time = clock(words.next()?)?;
    let is_whole = words.next() == Some("GMT") && words.next().is_none();
    is_whole.then_some(days_to(year, month, day)? * DAY + time)
}

/// Seconds of `HH:MM:SS`.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    is_time.then_some((hour * 60 + minute) * 60 + second)
}

fn digits(text: &str) -> Option<i64> {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 4;
    text.parse().ok().filter(|_| are_digits)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. A year that begins in March has its
/// leap day at its end, so months have a formula.
fn days_to(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
            - 719_468,
    )
}

/// The opposite: year, month and day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let time = day * DAY + day % DAY;
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        }
    }

    #[test]
    fn known_times_are_right() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-25T14:01:55.123456789Z", 1_795_615_315),
            ("2026-11-25t14:01:55z", 1_795_615_315),
            ("2026-11-25T15:31:55+01:30", 1_795_615_315),
            ("2026-11-25T12:01:55-02:00", 1_795_615_315),
        ] {
            assert_eq!(parse_rfc3339(text), Some(time), "{text}");
        }
        let date = parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date, Some(784_111_777));
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2026",
            "2026-11-25",
            "2026-11-25T14:01:55",
            "2026-13-25T14:01:55Z",
            "2026-11-25T24:01:55Z",
            "2026-11-25T14:01:55Zx",
            "2026-11-25T14:01:55+0100",
            "20a6-11-25T14:01:55Z",
            "2026-11-25T\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
            assert_eq!(parse_http_date(text), None, "{text}");
        }
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 CET"), None);
    }
}

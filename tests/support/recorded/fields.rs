//! Messages taken apart into fields that can be compared one by one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::decode;

/// Pointers into an exchange, each with what is there.
pub type Fields = BTreeMap<String, String>;

/// Makes equal what is another on every run.
pub fn equalize(value: &mut Value) {
    match value {
        Value::Object(object) => {
            // The facts of a machine: their names and types count.
            let facts = object.contains_key("executorVersion");
            if object.get("name").is_some_and(|name| name == "date") {
                object.insert("value".into(), "a date".into());
            }
            // How large a directory is depends on its file system.
            let is_directory = object.get("isDirectory") == Some(&Value::Bool(true));
            for (name, member) in object.iter_mut() {
                match name.as_str() {
                    "sessionId" => *member = "a session id".into(),
                    "message" => *member = without_address(member.as_str().unwrap()).into(),
                    "chunk" => {
                        *member = String::from_utf8(decode(member.as_str().unwrap()))
                            .unwrap()
                            .into()
                    }
                    "modifiedAtMs" => kinds(member),
                    // 0 means that it is not known.
                    "createdAtMs" if *member != 0 => kinds(member),
                    "size" if is_directory => kinds(member),
                    _ if facts => kinds(member),
                    _ => equalize(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(equalize),
        _ => {}
    }
}

/// Replaces values by their types.
pub fn kinds(value: &mut Value) {
    *value = match value {
        Value::Object(object) => {
            object.values_mut().for_each(kinds);
            return;
        }
        Value::Array(_) => json!("array"),
        Value::String(_) => json!("string"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::Null => json!("null"),
    };
}

/// An error text without the port of the client that it names.
fn without_address(text: &str) -> String {
    match text.split_once("websocket 127.0.0.1:") {
        Some((before, after)) => {
            format!(
                "{before}websocket ADDRESS{}",
                after.trim_start_matches(|digit: char| digit.is_ascii_digit())
            )
        }
        None => text.to_string(),
    }
}

/// Takes a value apart into its leaves, each by its pointer below `at`.
pub fn flatten(at: String, value: &Value, into: &mut Fields) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                flatten(format!("{at}/{name}"), member, into);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (number, item) in items.iter().enumerate() {
                flatten(format!("{at}/{number}"), item, into);
            }
        }
        leaf => {
            into.insert(at, leaf.to_string());
        }
    }
}

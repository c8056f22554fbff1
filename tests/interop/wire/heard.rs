//! Everything heard on a connection as fields that can be compared.
//!
//! Where a client may not rely on an order or on how output is cut, that is made equal: each stream of a process is one
//! text, and its exit and its close stand for themselves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::Case;
use support::recorded::fields::{Fields, equalize, flatten, kinds};
use support::{decode, encode};

/// What the fixture sets as the time of most things in it.
const FIXED_MS: u64 = 1_700_000_000_000;

/// The bytes of a chunk.
pub fn bytes(chunk: &Value) -> Vec<u8> {
    decode(chunk.as_str().unwrap_or_default())
}

/// Adds what was heard to the fields; `when` goes in front of every name.
pub fn told(heard: &[Value], when: &str, case: &Case, fields: &mut Fields) {
    let mut streams: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for message in heard {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("process/output") => {
                let stream = format!(
                    "/{when}{} {}",
                    text(&params["processId"]),
                    text(&params["stream"])
                );
                streams
                    .entry(stream)
                    .or_default()
                    .extend(bytes(&params["chunk"]));
            }
            Some("http/request/bodyDelta") => {
                let stream = format!("/{when}{} body", text(&params["requestId"]));
                streams
                    .entry(stream)
                    .or_default()
                    .extend(bytes(&params["deltaBase64"]));
                if params["done"] == true {
                    flatten(
                        format!("/{when}{} done", text(&params["requestId"])),
                        &params["error"],
                        fields,
                    );
                }
            }
            Some(method) => {
                let event = method.rsplit('/').next().unwrap_or(method);
                let mut message = message.clone();
                // How many came before is not the same when output is cut otherwise.
                if let Some(params) = message["params"].as_object_mut() {
                    params.remove("seq");
                }
                flatten(
                    format!("/{when}{} {event}", text(&params["processId"])),
                    &message,
                    fields,
                );
            }
            None => {
                let mut message = message.clone();
                level(&mut message);
                if case.facts
                    && let Some(result) = message.get_mut("result")
                {
                    kinds(result);
                }
                let mut at = format!("/{when}answer {}", message["id"]);
                while fields
                    .keys()
                    .any(|field| field.starts_with(&format!("{at}/")))
                {
                    at += " again";
                }
                flatten(at, &message, fields);
            }
        }
    }
    for (stream, bytes) in streams {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        fields.insert(stream, text);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Makes equal what differs from run to run in an answer.
fn level(message: &mut Value) {
    if let Some(chunks) = message
        .pointer_mut("/result/chunks")
        .and_then(Value::as_array_mut)
    {
        // Neighbours of one stream are one.
        let mut joined: Vec<Value> = Vec::new();
        for chunk in chunks.drain(..) {
            match joined.last_mut() {
                Some(last) if last["stream"] == chunk["stream"] => {
                    let both = [bytes(&last["chunk"]), bytes(&chunk["chunk"])].concat();
                    last["chunk"] = encode(&both).into();
                }
                _ => joined.push(chunk),
            }
        }
        // Numbers count pieces, and how output is cut is not promised.
        for (number, chunk) in joined.iter_mut().enumerate() {
            chunk["seq"] = (number + 1).into();
        }
        *chunks = joined;
    }
    // A directory has no order of its own, and ours lists more: each entry is compared with its own.
    for list in ["/result/entries", "/result/others"] {
        if let Some(entries) = message.pointer_mut(list) {
            let own = entries
                .as_array_mut()
                .map(std::mem::take)
                .unwrap_or_default();
            let named = own.into_iter().map(|entry| {
                let name = entry
                    .get("fileName")
                    .or(entry.get("path"))
                    .unwrap_or(&Value::Null);
                let name = text(name)
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_string();
                (name, entry)
            });
            *entries = Value::Object(named.collect());
        }
    }
    // Other times are those of the run.
    if let Some(at) = message.pointer_mut("/result/modifiedAtMs")
        && *at == FIXED_MS
    {
        *at = "as the fixture set it".into();
    }
    equalize(message);
}

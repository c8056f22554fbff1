//! Confinement, as an attacker and as its users meet it.

mod compared;
mod denials;
mod doctor;
mod escapes;
mod examples;
mod files;
mod hanging;
mod helper;
mod inventory;
mod journal;
mod ladder;
mod level;
mod patterns;
mod places;
mod proc;
mod profiles;
mod start;
mod terminal;
mod upstream;
mod waivers;

use serde_json::{Value, json};

/// Everything may be read, nothing written, no network.
pub(crate) fn read_only() -> Value {
    restricted(&[special("root", "read")])
}

/// The same, but that a directory may be written, with its metadata protected.
fn workspace(directory: &str) -> Value {
    restricted(&[special("root", "read"), entry(directory, "write")])
}

/// A policy of these entries.
fn restricted(entries: &[Value]) -> Value {
    json!({
        "permissions": {
            "type": "managed",
            "file_system": {"type": "restricted", "entries": entries},
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
    })
}

fn entry(path: &str, access: &str) -> Value {
    json!({"path": {"type": "path", "path": path}, "access": access})
}

fn special(kind: &str, access: &str) -> Value {
    json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access})
}

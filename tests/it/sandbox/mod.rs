//! Confinement, as an attacker and as its users meet it.

mod doctor;
mod escapes;
mod examples;
mod files;
mod hanging;
mod helper;
mod journal;
mod ladder;
mod level;
mod places;
mod proc;
mod start;
mod terminal;
mod upstream;

use serde_json::{Value, json};

/// Everything may be read, nothing written, no network.
fn read_only() -> Value {
    json!({
        "permissions": {
            "type": "managed",
            "file_system": {"type": "restricted", "entries": [
                {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
            ]},
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
    })
}

/// The same, but that a directory may be written, with its metadata protected.
fn workspace(directory: &str) -> Value {
    let mut policy = read_only();
    let entry = json!({"path": {"type": "path", "path": directory}, "access": "write"});
    let entries = policy["permissions"]["file_system"]["entries"].as_array_mut();
    entries.unwrap().push(entry);
    policy
}

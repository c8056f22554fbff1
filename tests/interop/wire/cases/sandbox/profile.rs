//! Profiles of permissions, and the `sandbox` of a request made of one.

use serde_json::{Value, json};

/// Entries, and whether the network is on.
pub struct Profile {
    pub entries: Vec<Value>,
    pub network: &'static str,
}

pub fn profile(entries: impl IntoIterator<Item = Value>) -> Profile {
    Profile {
        entries: entries.into_iter().collect(),
        network: "restricted",
    }
}

pub fn entry(path: Value, access: &str) -> Value {
    json!({"path": path, "access": access})
}

pub fn special(kind: &str, access: &str) -> Value {
    entry(json!({"type": "special", "value": {"kind": kind}}), access)
}

pub fn project(subpath: &str, access: &str) -> Value {
    let value = json!({"kind": "project_roots", "subpath": subpath});
    entry(json!({"type": "special", "value": value}), access)
}

pub fn at(path: &str, access: &str) -> Value {
    entry(json!({"type": "path", "path": path}), access)
}

pub fn glob(pattern: &str) -> Value {
    entry(json!({"type": "glob_pattern", "pattern": pattern}), "none")
}

pub fn read_only() -> Profile {
    profile([special("root", "read")])
}

/// What the real client sends for a workspace.
pub fn workspace() -> Profile {
    profile([
        special("root", "read"),
        special("project_roots", "write"),
        special("slash_tmp", "write"),
        special("tmpdir", "write"),
        project(".git", "read"),
        project(".codex", "read"),
        project(".agents", "read"),
    ])
}

/// Everything can be read, the project changed, and these rules besides.
pub fn with(more: impl IntoIterator<Item = Value>) -> Profile {
    let base = [special("root", "read"), at("@proj", "write")];
    profile(base.into_iter().chain(more))
}

impl Profile {
    pub fn permissions(&self) -> Value {
        json!({
            "type": "managed",
            "file_system": {"type": "restricted", "entries": self.entries},
            "network": self.network,
        })
    }

    pub fn depth(&self, depth: u32) -> Value {
        let mut sandbox = self.sandbox();
        sandbox["permissions"]["file_system"]["glob_scan_max_depth"] = depth.into();
        sandbox
    }

    /// The `sandbox` of a request.
    pub fn sandbox(&self) -> Value {
        sandbox(self.permissions())
    }
}

pub fn sandbox(permissions: Value) -> Value {
    json!({
        "permissions": permissions,
        "windowsSandboxLevel": "disabled",
        "cwd": "@proj",
        "workspaceRoots": ["@proj"],
    })
}

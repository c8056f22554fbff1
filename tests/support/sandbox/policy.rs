//! The `sandbox` of a request, in the words of both generations.

use serde_json::{Value, json};

/// How a generation of clients writes a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 0.130: plain paths, the project is the `cwd`, and what is denied is `none`.
    Old,
    /// 0.169: URIs, the project is `workspaceRoots`, and what is denied is `deny`.
    New,
}

#[derive(Clone, Debug)]
enum Place {
    Path(String),
    Glob(String),
    Special(Value),
}

#[derive(Clone, Copy, Debug)]
enum Access {
    Read,
    Write,
    Deny,
}

/// A policy in the making: entries, the network and the project.
#[derive(Clone, Debug)]
pub struct Sandbox {
    entries: Vec<(Place, Access)>,
    network: &'static str,
    project: Option<String>,
}

impl Sandbox {
    /// Nothing is permitted.
    pub fn nothing() -> Self {
        Self {
            entries: Vec::new(),
            network: "restricted",
            project: None,
        }
    }

    /// Everything can be read, nothing changed.
    pub fn read_only() -> Self {
        Self::nothing().special("root", Access::Read)
    }

    /// Everything can be read, and what is below `root` changed.
    pub fn workspace(root: &str) -> Self {
        Self::read_only().write(root)
    }

    /// What any program needs can be read.
    pub fn minimal() -> Self {
        Self::nothing().special("minimal", Access::Read)
    }

    /// The network is as the server's.
    pub fn online(mut self) -> Self {
        self.network = "enabled";
        self
    }

    /// The project can be changed, by the word that stands for it.
    pub fn project(mut self, root: &str) -> Self {
        self.project = Some(root.to_string());
        self.special("project_roots", Access::Write)
    }

    /// A path that can be read.
    pub fn read(self, path: &str) -> Self {
        self.entry(Place::Path(path.into()), Access::Read)
    }

    /// A path that can be changed.
    pub fn write(self, path: &str) -> Self {
        self.entry(Place::Path(path.into()), Access::Write)
    }

    /// A path that cannot be read.
    pub fn deny(self, path: &str) -> Self {
        self.entry(Place::Path(path.into()), Access::Deny)
    }

    /// All that matches cannot be read.
    pub fn deny_glob(self, pattern: &str) -> Self {
        self.entry(Place::Glob(pattern.into()), Access::Deny)
    }

    fn special(self, kind: &str, access: Access) -> Self {
        self.entry(Place::Special(json!({"kind": kind})), access)
    }

    fn entry(mut self, place: Place, access: Access) -> Self {
        self.entries.push((place, access));
        self
    }

    /// The `sandbox` of a request of the newer generation.
    pub fn json(&self) -> Value {
        self.json_as(Generation::New)
    }

    /// The `sandbox` of a request.
    pub fn json_as(&self, generation: Generation) -> Value {
        let written = |path: &String| match generation {
            Generation::Old => path.clone(),
            Generation::New => format!("file://{path}"),
        };
        let entry = |(place, access): &(Place, Access)| {
            let place = match place {
                Place::Path(path) => json!({"type": "path", "path": written(path)}),
                Place::Glob(pattern) => json!({"type": "glob_pattern", "pattern": pattern}),
                Place::Special(value) => json!({"type": "special", "value": value}),
            };
            let access = match (access, generation) {
                (Access::Read, _) => "read",
                (Access::Write, _) => "write",
                (Access::Deny, Generation::Old) => "none",
                (Access::Deny, Generation::New) => "deny",
            };
            json!({"path": place, "access": access})
        };
        let entries: Vec<Value> = self.entries.iter().map(entry).collect();
        let files = json!({"type": "restricted", "entries": entries});
        let mut sandbox = json!({
            "permissions": {"type": "managed", "file_system": files, "network": self.network},
            "windowsSandboxLevel": "disabled",
        });
        if let Some(project) = &self.project {
            sandbox["cwd"] = written(project).into();
            if generation == Generation::New {
                sandbox["workspaceRoots"] = json!([written(project)]);
            }
        }
        sandbox
    }
}

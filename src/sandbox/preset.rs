//! Confinements that one word stands for.

use std::path::Path;

use serde_json::{Value, json};

use crate::rpc::path_uri::to_uri;

/// A confinement that a person asks for by a word. The network is denied by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// All may be read, nothing written.
    ReadOnly,
    /// The same, but that the directory of the command and those for temporary files may be written.
    WorkspaceWrite,
}

impl Preset {
    /// The preset of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "read-only" => Some(Self::ReadOnly),
            "workspace-write" => Some(Self::WorkspaceWrite),
            _ => None,
        }
    }

    /// The `sandbox` of a request, in the form of 0.169, for a command that starts in `cwd`.
    pub fn sandbox(self, cwd: &Path) -> String {
        let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
        let mut entries = vec![special("root", "read")];
        if self == Self::WorkspaceWrite {
            let writable = ["project_roots", "slash_tmp", "tmpdir"];
            entries.extend(writable.map(|kind| special(kind, "write")));
        }
        let cwd = to_uri(cwd);
        let sandbox: Value = json!({
            "permissions": {
                "type": "managed",
                "file_system": {"type": "restricted", "entries": entries},
                "network": "restricted",
            },
            "cwd": cwd,
            "workspaceRoots": [cwd],
            "windowsSandboxLevel": "disabled",
        });
        sandbox.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::{Context, Enforcement, Network, Policy};
    use crate::sandbox::scratch::Scratch;

    #[test]
    fn each_preset_is_the_policy_that_its_name_says() {
        let project = Scratch::new("preset");
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Uri,
        };
        for (name, is_writable) in [("read-only", false), ("workspace-write", true)] {
            let preset = Preset::from_name(name).unwrap();
            let policy = Policy::parse(&preset.sandbox(project.path()), &context).unwrap();
            assert_ne!(policy.enforcement(), Enforcement::Disabled);
            assert_eq!(policy.network(), Network::Restricted);
            assert!(!policy.has_full_write());
            let mut roots = policy.writable_roots();
            assert_eq!(
                roots.any(|root| root == project.path()),
                is_writable,
                "{name}"
            );
        }
        assert_eq!(Preset::from_name("off"), None);
    }
}

//! Confinements that one word stands for, and what a person widens them by.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::policy::Waivers;
use crate::rpc::path_uri::{resolve_dots, to_uri};

/// A confinement that a person asks for by a word. The network is denied by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// All may be read, nothing written.
    ReadOnly,
    /// The same, but that the directory of the command and those for temporary files may be written.
    WorkspaceWrite,
}

/// What is permitted beyond the word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Widened {
    /// More that may be written: absolute paths.
    pub write: Vec<PathBuf>,
    /// Whether the network can be reached.
    pub network: bool,
    /// What is given up where it cannot be enforced.
    pub waivers: Waivers,
}

/// The whole machine was to be writable, by its directory or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeMachine;

impl fmt::Display for WholeMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a sandbox in which `/` may be written confines no files\n\
             start in another directory (-C), or name what may be written (--write), or use --sandbox off",
        )
    }
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

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
        }
    }

    /// The `sandbox` of a request, in the form of 0.169, for a command that starts in `cwd`.
    ///
    /// # Errors
    /// It would let everything be written.
    pub fn sandbox(self, cwd: &Path, widened: &Widened) -> Result<String, WholeMachine> {
        let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
        let mut entries = vec![special("root", "read")];
        let mut roots: Vec<&Path> = widened.write.iter().map(PathBuf::as_path).collect();
        if self == Self::WorkspaceWrite {
            let writable = ["project_roots", "slash_tmp", "tmpdir"];
            entries.extend(writable.map(|kind| special(kind, "write")));
            roots.push(cwd);
        }
        let is_whole =
            |root: &&Path| resolve_dots(root.as_os_str().as_encoded_bytes()) == Path::new("/");
        if roots.iter().any(is_whole) {
            return Err(WholeMachine);
        }
        entries.extend(widened.write.iter().map(
            |path| json!({"path": {"type": "path", "path": to_uri(path)}, "access": "write"}),
        ));
        let cwd = to_uri(cwd);
        let network = match widened.network {
            true => "enabled",
            false => "restricted",
        };
        let mut sandbox: Value = json!({
            "permissions": {
                "type": "managed",
                "file_system": {"type": "restricted", "entries": entries},
                "network": network,
            },
            "cwd": cwd,
            "workspaceRoots": [cwd],
            "windowsSandboxLevel": "disabled",
        });
        let names = widened.waivers.names();
        if !names.is_empty() {
            sandbox["acceptWeaker"] = json!(names);
        }
        Ok(sandbox.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::{Context, Enforcement, Network, Policy};
    use crate::sandbox::scratch::Scratch;

    fn policy(preset: Preset, cwd: &Path, widened: &Widened) -> Policy {
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Uri,
        };
        Policy::parse(&preset.sandbox(cwd, widened).unwrap(), &context).unwrap()
    }

    #[test]
    fn each_preset_is_the_policy_that_its_name_says() {
        let project = Scratch::new("preset");
        for (name, is_writable) in [("read-only", false), ("workspace-write", true)] {
            let preset = Preset::from_name(name).unwrap();
            assert_eq!(preset.name(), name);
            let policy = policy(preset, project.path(), &Widened::default());
            assert_ne!(policy.enforcement(), Enforcement::Disabled);
            assert_eq!(policy.network(), Network::Restricted);
            assert!(!policy.has_full_write() && !policy.waivers().metadata);
            let mut roots = policy.writable_roots();
            assert_eq!(
                roots.any(|root| root == project.path()),
                is_writable,
                "{name}"
            );
        }
        assert_eq!(Preset::from_name("off"), None);
    }

    #[test]
    fn a_preset_is_widened_by_what_is_named() {
        let (project, other) = (Scratch::new("preset"), Scratch::new("preset-other"));
        let widened = Widened {
            write: vec![other.path().to_owned()],
            network: true,
            waivers: Waivers { metadata: true },
        };
        let policy = policy(Preset::ReadOnly, project.path(), &widened);
        assert_eq!(policy.network(), Network::Enabled);
        assert!(policy.waivers().metadata);
        let roots: Vec<_> = policy.writable_roots().collect();
        assert_eq!(roots, [other.path()]);
    }

    #[test]
    fn the_whole_machine_is_no_workspace() {
        let none = Widened::default();
        let root = Path::new("/..//.");
        assert_eq!(
            Preset::WorkspaceWrite.sandbox(root, &none),
            Err(WholeMachine)
        );
        assert!(Preset::ReadOnly.sandbox(root, &none).is_ok());
        let named = Widened {
            write: vec!["/tmp/..".into()],
            ..none
        };
        assert_eq!(
            Preset::ReadOnly.sandbox(Path::new("/tmp"), &named),
            Err(WholeMachine)
        );
    }
}

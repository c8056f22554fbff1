//! What a start says about the confinement in force.

use serde_json::{Value, json};

/// Who builds sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LauncherKind {
    /// Nobody: nothing is confined.
    None,
    /// The machine's own bwrap.
    System,
    /// The bwrap that came with this program.
    Bundled,
    /// The kernel's Landlock, without namespaces.
    Landlock,
    /// Only a filter of system calls, because files are not confined.
    Seccomp,
}

impl LauncherKind {
    /// The launcher of a name that an operator may choose.
    ///
    /// # Errors
    /// What to choose from.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let choice = [Self::System, Self::Bundled, Self::Landlock];
        let found = choice.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| "expected system, bundled or landlock".to_owned())
    }

    /// Its name on the command line and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::System => "system",
            Self::Bundled => "bundled",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }
}

/// The confinement in force, as the extension `sandboxLevel` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Who built it.
    pub launcher: LauncherKind,
    /// The version of that program, or none.
    pub version: Option<String>,
    /// The namespaces that are new.
    pub namespaces: Vec<&'static str>,
    /// The version of Landlock in force; 0 for none.
    pub landlock_abi: u32,
    /// Whether a filter of system calls is in force.
    pub seccomp: bool,
    /// What is not enforced as asked, a sentence each.
    pub weaker: Vec<String>,
}

impl Level {
    /// What the reference would call it.
    pub fn sandbox_type(&self) -> &'static str {
        match self.launcher {
            LauncherKind::None => "none",
            _ => "linuxSeccomp",
        }
    }

    /// The same for programs to read: the extension `sandboxLevel`.
    pub fn json(&self) -> Value {
        json!({
            "launcher": self.launcher.name(),
            "version": self.version,
            "namespaces": self.namespaces,
            "landlockAbi": self.landlock_abi,
            "seccomp": self.seccomp,
            "weaker": self.weaker,
        })
    }

    /// No confinement.
    pub fn none() -> Self {
        Self {
            launcher: LauncherKind::None,
            version: None,
            namespaces: Vec::new(),
            landlock_abi: 0,
            seccomp: false,
            weaker: Vec::new(),
        }
    }
}

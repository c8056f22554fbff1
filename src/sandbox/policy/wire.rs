//! The JSON of a `sandbox`, in the words of both generations of clients. Members that nobody here knows are ignored.

use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny};
use serde_json::value::RawValue;

use super::rules::Waivers;
use crate::rpc::path_uri::{PathStyle, WirePath};

/// The `sandbox` of a request.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sandbox<'a> {
    #[serde(borrow)]
    pub(crate) permissions: &'a RawValue,
    #[serde(default)]
    pub(crate) cwd: Option<Located>,
    #[serde(default)]
    pub(crate) workspace_roots: Option<Vec<Located>>,
    /// An extension.
    #[serde(default)]
    pub(crate) accept_weaker: Waivers,
    // What follows means nothing on Linux, or to us, and yet must be what it should.
    #[serde(rename = "windowsSandboxLevel")]
    _level: WindowsLevel,
    #[serde(default, rename = "windowsSandboxPrivateDesktop")]
    _desktop: Option<bool>,
    #[serde(default, rename = "useLegacyLandlock")]
    _landlock: Option<bool>,
    #[serde(default, rename = "userHomeDir")]
    _home: Option<Located>,
    #[serde(default, rename = "temporaryDirectories")]
    _temporary: Option<Vec<Located>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WindowsLevel {
    Disabled,
    RestrictedToken,
    Elevated,
    Mxc,
}

/// A path in either style.
#[derive(Clone, Debug)]
pub(crate) struct Located(pub(crate) WirePath);

impl Located {
    pub(crate) fn is_native(&self) -> bool {
        self.0.style == PathStyle::Native
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        WirePath::parse(&text)
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("path `{text}`: {error}")))
    }
}

/// The `permissions`, or the profile of a helper's command line.
pub(crate) enum Profile {
    Disabled,
    External(Switch),
    Managed(FileSystem, Switch),
}

/// What is said of the network.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switch {
    Restricted,
    Enabled,
}

/// What is said of files.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FileSystem {
    Restricted {
        entries: Vec<Entry>,
        #[serde(default)]
        glob_scan_max_depth: Option<NonZeroU32>,
    },
    Unrestricted,
}

#[derive(serde::Deserialize)]
pub(crate) struct Entry {
    pub(crate) path: Target,
    pub(crate) access: Wanted,
    /// Asks not to cover a path that is missing. The reference covers it all the same, and so do we.
    #[serde(default, rename = "missing_path_behavior")]
    _missing: Option<Missing>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Missing {
    Skip,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    Read,
    Write,
    #[serde(alias = "none")]
    Deny,
}

#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Target {
    Path { path: Located },
    GlobPattern { pattern: String },
    Special { value: Special },
}

#[derive(serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Special {
    Root,
    Minimal,
    CurrentWorkingDirectory,
    ProjectRoots {
        #[serde(default)]
        subpath: Option<Subpath>,
    },
    Tmpdir,
    SlashTmp,
    /// What a newer client found in its configuration and could not place itself.
    Unknown {},
}

/// A relative path that stays below where it begins.
pub(crate) struct Subpath(pub(crate) PathBuf);

impl<'de> Deserialize<'de> for Subpath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_inside = Path::new(&text)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_inside || text.contains('\0') {
            return Err(D::Error::custom(format_args!(
                "subpath `{text}`: it must be relative and stay below the project root"
            )));
        }
        let parts = Path::new(&text).components();
        Ok(Self(
            parts
                .filter(|part| matches!(part, Component::Normal(_)))
                .collect(),
        ))
    }
}

#[derive(serde::Deserialize)]
struct Outline {
    #[serde(default, rename = "type")]
    tag: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged {
    Managed {
        file_system: FileSystem,
        network: Switch,
    },
    Disabled,
    External {
        network: Switch,
    },
}

/// The form before there were tags; 0.130 still takes it.
#[derive(serde::Deserialize)]
struct Untagged {
    #[serde(default)]
    file_system: Option<UntaggedFiles>,
    #[serde(default)]
    network: Option<UntaggedNetwork>,
}

#[derive(serde::Deserialize)]
struct UntaggedFiles {
    #[serde(default)]
    entries: Vec<Entry>,
    #[serde(default)]
    read: Option<Vec<Located>>,
    #[serde(default)]
    write: Option<Vec<Located>>,
    #[serde(default)]
    glob_scan_max_depth: Option<NonZeroU32>,
}

#[derive(serde::Deserialize)]
struct UntaggedNetwork {
    #[serde(default)]
    enabled: Option<bool>,
}

impl Profile {
    /// Reads either form. What has no tag is of the old one.
    pub(crate) fn parse(json: &str) -> serde_json::Result<Self> {
        let outline: Outline = serde_json::from_str(json)?;
        if outline.tag.is_some() {
            return Ok(match serde_json::from_str(json)? {
                Tagged::Managed {
                    file_system,
                    network,
                } => Self::Managed(file_system, network),
                Tagged::Disabled => Self::Disabled,
                Tagged::External { network } => Self::External(network),
            });
        }
        let old: Untagged = serde_json::from_str(json)?;
        let is_enabled = old.network.and_then(|network| network.enabled) == Some(true);
        let network = if is_enabled {
            Switch::Enabled
        } else {
            Switch::Restricted
        };
        let files = old.file_system.map_or_else(
            || FileSystem::Restricted {
                entries: Vec::new(),
                glob_scan_max_depth: None,
            },
            UntaggedFiles::tagged,
        );
        Ok(Self::Managed(files, network))
    }
}

impl UntaggedFiles {
    fn tagged(self) -> FileSystem {
        let listed = |paths: Option<Vec<Located>>, access| {
            paths.into_iter().flatten().map(move |path| Entry {
                path: Target::Path { path },
                access,
                _missing: None,
            })
        };
        let mut entries = self.entries;
        entries.extend(listed(self.read, Wanted::Read));
        entries.extend(listed(self.write, Wanted::Write));
        FileSystem::Restricted {
            entries,
            glob_scan_max_depth: self.glob_scan_max_depth,
        }
    }
}

//! Skills and plugins below a directory, as clients that use them look for them.
//!
//! A skill is a directory with a `SKILL.md`, a plugin one with a manifest. What is found is told
//! with the text of its files, so everything is bounded: the walk, each file, and all texts of an
//! answer together.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::files::{self, Content, FileError, Links, Part, WalkOptions};
use crate::rpc::methods::discovery::{FoundFile, PluginFound, RootFound, SkillFound};
use crate::rpc::path_uri::to_uri;
use crate::sys::file::FileType;

/// How far is looked; the reference's numbers.
const WALK: WalkOptions = WalkOptions {
    depth: 6,
    directories: 2000,
    entries: 20_000,
    follow: true,
    prune_hidden: false,
};
/// The largest file that is told of, in bytes; the reference's limit.
const MAX_FILE: usize = 1024 * 1024;
/// All texts of an answer together, in bytes of JSON.
pub(crate) const MAX_TEXT: usize = 16 * 1024 * 1024;
/// Warnings of a root; the last of them says that there were more.
const MAX_WARNINGS: usize = 100;

/// What makes a directory a skill.
const INSTRUCTIONS: &str = "SKILL.md";
/// What else is known of a skill, from its directory.
const METADATA: &str = "agents/openai.yaml";
/// What makes a directory a plugin, in one of these directories; the first that is there counts.
const MANIFEST: &str = "plugin.json";
const MANIFEST_DIRECTORIES: [&str; 3] = [".codex-plugin", ".claude-plugin", ".cursor-plugin"];

/// Looks for skills and plugins below directories, for one answer.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// Bytes of JSON that texts may still take.
    left: usize,
}

impl Discovery {
    pub(crate) fn new() -> Self {
        Self { left: MAX_TEXT }
    }

    /// What is below `path`; `id` is the client's name for it.
    pub(crate) fn look(&mut self, id: &str, path: &Path) -> RootFound {
        let uri = to_uri(path);
        let mut root = RootFound::empty(id.to_owned(), uri.clone());
        match files::metadata(path, Links::Follow) {
            Ok(found) if found.status.kind == FileType::Directory => self.fill(&mut root, path),
            Ok(_) => root.error = Some(format!("capability root {uri} is not a directory")),
            Err(error) => {
                root.error = Some(format!("failed to inspect capability root {uri}: {error}"));
            }
        }
        root
    }

    fn fill(&mut self, root: &mut RootFound, path: &Path) {
        let (mut skills, mut plugins) = (Vec::new(), Vec::new());
        let walked = files::walk(path, WALK, |found| {
            // A link to a file is not looked at, as in the reference.
            if found.kind != Some(FileType::Regular) || found.is_link {
                return true;
            }
            let path = found.path();
            if found.name == INSTRUCTIONS {
                skills.push(path);
            } else if let Some(plugin) = plugin_of(&path)
                && !plugins.iter().any(|known| known == plugin)
            {
                plugins.push(plugin.to_owned());
            }
            true
        });
        match walked {
            Ok(report) => {
                for (path, error) in &report.errors {
                    let uri = to_uri(path);
                    warn(
                        root,
                        format!("failed to scan capability path {uri}: {error}"),
                    );
                }
                if report.is_truncated {
                    let uri = &root.path;
                    let text = format!("capability scan reached its traversal limit (root: {uri})");
                    warn(root, text);
                }
            }
            Err(error) => {
                let text = format!("failed to scan capability path {}: {error}", root.path);
                warn(root, text);
            }
        }
        skills.sort_unstable();
        plugins.sort_unstable();
        root.plugin = self.plugin(root, path);
        if root.plugin.is_none()
            && let Some(around) = path.ancestors().skip(1).find(|it| is_plugin(it))
        {
            plugins.insert(0, around.to_owned());
        }
        for plugin in plugins {
            let manifest = self.manifest(root, &plugin);
            root.namespace_manifests.extend(manifest);
        }
        for path in skills {
            let Some(instructions) = self.read(root, &path) else {
                continue;
            };
            let metadata = self.read(root, &path.with_file_name(METADATA));
            root.skills.push(SkillFound {
                instructions,
                metadata,
            });
        }
    }

    /// The plugin that a directory is.
    fn plugin(&mut self, root: &mut RootFound, path: &Path) -> Option<PluginFound> {
        let manifest = self.manifest(root, path)?;
        let members: Value = serde_json::from_str(&manifest.contents).unwrap_or_default();
        let mut file = |member: &str, usual: &str| {
            let place = match &members[member] {
                Value::Null => usual,
                Value::String(place) => place,
                // It is in the manifest itself.
                _ => return None,
            };
            match inside(place) {
                Ok(place) => self.read(root, &path.join(place)),
                Err(why) => {
                    warn(
                        root,
                        format!("ignoring {member} in {}: {why}", manifest.path),
                    );
                    None
                }
            }
        };
        let mcp_config = file("mcpServers", "./.mcp.json");
        let apps_config = file("apps", "./.app.json");
        Some(PluginFound {
            manifest,
            mcp_config,
            apps_config,
        })
    }

    /// The manifest of the plugin in a directory, if there is one.
    fn manifest(&mut self, root: &mut RootFound, path: &Path) -> Option<FoundFile> {
        let mut places = MANIFEST_DIRECTORIES
            .iter()
            .map(|it| path.join(it).join(MANIFEST));
        places.find_map(|place| self.read(root, &place))
    }

    /// A file with its text; none if it is not there, or with a warning if it cannot be told.
    fn read(&mut self, root: &mut RootFound, path: &Path) -> Option<FoundFile> {
        let uri = to_uri(path);
        let bytes = match read_at_most(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return None,
            Err(FileError::TooLargeToRead) => {
                warn(
                    root,
                    format!("capability file {uri} exceeds the {MAX_FILE}-byte limit"),
                );
                return None;
            }
            Err(error) => {
                warn(
                    root,
                    format!("failed to inspect capability file {uri}: {error}"),
                );
                return None;
            }
        };
        let contents = match String::from_utf8(bytes) {
            Ok(contents) => contents,
            Err(error) => {
                let error = error.utf8_error();
                warn(root, format!("capability file {uri} is not UTF-8: {error}"));
                return None;
            }
        };
        let Some(left) = self.left.checked_sub(json_len(&contents) + uri.len()) else {
            warn(
                root,
                format!("capability root bundle exceeds the {MAX_TEXT}-byte limit"),
            );
            return None;
        };
        self.left = left;
        Some(FoundFile {
            path: uri,
            contents,
        })
    }
}

/// The whole of a regular file of at most so many bytes.
pub(crate) fn read_at_most(path: &Path, most: usize) -> Result<Vec<u8>, FileError> {
    let mut content = Content::open(path, Links::Follow, None)?;
    let mut bytes = Vec::new();
    // One more than there may be tells that there are more.
    match content.fill(&mut bytes, most + 1)? {
        Part::Last if bytes.len() <= most => Ok(bytes),
        _ => Err(FileError::TooLargeToRead),
    }
}

/// Whether there is no file there.
fn is_absent(error: &FileError) -> bool {
    match error {
        FileError::NotAFile(_) => true,
        FileError::System(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        }
        _ => false,
    }
}

fn warn(root: &mut RootFound, text: String) {
    let warnings = &mut root.warnings;
    if warnings.len() + 1 < MAX_WARNINGS {
        warnings.push(text);
    } else if warnings.len() < MAX_WARNINGS {
        warnings.push("further warnings are left out".to_owned());
    }
}

/// The directory that a manifest makes a plugin.
fn plugin_of(path: &Path) -> Option<&Path> {
    let directory = path.parent()?;
    let is_manifest = path.file_name()? == MANIFEST
        && MANIFEST_DIRECTORIES
            .iter()
            .any(|it| directory.ends_with(it));
    is_manifest.then(|| directory.parent()).flatten()
}

fn is_plugin(path: &Path) -> bool {
    let places = MANIFEST_DIRECTORIES
        .iter()
        .map(|it| path.join(it).join(MANIFEST));
    places.into_iter().any(|place| place.is_file())
}

/// A path that a manifest names, which must be one in the plugin.
fn inside(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text.strip_prefix("./").ok_or("path must start with `./`")?);
    match path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        true => Ok(path.to_owned()),
        false => Err("path must stay in the plugin"),
    }
}

/// How many bytes a text takes in JSON, or a few more.
fn json_len(text: &str) -> usize {
    let len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_manifest_stays_in_its_plugin() {
        assert_eq!(inside("./a/b.json"), Ok("a/b.json".into()));
        for bad in [
            "a",
            "/etc/passwd",
            "../x",
            "./../x",
            "./a/../../x",
            ".//etc",
        ] {
            assert!(inside(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_manifest_stands_in_a_directory_of_the_plugin() {
        let plugin = |path| plugin_of(Path::new(path));
        assert_eq!(
            plugin("/p/.codex-plugin/plugin.json"),
            Some(Path::new("/p"))
        );
        for other in [
            "/p/plugin.json",
            "/p/.codex-plugin/x.json",
            "/p/x/plugin.json",
        ] {
            assert_eq!(plugin(other), None, "{other}");
        }
    }

    #[test]
    fn texts_are_counted_as_they_are_written() {
        for text in ["", "a\"\\\n\u{1}\u{7f}é", "plain"] {
            assert_eq!(
                json_len(text) + 2,
                serde_json::to_string(text).unwrap().len()
            );
        }
    }

    #[test]
    fn warnings_have_an_end() {
        let mut root = RootFound::empty(String::new(), String::new());
        for number in 0..3 * MAX_WARNINGS {
            warn(&mut root, number.to_string());
        }
        assert_eq!(root.warnings.len(), MAX_WARNINGS);
        assert_eq!(
            root.warnings[MAX_WARNINGS - 1],
            "further warnings are left out"
        );
    }
}

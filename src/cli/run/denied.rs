//! What is said when a sandbox was why a command failed: what was denied, by which rule, and what would permit it.

use std::path::{Path, PathBuf};

use crate::env::Denial;
use crate::sandbox::policy::PROTECTED;
use crate::sandbox::preset::{Preset, Widened};

/// What a confined command was permitted.
pub(super) struct Permitted {
    preset: Preset,
    /// What may be written besides the directories for temporary files.
    writable: Vec<PathBuf>,
    has_network: bool,
}

impl Permitted {
    /// What a preset permits to a command that starts in `cwd`.
    pub(super) fn new(preset: Preset, cwd: &Path, widened: Widened) -> Self {
        let mut writable = widened.write;
        if preset == Preset::WorkspaceWrite {
            writable.push(cwd.to_owned());
        }
        Self {
            preset,
            writable,
            has_network: widened.network,
        }
    }

    /// The line about what was denied.
    pub(super) fn denied(&self, denial: Option<&Denial>) -> String {
        let Some(denial) = denial else {
            return "the sandbox may be why it failed".to_owned();
        };
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        match denial.kind.as_str() {
            "path" => {
                let path = known(&denial.path);
                let (rule, flag) = self.rule(Path::new(&path));
                let (path, errno) = (path.replace('\n', " "), known(&denial.errno));
                format!(
                    "denied by the sandbox: {path} ({errno}): {rule}; --write {flag} would permit it"
                )
            }
            "syscall" => "denied by the sandbox: a system call that is not permitted has killed it"
                .to_owned(),
            _ => {
                let more = match self.has_network {
                    true => "--write PATH permits more",
                    false => "--write PATH and --network permit more",
                };
                let text = known(&denial.text);
                format!("the sandbox may be why it failed, as it said `{text}`; {more}")
            }
        }
    }

    /// What keeps a path from being written, and what would have to be named.
    fn rule(&self, path: &Path) -> (String, String) {
        let protected = self.writable.iter().find_map(|root| {
            let first = path.strip_prefix(root).ok()?.iter().next()?;
            let is_protected = PROTECTED.iter().any(|name| first == *name);
            is_protected.then(|| root.join(first))
        });
        let (rule, place) = match &protected {
            Some(protected) => (
                "it is protected in a directory that may be written".to_owned(),
                protected.as_path(),
            ),
            None => {
                let parent = path.parent().filter(|parent| *parent != Path::new("/"));
                let rule = format!("{} lets it be read only", self.preset.name());
                (rule, parent.unwrap_or(path))
            }
        };
        (rule, place.display().to_string().replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(network: bool) -> Permitted {
        let widened = Widened {
            write: vec!["/data".into()],
            network,
            ..Widened::default()
        };
        Permitted::new(Preset::WorkspaceWrite, Path::new("/w"), widened)
    }

    fn of_path(path: &str) -> String {
        let denial = Denial {
            kind: "path".into(),
            path: Some(path.into()),
            errno: Some("EROFS".into()),
            ..Denial::default()
        };
        permitted(false).denied(Some(&denial))
    }

    #[test]
    fn a_path_is_told_with_its_rule_and_the_flag_that_permits_it() {
        let only = "workspace-write lets it be read only";
        let kept = "it is protected in a directory that may be written";
        for (path, rule, flag) in [
            ("/srv/x/y", only, "/srv/x"),
            ("/x", only, "/x"),
            ("/web/.git", only, "/web"),
            ("/w/.git", kept, "/w/.git"),
            ("/data/.aws/x/y", kept, "/data/.aws"),
        ] {
            let line = format!(
                "denied by the sandbox: {path} (EROFS): {rule}; --write {flag} would permit it"
            );
            assert_eq!(of_path(path), line);
        }
        assert!(!of_path("/a\nb/c").contains('\n'));
    }

    #[test]
    fn a_guess_is_told_as_one() {
        let denial = Denial {
            kind: "text".into(),
            text: Some("permission denied".into()),
            ..Denial::default()
        };
        let told = permitted(false).denied(Some(&denial));
        assert!(told.starts_with("the sandbox may be why"), "{told}");
        assert!(told.contains("--network"), "{told}");
        let told = permitted(true).denied(Some(&denial));
        assert!(!told.contains("--network"), "{told}");
    }
}

//! The commit a build is made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The abbreviated id of the commit at `root`: from git, else from the `COMMIT` file of a source archive, else "unknown".
pub fn id(root: &Path) -> String {
    // An archive unpacked inside somebody else's clone must not take that clone's commit.
    if root.join(".git").exists()
        && let Some(id) = git(root, &["rev-parse", "--short=12", "HEAD"])
    {
        for path in moving_parts(root) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        return id;
    }
    let file = root.join("COMMIT");
    match fs::read_to_string(&file) {
        Ok(id) => {
            println!("cargo::rerun-if-changed={}", file.display());
            id.trim().to_owned()
        }
        Err(_) => "unknown".to_owned(),
    }
}

/// The files that change when HEAD comes to name another commit. Cargo takes a missing path for an eternal change, so
/// only what is there is named: the log of HEAD alone says it all, the others stand in where git keeps no logs.
fn moving_parts(root: &Path) -> Vec<PathBuf> {
    let branch = git(root, &["symbolic-ref", "-q", "HEAD"]);
    ["HEAD", "logs/HEAD", "packed-refs"]
        .into_iter()
        .map(str::to_owned)
        .chain(branch)
        .filter_map(|name| git(root, &["rev-parse", "--git-path", &name]))
        .map(|path| root.join(path))
        .filter(|path| path.exists())
        .collect()
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

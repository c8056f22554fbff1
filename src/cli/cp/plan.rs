//! Which file goes where, as the command line says it: the rules of cp and scp.

use std::path::{Path, PathBuf};

use super::queue::Job;
use super::side::{CopyError, Found, Side};
use super::work::last_name;
use crate::env::FileKind;

/// One end of a copy as it was named.
pub(super) struct End<'a> {
    pub(super) side: &'a dyn Side,
    pub(super) path: &'a Path,
}

impl End<'_> {
    fn name(&self) -> String {
        self.side.name(self.path)
    }

    /// Whether it was named as a directory.
    fn has_slash(&self) -> bool {
        self.path.as_os_str().as_encoded_bytes().ends_with(b"/")
    }

    fn look(&self, follows: bool) -> Result<Option<Found>, CopyError> {
        self.side.look(self.path, follows)
    }
}

/// What holds for every source of a command line.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) is_recursive: bool,
    /// Whether several sources share the destination, which is a directory then.
    pub(super) is_one_of_many: bool,
    /// Whether both sides are the same file system.
    pub(super) is_one_side: bool,
}

/// What is to be done for one source, and where links are still followed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) job: Job,
    /// The directory that the source is in, or is; none for a file that may be behind a link itself.
    pub(super) source: Option<PathBuf>,
    /// The directory that the copy will be in.
    pub(super) target: PathBuf,
    /// Whether it is made if need be.
    pub(super) makes_target: bool,
}

/// The plan for one source.
pub(super) fn plan(source: &End<'_>, target: &End<'_>, rules: Rules) -> Result<Plan, CopyError> {
    // With -r a link is itself, unless it is named as the directory that it leads to.
    let follows = !rules.is_recursive || source.has_slash();
    let found = source
        .look(follows)?
        .ok_or_else(|| CopyError::of(source.name(), "No such file or directory"))?;
    let is_directory = found.kind == FileKind::Directory;
    if is_directory && !rules.is_recursive {
        return Err(CopyError::of(
            source.name(),
            "a directory; use -r to copy it",
        ));
    }
    if found.kind == FileKind::Other {
        let why = "not a file, directory or link; left out";
        return Err(CopyError::of(source.name(), why));
    }

    let there = target.look(true)?;
    let is_into = there.is_some_and(|there| there.kind == FileKind::Directory);
    if !is_into && rules.is_one_of_many {
        return Err(CopyError::of(target.name(), "not a directory"));
    }
    if !is_into && target.has_slash() && !(is_directory && there.is_none()) {
        return Err(CopyError::of(target.name(), "no such directory"));
    }
    let mut to = match last_name(source.path) {
        Some(name) if is_into => target.path.join(name),
        // The contents of `.`, `..` and `/`; or another name.
        _ => target.path.to_owned(),
    };
    let mut in_place = false;
    let last = match is_into {
        true => target.side.look(&to, true)?,
        false => there,
    };
    match last {
        Some(last) if is_directory != (last.kind == FileKind::Directory) => {
            let why = match is_directory {
                true => "not a directory, and the source is one",
                false => "a directory, and the source is none",
            };
            return Err(CopyError::of(target.side.name(&to), why));
        }
        // A link that nobody has named may come from an earlier copy, and so from the source: it is
        // replaced, and never followed.
        Some(last) if last.is_link && is_into => {}
        Some(last) => {
            in_place = last.kind == FileKind::Other;
            // A file is replaced where it is, and not the link to it.
            if last.is_link && found.kind != FileKind::Symlink {
                to = target.side.real_path(&to)?;
            }
        }
        None => {}
    }
    if is_directory && rules.is_one_side && is_inside(source, &to)? {
        let name = target.side.name(&to);
        return Err(CopyError::of(
            source.name(),
            format_args!("{name} is inside it"),
        ));
    }
    Ok(Plan {
        source: match is_directory || !follows {
            true => Some(
                match source.has_slash() || last_name(source.path).is_none() {
                    true => source.path.to_owned(),
                    false => parent_of(source.path),
                },
            ),
            false => None,
        },
        target: match is_into && to == target.path {
            true => to.clone(),
            false => parent_of(&to),
        },
        makes_target: is_directory && !is_into,
        job: Job {
            kind: found.kind,
            from: source.path.to_owned(),
            to,
            in_place,
            follows,
            parent: None,
        },
    })
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// Whether `to`, which need not exist, is in a directory or is it.
fn is_inside(source: &End<'_>, to: &Path) -> Result<bool, CopyError> {
    let directory = source.side.real_path(source.path)?;
    let mut known = to;
    while source.side.look(known, true)?.is_none() {
        known = match known.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let rest = to.strip_prefix(known).unwrap_or(Path::new("")).to_owned();
    let real: PathBuf = source.side.real_path(known)?.join(rest);
    Ok(real.starts_with(directory))
}

#[cfg(test)]
mod tests;

//! Which file goes where, as the command line says it: the rules of cp and scp.

use std::path::{Path, PathBuf};

use super::copy::{NOTHING, last_name};
use super::queue::Job;
use super::side::{CopyError, Found, Side};
use super::transfer::PartNames;
use crate::env::FileKind;

/// One end of a copy as it was named.
pub(crate) struct End<'a> {
    pub(crate) side: &'a dyn Side,
    pub(crate) path: &'a Path,
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
pub(crate) struct Rules {
    pub(crate) is_recursive: bool,
    /// Whether several sources share the destination, which is a directory then.
    pub(crate) is_one_of_many: bool,
    /// Whether both sides are the same file system.
    pub(crate) is_one_side: bool,
}

/// What is to be done for one source, and where links are still followed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) job: Job,
    /// The directory that the source is in, or is; none for a file that may be behind a link itself.
    pub(crate) source: Option<PathBuf>,
    /// The directory that the copy will be in.
    pub(crate) target: PathBuf,
    /// Whether it is made if need be.
    pub(crate) makes_target: bool,
}

/// The plan for one source.
pub(crate) fn plan(source: &End<'_>, target: &End<'_>, rules: Rules) -> Result<Plan, CopyError> {
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
    let is_into = (there.as_ref()).is_some_and(|there| there.kind == FileKind::Directory);
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
    let is_inside = is_directory
        && match rules.is_one_side {
            true => is_inside(source, &to)?,
            false => is_seen_inside(source, target.side, &to)?,
        };
    if is_inside {
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

/// The deepest directory above a path, or the path itself, that is there.
fn deepest<'p>(side: &dyn Side, path: &'p Path) -> Result<&'p Path, CopyError> {
    let mut known = path;
    while side.look(known, true)?.is_none() {
        known = match known.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    Ok(known)
}

/// Whether `to`, which need not exist, is in a directory or is it.
fn is_inside(source: &End<'_>, to: &Path) -> Result<bool, CopyError> {
    let directory = source.side.real_path(source.path)?;
    let known = deepest(source.side, to)?;
    let rest = to.strip_prefix(known).unwrap_or(Path::new("")).to_owned();
    let real: PathBuf = source.side.real_path(known)?.join(rest);
    Ok(real.starts_with(directory))
}

/// Whether `to`, which need not exist, is in a directory of another side, or is it, since both sides
/// are of one machine. A directory above `to` is a candidate if both sides tell the same of it; what
/// proves it is that a name which we make there is seen by the source.
fn is_seen_inside(source: &End<'_>, target: &dyn Side, to: &Path) -> Result<bool, CopyError> {
    let Some(id) = source.look(true)?.and_then(|found| found.id) else {
        return Ok(false);
    };
    let real = target.real_path(deepest(target, to)?)?;
    for above in real.ancestors() {
        let found = target.look(above, true)?;
        if found.and_then(|found| found.id).as_ref() != Some(&id) {
            continue;
        }
        let drawn = PartNames::of(&real.join("probe"), "", &NOTHING).draw();
        let probe = drawn.map_err(|error| CopyError::system(target.name(&real), &error))?;
        // To what is there, since servers tell nothing of a link that leads nowhere. What cannot be
        // written to takes no copy either.
        if target.make_link(Path::new("."), &probe).is_err() {
            return Ok(false);
        }
        let below = probe.strip_prefix(above).unwrap_or(&probe);
        let seen = source.side.look(&source.path.join(below), false);
        target.remove(&probe)?;
        return Ok(seen?.is_some());
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    //! Where files go, on a real file system.

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cli::cp::local_fs::LocalFs;

    /// A directory with a file, a directory, and links to both and to nothing.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let base = format!("exec-server-plan-{name}-{}", std::process::id());
            let base = std::env::temp_dir().join(base);
            let _ = fs::remove_dir_all(&base);
            fs::create_dir_all(base.join("dir/sub")).unwrap();
            fs::write(base.join("file"), "f").unwrap();
            fs::create_dir(base.join("empty")).unwrap();
            symlink("file", base.join("to-file")).unwrap();
            symlink("dir", base.join("to-dir")).unwrap();
            Self(base.canonicalize().unwrap())
        }

        fn plan(&self, from: &str, to: &str, is_recursive: bool) -> Result<Plan, String> {
            let rules = Rules {
                is_recursive,
                is_one_of_many: false,
                is_one_side: true,
            };
            self.plan_by(from, to, rules)
        }

        fn plan_by(&self, from: &str, to: &str, rules: Rules) -> Result<Plan, String> {
            // Not `join`, which would take a slash at the end for nothing.
            let path = |name: &str| PathBuf::from(format!("{}/{name}", self.0.display()));
            let (from, to) = (path(from), path(to));
            let here = LocalFs::named();
            let end = |path| End { side: &here, path };
            let planned = plan(&end(&from), &end(&to), rules);
            planned.map_err(|error| error.to_string())
        }

        /// Where it goes, below the base.
        fn to(&self, from: &str, to: &str, is_recursive: bool) -> Result<String, String> {
            let job = self.plan(from, to, is_recursive)?.job;
            let below = job.to.strip_prefix(&self.0).unwrap();
            Ok(below.to_str().unwrap().to_owned())
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn names_are_kept_in_a_directory_and_given_otherwise() {
        let tree = Tree::new("names");
        for (from, to, is_recursive, expected) in [
            ("file", "new", false, "new"),
            ("file", "empty", false, "empty/file"),
            ("file", "empty/", false, "empty/file"),
            ("to-file", "new", false, "new"),
            ("dir", "empty", true, "empty/dir"),
            ("dir", "new", true, "new"),
            ("dir", "new/", true, "new"),
            ("dir/", "empty", true, "empty/dir"),
            ("dir/.", "empty", true, "empty"),
            ("dir/sub/..", "empty", true, "empty"),
            ("file", "to-dir", false, "to-dir/file"),
        ] {
            let to = tree.to(from, to, is_recursive);
            assert_eq!(to.as_deref(), Ok(expected), "{from}");
        }
    }

    #[test]
    fn a_link_is_itself_only_with_r_and_without_a_slash() {
        let tree = Tree::new("links");
        let kind = |from, is_recursive| tree.plan(from, "new", is_recursive).unwrap().job.kind;
        assert_eq!(kind("to-file", false), FileKind::Regular);
        assert_eq!(kind("to-file", true), FileKind::Symlink);
        assert_eq!(kind("to-dir", true), FileKind::Symlink);
        assert_eq!(kind("to-dir/", true), FileKind::Directory);
    }

    #[test]
    fn a_file_behind_a_link_is_replaced_and_not_the_link() {
        let tree = Tree::new("behind");
        assert_eq!(
            tree.to("dir/../file", "to-file", false).as_deref(),
            Ok("file")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let tree = Tree::new("refused");
        for (from, to, is_recursive, why) in [
            ("gone", "new", false, "gone: No such file or directory"),
            ("dir", "new", false, "dir: a directory; use -r to copy it"),
            ("file", "new/", false, "new/: no such directory"),
            ("file", "file/", false, "Not a directory"),
            (
                "dir",
                "file",
                true,
                "file: not a directory, and the source is one",
            ),
            ("dir", "dir", true, "dir/dir is inside it"),
            ("dir", "dir/sub/new", true, "dir/sub/new is inside it"),
        ] {
            let error = tree.plan(from, to, is_recursive).unwrap_err();
            assert!(error.ends_with(why), "{from} to {to}: {error}");
        }
        fs::create_dir_all(tree.0.join("empty/file")).unwrap();
        let error = tree.plan("file", "empty", false).unwrap_err();
        assert!(
            error.ends_with("a directory, and the source is none"),
            "{error}"
        );
    }

    #[test]
    fn several_sources_need_a_directory() {
        let tree = Tree::new("many");
        let rules = Rules {
            is_recursive: false,
            is_one_of_many: true,
            is_one_side: true,
        };
        let error = tree.plan_by("file", "new", rules).unwrap_err();
        assert!(error.ends_with("new: not a directory"), "{error}");
        assert!(tree.plan_by("file", "empty", rules).is_ok());
    }

    #[test]
    fn a_device_is_written_as_it_is() {
        let source = std::env::current_exe().unwrap();
        let rules = Rules {
            is_recursive: false,
            is_one_of_many: false,
            is_one_side: false,
        };
        let here = LocalFs::named();
        let end = |path| End { side: &here, path };
        let planned = plan(&end(&source), &end(Path::new("/dev/null")), rules).unwrap();
        assert!(planned.job.in_place);
    }

    #[test]
    fn links_are_followed_as_far_as_was_named() {
        let tree = Tree::new("bases");
        for (from, to, is_recursive, source, target) in [
            ("dir", "new", true, Some(""), ""),
            ("dir/", "new/", true, Some("dir/"), ""),
            ("dir/.", "empty", true, Some("dir/."), "empty"),
            ("to-dir/", "empty", true, Some("to-dir/"), "empty"),
            ("to-dir", "dir/new", true, Some(""), "dir"),
            ("to-file", "empty", false, None, "empty"),
            ("file", "to-file", true, Some(""), ""),
        ] {
            let planned = tree.plan(from, to, is_recursive).unwrap();
            let base = |path: &str| tree.0.join(path);
            assert_eq!(planned.source, source.map(base), "{from}");
            assert_eq!(planned.target, base(target), "{from} to {to}");
        }
    }
}

//! From the words of a client to rules about canonical paths, and where a path leads, with every symbolic link on the way.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::PolicyError;
use super::glob::Globs;
use super::glob::{self, Glob, Shape};
use super::inputs::{PolicyInputs, Seen};
use super::wire::{Entry, FileSystem, Profile, Sandbox, Special, Switch, Target, Wanted};
use super::{
    Access, Context, Enforcement, MAX_POLICY, Network, Origin, Policy, Rule, Rules, Waivers,
    metadata,
};
use crate::rpc::path_uri::{PathStyle, resolve_dots};
use crate::sys::file::FileType;

/// What any program needs to run, where it exists: programs, their libraries, and the configuration of the system.
const PLATFORM: [&str; 8] = [
    "/bin",
    "/sbin",
    "/usr",
    "/etc",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/current-system/sw",
];

impl Policy {
    /// Reads the `sandbox` of a request.
    ///
    /// # Errors
    /// The JSON is too long or malformed, an entry needs a `cwd` and there is none, or a permission leads through a link that the
    /// policy lets a program replace.
    pub fn parse(json: &str, context: &Context<'_>) -> Result<Self, PolicyError> {
        Ok(Self::parse_with_evidence(json, context)?.0)
    }

    /// The same, with what it was read from besides the JSON and the context.
    ///
    /// # Errors
    /// As for [`Policy::parse`].
    pub fn parse_with_evidence(
        json: &str,
        context: &Context<'_>,
    ) -> Result<(Self, PolicyInputs), PolicyError> {
        if json.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge(json.len()));
        }
        let sandbox: Sandbox<'_> = serde_json::from_str(json).map_err(PolicyError::Malformed)?;
        let profile = Profile::parse(sandbox.permissions.get()).map_err(PolicyError::Malformed)?;
        let cwd = sandbox.cwd.as_ref().map(|cwd| cwd.0.path.as_path());
        let project_roots = match &sandbox.workspace_roots {
            Some(roots) => roots.iter().map(|root| root.0.path.clone()).collect(),
            // The older generation has no other word for the roots of the project than its cwd.
            None => match &sandbox.cwd {
                Some(cwd) if cwd.is_native() => vec![cwd.0.path.clone()],
                _ => Vec::new(),
            },
        };
        let mut inputs = PolicyInputs::default();
        let policy = resolve(profile, cwd, &project_roots, context, &mut inputs)?;
        let policy = Self {
            waivers: sandbox.accept_weaker,
            ..policy
        };
        Ok((policy, inputs))
    }

    /// Reads the profile of a 0.130 client's helper, whose project is the directory `cwd`.
    ///
    /// # Errors
    /// As for [`Policy::parse`].
    pub fn parse_profile(
        json: &str,
        cwd: &Path,
        context: &Context<'_>,
    ) -> Result<Self, PolicyError> {
        let profile = Profile::parse(json).map_err(PolicyError::Malformed)?;
        let cwd = resolve_dots(cwd.as_os_str().as_encoded_bytes());
        let roots = std::slice::from_ref(&cwd);
        resolve(
            profile,
            Some(&cwd),
            roots,
            context,
            &mut PolicyInputs::default(),
        )
    }
}

fn resolve(
    profile: Profile,
    cwd: Option<&Path>,
    project_roots: &[PathBuf],
    context: &Context<'_>,
    inputs: &mut PolicyInputs,
) -> Result<Policy, PolicyError> {
    let whole = |enforcement, network| Policy {
        enforcement,
        network,
        confines_files: false,
        rules: Rules::default(),
        globs: Globs::default(),
        scan_depth: None,
        weaker: Vec::new(),
        waivers: Waivers::default(),
    };
    let (files, network) = match profile {
        Profile::Disabled => return Ok(whole(Enforcement::Disabled, Network::Enabled)),
        Profile::External(network) => return Ok(whole(Enforcement::External, network.into())),
        Profile::Managed(files, network) => (files, network.into()),
    };
    let FileSystem::Restricted {
        entries,
        glob_scan_max_depth,
    } = files
    else {
        return Ok(whole(Enforcement::Managed, network));
    };
    let mut collected = Collected {
        cwd,
        project_roots,
        context,
        inputs,
        found: Vec::new(),
        globs: Vec::new(),
    };
    for entry in entries {
        collected.add(entry)?;
    }
    let mut policy = Policy {
        enforcement: Enforcement::Managed,
        network,
        confines_files: true,
        rules: merged(&collected.found),
        globs: collected.globs.into(),
        scan_depth: glob_scan_max_depth.map(std::num::NonZeroU32::get),
        weaker: Vec::new(),
        waivers: Waivers::default(),
    };
    policy.drop_denied();
    if !policy.has_full_write() {
        metadata::protect(&mut policy, collected.inputs)?;
    }
    check_links(&mut policy, &collected.found)?;
    Ok(policy)
}

/// A rule as it was found, with the links on the way.
struct Found {
    written: PathBuf,
    place: ResolvedPath,
    access: Access,
}

/// What entries say, one after the other.
struct Collected<'a> {
    cwd: Option<&'a Path>,
    project_roots: &'a [PathBuf],
    context: &'a Context<'a>,
    inputs: &'a mut PolicyInputs,
    found: Vec<Found>,
    globs: Vec<Glob>,
}

impl Collected<'_> {
    fn add(&mut self, entry: Entry) -> Result<(), PolicyError> {
        let access = match entry.access {
            Wanted::Read => Access::Read,
            Wanted::Write => Access::Write,
            Wanted::Deny => Access::Deny,
        };
        let root = Path::new("/");
        let names_root = match &entry.path {
            Target::Path { path } => path.0.path == root,
            Target::Special { value } => matches!(value, Special::Root),
            Target::GlobPattern { .. } => false,
        };
        let before = self.found.len();
        match entry.path {
            Target::Path { path } => self.path(path.0.path, access)?,
            // A pattern can only take away.
            Target::GlobPattern { .. } if access != Access::Deny => {}
            Target::GlobPattern { pattern } => self.pattern(&pattern)?,
            Target::Special { value } => self.special(&value, access)?,
        }
        // A workspace that happens to be the whole machine would confine nothing, which nobody has asked for.
        let is_whole = |one: &&Found| one.access == Access::Write && one.place.path == root;
        match self.found[before..].iter().find(is_whole) {
            Some(whole) if !names_root => Err(PolicyError::WholeMachine {
                path: whole.written.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn path(&mut self, written: PathBuf, access: Access) -> Result<(), PolicyError> {
        let place = find(&written, self.inputs)?;
        self.found.push(Found {
            written,
            place,
            access,
        });
        Ok(())
    }

    fn pattern(&mut self, pattern: &str) -> Result<(), PolicyError> {
        let absolute = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            let cwd = self.cwd_for(|| format!("`{pattern}`"))?;
            // A pattern is text; a directory whose name is not cannot be written in one.
            let cwd = cwd.to_str().ok_or(PolicyError::Pattern {
                pattern: pattern.to_owned(),
                fault: "it is relative, and cwd is not UTF-8; write it from the root on",
            })?;
            format!("{}/{pattern}", glob::escape(cwd))
        };
        let shapes = glob::parse(&absolute).map_err(|fault| PolicyError::Pattern {
            pattern: pattern.to_owned(),
            fault,
        })?;
        for shape in shapes {
            match shape {
                Shape::Plain(path) => self.path(path, Access::Deny)?,
                Shape::Wild(mut glob) => {
                    glob.base = find(&glob.base, self.inputs)?.path;
                    self.globs.push(glob);
                }
            }
        }
        Ok(())
    }

    fn special(&mut self, special: &Special, access: Access) -> Result<(), PolicyError> {
        match special {
            Special::Root => self.path("/".into(), access),
            Special::Minimal => {
                PLATFORM
                    .iter()
                    .try_for_each(|path| match self.kind(Path::new(path))? {
                        Some(_) => self.path(path.into(), access.min(Access::Read)),
                        None => Ok(()),
                    })
            }
            Special::CurrentWorkingDirectory => {
                let cwd = self.cwd_for(|| "`current_working_directory`".to_owned())?;
                // Where a process starts is the choice of whoever starts it, and must not decide what it may write.
                let is_own = self.cwd.is_some();
                let cwd = cwd.to_owned();
                let access = if is_own {
                    access
                } else {
                    access.min(Access::Read)
                };
                self.path(cwd, access)
            }
            Special::ProjectRoots { subpath } => {
                self.cwd_for(|| "`project_roots`".to_owned())?;
                let subpath = subpath.as_ref().map(|subpath| subpath.0.as_path());
                let roots = self.project_roots;
                roots.iter().try_for_each(|root| match subpath {
                    Some(subpath) if subpath != Path::new("") => {
                        self.path(root.join(subpath), access)
                    }
                    _ => self.path(root.clone(), access),
                })
            }
            Special::Tmpdir => match self.context.tmpdir {
                Some(path) if path.is_absolute() => {
                    self.path(resolve_dots(path.as_os_str().as_encoded_bytes()), access)
                }
                _ => Ok(()),
            },
            Special::SlashTmp => match self.kind(Path::new("/tmp"))? {
                Some(FileType::Directory) => self.path("/tmp".into(), access),
                _ => Ok(()),
            },
            Special::Unknown {} => Ok(()),
        }
    }

    /// What kind of thing a path leads to.
    fn kind(&mut self, path: &Path) -> Result<Option<FileType>, PolicyError> {
        let place = find(path, self.inputs)?;
        Ok(self.inputs.kind(&place.path))
    }

    /// The directory that an entry is relative to.
    fn cwd_for(&self, entry: impl Fn() -> String) -> Result<&Path, PolicyError> {
        self.cwd
            .or(self.context.process_cwd)
            .ok_or_else(|| PolicyError::NoCwd {
                entry: entry(),
                is_native: self.context.style == PathStyle::Native,
            })
    }
}

pub(crate) fn find(path: &Path, inputs: &mut PolicyInputs) -> Result<ResolvedPath, PolicyError> {
    ResolvedPath::find_by(path, inputs).map_err(|error| PolicyError::Links {
        path: path.to_owned(),
        error,
    })
}

/// One rule a path.
fn merged(found: &[Found]) -> Rules {
    let mut rules = Rules::default();
    for one in found {
        rules.add(Rule {
            path: one.place.path.clone(),
            links: one.place.links.clone(),
            access: one.access,
            origin: Origin::Asked,
        });
    }
    rules
}

/// A link that a program can replace must not decide where a permission leads, the next time.
fn check_links(policy: &mut Policy, found: &[Found]) -> Result<(), PolicyError> {
    for one in found {
        let Some(link) = replaceable(policy, &one.place) else {
            continue;
        };
        let target = &one.place.path;
        let around = target
            .parent()
            .map_or(Access::Write, |parent| policy.access(parent));
        if one.access >= Access::Read && one.access > around {
            return Err(PolicyError::Redirected {
                path: one.written.clone(),
                link: link.path.clone(),
                target: target.clone(),
            });
        }
        if one.access < Access::Write {
            let note = name_is_open(&one.written, &link.path, target);
            policy.weaker.push(note);
        }
    }
    Ok(())
}

/// The first link on the way to a place that lies where a program may write.
pub(crate) fn replaceable<'a>(policy: &Policy, place: &'a ResolvedPath) -> Option<&'a Link> {
    place.links.iter().find(|link| {
        let directory = link.path.parent().unwrap_or(&link.path);
        policy.access(directory) == Access::Write
    })
}

pub(crate) fn name_is_open(written: &Path, link: &Path, target: &Path) -> String {
    format!(
        "{}: the target {} is protected, but a program can replace the symbolic link {}",
        written.display(),
        target.display(),
        link.display()
    )
}

impl From<Switch> for Network {
    fn from(switch: Switch) -> Self {
        match switch {
            Switch::Restricted => Self::Restricted,
            Switch::Enabled => Self::Enabled,
        }
    }
}

/// Links followed for one path, as the kernel's limit has it.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPath {
    /// Canonical as far as it exists; what is missing is added as it was written.
    pub path: PathBuf,
    /// The links that were followed.
    pub links: Vec<Link>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Where it is: canonical.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

impl ResolvedPath {
    /// Follows an absolute path.
    ///
    /// # Errors
    /// Only if links lead in circles. What cannot be looked at counts as missing.
    pub fn find(path: &Path) -> io::Result<Self> {
        Self::find_by(path, &mut PolicyInputs::default())
    }

    /// The same by what has been seen, which is added to.
    fn find_by(path: &Path, inputs: &mut PolicyInputs) -> io::Result<Self> {
        Self::find_with(path, |path| inputs.look(path))
    }

    /// The same by what `look` says of each path on the way.
    pub(crate) fn find_with(path: &Path, mut look: impl FnMut(&Path) -> Seen) -> io::Result<Self> {
        let mut ahead: VecDeque<OsString> = names(path);
        let mut here = PathBuf::from("/");
        let mut links = Vec::new();
        let mut is_missing = false;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            here.push(&name);
            // What the links there lead to is of whoever follows them: of us, and not of whom the policy is for.
            if is_missing || here.starts_with("/proc") {
                continue;
            }
            match look(&here) {
                Seen::Link(target) => {
                    if links.len() == MAX_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    links.push(Link {
                        path: here.clone(),
                        target: target.clone(),
                    });
                    here.pop();
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                Seen::Something(..) => {}
                Seen::Nothing => is_missing = true,
            }
        }
        Ok(Self { path: here, links })
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use crate::sandbox::scratch::Scratch;

    #[test]
    fn links_of_processes_are_not_followed() {
        let scratch = Scratch::new("place-proc");
        let link = scratch.path().join("link");
        symlink("/proc/self/cwd", &link).unwrap();
        for (path, expected) in [
            ("/proc/self/fd/0", "/proc/self/fd/0"),
            ("/proc/self/cwd/../x", "/proc/self/x"),
            (link.to_str().unwrap(), "/proc/self/cwd"),
            ("/procedure", "/procedure"),
        ] {
            let found = ResolvedPath::find(Path::new(path)).unwrap();
            assert_eq!(found.path, Path::new(expected));
        }
    }

    #[test]
    fn links_are_followed_and_remembered() {
        let scratch = Scratch::new("place");
        let root = scratch.path();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        symlink("real", root.join("one")).unwrap();
        symlink(root.join("one/../one"), root.join("two")).unwrap();
        let found = ResolvedPath::find(&root.join("two/sub/missing/x")).unwrap();
        assert_eq!(found.path, root.join("real/sub/missing/x"));
        let links: Vec<_> = found.links.iter().map(|link| &link.path).collect();
        assert_eq!(
            links,
            [&root.join("two"), &root.join("one"), &root.join("one")]
        );
    }

    #[test]
    fn a_dangling_link_leads_to_its_target() {
        let scratch = Scratch::new("dangling");
        let root = scratch.path();
        symlink("nowhere/x", root.join("link")).unwrap();
        let found = ResolvedPath::find(&root.join("link")).unwrap();
        assert_eq!(found.path, root.join("nowhere/x"));
        let link = Link {
            path: root.join("link"),
            target: "nowhere/x".into(),
        };
        assert_eq!(found.links, [link]);
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let scratch = Scratch::new("circle");
        let root = scratch.path();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let error = ResolvedPath::find(&root.join("a/x")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}

//! From rules to mounts. What is mounted is held, so that it stays the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::list::MountList;
use super::scan::Scan;
use super::{Action, Cancel, Mask, MaskKind, Mount, MountPlan, PlanError};
use crate::sandbox::journal::{Journal, MountPoint, PointKind};
use crate::sandbox::policy::{Access, Link, PROTECTED, Policy, ResolvedPath};
use crate::sys::file::{self, FileType, Identity, Status};
use crate::sys::process::user_id;

impl MountPlan {
    /// Plans a sandbox for a command that is to start in `cwd`.
    ///
    /// # Errors
    /// Something has changed since the policy was read, cannot be protected as asked, or nobody wants it any more.
    pub fn build(
        policy: &Policy,
        cwd: &Path,
        journal: &Journal,
        cancel: Cancel<'_>,
    ) -> Result<Self, PlanError> {
        let mut weaker = policy.weaker().to_vec();
        let cgroups = MountList::shared().cgroups().map_err(PlanError::List)?;
        let steps = steps(policy, &cgroups, journal, &mut weaker, cancel)?;
        let wanted = missing(policy, &steps);
        let existing: Vec<PathBuf> = steps
            .iter()
            .filter(|step| !step.is_match && step.is_there() && step.protects())
            // None of them is a mount point of ours, though it may look like one.
            .filter(|step| !is_within(&step.path, &cgroups))
            .map(|step| step.path.clone())
            .collect();
        let claim = journal
            .claim(&wanted, &existing)
            .map_err(|(path, error)| PlanError::MountPoint(path, error))?;
        if let (Some(fault), false) = (journal.why_not(), wanted.is_empty()) {
            weaker.push(format!(
                "mount points are not noted down, and stay if the server is killed: {fault}"
            ));
        }
        let mut draft = Draft {
            policy,
            mounts: Vec::new(),
            masks: Vec::new(),
            seals: Vec::new(),
            links: BTreeSet::new(),
            held: BTreeSet::new(),
            cgroups: &cgroups,
        };
        draft.base()?;
        let made: HashMap<&Path, Identity> = claim.points().collect();
        let mut steps = steps;
        for step in &mut steps {
            step.show_nothing_of(&made);
        }
        for point in wanted {
            // What could not be made, no program can make either.
            let Some(identity) = made.get(point.path.as_path()).copied() else {
                continue;
            };
            let source = Source::open(&point.path)?
                .filter(|source| source.status.identity == identity)
                .ok_or_else(|| PlanError::Changed(point.path.clone()))?;
            let mut step = Step {
                path: point.path,
                access: Access::Read,
                around: Access::Write,
                is_match: false,
                links: Vec::new(),
                there: There::Held(source),
            };
            step.show_nothing_of(&made);
            steps.push(step);
        }
        steps.sort_by_cached_key(|step| step.path.iter().count());
        let open: BTreeSet<PathBuf> = steps
            .iter()
            .filter(|step| step.access >= Access::Read && step.is_there())
            .map(|step| step.path.clone())
            .collect();
        for step in steps {
            draft.add(step, &open)?;
        }
        let cwd = draft.start(cwd);
        Ok(Self {
            masks: std::mem::take(&mut draft.masks),
            mounts: draft.finish(),
            network: policy.network(),
            cwd,
            weaker,
            claim,
        })
    }
}

/// A rule, and what it is about.
struct Step {
    path: PathBuf,
    access: Access,
    /// What holds right around it.
    around: Access,
    /// Whether a pattern has brought it, of which there may be thousands, or it is the journal.
    is_match: bool,
    links: Vec<Link>,
    there: There,
}

/// What is at the path of a step.
enum There {
    Nothing,
    /// What is denied is not mounted, so that it need not be held.
    Denied {
        is_directory: bool,
    },
    /// Our own mount point, of which nothing is to be seen: who could open it could lock it.
    EmptyDirectory,
    Held(Source),
}

impl Step {
    /// Whether it takes something away from a root that can be written.
    fn protects(&self) -> bool {
        self.access < Access::Write && self.around == Access::Write
    }

    fn is_there(&self) -> bool {
        !matches!(self.there, There::Nothing)
    }

    /// Shows an empty directory in the place of one that is only there to be mounted on.
    fn show_nothing_of(&mut self, made: &HashMap<&Path, Identity>) {
        if let There::Held(source) = &self.there
            && source.is_directory()
            && self.access == Access::Read
            && made.get(self.path.as_path()) == Some(&source.status.identity)
        {
            self.there = There::EmptyDirectory;
        }
    }
}

/// The rules below the root, what patterns match, the journal itself, which no program may see, what shows the
/// machine's processes besides `/proc`, and cgroups: whoever writes there lifts limits and kills, so nobody may.
fn steps(
    policy: &Policy,
    cgroups: &[PathBuf],
    journal: &Journal,
    weaker: &mut Vec<String>,
    cancel: Cancel<'_>,
) -> Result<Vec<Step>, PlanError> {
    let rules = policy.rules();
    let mut wishes: Vec<(PathBuf, Access, Vec<Link>)> = rules
        .map(|rule| {
            let access = match is_within(&rule.path, cgroups) {
                true => rule.access.min(Access::Read),
                false => rule.access,
            };
            (rule.path.clone(), access, rule.links.clone())
        })
        .collect();
    let is_ruled = |path: &PathBuf| policy.rules().any(|rule| rule.path == *path);
    for path in cgroups {
        if policy.access(path) == Access::Write && !is_ruled(path) {
            wishes.push((path.clone(), Access::Read, Vec::new()));
        }
    }
    let roots: BTreeSet<PathBuf> = policy.writable_roots().map(Path::to_owned).collect();
    let mut open_bases: HashMap<&Path, bool> = HashMap::new();
    for glob in policy.globs() {
        let base = glob.base.as_path();
        let is_open = open_bases
            .entry(base)
            .or_insert_with(|| policy.access(base) == Access::Write || has_below(&roots, base));
        if *is_open {
            weaker.push(format!(
                "`{}`: what matches and is made, or moved there, after the search for it is not denied",
                glob.pattern
            ));
        }
    }
    for path in MountList::shared().other_procs().map_err(PlanError::List)? {
        // A mount point that is hidden, or out of reach, is so for the program too.
        if Source::open(&path)?.is_some() {
            wishes.push((path, Access::Deny, Vec::new()));
        }
    }
    let scan = Scan::of(policy, cancel)?;
    let journal = journal.directory();
    let journal = journal.filter(|directory| policy.access(directory) >= Access::Read);
    let matches = scan.matches.iter().map(PathBuf::as_path).chain(journal);
    let matches = matches.map(|path| (path.to_owned(), Access::Deny, Vec::new(), true));
    let wishes = wishes.into_iter();
    let wishes = wishes.map(|(path, access, links)| (path, access, links, false));
    let mut ancestry = Ancestry::new(policy);
    let mut hard_links = HardLinks::default();
    let mut steps: Vec<Step> = Vec::new();
    for (path, access, links, is_match) in wishes.chain(matches) {
        cancel.check()?;
        if path == Path::new("/") || path == Path::new("/dev") {
            continue;
        }
        if path.starts_with("/proc") {
            weaker.push(format!(
                "{}: /proc in the sandbox is that of its own processes",
                path.display()
            ));
            continue;
        }
        let source = Source::open(&path)?;
        // A directory that was made there to be covered would be a cgroup, and nothing can be made there from inside.
        if source.is_none() && is_within(&path, cgroups) {
            continue;
        }
        if source.is_none() && access < Access::Write {
            check_entry(policy, &path)?;
        }
        let around = ancestry.of(&path);
        if access == Access::Deny && source.is_none() && around == Access::Read {
            weaker.push(format!(
                "{}: it is missing, and is not denied if it is made outside the sandbox",
                path.display()
            ));
        }
        let there = match source {
            None => There::Nothing,
            Some(source) if access == Access::Deny => {
                hard_links.add(&source);
                There::Denied {
                    is_directory: source.is_directory(),
                }
            }
            Some(source) => There::Held(source),
        };
        steps.push(Step {
            path,
            access,
            around,
            is_match,
            links,
            there,
        });
    }
    weaker.extend(hard_links.sentence());
    Ok(steps)
}

fn is_within(path: &Path, places: &[PathBuf]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// Refuses a path that cannot be told from a missing one, because a directory on the way cannot be entered, if a program
/// could change that: its owner is who we are.
fn check_entry(policy: &Policy, path: &Path) -> Result<(), PlanError> {
    let is_closed = |part: &&Path| {
        let found = part.symlink_metadata();
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    // The outermost that cannot be looked at lies in the directory that cannot be entered.
    let Some(directory) = path
        .ancestors()
        .filter(is_closed)
        .last()
        .and_then(Path::parent)
    else {
        return Ok(());
    };
    if policy.access(directory) == Access::Write && is_own(directory) {
        return Err(PlanError::Closed {
            directory: directory.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// The mount points for what is missing, and must not be made by a program: the first missing component of each path.
fn missing(policy: &Policy, steps: &[Step]) -> Vec<MountPoint> {
    let mut points: Vec<MountPoint> = Vec::new();
    let mut known = HashSet::new();
    for step in steps {
        if step.is_there() || step.access == Access::Write {
            continue;
        }
        let Some(path) = first_missing(&step.path) else {
            continue;
        };
        if around(policy, &path) != Access::Write || !known.insert(path.clone()) {
            continue;
        }
        let is_metadata = path == step.path
            && path
                .file_name()
                .is_some_and(|name| PROTECTED.iter().any(|one| name == *one));
        points.push(MountPoint {
            kind: if is_metadata {
                PointKind::Directory
            } else {
                PointKind::File
            },
            path,
        });
    }
    points
}

/// None if it cannot be told, because a directory on the way cannot be entered.
fn first_missing(path: &Path) -> Option<PathBuf> {
    let mut missing = None;
    for part in path.ancestors() {
        match part.symlink_metadata() {
            Ok(_) => return missing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing = Some(part.to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => missing = None,
            Err(_) => return None,
        }
    }
    missing
}

/// What holds right around a path.
fn around(policy: &Policy, path: &Path) -> Access {
    path.parent()
        .map_or(Access::None, |parent| policy.access(parent))
}

/// What holds right around paths, of which neighbours come one after the other.
struct Ancestry<'a> {
    policy: &'a Policy,
    last: Option<(PathBuf, Access)>,
}

impl<'a> Ancestry<'a> {
    fn new(policy: &'a Policy) -> Self {
        Self { policy, last: None }
    }

    fn of(&mut self, path: &Path) -> Access {
        match &self.last {
            Some((parent, access)) if path.parent() == Some(parent.as_path()) => *access,
            _ => {
                let access = around(self.policy, path);
                self.last = path.parent().map(|parent| (parent.to_owned(), access));
                access
            }
        }
    }
}

/// What covers something, if that is left to the first process inside: every file that is denied, of what patterns match
/// the directories in which nothing is to be seen, and mount points of our own.
fn mask(step: &Step, open: &BTreeSet<PathBuf>) -> Option<MaskKind> {
    match step.there {
        There::Denied {
            is_directory: false,
        } => Some(MaskKind::File),
        There::Denied { is_directory: true } => {
            (step.is_match && !has_below(open, &step.path)).then_some(MaskKind::Directory)
        }
        There::EmptyDirectory => Some(MaskKind::EmptyDirectory),
        There::Held(_) | There::Nothing => None,
    }
}

/// Whether one of the paths is the given one, or below it.
fn has_below(paths: &BTreeSet<PathBuf>, path: &Path) -> bool {
    let mut from = paths.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    from.next().is_some_and(|first| first.starts_with(path))
}

/// Files that are denied, and may have other names that are not.
#[derive(Default)]
struct HardLinks(BTreeMap<(u32, u32, u64), Linked>);

struct Linked {
    /// How many names the file has.
    names: u32,
    /// Those that are denied.
    denied: BTreeSet<PathBuf>,
}

impl HardLinks {
    fn add(&mut self, source: &Source) {
        let status = &source.status;
        if source.is_directory() || status.links < 2 {
            return;
        }
        let linked = self.0.entry(status.identity.numbers());
        let linked = linked.or_insert_with(|| Linked {
            names: status.links,
            denied: BTreeSet::new(),
        });
        linked.denied.insert(source.path.clone());
    }

    /// What cannot be had of them, with a few of their names.
    fn sentence(&self) -> Option<String> {
        let linked = self.0.values();
        let linked = linked.filter(|linked| linked.denied.len() < linked.names as usize);
        let linked: Vec<_> = linked
            .filter_map(|linked| linked.denied.first())
            .map(|path| path.display())
            .collect();
        let few: Vec<_> = linked.iter().take(3).map(ToString::to_string).collect();
        let more = match linked.len() - few.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!few.is_empty()).then(|| {
            format!(
                "{}{more}: other names of the same files (hard links) are not denied",
                few.join(", ")
            )
        })
    }
}

/// Mounts, as they are put together.
struct Draft<'a> {
    policy: &'a Policy,
    mounts: Vec<Mount>,
    masks: Vec<Mask>,
    seals: Vec<PathBuf>,
    links: BTreeSet<PathBuf>,
    /// Where something is mounted, so that it cannot be renamed.
    held: BTreeSet<PathBuf>,
    /// Where nothing may be written.
    cgroups: &'a [PathBuf],
}

impl Draft<'_> {
    fn push(&mut self, target: impl Into<PathBuf>, action: Action) {
        self.mounts.push(Mount {
            target: target.into(),
            action,
        });
    }

    fn base(&mut self) -> Result<(), PlanError> {
        let root = Path::new("/");
        let access = self.policy.access(root);
        if access >= Access::Read {
            let source = Source::open(root)?.ok_or_else(|| PlanError::Changed(root.into()))?;
            let writable = access == Access::Write;
            self.push(root, Action::Bind { source, writable });
        } else {
            self.push(root, Action::Empty { mode: 0o755 });
            self.seals.push(root.into());
        }
        self.held.extend([root.into(), "/dev".into()]);
        // Before the rules, so that they can put something of the host into it.
        self.push("/dev", Action::Devices);
        Ok(())
    }

    /// `open` are the paths that exist and can be seen.
    fn add(&mut self, step: Step, open: &BTreeSet<PathBuf>) -> Result<(), PlanError> {
        if !step.is_there() {
            return Ok(());
        }
        let kind = mask(&step, open);
        if step.protects() {
            self.hold_parents(&step.path, kind.is_some())?;
        }
        if let Some(kind) = kind {
            // Where nothing is shown there is nothing to cover.
            return match step.around >= Access::Read {
                true => self.mask(kind, &step.path),
                false => Ok(()),
            };
        }
        let source = match step.there {
            There::Held(source) => source,
            _ if step.around >= Access::Read => {
                self.deny(&step.path, open);
                return Ok(());
            }
            _ => return Ok(()),
        };
        for link in step.links {
            let is_visible = around(self.policy, &link.path) != Access::None;
            if !is_visible && self.links.insert(link.path.clone()) {
                let target = link.target;
                self.push(link.path, Action::Link { target });
            }
        }
        let is_new_in_devices = step.path.starts_with("/dev") && step.access == Access::Write;
        if step.access == step.around && !is_new_in_devices {
            return Ok(());
        }
        let writable = step.access == Access::Write;
        self.held.insert(step.path.clone());
        self.push(step.path, Action::Bind { source, writable });
        Ok(())
    }

    /// Mounts the directories above a protected path on themselves. A program could otherwise rename one of them, and put
    /// something of its own in the path's place; what is a mount point cannot be renamed.
    fn hold_parents(&mut self, path: &Path, by_masks: bool) -> Result<(), PlanError> {
        let parents = path.ancestors().skip(1);
        let loose: Vec<PathBuf> = parents
            .take_while(|parent| !self.held.contains(*parent))
            .map(Path::to_owned)
            .collect();
        for parent in loose.into_iter().rev() {
            if by_masks {
                self.mask(MaskKind::Itself, &parent)?;
                self.held.insert(parent);
                continue;
            }
            let source =
                Source::open(&parent)?.ok_or_else(|| PlanError::Changed(parent.clone()))?;
            self.held.insert(parent.clone());
            let writable = !is_within(&parent, self.cgroups);
            self.push(parent, Action::Bind { source, writable });
        }
        Ok(())
    }

    fn mask(&mut self, kind: MaskKind, path: &Path) -> Result<(), PlanError> {
        let c_path = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| PlanError::Source(path.to_owned(), error.into()))?;
        self.masks.push(Mask { kind, path: c_path });
        Ok(())
    }

    fn deny(&mut self, path: &Path, open: &BTreeSet<PathBuf>) {
        self.held.insert(path.to_owned());
        // To be walked through, but not listed, where something below it can be seen.
        let mode = if has_below(open, path) { 0o111 } else { 0o000 };
        self.push(path, Action::Empty { mode });
        self.seals.push(path.to_owned());
    }

    /// Where to start: as asked, or by the canonical path where the links to it may not exist inside. What the policy does
    /// not show cannot be entered.
    fn start(&self, cwd: &Path) -> PathBuf {
        let is_visible = |link: &Link| around(self.policy, &link.path) >= Access::Read;
        match ResolvedPath::find(cwd) {
            Ok(place) if !place.links.iter().all(is_visible) => place.path,
            _ => cwd.to_owned(),
        }
    }

    fn finish(mut self) -> Vec<Mount> {
        self.push("/proc", Action::Proc);
        for seal in std::mem::take(&mut self.seals).into_iter().rev() {
            self.push(seal, Action::Seal);
        }
        self.mounts
    }
}

/// Something of the host that is mounted.
#[derive(Debug)]
pub struct Source {
    /// Where it was found: canonical.
    pub path: PathBuf,
    /// Opened as a place only (`O_PATH`).
    pub fd: OwnedFd,
    /// What it is.
    pub(crate) status: Status,
}

impl Source {
    /// Opens what is at a canonical path. None if nothing is there, or nothing that we, and so a program, can reach.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, PlanError> {
        let failed = |error: io::Error| PlanError::Source(path.to_owned(), error);
        let fd = match file::locate_anything_without_links(path) {
            Ok(fd) => fd,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ELOOP) => Err(PlanError::Changed(path.to_owned())),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES) => Ok(None),
                    _ => Err(failed(error)),
                };
            }
        };
        let status = file::status_of(fd.as_fd()).map_err(failed)?;
        Ok(Some(Self {
            path: path.to_owned(),
            fd,
            status,
        }))
    }

    pub(crate) fn is_still_there(&self) -> bool {
        is_at(&self.path, self.status.identity)
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.status.kind == FileType::Directory
    }
}

/// Whether this very file is at a canonical path.
pub(crate) fn is_at(path: &Path, identity: Identity) -> bool {
    let found = Source::open(path);
    matches!(found, Ok(Some(found)) if found.status.identity == identity)
}

/// Whether something is there and ours, so that a program with our rights can change its mode.
pub(crate) fn is_own(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.is_ok_and(|found| found.uid() == user_id())
}

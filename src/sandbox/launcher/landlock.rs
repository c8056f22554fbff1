//! Policies as rules of Landlock, where there are no namespaces.
//!
//! Landlock allows and never takes away: what is allowed for a directory is allowed for all below it. A policy that says
//! less about something inside than about what is around it cannot be said in such rules, and is refused.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::refusal::{Refusal, Stage};
use crate::sandbox::policy::{LandlockRules, Origin, Policy, Waivers};
use crate::sys::file::{self, Kind};
use crate::sys::landlock::{self, Handled, Rules};

// LANDLOCK_ACCESS_FS_*, by the ABI that brought them.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Removing and making directories, files, links, sockets, pipes and devices.
const CHANGE_DIRECTORY: u64 = 0x1ff0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL, of ABI 6.
const SCOPES: u64 = 0b11;
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP, of ABI 4.
const TCP: u64 = 0b11;

const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
const WRITE: u64 = READ | WRITE_FILE | CHANGE_DIRECTORY | REFER | TRUNCATE | IOCTL_DEV;
/// What a rule about a file, not a directory, may allow.
const OF_FILES: u64 = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV;

/// Devices that any program expects to be able to write to. Not `/dev/pts`, which has the terminals of others too.
const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// How many paths are named that are not protected.
const MOST_NAMED: usize = 16;

/// Rules that a child enters, and what they leave open.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) rules: OwnedFd,
    pub(super) abi: u32,
    pub(super) weaker: Vec<String>,
}

/// Says a policy in rules, without what `waivers` give up if need be. `program` is what may be run besides, whatever the
/// policy says of it.
pub(super) fn domain(
    policy: &Policy,
    waivers: Waivers,
    has_network: bool,
    program: Option<BorrowedFd<'_>>,
) -> Result<Domain, Refusal> {
    let abi = landlock::abi().ok_or_else(|| {
        let hint = "Boot a kernel with Landlock (5.13) and `landlock` in its `lsm=` list";
        Refusal::new(Stage::Launcher, "the kernel has no Landlock", hint)
    })?;
    let trees = policy.as_landlock(waivers).map_err(|entry| {
        let hint = match entry.origin {
            Origin::Asked => "Leave the entry out of the policy, or let a bwrap enforce it",
            Origin::Metadata => {
                "Go without this protection by `--accept-weaker metadata` of `exec-server run` or of the server, or \
                 `acceptWeaker` in the request's `sandbox`"
            }
        };
        let mut refusal = Refusal::new(Stage::Policy, entry.to_string(), hint);
        refusal.path = Some(PathBuf::from(entry.entry));
        refusal
    })?;
    let rules = rules(&trees, abi, has_network, program)
        .map_err(|error| Refusal::new(Stage::Policy, "Landlock rules", "").because(&error))?;
    Ok(Domain {
        rules,
        abi,
        weaker: weaker(policy, &trees.given_up, abi),
    })
}

fn rules(
    trees: &LandlockRules,
    abi: u32,
    has_network: bool,
    program: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let handled = Handled {
        files: known_files(abi),
        network: if abi >= 4 && !has_network { TCP } else { 0 },
        scopes: if abi >= 6 { SCOPES } else { 0 },
    };
    let rules = Rules::new(&handled)?;
    for path in &trees.read {
        allow(&rules, path, READ & handled.files)?;
    }
    for path in &trees.write {
        allow(&rules, path, WRITE & handled.files)?;
    }
    if let Some(program) = program {
        rules.allow(program, (EXECUTE | READ_FILE) & handled.files)?;
    }
    for (place, access) in everybodys()? {
        rules.allow(place.as_fd(), access & handled.files)?;
    }
    Ok(rules.into_fd())
}

/// What every program may use besides, and how. Opened once: these are the same for every start, and one that is replaced
/// later is not allowed.
fn everybodys() -> io::Result<&'static [(OwnedFd, u64)]> {
    static PLACES: OnceLock<Vec<(OwnedFd, u64)>> = OnceLock::new();
    if let Some(places) = PLACES.get() {
        return Ok(places);
    }
    let of_device = READ_FILE | WRITE_FILE | IOCTL_DEV;
    let devices = DEVICES.map(|device| (device, of_device));
    // Its own processes are what a program looks for there; signals do not leave the domain, and foreign ones are not
    // shown more than to any user.
    let wanted = devices.into_iter().chain([("/proc", READ_FILE | READ_DIR)]);
    let mut places = Vec::new();
    for (path, access) in wanted {
        let place = locate(Path::new(path))?;
        places.extend(place.map(|place| (place, access)));
    }
    Ok(PLACES.get_or_init(|| places))
}

/// Opens what is to be allowed. What is missing cannot be, and need not be: it is denied like all that no rule names.
fn locate(path: &Path) -> io::Result<Option<OwnedFd>> {
    match file::locate_anything_without_links(path) {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn allow(rules: &Rules, path: &Path, access: u64) -> io::Result<()> {
    let Some(place) = locate(path)? else {
        return Ok(());
    };
    let access = if file::status_of(place.as_fd())?.kind == Kind::Directory {
        access
    } else {
        access & OF_FILES
    };
    rules.allow(place.as_fd(), access)
}

/// The accesses to files that a kernel knows.
fn known_files(abi: u32) -> u64 {
    let bits = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

fn weaker(policy: &Policy, given_up: &[PathBuf], abi: u32) -> Vec<String> {
    let mut weaker = policy.weaker().to_vec();
    weaker.extend(unprotected(given_up));
    let mut say = |sentence: &str| weaker.push(sentence.to_owned());
    say("processes of the host can be seen in /proc");
    say(
        "modes, owners, times and extended attributes of files can be changed wherever the user may",
    );
    say(
        "devices of the host, terminals of the same user among them, can be read where the policy lets /dev be read",
    );
    say("names and attributes of files that must not be read can be seen");
    if abi < 3 {
        say("files that must not be written can be truncated (Landlock ABI below 3)");
    }
    if abi < 5 {
        say("devices can be controlled wherever the user may (Landlock ABI below 5)");
    }
    if abi < 6 {
        say("signals can be sent to processes outside (Landlock ABI below 6)");
    }
    weaker
}

/// A sentence for each path that should have been protected and is not, up to a number of them.
fn unprotected(given_up: &[PathBuf]) -> Vec<String> {
    let (named, others) = given_up.split_at(given_up.len().min(MOST_NAMED));
    let name = |path: &PathBuf| {
        format!(
            "{} is not protected: it can be made and changed, as was accepted",
            path.display()
        )
    };
    let mut sentences: Vec<_> = named.iter().map(name).collect();
    if !others.is_empty() {
        let count = others.len();
        sentences.push(format!("{count} more such paths are not protected"));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_protected_is_named_up_to_a_number() {
        let paths: Vec<_> = (0..MOST_NAMED + 3)
            .map(|number| PathBuf::from(format!("/w/{number}/.git")))
            .collect();
        assert_eq!(unprotected(&paths[..2]).len(), 2);
        let sentences = unprotected(&paths);
        assert_eq!(sentences.len(), MOST_NAMED + 1);
        assert!(sentences[0].starts_with("/w/0/.git is not protected"));
        assert_eq!(sentences[MOST_NAMED], "3 more such paths are not protected");
    }

    #[test]
    fn a_kernel_is_asked_only_for_what_it_knows() {
        assert_eq!(known_files(1), (1 << 13) - 1);
        assert_eq!(known_files(2) & REFER, REFER);
        assert_eq!(known_files(2) & TRUNCATE, 0);
        assert_eq!(known_files(4), (1 << 15) - 1);
        assert_eq!(known_files(99) & IOCTL_DEV, IOCTL_DEV);
        assert_eq!(WRITE & !known_files(99), 0);
    }
}

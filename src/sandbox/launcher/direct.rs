//! Programs that start without a bwrap: free, behind a filter of system calls, or under Landlock.
//!
//! Landlock allows and never takes away: what is allowed for a directory is allowed for all below it. A policy that says
//! less about something inside than about what is around it cannot be said in such rules, and is refused.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::refusal::{Refusal, Rejected, Stage, refusal};
use super::start::{Failure, SpawnContext};
use super::{Launched, own_program};
use super::{LauncherKind, Level};
use crate::sandbox::domain::{DEVICE, Domain, LOOK, READ, WRITE};
use crate::sandbox::inside::Request;
use crate::sandbox::mounts::MountList;
use crate::sandbox::policy::{Network, Origin, PROTECTED, Policy, Waivers};
use crate::sandbox::seccomp;
use crate::sys::landlock::abi;
use crate::sys::spawn::{self, Launch, Program, Restrictions};

/// Starts a program whose files are not confined.
pub(crate) fn free(
    network: Network,
    request: &Request,
    context: &SpawnContext<'_>,
) -> Result<Launched, Failure> {
    let mut level = Level::none();
    if network == Network::Enabled {
        return direct(request, context, Restrictions::default(), level);
    }
    level.launcher = LauncherKind::Seccomp;
    level.seccomp = true;
    if context.cgroup.is_some() {
        let sentence = "the limits by cgroup can be lifted, as files are not confined";
        level.weaker.push(sentence.to_owned());
    }
    level
        .weaker
        .push("the network is denied by a filter of system calls only".to_owned());
    let abi = abi().unwrap_or(0);
    let domain = Domain::of_processes(abi, network);
    let rules = domain.map(|domain| domain.rules()).transpose();
    let rules = rules.map_err(|error| unable(&error))?;
    match rules {
        Some(_) => level.landlock_abi = abi,
        None => level.weaker.push(
            "other processes of the user can be made to use the network (no Landlock of ABI 2)"
                .to_owned(),
        ),
    }
    let restrictions = Restrictions {
        // With them it could have a process that has no filter do what is denied.
        drop_capabilities: true,
        no_new_privs: true,
        landlock: rules.as_ref().map(AsFd::as_fd),
        filter: Some(seccomp::filter_without_namespaces(Network::Restricted)),
    };
    direct(request, context, restrictions, level)
}

/// Starts a program under Landlock, without what `waivers` give up if need be; `rejected` are the launchers that would
/// have been better.
pub(crate) fn with_landlock(
    policy: &Policy,
    waivers: Waivers,
    request: &Request,
    context: &SpawnContext<'_>,
    rejected: &[Rejected],
) -> Result<Launched, Failure> {
    if context.cgroup.is_some() {
        protect_cgroups(policy).map_err(|why| refusal(rejected, Some(why)))?;
    }
    let ruleset = ruleset(policy, waivers).map_err(|why| refusal(rejected, Some(why)))?;
    let level = Level {
        launcher: LauncherKind::Landlock,
        version: None,
        namespaces: Vec::new(),
        landlock_abi: ruleset.abi,
        seccomp: true,
        weaker: ruleset.weaker,
    };
    let filter = seccomp::filter_under_landlock(policy.network());
    let restrictions = Restrictions {
        drop_capabilities: true,
        no_new_privs: true,
        landlock: Some(ruleset.rules.as_fd()),
        filter: Some(filter),
    };
    direct(request, context, restrictions, level)
}

/// Refuses a policy that lets cgroups be written: what is allowed of a tree, Landlock allows of all that is mounted in it.
fn protect_cgroups(policy: &Policy) -> Result<(), Refusal> {
    let cgroups = MountList::shared().cgroups().map_err(|error| {
        Refusal::new(Stage::Policy, "cannot read the list of mounts", "").because(&error)
    })?;
    let roots = || policy.writable_roots();
    let is_open = |cgroup: &&PathBuf| {
        roots().any(|root| cgroup.starts_with(root) || root.starts_with(cgroup))
    };
    let Some(cgroup) = cgroups.iter().find(is_open) else {
        return Ok(());
    };
    let what = format!(
        "Landlock cannot keep {} from being written, where a program could lift its limits",
        cgroup.display()
    );
    let hint = "Let the policy write less, ask for no limit by cgroup, or let a bwrap enforce it";
    let mut refusal = Refusal::new(Stage::Policy, what, hint);
    refusal.path = Some(cgroup.clone());
    Err(refusal)
}

fn direct(
    request: &Request,
    context: &SpawnContext<'_>,
    restrictions: Restrictions<'_>,
    level: Level,
) -> Result<Launched, Failure> {
    let Some(image) = &request.image else {
        return Err(Refusal::new(Stage::Start, "there is no program", "").into());
    };
    let [stdin, stdout, stderr] = context.standard.map(|fd| fd.unwrap_or(context.null));
    let launch = Launch {
        // In memory our own file is no file of the host, so no policy has to name it, and nobody can change it.
        program: match request.is_own_program {
            true => Program::Open(own_program()?),
            false => Program::Search(&image.program),
        },
        argv: &image.argv,
        env: &image.env,
        cwd: &image.cwd,
        stdin,
        stdout,
        stderr,
        has_terminal: request.has_terminal,
        limits: &image.limits,
        descriptors: &[],
        cgroup: context.cgroup,
        restrictions,
        guardian: context.guardian,
    };
    let leader = spawn::spawn(&launch).map_err(Failure::Program)?;
    Ok(Launched {
        leader,
        level,
        claim: None,
    })
}

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

/// What to do where the rules for metadata are all that Landlock cannot enforce.
const WITHOUT_METADATA: &str = "Go without this protection by `--accept-weaker metadata` of `exec-server run` or of \
     the server, or `acceptWeaker` in the request's `sandbox`";

/// Rules that a child enters, and what they leave open.
#[derive(Debug)]
pub(crate) struct Ruleset {
    pub(crate) rules: OwnedFd,
    pub(crate) abi: u32,
    pub(crate) weaker: Vec<String>,
}

/// Says a policy in rules, without what `waivers` give up if need be.
pub(crate) fn ruleset(policy: &Policy, waivers: Waivers) -> Result<Ruleset, Refusal> {
    let abi = abi().ok_or_else(|| {
        let hint = "Boot a kernel with Landlock (5.13) and `landlock` in its `lsm=` list";
        Refusal::new(Stage::Launcher, "the kernel has no Landlock", hint)
    })?;
    let trees = policy.as_landlock(waivers).map_err(|entry| {
        let hint = match entry.origin {
            Origin::Asked => "Leave the entry out of the policy, or let a bwrap enforce it",
            Origin::Metadata => WITHOUT_METADATA,
        };
        let mut refusal = Refusal::new(Stage::Policy, entry.to_string(), hint);
        refusal.path = Some(PathBuf::from(entry.entry));
        refusal
    })?;
    let mut domain = Domain::of_files(abi, policy.network());
    for path in &trees.read {
        domain.allow(path, READ);
    }
    for path in &trees.write {
        domain.allow(path, WRITE);
    }
    for device in DEVICES {
        domain.allow(Path::new(device), DEVICE);
    }
    // Its own processes are what a program looks for there; signals do not leave the domain, and foreign ones are not
    // shown more than to any user.
    domain.allow(Path::new("/proc"), LOOK);
    Ok(Ruleset {
        rules: domain.rules().map_err(|error| unable(&error))?,
        abi,
        weaker: weaker(policy, &trees.given_up, abi),
    })
}

/// Why a policy that lets a directory be written, and gives nothing up, is refused.
pub(crate) fn no_workspace() -> Refusal {
    let what = format!(
        "Landlock cannot protect {} in a directory that may be written",
        PROTECTED.join(", ")
    );
    Refusal::new(Stage::Policy, what, WITHOUT_METADATA)
}

/// The refusal where the kernel takes no rules.
pub(crate) fn unable(error: &io::Error) -> Refusal {
    Refusal::new(Stage::Policy, "Landlock rules", "").because(error)
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
    say(
        "names and attributes of files that must not be read can be seen, and changes of them be watched",
    );
    say(
        "files outside can be locked (flock) or closed by their mode, which may hold up programs that need them, starts of \
         the same user under a bwrap among them",
    );
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
}

//! Programs that start without a bwrap: free, behind a filter of system calls, or under Landlock.

use std::os::fd::AsFd;

use super::landlock;
use super::level::{Kind, Level};
use super::refusal::{Refusal, Rejected, Stage, refusal};
use super::start::Failure;
use super::surroundings::Surroundings;
use super::{Launched, OURS, own_file};
use crate::sandbox::inside::Request;
use crate::sandbox::policy::{Network, Policy, Waivers};
use crate::sandbox::seccomp;
use crate::sys::capabilities;
use crate::sys::enter::Image;
use crate::sys::spawn::{self, Launch, Program, Restrictions};

/// Starts a program whose files are not confined.
pub(super) fn free(
    network: Network,
    request: &Request,
    surroundings: &Surroundings<'_>,
) -> Result<Launched, Failure> {
    let mut level = Level::none();
    if network == Network::Enabled {
        return direct(request, surroundings, Restrictions::default(), level);
    }
    level.launcher = Kind::Seccomp;
    level.seccomp = true;
    level
        .weaker
        .push("the network is denied by a filter of system calls only".to_owned());
    if !capabilities::has_none().unwrap_or(false) {
        level
            .weaker
            .push("the capabilities of the server are kept".to_owned());
    }
    let restrictions = Restrictions {
        no_new_privs: true,
        filter: Some(seccomp::filter(Network::Restricted)),
        ..Restrictions::default()
    };
    direct(request, surroundings, restrictions, level)
}

/// Starts a program under Landlock, without what `waivers` give up if need be; `rejected` are the launchers that would
/// have been better.
pub(super) fn with_landlock(
    policy: &Policy,
    waivers: Waivers,
    request: &Request,
    surroundings: &Surroundings<'_>,
    rejected: &[Rejected],
) -> Result<Launched, Failure> {
    let has_network = policy.network() == Network::Enabled;
    // A helper of the server is no program of the client's, so no policy has to name it.
    let is_ours = |image: &Image| image.programs.iter().all(|path| **path == *OURS);
    let own = match request.image.as_ref().is_some_and(is_ours) {
        true => Some(own_file()?),
        false => None,
    };
    let domain = landlock::domain(policy, waivers, has_network, own)
        .map_err(|why| refusal(rejected, Some(why)))?;
    let level = Level {
        launcher: Kind::Landlock,
        version: None,
        namespaces: Vec::new(),
        landlock_abi: domain.abi,
        seccomp: true,
        weaker: domain.weaker,
    };
    let filter = seccomp::filter_without_namespaces(policy.network());
    let restrictions = Restrictions {
        drop_capabilities: true,
        no_new_privs: true,
        landlock: Some(domain.rules.as_fd()),
        filter: Some(filter),
    };
    direct(request, surroundings, restrictions, level)
}

fn direct(
    request: &Request,
    surroundings: &Surroundings<'_>,
    restrictions: Restrictions<'_>,
    level: Level,
) -> Result<Launched, Failure> {
    let Some(image) = &request.image else {
        return Err(Refusal::new(Stage::Start, "there is no program", "").into());
    };
    let [stdin, stdout, stderr] = surroundings.standard;
    let launch = Launch {
        program: Program::Paths(&image.programs),
        argv: &image.argv,
        env: &image.env,
        cwd: &image.cwd,
        stdin,
        stdout,
        stderr,
        has_terminal: request.has_terminal,
        limits: &image.limits,
        descriptors: &[],
        restrictions,
        guardian: surroundings.guardian,
    };
    let leader = spawn::spawn(&launch).map_err(Failure::Program)?;
    Ok(Launched {
        leader,
        level,
        claim: None,
    })
}

//! Programs that start without a bwrap: free, behind a filter of system calls, or under Landlock.

use std::os::fd::AsFd;

use super::context::SpawnContext;
use super::landlock;
use super::level::{LauncherKind, Level};
use super::refusal::{Refusal, Rejected, Stage, refusal};
use super::start::Failure;
use super::{Launched, own_program};
use crate::sandbox::domain::Domain;
use crate::sandbox::inside::Request;
use crate::sandbox::policy::{Network, Policy, Waivers};
use crate::sandbox::seccomp;
use crate::sys::landlock::abi;
use crate::sys::spawn::{self, Launch, Program, Restrictions};

/// Starts a program whose files are not confined.
pub(super) fn free(
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
    level
        .weaker
        .push("the network is denied by a filter of system calls only".to_owned());
    let abi = abi().unwrap_or(0);
    let domain = Domain::of_processes(abi, network);
    let rules = domain.map(|domain| domain.rules()).transpose();
    let rules = rules.map_err(|error| landlock::unable(&error))?;
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
pub(super) fn with_landlock(
    policy: &Policy,
    waivers: Waivers,
    request: &Request,
    context: &SpawnContext<'_>,
    rejected: &[Rejected],
) -> Result<Launched, Failure> {
    let ruleset = landlock::ruleset(policy, waivers).map_err(|why| refusal(rejected, Some(why)))?;
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
            false => Program::Paths(&image.programs),
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

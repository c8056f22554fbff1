//! Processes of the host, of the same user as the sandboxed one.

use std::fs;

use crate::support::sandbox::{SECRET, Sandbox};
use crate::support::{alive, signal};

/// What the kernel shows of a process that others could change.
fn state(pid: u32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let stat = read("stat");
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    // Priority, nice value and policy.
    let scheduling = [fields[15], fields[16], fields[38]];
    let status = read("status");
    let status: Vec<&str> = status
        .lines()
        .filter(|line| {
            [
                "State:",
                "Cpus_allowed:",
                "TracerPid:",
                "SigPnd:",
                "ShdPnd:",
            ]
            .iter()
            .any(|name| line.starts_with(name))
        })
        .collect();
    format!("{scheduling:?} {status:?} {}", read("limits"))
}

on_every_launcher! {
    fn no_process_outside_can_be_signalled(stage) {
        let victim = stage.outsider(&["sleep"]);
        let pid = victim.pid().to_string();
        let group = format!("-{pid}");
        for attempt in [
            &["kill", &pid, "9"][..], &["tgkill", &pid, "9"], &["sigqueue", &pid, "9"], &["pidfd-kill", &pid, "9"], &["kill", &group, "9"], &["kill", &pid, "0"],
        ] {
            for policy in [Sandbox::read_only(), Sandbox::read_only().online()] {
                stage.refuses(&policy, attempt);
            }
        }
        assert!(alive(victim.pid()));
        let server = stage.client.server_pid().to_string();
        stage.refuses(&Sandbox::read_only(), &["kill", &server, "15"]);
        stage.client.still_serves();
        stage.works_free(&["pidfd-kill", &pid, "9"]);
    }

    fn a_signal_to_all_reaches_nobody_outside(stage) {
        let victim = stage.outsider(&["sleep"]);
        signal(victim.pid(), "STOP");
        let stopped = || fs::read_to_string(format!("/proc/{}/stat", victim.pid())).unwrap().contains(") T ");
        crate::support::within(std::time::Duration::from_secs(5), "it stops", stopped);
        // CONT: it would be seen, and harms nobody else on this machine.
        stage.confined(&Sandbox::read_only(), &["kill", "-1", "18"]);
        assert!(stopped(), "the signal got out");
        stage.works_free(&["kill", &victim.pid().to_string(), "18"]);
    }

    fn no_process_outside_can_be_looked_into(stage) {
        let victim = stage.outsider(&["sleep"]);
        let pid = victim.pid().to_string();
        crate::support::within(std::time::Duration::from_secs(5), "it sleeps", || state(victim.pid()).contains("S (sleeping)"));
        assert!(stage.works_free(&["environ", &pid]).contains(SECRET));
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mapping = maps.lines().find(|line| line.contains(" r")).unwrap();
        let address = mapping.split('-').next().unwrap();
        for attempt in [
            &["ptrace", &pid][..], &["vm-read", &pid, address], &["vm-write", &pid, address], &["environ", &pid], &["open-memory", &pid],
            &["pidfd-getfd", &pid, "0"], &["kcmp", &pid], &["read-limits", &pid],
        ] {
            let outcome = stage.refuses(&Sandbox::read_only(), attempt);
            assert!(!outcome.stdout.contains(SECRET), "{outcome:?}");
        }
        for attempt in [&["read-limits", &pid][..], &["vm-read", &pid, address], &["pidfd-getfd", &pid, "0"], &["ptrace", &pid]] {
            stage.works_free(attempt);
        }
    }

    fn a_program_looks_into_its_own_processes_where_it_has_a_namespace_of_them(stage) {
        for policy in [Sandbox::read_only(), Sandbox::read_only().online()] {
            for call in ["ptrace", "vm-read", "vm-write"] {
                stage.works_free(&["of-child", call]);
                if stage.launcher == Launcher::Landlock {
                    stage.refuses(&policy, &["of-child", call]);
                } else {
                    stage.allows(&policy, &["of-child", call]);
                }
            }
        }
    }

    fn a_program_that_lets_its_parent_trace_it_runs_on(stage) {
        let start = stage.attempt(&["trace-me", "exit", "7"]).with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        if stage.launcher == Launcher::Landlock {
            assert!(outcome.stdout.starts_with("failed"), "{outcome:?}");
        } else {
            assert_eq!((outcome.code, &outcome.stdout[..]), (7, ""), "{outcome:?}");
        }
    }

    fn no_process_outside_can_be_governed(stage) {
        let victim = stage.outsider(&["sleep"]);
        let pid = victim.pid().to_string();
        crate::support::within(std::time::Duration::from_secs(5), "it sleeps", || state(victim.pid()).contains("S (sleeping)"));
        let before = state(victim.pid());
        for attempt in ["prlimit", "nice", "affinity", "scheduler", "ioprio"] {
            stage.refuses(&Sandbox::read_only(), &[attempt, &pid]);
        }
        assert_eq!(before, state(victim.pid()));
        for attempt in ["nice", "affinity", "ioprio", "scheduler", "prlimit"] {
            stage.works_free(&[attempt, &pid]);
        }
        assert_ne!(before, state(victim.pid()));
    }

    fn a_program_without_a_file_is_confined_all_the_same(stage) {
        let target = stage.path("outside/new");
        stage.works_free(&["exec-memfd", "write", &target]);
        fs::remove_file(&target).unwrap();
        stage.refuses(&Sandbox::read_only(), &["exec-memfd", "write", &target]);
        assert!(!std::path::Path::new(&target).exists());
    }

    fn variables_of_the_loader_free_nobody(stage) {
        let target = stage.path("outside/new");
        let start = stage.attempt(&["write", &target]).env("LD_PRELOAD", "/nowhere/evil.so").env("LD_LIBRARY_PATH", "/nowhere").with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        assert!(outcome.stdout.starts_with("failed"), "{outcome:?}");
        assert!(!std::path::Path::new(&target).exists());
    }
}

on_every_bwrap! {
    fn the_first_process_cannot_be_looked_into(stage) {
        for attempt in [
            // The access is judged before the address.
            &["ptrace", "1"][..], &["vm-read", "1", "10000"], &["vm-write", "1", "10000"], &["pidfd-getfd", "1", "0"],
        ] {
            let outcome = stage.refuses(&Sandbox::read_only(), attempt);
            assert!(outcome.stdout.contains("os error 1)"), "{attempt:?}: {outcome:?}");
        }
    }

    fn the_first_process_cannot_be_governed(stage) {
        for attempt in ["prlimit", "nice", "affinity", "scheduler", "ioprio"] {
            for policy in [Sandbox::read_only(), Sandbox::read_only().online()] {
                let outcome = stage.refuses(&policy, &[attempt, "1"]);
                assert!(outcome.stdout.contains("os error 1)"), "{attempt}: {outcome:?}");
            }
        }
        stage.allows(&Sandbox::read_only(), &["prlimit", "0"]);
    }

    fn no_process_outside_can_be_seen(stage) {
        let victim = stage.outsider(&["sleep"]);
        let pid = victim.pid();
        assert!(stage.works_free(&["pids"]).split(' ').any(|found| found == pid.to_string()));
        let seen = stage.allows(&Sandbox::read_only(), &["pids"]);
        // Its own numbers begin at 1 again; there are its first process and the program.
        let most = seen.split(' ').filter_map(|found| found.parse::<u32>().ok()).max();
        assert!(most.is_some_and(|most| most < 20), "{seen}");
    }
}

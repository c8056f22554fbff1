//! Calls that the filter keeps from every program inside.

use crate::support::sandbox::Sandbox;

on_every_launcher! {
    fn calls_that_exploits_need_are_refused(stage) {
        let for_root = ["bpf", "perf", "fanotify"];
        for attempt in for_root.into_iter().chain(["io-uring", "userfaultfd", "keyctl"]) {
            if stage.is_root() || !for_root.contains(&attempt) {
                stage.works_free(&[attempt]);
            }
            for policy in [Sandbox::read_only(), Sandbox::read_only().online()] {
                stage.refuses(&policy, &[attempt]);
            }
        }
    }

    fn calls_that_govern_the_machine_are_refused(stage) {
        // Without harm if it were let through: there is no such device.
        let outcome = stage.refuses(&Sandbox::read_only(), &["swapoff", "/nowhere"]);
        assert!(outcome.stdout.contains("os error 1)"), "{outcome:?}");
    }

    fn other_numbers_of_the_same_calls_are_refused(stage) {
        stage.works_free(&["unshare-user"]);
        if cfg!(target_arch = "x86_64") {
            for attempt in ["x32-unshare", "32-unshare", "32-socket"] {
                stage.refuses(&Sandbox::read_only(), &[attempt]);
            }
        }
    }

    fn no_privilege_is_left_and_none_can_come(stage) {
        let start = stage.child(&["status"]).with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        let field = |name: &str| {
            let line = outcome.stdout.lines().find(|line| line.starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in {outcome:?}")).split_whitespace().nth(1).unwrap().to_string()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            // Without a user namespace the bounding set can only be emptied by who may: root.
            if set != "CapBnd:" || stage.is_root() || stage.launcher != Launcher::Landlock {
                assert_eq!(field(set), "0000000000000000", "{set}");
            }
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        stage.refuses(&Sandbox::read_only(), &["raise-capabilities"]);
        stage.refuses(&Sandbox::read_only(), &["ambient"]);
    }
}

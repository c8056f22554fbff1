//! The terminal of a sandboxed program.

use crate::support::sandbox::Sandbox;

on_every_launcher! {
    fn nothing_can_be_typed_on_behalf_of_the_user(stage) {
        for attempt in [&["tiocsti"][..], &["tiocsti-high"], &["tioclinux"], &["tiocsti-on", "/dev/tty"], &["tiocsti-on", "/dev/pts/0"]] {
            let start = stage.attempt(attempt).tty().with("sandbox", Sandbox::read_only().json());
            let outcome = stage.client.run(start);
            let killed = outcome.signal.is_some() || outcome.code >= 128;
            assert!(outcome.pty.starts_with("failed") || killed, "{attempt:?}: {outcome:?}");
        }
        if stage.is_root() {
            let start = stage.attempt(&["tiocsti"]).tty();
            let outcome = stage.client.run(start);
            assert!(outcome.pty.contains("did"), "without a sandbox it works: {outcome:?}");
        }
    }

    fn a_terminal_keeps_its_line_discipline(stage) {
        for discipline in ["0", "27"] {
            let start = stage.attempt(&["tiocsetd", discipline]).tty();
            let outcome = stage.client.run(start.with("sandbox", Sandbox::read_only().json()));
            assert!(outcome.pty.starts_with("failed") && outcome.pty.contains("os error 1)"), "{outcome:?}");
        }
        let start = stage.attempt(&["tiocsetd", "0"]).tty();
        let outcome = stage.client.run(start);
        assert!(outcome.pty.starts_with("did"), "without a sandbox it works: {outcome:?}");
    }

    fn nothing_reaches_the_terminal_of_another(stage) {
        let start = stage.child(&["pid-then-sleep"]).tty();
        let other = start.id();
        stage.client.start(start);
        let pid = stage.client.number(&other);
        let terminal = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
        let terminal = terminal.to_str().unwrap();
        let magic = format!("/proc/{pid}/fd/0");
        for attempt in [["write", terminal], ["write", &magic], ["append", terminal], ["tiocsti-on", terminal]] {
            for policy in [Sandbox::read_only(), stage.policy()] {
                stage.refuses(&policy, &attempt);
                // With a terminal of its own, which may have the same name inside.
                let start = stage.attempt(&attempt).tty().with("sandbox", policy.json());
                stage.client.run(start);
            }
        }
        let shown = |stage: &mut Stage| String::from_utf8_lossy(stage.client.observed(&other).bytes("pty")).contains("changed");
        assert!(!shown(stage), "{} as {:?}", stage.launcher, stage.who);
        stage.works_free(&["write", terminal]);
        stage.client.output(&other, "pty", |text| text.contains("changed"));
    }

    fn the_terminal_is_the_controlling_one(stage) {
        let start = stage.attempt(&["open-terminal"]).tty().with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        assert!(outcome.pty.starts_with("did"), "{outcome:?}");
    }

    fn a_program_without_a_terminal_finds_none(stage) {
        stage.refuses(&Sandbox::read_only(), &["open-terminal"]);
    }
}

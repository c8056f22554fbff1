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

    fn the_terminal_is_the_controlling_one(stage) {
        let start = stage.attempt(&["open-terminal"]).tty().with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        assert!(outcome.pty.starts_with("did"), "{outcome:?}");
    }

    fn a_program_without_a_terminal_finds_none(stage) {
        stage.refuses(&Sandbox::read_only(), &["open-terminal"]);
    }
}

//! A terminal inside a sandbox is a terminal.

use super::read_only;
use crate::support::Start;

over_both! {
    fn a_confined_program_controls_its_terminal(client) {
        let outcome = client.run(Start::child("p", &["stat"]).tty().with("sandbox", read_only()));
        let stat = outcome.pty;
        let pid = stat.split(' ').next().unwrap();
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let (group, session, terminal, foreground) = (fields[2], fields[3], fields[4], fields[5]);
        assert_eq!((group, session, foreground), (pid, pid, pid));
        assert_ne!(terminal, "0");
    }

    fn the_name_of_the_terminal_can_be_opened(client) {
        let script = "echo through >/dev/tty && test -t 0 && echo yes";
        let outcome = client.run(Start::shell("p", script).tty().with("sandbox", read_only()));
        assert_eq!(outcome.pty, "through\r\nyes\r\n");
    }

    fn ctrl_c_reaches_the_program_and_not_its_sandbox(client) {
        let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do read x || :; done";
        client.start(Start::shell("p", script).tty().with("sandbox", read_only()));
        client.output("p", "pty", |text| text.contains("ready"));
        client.write("p", b"\x03", "1");
        client.write("p", b"\n", "2");
        let outcome = client.closed("p");
        assert_eq!(outcome.code, 9, "{}", outcome.pty);
        assert!(outcome.pty.contains("caught"), "{}", outcome.pty);
    }

    fn a_shell_inside_has_job_control(client) {
        let script = "set -m; sleep 100 & jobs %1 >/dev/null && kill %1 && echo yes";
        let outcome = client.run(Start::shell("p", script).tty().with("sandbox", read_only()));
        assert!(outcome.pty.contains("yes"), "{}", outcome.pty);
        assert!(!outcome.pty.contains("can't access tty"), "{}", outcome.pty);
    }
}

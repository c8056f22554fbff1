//! Processes on a terminal: one stream, a size, and the keys that mean something.

use std::process::Command;

use serde_json::json;

use crate::support::{Client, Need, Server, Start, params};

over_both! {
    fn all_three_streams_are_the_terminal(client) {
        let outcome = client.run(Start::child("p", &["terminal"]).tty());
        assert_eq!(outcome.pty, "true true true\r\n");
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }

    fn the_size_is_24_by_80_unless_given(client) {
        assert_eq!(client.run(Start::shell("plain", "stty size").tty()).pty, "24 80\r\n");
        let sized = Start::shell("sized", "stty size").tty().with("size", json!({"rows": 50, "cols": 132}));
        assert_eq!(client.run(sized).pty, "50 132\r\n");
    }

    fn the_size_can_change(client) {
        client.start(Start::shell("p", "stty -echo; echo ready; while read line; do stty size; done").tty());
        client.output("p", "pty", |text| text.ends_with("ready\r\n"));
        for (number, (rows, cols)) in [(30, 100), (1, 1), (65_535, 65_535)].into_iter().enumerate() {
            assert_eq!(client.ok("process/resize", params("p", json!({"rows": rows, "cols": cols}))), json!({}));
            client.write("p", b"\n", &number.to_string());
            client.output("p", "pty", |text| text.ends_with(&format!("{rows} {cols}\r\n")));
        }
    }

    fn a_change_of_size_is_signalled(client) {
        client.start(Start::shell("p", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done").tty());
        client.output("p", "pty", |text| text.ends_with("ready\r\n"));
        client.ok("process/resize", params("p", json!({"rows": 40, "cols": 90})));
        client.output("p", "pty", |text| text.ends_with("40 90\r\n"));
    }

    fn a_size_that_is_none_is_refused(client) {
        client.start(Start::child("p", &["sleep"]).tty());
        for size in [json!({"rows": 70_000, "cols": 80}), json!({"rows": -1, "cols": 80}), json!({"rows": 24}), json!({})] {
            assert_eq!(client.err("process/resize", params("p", size.clone())).code, -32602, "{size}");
        }
        client.err("process/resize", params("nobody", json!({"rows": 24, "cols": 80})));
        client.start(Start::child("pipes", &["sleep"]));
        client.err("process/resize", params("pipes", json!({"rows": 24, "cols": 80})));
    }

    fn what_is_typed_is_echoed_and_read(client) {
        client.start(Start::child("p", &["cat"]).tty());
        assert_eq!(client.write("p", b"hi\n", "1"), "accepted");
        client.output("p", "pty", |text| text == "hi\r\nhi\r\n");
        client.write("p", b"\x04", "2");
        assert_eq!(client.closed("p").code, 0);
    }

    fn control_c_interrupts(client) {
        client.start(Start::child("p", &["pid-then-sleep"]).tty());
        client.number("p");
        client.write("p", b"\x03", "1");
        let outcome = client.closed("p");
        assert_eq!((outcome.code, outcome.signal.as_deref()), (130, Some("SIGINT")));
    }

    fn job_control_works_in_a_shell_on_a_terminal(client) {
        let outcome = client.run(Start::shell("p", "set -m; sleep 1000 & kill %1; wait; echo done").tty());
        assert!(outcome.pty.ends_with("done\r\n"), "{}", outcome.pty);
        assert!(!outcome.pty.contains("can't access tty"), "{}", outcome.pty);
    }

    fn a_megabyte_through_a_terminal_arrives_whole(client) {
        let outcome = client.run(Start::shell("p", "stty raw; i=0; while [ $i -lt 20000 ]; do echo 0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd; i=$((i+1)); done").tty());
        assert_eq!(outcome.code, 0);
        let lines: Vec<&str> = outcome.pty.lines().collect();
        assert_eq!(lines.len(), 20_000);
        assert!(lines.iter().all(|&line| line == "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd"));
    }
}

#[test]
fn a_machine_without_terminals_is_told_what_is_missing() {
    needs!(Need::Root, Need::MountNamespaces);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /dev && exec \"$0\" --listen stdio";
    command.args(["-m", "--propagation", "private", "sh", "-c", script]);
    command.arg(Server::command().get_program());
    let mut client = Client::stdio_command(command);
    let start = Start::child("p", &["true"]).tty();
    let error = client.err("process/start", start.0);
    let wanted = "cannot get a terminal from /dev/ptmx: No such file or directory (os error 2)";
    assert_eq!((error.code, &*error.message), (-32603, wanted));
}

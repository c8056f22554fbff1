//! What is said about the end of a process.

use crate::support::Start;

over_both! {
    fn the_exit_code_is_its_low_eight_bits(client) {
        for (given, told) in [("0", 0), ("7", 7), ("255", 255), ("256", 0), ("263", 7)] {
            for tty in [false, true] {
                let start = Start::child(&format!("{given} {tty}"), &["exit", given]).with("tty", tty);
                let outcome = client.run(start);
                assert_eq!((outcome.code, outcome.signal, outcome.timed_out), (told, None, false));
            }
        }
    }

    fn a_signal_is_told_by_number_and_name_on_pipe_and_terminal_alike(client) {
        for (name, number) in [("KILL", 9), ("TERM", 15), ("INT", 2), ("HUP", 1), ("USR1", 10), ("ABRT", 6), ("PIPE", 13)] {
            for tty in [false, true] {
                let start = Start::shell(&format!("{name} {tty}"), &format!("kill -s {name} $$")).with("tty", tty);
                let outcome = client.run(start);
                assert_eq!(outcome.code, 128 + number, "SIG{name}, tty {tty}");
                assert_eq!(outcome.signal, Some(format!("SIG{name}")), "tty {tty}");
            }
        }
    }

    fn a_read_tells_the_same_as_the_notification(client) {
        client.run(Start::shell("p", "kill -9 $$"));
        let read = client.read("p", serde_json::json!({}));
        assert_eq!((&read["exitCode"], &read["signal"]), (&137.into(), &"SIGKILL".into()));
        assert_eq!((&read["exited"], &read["closed"]), (&true.into(), &true.into()));
    }
}

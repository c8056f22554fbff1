//! Programs.

use std::time::Duration;

use exec_server::env::TerminalSize;

use super::{await_output, command, over_all, run, watch};
use crate::support::{patterned, patterned_from};

over_all! {
    fn output_comes_apart_and_the_code_with_it(environment) {
        let seen = run(environment, &command(&["complain", "oh"]));
        assert_eq!((&*seen.stdout, &*seen.stderr), (&b""[..], &b"oh"[..]));
        let seen = run(environment, &command(&["echo", "hi"]));
        assert_eq!((&*seen.stdout, &*seen.stderr), (&b"hi\n"[..], &b""[..]));
        let exit = run(environment, &command(&["exit", "7"])).exit().clone();
        assert_eq!((exit.code, exit.signal, exit.timed_out), (7, None, false));
    }

    fn input_arrives_whole_and_ends(environment) {
        let mut drain = command(&["drain"]);
        drain.pipe_stdin = true;
        let process = environment.start(&drain).unwrap();
        let data = patterned(3 << 20);
        for piece in data.chunks(100_000) {
            process.write(piece).unwrap();
        }
        process.close_stdin().unwrap();
        let seen = watch(&process);
        assert_eq!(String::from_utf8_lossy(&seen.stdout), "3145728\n");
        assert!(process.write(b"x").is_err(), "nobody reads that");
    }

    fn a_process_without_input_reads_its_end(environment) {
        let seen = run(environment, &command(&["cat"]));
        assert_eq!((&*seen.stdout, seen.exit().code), (&b""[..], 0));
    }

    fn large_output_is_whole_for_a_reader_that_takes_its_time(environment) {
        let process = environment.start(&command(&["write", "20000000"])).unwrap();
        // More than fits anywhere on the way has been printed by then, or waits to be.
        process.next_event(Duration::from_secs(20)).unwrap().expect("a first event");
        let rest = watch(&process).stdout;
        let first = 20_000_000 - rest.len();
        let expected = patterned_from(first as u64, rest.len());
        assert!(first > 0 && rest == expected);
    }

    fn a_signal_is_named_in_the_exit(environment) {
        let process = environment.start(&command(&["pid-then-sleep"])).unwrap();
        await_output(&process, "\n");
        process.signal("TERM").unwrap();
        let exit = watch(&process).exit().clone();
        assert_eq!((exit.code, exit.signal.as_deref()), (143, Some("TERM")));
        assert!(process.signal("NONSENSE").is_err());
    }

    fn to_terminate_at_once_is_to_kill(environment) {
        let process = environment.start(&command(&["sleep"])).unwrap();
        process.terminate(Duration::ZERO).unwrap();
        let exit = watch(&process).exit().clone();
        assert_eq!((exit.code, exit.signal.as_deref()), (137, Some("KILL")));
    }

    fn to_terminate_with_grace_asks_first(environment) {
        let process = environment.start(&command(&["pid-then-sleep"])).unwrap();
        await_output(&process, "\n");
        process.terminate(Duration::from_secs(60)).unwrap();
        assert_eq!(watch(&process).exit().code, 143);
    }

    fn a_process_whose_time_is_up_says_so(environment) {
        let mut sleep = command(&["sleep"]);
        sleep.timeout = Some(Duration::from_millis(50));
        let exit = run(environment, &sleep).exit().clone();
        assert!(exit.timed_out, "{exit:?}");
    }

    fn a_terminal_has_its_size_and_takes_another(environment) {
        let mut shell = command(&[]);
        shell.argv = ["/bin/sh", "-c", "stty size; read line; stty size"].map(String::from).into();
        shell.env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        shell.terminal = Some(TerminalSize { rows: 11, cols: 77 });
        let process = environment.start(&shell).unwrap();
        await_output(&process, "11 77\r\n");
        process.resize(TerminalSize { rows: 12, cols: 34 }).unwrap();
        process.write(b"\n").unwrap();
        let seen = watch(&process);
        let shown = String::from_utf8_lossy(&seen.terminal);
        assert!(shown.ends_with("12 34\r\n"), "{shown:?}");
    }

    fn a_process_without_terminal_has_no_size(environment) {
        let process = environment.start(&command(&["sleep"])).unwrap();
        let error = process.resize(TerminalSize { rows: 1, cols: 1 }).unwrap_err();
        assert!(error.to_string().contains("no terminal"), "{error}");
        process.terminate(Duration::ZERO).unwrap();
        watch(&process);
    }

    fn variables_and_directory_are_those_asked_for(environment) {
        let mut env = command(&["env"]);
        env.env = [("A".to_owned(), "b c".to_owned())].into();
        assert_eq!(run(environment, &env).stdout, b"A=b c\n");
        let mut cwd = command(&["cwd"]);
        cwd.cwd = Some("/usr".into());
        assert_eq!(run(environment, &cwd).stdout, b"/usr\n");
    }

    fn a_program_that_is_not_there_is_an_error(environment) {
        let mut nothing = command(&[]);
        nothing.argv = vec!["/no/such/program".into()];
        let error = environment.start(&nothing).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Some(-32603), "{error}");
        assert!(error.to_string().contains("cannot run the program /no/such/program"), "{error}");
        nothing.argv.clear();
        let error = environment.start(&nothing).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Some(-32602), "{error}");
    }

    fn an_event_that_does_not_come_is_not_awaited_longer_than_asked(environment) {
        let process = environment.start(&command(&["sleep"])).unwrap();
        assert_eq!(process.next_event(Duration::from_millis(20)).unwrap(), None);
        process.terminate(Duration::ZERO).unwrap();
        watch(&process);
        assert_eq!(process.next_event(Duration::from_secs(3600)).unwrap(), None);
    }
}

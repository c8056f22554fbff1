//! Limits on memory, processes and processor time by cgroup v2.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::sandbox::Sandbox;
use support::{
    Client, PATIENCE, Server, Start, alive, child, command_line, finish, names, scratch, session,
    signal, within,
};

const ROOT: &str = "/sys/fs/cgroup";
const MIB: u64 = 1 << 20;

/// The words as a command of the shell's that runs in the cgroup.
fn within_cgroup(cgroup: &str, words: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#, cgroup])
        .args(words);
    command
}

/// A cgroup of this name for one server.
fn unit(name: &str) -> String {
    let path = format!("{ROOT}/{name}");
    fs::create_dir(&path).unwrap();
    path
}

fn program() -> String {
    Server::command().get_program().to_str().unwrap().to_owned()
}

/// A client of a server with these flags in this cgroup.
fn client_in(cgroup: &str, flags: &[&str]) -> Client {
    let program = program();
    let words = [&[program.as_str(), "--listen", "stdio"], flags].concat();
    Client::stdio_command(within_cgroup(cgroup, &words))
}

/// Takes so much memory, and says so.
fn allocate(id: &str, mebibytes: u64) -> Start {
    Start::child(id, &["allocate", &mebibytes.to_string()])
}

/// The whole error of a start.
fn refusal(client: &mut Client, start: Start) -> Value {
    let id = client.ask("process/start", start.0);
    client.whole_answer(id)["error"].clone()
}

/// Waits until no directory of a server is in the cgroup.
fn is_left_clean(cgroup: &str) {
    within(PATIENCE, "the cgroups are removed", || {
        names(cgroup)
            .iter()
            .all(|name| !name.starts_with("exec-server-"))
    });
}

/// What servers there limit.
fn servers(cgroup: &str) -> Vec<String> {
    let mut all = names(cgroup);
    all.retain(|name| name.starts_with("exec-server-") && !name.ends_with(".server"));
    all
}

/// Starts what has neither the group, the parent nor the mark that it would be found by, and prints its number.
const HIDDEN: &str = "setsid sh -c 'prlimit --locks=7:7 sleep 1000 >/dev/null 2>&1 & echo $!'";

/// What a server says that does not begin.
fn refused_server(cgroup: &str, flags: &[&str]) -> String {
    let program = program();
    let words = [&[program.as_str(), "--listen", "stdio"], flags].concat();
    let ended = finish(within_cgroup(cgroup, &words), b"");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{flags:?}: {said}");
    said
}

/// Ends the client's server in order.
fn end(client: &mut Client) {
    let server = client.server.as_mut().unwrap();
    signal(server.pid(), "TERM");
    assert_eq!(server.ended(Duration::from_secs(4)).code(), Some(0));
}

/// A script's cgroup.
const OWN: &str = "own=/sys/fs/cgroup$(sed s/0::// /proc/self/cgroup)";

pub mod delegated {
    use super::*;

    tests! {
        a_process_that_takes_too_much_memory_is_killed_and_its_exit_says_why
        all_of_a_process_ends_when_its_memory_runs_out
        the_metric_of_ends_has_a_cause_of_its_own
        processes_and_processor_time_are_limited_as_asked
        what_a_session_runs_is_limited_together_and_no_request_gets_more
        a_confined_process_is_limited_and_cannot_change_its_cgroup
        a_launcher_that_a_limit_has_failed_is_good_for_others
        cgroups_go_with_their_processes_and_the_last_with_the_server
        a_policy_that_lets_cgroups_be_written_lifts_no_limit
        a_limit_that_can_be_lifted_as_files_are_not_confined_is_told
        a_killed_server_leaves_no_limited_process_and_no_cgroup
        what_a_dead_server_has_left_goes_when_the_next_begins
        an_end_in_order_of_many_on_a_busy_machine_leaves_no_cgroup
        a_server_that_cannot_limit_as_it_is_told_does_not_begin
        a_limit_that_does_not_suffice_to_start_is_named
        a_start_for_which_there_is_no_room_or_no_time_is_answered_as_busy
        servers_with_the_same_number_share_a_cgroup
        the_doctor_tells_which_limits_can_be_had
        what_may_outlive_its_session_is_not_killed_by_its_cgroup
        a_server_beside_others_in_its_cgroup_refuses_to_run_anything_without_its_limit
        a_user_has_what_is_delegated_to_it_and_no_more
        run_limits_its_command_and_says_what_has_killed_it
    }

    fn a_process_that_takes_too_much_memory_is_killed_and_its_exit_says_why() {
        let mut client = client_in(&unit("memory"), &["--log-level", "info"]);
        let outcome = client.run(allocate("p", 100).with("memoryMax", 32 * MIB));
        assert_eq!(
            (outcome.code, outcome.signal.as_deref()),
            (137, Some("SIGKILL")),
            "{outcome:?}"
        );
        assert!(outcome.oom_killed, "{outcome:?}");
        assert_eq!(client.read("p", json!({}))["oomKilled"], true);
        let mut run = allocate("r", 100).with("memoryMax", 32 * MIB).0;
        let answer = client.ok("process/run", run.clone());
        assert_eq!(
            (&answer["exitCode"], &answer["oomKilled"]),
            (&json!(137), &json!(true)),
            "{answer}"
        );
        run["argv"] = json!([child(), "allocate", "8"]);
        run["processId"] = json!("s");
        let answer = client.ok("process/run", run);
        assert_eq!(
            (&answer["exitCode"], answer.get("oomKilled")),
            (&json!(0), None),
            "{answer}"
        );
        let outcome = client.run(allocate("small", 8).with("memoryMax", 32 * MIB));
        assert_eq!(
            (outcome.code, outcome.oom_killed),
            (0, false),
            "{outcome:?}"
        );
        let log = client.server.as_ref().unwrap().stderr();
        let exits: Vec<_> = log
            .lines()
            .filter(|line| line.contains("processExited"))
            .collect();
        let told: Vec<_> = exits
            .iter()
            .map(|line| line.contains("oomKilled=true"))
            .collect();
        assert_eq!(told, [true, true, false, false], "{log}");
    }

    fn all_of_a_process_ends_when_its_memory_runs_out() {
        let mut client = client_in(&unit("whole"), &[]);
        let script = format!("{} allocate 100; echo and on", child());
        let outcome = client.run(Start::shell("p", &script).with("memoryMax", 32 * MIB));
        assert!(
            outcome.oom_killed && outcome.stdout.is_empty(),
            "{outcome:?}"
        );
        let outcome = client.run(Start::shell("free", &script));
        assert!(
            !outcome.oom_killed && outcome.stdout.ends_with("and on\n"),
            "{outcome:?}"
        );
    }

    fn the_metric_of_ends_has_a_cause_of_its_own() {
        let dir = scratch();
        let socket = dir.path("metrics");
        let mut client = client_in(&unit("metric"), &["--metrics", &socket]);
        client.run(allocate("p", 100).with("memoryMax", 32 * MIB));
        client.run(allocate("q", 1));
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut page = String::new();
        std::io::Read::read_to_string(&mut stream, &mut page).unwrap();
        for sample in [
            r#"{cause="oom"} 1"#,
            r#"{cause="exited"} 1"#,
            r#"{cause="signalled"} 0"#,
        ] {
            let line = format!("exec_server_processes_ended_total{sample}");
            assert!(page.contains(&line), "{line} is not in {page}");
        }
    }

    fn processes_and_processor_time_are_limited_as_asked() {
        let mut client = client_in(&unit("others"), &[]);
        let script = "sleep 100 & sleep 100 & sleep 100 & echo made";
        let outcome = client.run(Start::shell("p", script).with("pidsMax", 3));
        assert!(
            outcome.stderr.contains("fork") && outcome.stdout.is_empty(),
            "{outcome:?}"
        );
        let script =
            format!("{OWN}; cat $own/cpu.max $own/pids.max $own/memory.max $own/memory.swap.max");
        let outcome = client.run(
            Start::shell("q", &script)
                .with("cpuMax", 1.5)
                .with("pidsMax", 5),
        );
        assert!(
            outcome.stdout.starts_with("150000 100000\n5\nmax\n"),
            "{outcome:?}"
        );
        let outcome = client.run(Start::shell("r", &script).with("memoryMax", 64 * MIB));
        assert!(
            outcome.stdout.starts_with("max 100000\nmax\n67108864\n0\n"),
            "{outcome:?}"
        );
        for (member, value) in [
            ("memoryMax", json!(0)),
            ("pidsMax", json!(0)),
            ("pidsMax", json!(4_194_305)),
            ("cpuMax", json!(0.001)),
            ("cpuMax", json!(-1)),
        ] {
            let error = refusal(&mut client, Start::shell("no", "true").with(member, value));
            assert_eq!(error["code"], -32602, "{error}");
            assert!(
                error["message"].as_str().unwrap().contains(member),
                "{error}"
            );
        }
    }

    fn what_a_session_runs_is_limited_together_and_no_request_gets_more() {
        let flags = [
            "--session-memory",
            "64m",
            "--session-pids",
            "6",
            "--session-cpu",
            "2",
        ];
        let mut client = client_in(&unit("session"), &flags);
        client.start(Start::shell("bystander", "echo $$; exec sleep 1000"));
        let bystander = client.number("bystander");
        for (id, limit) in [("p", Value::Null), ("q", json!(1024 * MIB))] {
            let outcome = client.run(allocate(id, 100).with("memoryMax", limit));
            assert!(outcome.oom_killed, "{outcome:?}");
            assert!(alive(bystander), "another process of the session was ended");
        }
        let script = format!("{OWN}; cd $own/..; cat memory.max pids.max cpu.max");
        let outcome = client.run(Start::shell("limits", &script));
        assert_eq!(
            outcome.stdout, "67108864\n6\n200000 100000\n",
            "{outcome:?}"
        );
        let script = "for i in 1 2 3 4 5 6; do sleep 100 & done; echo made";
        let outcome = client.run(Start::shell("forks", script).with("pidsMax", 100));
        assert!(outcome.stderr.contains("fork"), "{outcome:?}");
        // What it has left is counted until it is ended.
        client.ok("process/terminate", json!({"processId": "forks"}));
        assert_eq!(
            client.run(Start::shell("again", "true; echo fine")).stdout,
            "fine\n"
        );
    }

    fn a_confined_process_is_limited_and_cannot_change_its_cgroup() {
        let mut client = client_in(&unit("confined"), &[]);
        let sandbox = Sandbox::read_only().json();
        let outcome = client.run(
            allocate("p", 100)
                .with("memoryMax", 64 * MIB)
                .with("sandbox", sandbox.clone()),
        );
        assert!(outcome.oom_killed && outcome.code == 137, "{outcome:?}");
        let script = format!(
            "{OWN}; try() {{ echo $1 2>/dev/null >$2 && echo $3; }}
            try 99000000 $own/memory.max raised
            try 0 {ROOT}/cgroup.procs out
            try 0 $own/../cgroup.procs up
            mkdir $own/inner 2>/dev/null && echo made
            [ -d $own ] && echo seen"
        );
        let limited = |id: &str| Start::shell(id, &script).with("memoryMax", 64 * MIB);
        let outcome = client.run(limited("q").with("sandbox", sandbox));
        assert_eq!(outcome.stdout, "seen\n", "{outcome:?}");
        // Root without a sandbox can, or this would show nothing.
        let outcome = client.run(limited("r"));
        assert!(outcome.stdout.starts_with("raised\nout\n"), "{outcome:?}");
    }

    fn a_launcher_that_a_limit_has_failed_is_good_for_others() {
        let mut client = client_in(&unit("poison"), &[]);
        let confined =
            |id: &str| Start::shell(id, "echo fine").with("sandbox", Sandbox::read_only().json());
        let error = refusal(&mut client, confined("p").with("pidsMax", 1));
        assert_eq!(error["code"], -32603, "{error}");
        assert_eq!(client.run(confined("q")).stdout, "fine\n");
    }

    fn cgroups_go_with_their_processes_and_the_last_with_the_server() {
        let unit = unit("clean");
        let mut client = client_in(&unit, &[]);
        client.run(Start::shell("p", "true").with("pidsMax", 9));
        let [tree] = &servers(&unit)[..] else {
            panic!("{:?}", names(&unit));
        };
        let tree = format!("{unit}/{tree}");
        let groups = |tree: &str| {
            let mut all = names(tree);
            all.retain(|name| name.starts_with("process-"));
            all
        };
        assert_eq!(groups(&tree), [""; 0]);
        client.start(Start::shell("q", HIDDEN).with("pidsMax", 9));
        let pid = client.number("q");
        client.closed("q");
        assert_eq!(groups(&tree).len(), 1);
        // It has neither its group nor its mark any more.
        client.ok("process/terminate", json!({"processId": "q"}));
        within(PATIENCE, "it is gone", || !alive(pid));
        within(PATIENCE, "its cgroup too", || groups(&tree).is_empty());
        client.start(Start::child("r", &["sleep"]).with("pidsMax", 9));
        end(&mut client);
        is_left_clean(&unit);
        within(PATIENCE, "nobody is left inside", || {
            fs::read_to_string(format!("{unit}/cgroup.procs"))
                .unwrap()
                .is_empty()
        });
        assert_eq!(
            fs::read_to_string(format!("{unit}/cgroup.subtree_control"))
                .unwrap()
                .trim(),
            ""
        );
    }

    fn a_policy_that_lets_cgroups_be_written_lifts_no_limit() {
        let mut client = client_in(&unit("writable"), &[]);
        let dir = scratch();
        let inner = dir.path("inner");
        fs::create_dir(&inner).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "cgroup2", "cgroup2", &inner])
            .status();
        assert!(mounted.unwrap().success());
        let hidden = dir.path("hidden");
        fs::write(&hidden, "").unwrap();
        let policies = [
            Sandbox::workspace(ROOT),
            Sandbox::workspace(&format!("{ROOT}/writable")),
            Sandbox::workspace(&dir.dir()),
            Sandbox::nothing().write("/").deny(&hidden),
        ];
        for (number, policy) in policies.into_iter().enumerate() {
            for root in [ROOT, &inner] {
                let script = format!(
                    "own={root}$(sed s/0::// /proc/self/cgroup)
                    try() {{ echo $1 2>/dev/null >$2 && echo $3; }}
                    try 99000000 $own/memory.max raised
                    try 0 {root}/cgroup.procs out
                    try 0 $own/../cgroup.procs up
                    mkdir $own/inner 2>/dev/null && echo made
                    [ -d $own ] && echo seen"
                );
                let id = format!("{number}{root}");
                let start = Start::shell(&id, &script)
                    .with("memoryMax", 64 * MIB)
                    .with("sandbox", policy.json());
                let outcome = client.run(start);
                assert_eq!(outcome.stdout, "seen\n", "{policy:?}: {outcome:?}");
            }
        }
        let script = format!("echo fine >{}", dir.path("file"));
        let policy = Sandbox::workspace(&dir.dir()).json();
        let outcome = client.run(Start::shell("w", &script).with("sandbox", policy));
        assert_eq!(outcome.code, 0, "the workspace is writable: {outcome:?}");
        let unmounted = Command::new("umount").arg(&inner).status();
        assert!(unmounted.unwrap().success());
    }

    fn a_limit_that_can_be_lifted_as_files_are_not_confined_is_told() {
        let mut client = client_in(&unit("free"), &[]);
        let policy = Sandbox::nothing().write("/").json();
        let weaker = |client: &mut Client, start: Start| {
            client.start(start)["sandboxLevel"]["weaker"].to_string()
        };
        let start = |id: &str| Start::shell(id, "true").with("sandbox", policy.clone());
        let said = weaker(&mut client, start("p").with("memoryMax", 64 * MIB));
        assert!(
            said.contains("the limits by cgroup can be lifted"),
            "{said}"
        );
        let said = weaker(&mut client, start("q"));
        assert!(!said.contains("cgroup"), "{said}");
    }

    fn a_killed_server_leaves_no_limited_process_and_no_cgroup() {
        let beside = unit("beside");
        let own = unit("own");
        for (place, unit, flags) in [
            (ROOT, &beside, &["--cgroup", &beside][..]),
            (&own, &own, &[]),
            (&own, &own, &["--session-pids", "20"]),
        ] {
            let mut client = client_in(place, flags);
            client.start(Start::shell("p", HIDDEN).with("pidsMax", 9));
            let pid = client.number("p");
            client.server.as_mut().unwrap().kill();
            within(PATIENCE, "what hides is killed", || !alive(pid));
            is_left_clean(unit);
            // The next can begin in the same place.
            let mut client = client_in(place, flags);
            let limited = Start::shell("q", "echo fine").with("pidsMax", 9);
            assert_eq!(client.run(limited).stdout, "fine\n");
            end(&mut client);
            is_left_clean(unit);
        }
    }

    fn what_a_dead_server_has_left_goes_when_the_next_begins() {
        let unit = unit("dead");
        let left = format!("{unit}/exec-server-99999-0/session-1/process-2");
        fs::create_dir_all(&left).unwrap();
        let mut other = within_cgroup(&left, &["sleep", "1000"]).spawn().unwrap();
        within(PATIENCE, "it is inside", || {
            !fs::read_to_string(format!("{left}/cgroup.procs"))
                .unwrap()
                .is_empty()
        });
        let mut client = client_in(ROOT, &["--cgroup", &unit]);
        let mut second = client_in(ROOT, &["--cgroup", &unit]);
        for client in [&mut client, &mut second] {
            let limited = Start::shell("p", "echo fine").with("pidsMax", 9);
            assert_eq!(client.run(limited).stdout, "fine\n");
        }
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&other.wait().unwrap()),
            Some(9)
        );
        within(PATIENCE, "what was left is removed", || {
            !Path::new(&left).exists()
        });
        assert_eq!(servers(&unit).len(), 2, "{:?}", names(&unit));
        end(&mut client);
        end(&mut second);
        is_left_clean(&unit);
    }

    fn an_end_in_order_of_many_on_a_busy_machine_leaves_no_cgroup() {
        let unit = unit("many");
        let mut client = client_in(ROOT, &["--cgroup", &unit]);
        for number in 0..120 {
            let start = Start::child(&number.to_string(), &["sleep"]);
            client.start(start.with("memoryMax", 20 * MIB));
        }
        let busy = || {
            Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn()
        };
        let mut busy = [busy().unwrap(), busy().unwrap()];
        end(&mut client);
        is_left_clean(&unit);
        for busy in &mut busy {
            busy.kill().unwrap();
            busy.wait().unwrap();
        }
    }

    fn a_server_that_cannot_limit_as_it_is_told_does_not_begin() {
        let unit = unit("trial");
        let dir = scratch();
        let plain = dir.dir();
        let beside = ["--cgroup", unit.as_str()];
        for (flags, told) in [
            (
                &["--cgroup", "/nonexistent"][..],
                "cannot find the cgroup /nonexistent: No such file",
            ),
            (&["--cgroup", &plain], "is no cgroup of version 2"),
            (
                &[beside[0], beside[1], "--session-memory", "4k"],
                "--session-memory 4096 does not suffice",
            ),
            (
                &["--session-pids", "18446744073709551615"],
                "from 1 to 4194304",
            ),
            (&["--session-cpu", "0"], "from 0.01 to 10000"),
        ] {
            let said = refused_server(ROOT, flags);
            assert!(said.contains(told), "{flags:?}: {said}");
            is_left_clean(&unit);
        }
        assert_eq!(names(&plain), [""; 0]);
        fs::write(format!("{unit}/cgroup.max.descendants"), "1").unwrap();
        let said = refused_server(ROOT, &beside);
        assert!(said.contains("cgroup.max.descendants"), "{said}");
        is_left_clean(&unit);
        fs::write(format!("{unit}/cgroup.max.descendants"), "max").unwrap();
        fs::write(format!("{unit}/cgroup.freeze"), "1").unwrap();
        let said = refused_server(ROOT, &beside);
        assert!(
            said.contains(&format!("the cgroup {unit} is frozen")),
            "{said}"
        );
        fs::write(format!("{unit}/cgroup.freeze"), "0").unwrap();
        for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
            std::os::unix::fs::chown(format!("{unit}/{name}"), Some(1000), Some(1000)).unwrap();
        }
        let copy = dir.path("exec-server");
        fs::copy(program(), &copy).unwrap();
        fs::set_permissions(&plain, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let words = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
        let words = [&words[..], &[copy.as_str(), "--listen", "stdio"], &beside].concat();
        let outside = finish(within_cgroup(ROOT, &words), b"");
        let said = String::from_utf8_lossy(&outside.stderr);
        let ancestor = format!("write {ROOT}/cgroup.procs");
        assert!(
            !outside.status.success()
                && said.contains("cannot put a process into the cgroup")
                && said.contains(&ancestor),
            "{said}"
        );
        is_left_clean(&unit);
        let inside = format!("{unit}/inside");
        fs::create_dir(&inside).unwrap();
        let mut client = Client::stdio_command(within_cgroup(&inside, &words));
        let limited = Start::shell("p", "echo fine").with("pidsMax", 9);
        assert_eq!(client.run(limited).stdout, "fine\n");
    }

    fn a_limit_that_does_not_suffice_to_start_is_named() {
        let mut client = client_in(&unit("little"), &[]);
        let confined = || Start::shell("p", "true").with("sandbox", Sandbox::read_only().json());
        for (start, limit) in [
            (
                Start::shell("p", "true").with("memoryMax", 1),
                "memoryMax 1",
            ),
            (confined().with("memoryMax", 100_000), "memoryMax 100000"),
            (confined().with("pidsMax", 1), "pidsMax 1"),
        ] {
            let error = refusal(&mut client, start);
            let message = error["message"].as_str().unwrap();
            let told = format!("{limit} does not suffice to start it");
            assert!(message.contains(&told), "{error}");
            assert_eq!(error["data"]["stage"], "cgroup", "{error}");
        }
        let home = scratch();
        let run = command_line(&home.dir());
        let words = [&program(), "run", "--memory", "1", "true"];
        let mut inside = within_cgroup(&unit("little-run"), &words);
        inside.envs(
            run.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let ended = finish(inside, b"");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(125), "{said}");
        assert!(said.contains("memoryMax 1 does not suffice"), "{said}");
    }

    fn a_start_for_which_there_is_no_room_or_no_time_is_answered_as_busy() {
        let unit = unit("busy");
        let mut client = client_in(ROOT, &["--cgroup", &unit]);
        let limited = |id: &str| Start::shell(id, "echo fine").with("pidsMax", 9);
        for (file, value, back, told) in [
            (
                "cgroup.max.descendants",
                "1",
                "max",
                "raise cgroup.max.descendants",
            ),
            ("cgroup.freeze", "1", "0", "is frozen"),
        ] {
            let file = format!("{unit}/{file}");
            fs::write(&file, value).unwrap();
            let error = refusal(&mut client, limited("p"));
            assert_eq!(
                (
                    &error["code"],
                    &error["data"]["kind"],
                    &error["data"]["stage"]
                ),
                (&json!(-32000), &json!("busy"), &json!("cgroup")),
                "{error}"
            );
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
            fs::write(&file, back).unwrap();
        }
        assert_eq!(client.run(limited("q")).stdout, "fine\n");
    }

    fn servers_with_the_same_number_share_a_cgroup() {
        let unit = unit("numbers");
        let server = || {
            let program = program();
            let words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
            let flags = [program.as_str(), "--listen", "stdio", "--cgroup", &unit];
            Client::stdio_command(within_cgroup(ROOT, &[&words[..], &flags].concat()))
        };
        let (mut one, mut other) = (server(), server());
        for client in [&mut one, &mut other] {
            let limited = Start::shell("p", "echo fine").with("pidsMax", 9);
            assert_eq!(client.run(limited).stdout, "fine\n");
        }
        assert_eq!(servers(&unit).len(), 2);
    }

    fn the_doctor_tells_which_limits_can_be_had() {
        let unit = unit("doctor");
        let doctor = |words: &[&str]| {
            let ended = finish(within_cgroup(&unit, words), b"");
            String::from_utf8_lossy(&ended.stdout).into_owned()
        };
        let program = program();
        let said = doctor(&[&program, "doctor"]);
        let own = format!("version 2, {unit}, controllers: memory pids cpu");
        assert!(said.contains(&own), "{said}");
        let script = format!("umount {ROOT} && exec \"$0\" doctor");
        let said = doctor(&["unshare", "--mount", "/bin/sh", "-c", &script, &program]);
        assert!(said.contains("mount -t cgroup2"), "{said}");
    }

    fn what_may_outlive_its_session_is_not_killed_by_its_cgroup() {
        let unit = unit("daemons");
        let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
        let mut client = client_in(&unit, &["--keep-daemons"]);
        client.start(Start::shell("p", script).with("pidsMax", 9));
        let pid = client.number("p");
        client.closed("p");
        within(PATIENCE, "it has left its group", || {
            session(pid) == Some(pid)
        });
        end(&mut client);
        assert!(alive(pid));
        signal(pid, "KILL");
    }

    fn a_server_beside_others_in_its_cgroup_refuses_to_run_anything_without_its_limit() {
        let unit = unit("shared");
        let mut other = within_cgroup(&unit, &["sleep", "1000"]).spawn().unwrap();
        within(PATIENCE, "it is inside", || {
            fs::read_to_string(format!("{unit}/cgroup.procs")).unwrap()
                == format!("{}\n", other.id())
        });
        let mut client = client_in(&unit, &[]);
        let dir = scratch();
        let script = format!("touch {}", dir.path("ran"));
        let error = refusal(
            &mut client,
            Start::shell("p", &script).with("memoryMax", 64 * MIB),
        );
        let data = json!({"kind": "failed", "stage": "cgroup", "path": unit});
        assert_eq!(
            (&error["code"], &error["data"]),
            (&json!(-32603), &data),
            "{error}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("process {} in it", other.id())),
            "{message}"
        );
        assert!(!Path::new(&dir.path("ran")).exists());
        assert_eq!(client.run(Start::shell("p", &script)).code, 0);
        is_left_clean(&unit);
        let words = [&program(), "--listen", "stdio", "--session-memory", "64m"];
        let refused = finish(within_cgroup(&unit, &words), b"");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains("cannot limit processes"),
            "{said}"
        );
        other.kill().unwrap();
        other.wait().unwrap();
    }

    fn a_user_has_what_is_delegated_to_it_and_no_more() {
        let dir = scratch();
        fs::set_permissions(
            dir.dir(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let copy = dir.path("exec-server");
        fs::copy(program(), &copy).unwrap();
        let start = |unit: &str| {
            let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
            let words = [&user[..], &[copy.as_str(), "--listen", "stdio"]].concat();
            Client::stdio_command(within_cgroup(unit, &words))
        };
        let limited =
            |id: &str| Start::shell(id, &format!("{OWN}; cat $own/pids.max")).with("pidsMax", 7);
        let ours = unit("user");
        for name in [
            "",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
        ] {
            std::os::unix::fs::chown(format!("{ours}/{name}"), Some(1000), Some(1000)).unwrap();
        }
        assert_eq!(start(&ours).run(limited("p")).stdout, "7\n");
        let theirs = unit("root");
        let error = refusal(&mut start(&theirs), limited("p"));
        let data = &error["data"];
        assert_eq!(
            (&data["kind"], &data["stage"], &data["errno"]),
            (&json!("permission"), &json!("cgroup"), &json!(13)),
            "{error}"
        );
        assert!(
            data["path"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{theirs}/exec-server-")),
            "{error}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("Delegate=yes"),
            "{error}"
        );
    }

    fn run_limits_its_command_and_says_what_has_killed_it() {
        let unit = unit("run");
        let home = scratch();
        let run = |words: &[&str]| {
            let command = command_line(&home.dir());
            let program = program();
            let mut inside = within_cgroup(&unit, &[&[program.as_str(), "run"], words].concat());
            inside.envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            finish(inside, b"")
        };
        let child = child();
        let killed = run(&["--memory", "32m", &child, "allocate", "100"]);
        let said = String::from_utf8_lossy(&killed.stderr);
        assert_eq!(killed.status.code(), Some(137), "{said}");
        assert!(said.contains("no memory left"), "{said}");
        let script = format!("{OWN}; cat $own/memory.max $own/pids.max $own/cpu.max");
        let limits = run(&[
            "--memory", "1g", "--pids", "8", "--cpu", "0.5", "/bin/sh", "-c", &script,
        ]);
        let said = String::from_utf8_lossy(&limits.stderr);
        assert_eq!(limits.status.code(), Some(0), "{said}");
        assert_eq!(limits.stdout, b"1073741824\n8\n50000 100000\n");
        is_left_clean(&unit);
        // It moves itself into a cgroup of its own, which the shell that has started it cannot follow.
        let mut other = within_cgroup(&unit, &["sleep", "1000"]).spawn().unwrap();
        within(PATIENCE, "it is inside", || {
            !fs::read_to_string(format!("{unit}/cgroup.procs"))
                .unwrap()
                .is_empty()
        });
        let refused = run(&["--memory", "32m", &child, "true"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "{said}");
        assert!(said.contains("cannot be divided"), "{said}");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

pub mod of_version_1 {
    use super::*;

    tests! {
        a_limit_that_version_1_has_is_refused_and_the_rest_is_not
        a_server_without_a_hierarchy_of_version_2_refuses_every_limit
    }

    fn a_limit_that_version_1_has_is_refused_and_the_rest_is_not() {
        let unit = unit("unified/unit");
        fs::write(format!("{ROOT}/unified/cgroup.subtree_control"), "+pids").unwrap();
        let mut client = client_in(&unit, &[]);
        let error = refusal(
            &mut client,
            Start::shell("p", "true").with("memoryMax", 64 * MIB),
        );
        let message = error["message"].as_str().unwrap();
        let expected = "has no memory controller: cgroup v1 has it";
        assert!(
            message.contains(expected) && message.contains("cgroup_no_v1=all"),
            "{message}"
        );
        assert_eq!(
            error["data"],
            json!({"kind": "failed", "stage": "cgroup", "path": unit})
        );
        assert_eq!(
            client
                .run(Start::shell("p", "echo fine").with("pidsMax", 9))
                .stdout,
            "fine\n"
        );
    }

    fn a_server_without_a_hierarchy_of_version_2_refuses_every_limit() {
        let script = format!(r#"umount {ROOT}/unified && exec "$0" --listen stdio"#);
        let mut alone = Command::new("unshare");
        alone.args(["--mount", "/bin/sh", "-c", &script, &program()]);
        let mut client = Client::stdio_command(alone);
        for (member, value) in [
            ("memoryMax", json!(MIB)),
            ("pidsMax", json!(9)),
            ("cpuMax", json!(1)),
        ] {
            let error = refusal(&mut client, Start::shell("p", "true").with(member, value));
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains("those of version 1 cannot be delegated"),
                "{message}"
            );
            assert_eq!(error["data"], json!({"kind": "failed", "stage": "cgroup"}));
        }
    }
}

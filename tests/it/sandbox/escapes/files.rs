//! Changing what the policy does not let be changed.

use std::fs;
use std::path::Path;

use crate::support::sandbox::{Generation, Sandbox, snapshot};

/// Every way to change the file `F`, in the directory `D`, with the workspace `W`.
const CHANGES: [&str; 31] = [
    "write F",
    "append F",
    "truncate F",
    "reopen F",
    "map F",
    "remove F",
    "chmod F 777",
    "fchmodat2 F 777",
    "chown F 12345",
    "touch F",
    "setxattr F user.note",
    "flags F",
    "write D/new",
    "mkdir D/new",
    "mkdirs D/new/er",
    "symlink x D/new",
    "fifo D/new",
    "link F D/new",
    "link F W/linked",
    "rename F D/new",
    "rename F W/moved",
    "exchange F W/own",
    "rename W/own D/new",
    "link W/own D/new",
    "tmpfile D D/new",
    "tmpfile W D/new",
    "symlink F W/way -- write W/way",
    "symlink D W/door -- write W/door/new",
    "link F W/hard -- truncate W/hard",
    "write W/../outside/new",
    "exec-memfd write D/new",
];

/// What Landlock does not look at; SECURITY.md says so, and `weaker` of every such start.
const ATTRIBUTES: [&str; 5] = ["chmod ", "fchmodat2 ", "chown ", "touch ", "setxattr "];

fn words(change: &str, workspace: &str, directory: &str) -> Vec<String> {
    let word = |word: &str| match word {
        "F" => format!("{directory}/file"),
        "D" => directory.to_string(),
        "W" => workspace.to_string(),
        _ => match word.split_once('/') {
            Some(("D", rest)) => format!("{directory}/{rest}"),
            Some(("W", rest)) => format!("{workspace}/{rest}"),
            _ => word.to_string(),
        },
    };
    change.split(' ').map(word).collect()
}

on_every_launcher! {
    fn nothing_outside_the_workspace_changes(stage) {
        let (workspace, outside) = (stage.workspace(), stage.path("outside"));
        stage.make_file("outside/file", "untouched");
        let policy = stage.policy();
        let mut broken = Vec::new();
        for change in CHANGES {
            if stage.launcher == Launcher::Landlock && ATTRIBUTES.iter().any(|call| change.starts_with(call)) {
                continue;
            }
            // First where nobody minds: a copy of the outside, made anew for each.
            let control = stage.make_directory("control");
            stage.make_file("control/file", "untouched");
            stage.make_file("workspace/own", "own");
            let free = words(change, &workspace, &control);
            let free: Vec<&str> = free.iter().map(String::as_str).collect();
            let works = stage.free(&free).stdout.lines().last().is_some_and(|line| line.starts_with("did"));
            // To own a file away takes root, and one path leads to the real outside.
            assert!(works || change.starts_with("chown"), "without a sandbox, {change} should work");
            let _ = fs::remove_dir_all(&control);
            let _ = fs::remove_file(format!("{outside}/new"));
            for left in ["moved", "linked", "way", "door", "hard"] {
                let _ = fs::remove_file(format!("{workspace}/{left}"));
            }
            stage.make_file("workspace/own", "own");
            let before = snapshot(&outside);

            let tried = words(change, &workspace, &outside);
            let tried: Vec<&str> = tried.iter().map(String::as_str).collect();
            let outcome = stage.confined(&policy, &tried);
            let after = snapshot(&outside);
            let did = outcome.stdout.lines().last().is_none_or(|line| line.starts_with("did")) && outcome.signal.is_none();
            if after != before || did {
                broken.push(format!("{change}: {:?}{:?}\n  was {before:?}\n  is  {after:?}", outcome.stdout, outcome.stderr));
                stage.make_file("outside/file", "untouched");
            }
            for left in ["moved", "linked", "way", "door", "hard"] {
                let _ = fs::remove_file(format!("{workspace}/{left}"));
            }
        }
        assert!(broken.is_empty(), "{} as {:?}:\n{}", stage.launcher, stage.who, broken.join("\n"));
    }

    fn the_workspace_can_be_changed_in_every_way(stage) {
        let workspace = stage.workspace();
        let policy = stage.policy();
        stage.make_directory("workspace/below");
        let file = stage.make_file("workspace/below/file", "old");
        stage.allows(&policy, &["write", &file]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "changed");
        let at = |name: &str| format!("{workspace}/{name}");
        stage.allows(&policy, &["mkdirs", &at("a/b"), "--", "write", &at("a/b/c"), "--", "rename", &at("a/b/c"), &at("below/c"), "--", "link", &at("below/c"), &at("d"), "--", "symlink", "d", &at("e"), "--", "chmod", &at("d"), "600", "--", "touch", &at("d"), "--", "remove", &at("e"), "--", "remove-tree", &at("a")]);
        assert_eq!(fs::read_to_string(at("d")).unwrap(), "changed");
        assert!(!Path::new(&at("a")).exists());
    }

    fn where_a_process_starts_does_not_make_the_place_writable(stage) {
        let outside = stage.path("outside");
        let policy = stage.policy();
        let start = stage.attempt(&["write", "here"]).cwd(&outside).with("sandbox", policy.json());
        let outcome = stage.client.run(start);
        assert!(outcome.stdout.starts_with("failed"), "{outcome:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    fn files_of_the_kernel_cannot_be_changed(stage) {
        for path in [
            "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/power/state", "/proc/irq/default_smp_affinity",
        ] {
            let policy = stage.policy();
            stage.refuses(&policy, &["open-to-write", path]);
        }
    }

    fn groups_of_processes_cannot_be_changed(stage) {
        let policy = stage.policy();
        let groups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"];
        for group in groups.into_iter().filter(|group| Path::new(group).is_dir()) {
            let made = format!("{group}/exec-server-test-{}", std::process::id());
            stage.refuses(&policy, &["mkdir", &made]);
            assert!(!Path::new(&made).exists(), "{made}");
            stage.refuses(&policy, &["open-to-write", &format!("{group}/cgroup.procs")]);
        }
    }

    fn no_device_can_be_made(stage) {
        let path = stage.path("workspace/device");
        if stage.is_root() {
            stage.works_free(&["mknod", &path]);
            fs::remove_file(&path).unwrap();
        }
        let policy = stage.policy();
        stage.refuses(&policy, &["mknod", &path]);
        assert!(!Path::new(&path).exists());
    }

    fn no_device_of_the_machine_can_be_opened(stage) {
        let policy = stage.policy();
        for device in ["/dev/vda", "/dev/sda", "/dev/mem", "/dev/kmsg", "/dev/port", "/dev/fuse", "/dev/kvm", "/dev/loop-control", "/dev/net/tun"] {
            stage.refuses(&policy, &["open-to-write", device]);
        }
        for device in ["/dev/null", "/dev/zero", "/dev/full"] {
            stage.allows(&policy, &["open-to-write", device]);
        }
        stage.allows(&policy, &["open-to-read", "/dev/urandom"]);
    }

    fn shared_memory_of_the_host_is_out_of_reach(stage) {
        let path = format!("/dev/shm/exec-server-test-{}-{}-{:?}", std::process::id(), stage.launcher, stage.who);
        stage.works_free(&["write", &path]);
        fs::write(&path, "untouched").unwrap();
        let policy = stage.policy();
        for attempt in [&["open-to-write", &path][..], &["remove", &path]] {
            stage.refuses(&policy, attempt);
        }
        let left = fs::read_to_string(&path);
        let _ = fs::remove_file(&path);
        assert_eq!(left.unwrap(), "untouched");
    }

    fn the_words_of_both_generations_mean_the_same(stage) {
        let workspace = stage.workspace();
        let outside = stage.path("outside");
        let policy = stage.policy().project(&workspace);
        for generation in [Generation::Old, Generation::New] {
            let name = format!("{generation:?}");
            let (inside, beyond) = (format!("{workspace}/{name}"), format!("{outside}/{name}"));
            let start = stage.attempt(&["write", &inside, "--", "write", &beyond]).with("sandbox", policy.json_as(generation));
            let said = stage.client.run(start).stdout;
            assert!(said.starts_with("did") && said.contains("\nfailed"), "{name}: {said}");
            assert!(Path::new(&inside).exists() && !Path::new(&beyond).exists());
        }
    }
}

as_another_on_every_launcher! {
    fn a_program_of_root_gives_nothing(stage) {
        let program = stage.path("setuid");
        // By a process of its own: a descriptor of ours to write it would be in whatever another test starts meanwhile.
        let copied = std::process::Command::new("cp").args([&crate::support::child(), &program]).status();
        assert!(copied.unwrap().success());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
        fs::set_permissions(&program, mode).unwrap();
        let user = |text: &str| text.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default().to_string();
        let start = crate::support::Start::command("free", &[&program, "status"]);
        let free = stage.client.run(start).stdout;
        assert!(user(&free).split_whitespace().any(|id| id == "0"), "without a sandbox it is root: {}", user(&free));
        let start = crate::support::Start::command("confined", &[&program, "status"]);
        let inside = stage.client.run(start.with("sandbox", Sandbox::read_only().json()));
        assert!(user(&inside.stdout).split_whitespace().skip(1).all(|id| id == "12345"), "{inside:?}");
    }
}

//! The proven examples as command lines.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::rpc::path_uri::PathStyle;
use crate::sandbox::journal::Journal;
use crate::sandbox::mounts::{Cancel, MaskKind, MountPlan, PlanError};
use crate::sandbox::policy::{Context, Policy};
use crate::sandbox::scratch::Scratch;
use crate::sys::process::user_id;

/// A project with a repository, and a directory beside it.
struct Project {
    scratch: Scratch,
    journal: Journal,
}

impl Project {
    fn new() -> Self {
        let scratch = Scratch::new("bwrap");
        for directory in ["proj/.git", "proj/src", "proj/sub/a", "other"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        fs::write(scratch.path().join("proj/src/a.txt"), "a").unwrap();
        let journal = Journal::open_in(&[scratch.path().join("journal")]);
        Self { scratch, journal }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// `@` stands for the scratch directory.
    fn plan(&self, entries: &str) -> Result<MountPlan, PlanError> {
        let entries = entries.replace('@', self.scratch.path().to_str().unwrap());
        let profile = format!(
            r#"{{"type":"managed","file_system":{{"type":"restricted","entries":[{entries}]}},"network":"restricted"}}"#
        );
        MountPlan::build(
            &self.policy(&profile),
            &self.at("proj"),
            &self.journal,
            Cancel::default(),
        )
    }

    fn policy(&self, profile: &str) -> Policy {
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        Policy::parse_profile(profile, &self.at("proj"), &context).unwrap()
    }

    /// The words of the mounts, `@` again for the scratch directory.
    fn words(&self, entries: &str) -> String {
        let plan = self.plan(entries).unwrap();
        let words = all_words(&plan, &with_perms(), run());
        let start = words.iter().position(|word| word == "CAP_SETPCAP").unwrap() + 1;
        let end = words.iter().position(|word| word == "--chdir").unwrap();
        let words = words[start..end].join(" ");
        let cover = match user_id() {
            0 => " --remount-ro /proc",
            _ => "",
        };
        assert!(words.contains(&format!("--proc /proc{cover}")), "{words}");
        let words = words.replace(cover, "");
        words.replace(self.scratch.path().to_str().unwrap(), "@")
    }
}

/// What a bwrap has at the least.
fn with_perms() -> Capabilities {
    Capabilities {
        perms: true,
        ..Capabilities::default()
    }
}

fn run() -> Run {
    Run {
        argv: vec!["/bin/true".into()],
        program: None,
        proc: Proc::Mount,
    }
}

/// What `--args` gives, then what follows it.
fn all_words(plan: &MountPlan, capabilities: &Capabilities, run: Run) -> Vec<String> {
    let mut arguments = arguments(plan, capabilities, run).unwrap();
    let number: usize = arguments.args[1].to_str().unwrap().parse().unwrap();
    let mut text = String::new();
    let fd = arguments.descriptors.remove(number - FIRST_DESCRIPTOR);
    File::from(fd).read_to_string(&mut text).unwrap();
    // What is mounted by its descriptor, by its path.
    let named = |word: &str| {
        let Some(number) = word.strip_prefix("/proc/self/fd/") else {
            return word.to_owned();
        };
        let number: usize = number.parse().unwrap();
        let fd = arguments.descriptors[number - FIRST_DESCRIPTOR].as_raw_fd();
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut words: Vec<String> = text.split_terminator('\0').map(named).collect();
    let rest = arguments.args[2..].iter();
    words.extend(rest.map(|word| word.to_str().unwrap().to_owned()));
    words
}

const READ_ALL: &str = r#"{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}"#;

fn path(path: &str, access: &str) -> String {
    format!(r#"{{"path":{{"type":"path","path":"{path}"}},"access":"{access}"}}"#)
}

const MINIMAL: &str = r#"{"path":{"type":"special","value":{"kind":"minimal"}},"access":"read"}"#;

const BASE: &str = "--ro-bind / / --dev /dev";

/// What is left to the first process inside to be covered, in the order of the paths.
fn masks(plan: &MountPlan) -> Vec<(PathBuf, MaskKind)> {
    let masks = plan.masks.iter();
    let masks = masks.map(|mask| (OsStr::from_bytes(mask.path.to_bytes()).into(), mask.kind));
    let mut masks: Vec<_> = masks.collect();
    masks.sort_by(|one: &(PathBuf, _), other| one.0.cmp(&other.0));
    masks
}

#[test]
fn example_1_everything_is_mounted_read_only() {
    let there = Project::new();
    assert_eq!(there.words(READ_ALL), format!("{BASE} --proc /proc"));
}

#[test]
fn examples_2_and_3_a_root_is_writable_but_for_its_metadata() {
    let there = Project::new();
    let entries = [READ_ALL, &path("@/proj", "write")].join(",");
    assert_eq!(
        there.words(&entries),
        format!("{BASE} --bind @/proj @/proj --ro-bind @/proj/.git @/proj/.git --proc /proc")
    );
    // What is missing, and the journal, which no program sees.
    let expected = [
        ("journal", MaskKind::Directory),
        ("proj/.agents", MaskKind::EmptyDirectory),
        ("proj/.aws", MaskKind::EmptyDirectory),
        ("proj/.codex", MaskKind::EmptyDirectory),
    ]
    .map(|(path, kind)| (there.at(path), kind));
    assert_eq!(masks(&there.plan(&entries).unwrap()), expected);
}

#[test]
fn example_4_a_denied_directory_is_covered_and_sealed() {
    let there = Project::new();
    let entries = [READ_ALL, &path("@/other", "none")].join(",");
    assert_eq!(
        there.words(&entries),
        format!("{BASE} --perms 000 --tmpfs @/other --proc /proc --remount-ro @/other")
    );
}

#[test]
fn example_5_what_matches_now_is_covered() {
    let there = Project::new();
    fs::write(there.at("other/a.env"), "").unwrap();
    fs::write(there.at("proj/sub/x.env"), "").unwrap();
    fs::create_dir(there.at("other/d.env")).unwrap();
    fs::write(there.at("other/d.env/below.env"), "").unwrap();
    let glob = r#"{"path":{"type":"glob_pattern","pattern":"@/**/*.env"},"access":"none"}"#;
    let entries = [READ_ALL, glob].join(",");
    assert_eq!(there.words(&entries), format!("{BASE} --proc /proc"));
    let plan = there.plan(&entries).unwrap();
    assert_eq!(plan.weaker, [""; 0]);
    let expected = [
        ("journal", MaskKind::Directory),
        ("other/a.env", MaskKind::File),
        ("other/d.env", MaskKind::Directory),
        ("proj/sub/x.env", MaskKind::File),
    ]
    .map(|(path, kind)| (there.at(path), kind));
    assert_eq!(masks(&plan), expected);
    let entries = [READ_ALL, glob, &path("@/proj", "write")].join(",");
    let weaker = there.plan(&entries).unwrap().weaker;
    assert!(weaker[0].contains("**/*.env"), "{weaker:?}");
}

#[test]
fn example_6_a_minimal_view_has_the_links_that_lead_into_it() {
    let there = Project::new();
    let entries = [MINIMAL, &path("@/proj/src", "read")].join(",");
    let words = there.words(&entries);
    assert!(
        words.starts_with("--perms 755 --tmpfs / --dev /dev"),
        "{words}"
    );
    for part in ["--ro-bind /etc /etc", "--ro-bind @/proj/src @/proj/src"] {
        assert!(words.contains(part), "{words}");
    }
    assert!(words.ends_with("--proc /proc --remount-ro /"), "{words}");
    if let Ok(target) = fs::read_link("/bin") {
        let link = format!("--symlink {} /bin", target.display());
        assert_eq!(words.matches(&link).count(), 1, "{words}");
    }
}

#[test]
fn a_command_starts_where_it_was_asked_to_or_not_at_all() {
    let there = Project::new();
    for entries in [
        READ_ALL.to_owned(),
        [MINIMAL, &path("@/proj/src", "read")].join(","),
        [MINIMAL, &path("@/other", "read")].join(","),
        [READ_ALL, &path("@/proj", "none")].join(","),
    ] {
        assert_eq!(
            there.plan(&entries).unwrap().cwd,
            there.at("proj"),
            "{entries}"
        );
    }
}

#[test]
fn thousands_of_roots_are_planned_in_a_moment() {
    const ROOTS: usize = 1000;
    crate::sys::limits::raise_descriptor_limit().unwrap();
    let there = Project::new();
    let mut entries = vec![READ_ALL.to_owned()];
    for number in 0..ROOTS {
        fs::create_dir(there.at(&format!("other/{number}"))).unwrap();
        entries.push(path(&format!("@/other/{number}"), "write"));
    }
    let began = processor_time();
    let plan = there.plan(&entries.join(",")).unwrap();
    let took = processor_time() - began;
    println!("{ROOTS} roots were planned in {took:?}");
    assert_eq!(plan.writable().count(), ROOTS);
    assert_eq!(plan.claim.points().count(), 4 * ROOTS);
    // Far more than it takes, and far less than if each were held against each other.
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// What this thread has used, however busy the machine is.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn example_7_a_writable_root_keeps_its_denials() {
    let there = Project::new();
    let root = r#"{"path":{"type":"special","value":{"kind":"root"}},"access":"write"}"#;
    let entries = [root, &path("@/proj/sub", "none")].join(",");
    let words = there.words(&entries);
    assert!(words.starts_with("--bind / / --dev /dev"), "{words}");
    let end =
        "--bind @/proj @/proj --perms 000 --tmpfs @/proj/sub --proc /proc --remount-ro @/proj/sub";
    assert!(words.ends_with(end), "{words}");
    let masks = masks(&there.plan(&entries).unwrap());
    let held = (
        there.at("journal").parent().unwrap().to_owned(),
        MaskKind::Itself,
    );
    let journal = (there.at("journal"), MaskKind::Directory);
    assert!(
        masks.contains(&held) && masks.contains(&journal),
        "{masks:?}"
    );
}

#[test]
fn the_directories_above_a_protected_path_cannot_be_renamed() {
    let there = Project::new();
    fs::create_dir_all(there.at("proj/sub/a/b")).unwrap();
    for access in ["read", "none"] {
        let inner = path("@/proj/sub/a/b", access);
        let entries = [READ_ALL, &path("@/proj", "write"), &inner].join(",");
        let words = there.words(&entries);
        let parents = "--bind @/proj/sub @/proj/sub --bind @/proj/sub/a @/proj/sub/a";
        let held = words.find(parents).unwrap_or_else(|| panic!("{words}"));
        let inner = words.find(" @/proj/sub/a/b").unwrap();
        assert!(held < inner, "{words}");
        assert_eq!(words.matches("--bind @/proj @/proj ").count(), 1, "{words}");
    }
    // A root in a root, with nothing but its metadata to protect.
    let entries = [READ_ALL, &path("@", "write"), &path("@/proj", "write")].join(",");
    assert!(there.words(&entries).contains("--bind @/proj @/proj"));
}

#[test]
fn example_8_what_is_granted_has_no_mask() {
    let there = Project::new();
    let entries = [
        READ_ALL,
        &path("@/proj", "write"),
        &path("@/proj/.git", "write"),
    ]
    .join(",");
    assert!(!there.words(&entries).contains(".git"));
}

#[test]
fn example_9_a_directory_below_a_denial_is_mounted_into_the_cover() {
    let there = Project::new();
    let entries = [
        &path("@/proj", "write"),
        &path("@/proj/sub", "none"),
        &path("@/proj/sub/a", "write"),
    ]
    .map(String::as_str)
    .join(",");
    let words = there.words(&entries);
    let cover = words.find("--perms 111 --tmpfs @/proj/sub").unwrap();
    let inner = words.find("--bind @/proj/sub/a @/proj/sub/a").unwrap();
    let seal = words.find("--remount-ro @/proj/sub").unwrap();
    assert!(cover < inner && inner < seal, "{words}");
}

#[test]
fn example_10_a_missing_root_is_left_out() {
    let there = Project::new();
    let entries = [READ_ALL, &path("@/nowhere", "write")].join(",");
    assert_eq!(there.words(&entries), format!("{BASE} --proc /proc"));
}

#[test]
fn examples_11_and_15_the_namespaces_follow_the_network() {
    let there = Project::new();
    let mut plan = there.plan(READ_ALL).unwrap();
    let start = |plan: &MountPlan| {
        let words = all_words(plan, &with_perms(), run());
        let end = words.iter().position(|word| word == "--ro-bind").unwrap();
        words[..end].join(" ")
    };
    assert_eq!(
        start(&plan),
        "--die-with-parent --as-pid-1 --unshare-user --unshare-pid --unshare-ipc --unshare-net \
         --cap-drop ALL --cap-add CAP_SYS_ADMIN --cap-add CAP_SETPCAP"
    );
    plan.network = crate::sandbox::policy::Network::Enabled;
    assert!(!start(&plan).contains("--unshare-net"));
}

#[test]
fn the_command_cannot_be_read_as_an_option() {
    let there = Project::new();
    let plan = there.plan(READ_ALL).unwrap();
    let mut wanted = run();
    wanted.argv = ["--bind", "/", "a\nb", ""].map(OsString::from).into();
    let arguments = arguments(&plan, &with_perms(), wanted).unwrap();
    assert_eq!(arguments.args[2..], ["--", "--bind", "/", "a\nb", ""]);
}

#[test]
fn every_descriptor_has_the_number_that_the_words_say() {
    let there = Project::new();
    let plan = there
        .plan(&[READ_ALL, &path("@/proj", "write")].join(","))
        .unwrap();
    let capabilities = Capabilities {
        bind_fd: true,
        ..with_perms()
    };
    let wanted = run();
    let words = all_words(&plan, &capabilities, wanted).join(" ");
    let root = there.scratch.path().to_str().unwrap();
    let [whole, project] = [0, 1].map(|place| FIRST_DESCRIPTOR + place);
    for part in [
        format!("--ro-bind-fd {whole} /"),
        format!("--bind-fd {project} {root}/proj"),
        "--chdir / -- /bin/true".to_owned(),
    ] {
        assert!(words.contains(&part), "{words}, not {part}");
    }
}

#[test]
fn what_a_bwrap_lacks_is_named() {
    let there = Project::new();
    let plan = there.plan(READ_ALL).unwrap();
    let old = Capabilities::default();
    let error = arguments(&plan, &old, run()).unwrap_err();
    assert!(error.to_string().contains("--perms"), "{error}");
}

#[test]
fn more_words_than_bwrap_reads_are_refused() {
    let there = Project::new();
    let plan = there.plan(READ_ALL).unwrap();
    let mut wanted = run();
    wanted.argv = vec!["x".into(); 9000];
    assert!(matches!(
        arguments(&plan, &with_perms(), wanted),
        Err(ArgumentsError::TooLong { .. })
    ));
}

#[test]
fn a_link_in_place_of_a_source_is_an_error() {
    let there = Project::new();
    let profile = format!(
        r#"{{"file_system":{{"read":["/"],"write":["{}"]}}}}"#,
        there.at("proj").display()
    );
    let policy = there.policy(&profile);
    fs::rename(there.at("proj"), there.at("moved")).unwrap();
    symlink(there.at("other"), there.at("proj")).unwrap();
    let error = MountPlan::build(
        &policy,
        &there.at("other"),
        &there.journal,
        Cancel::default(),
    )
    .unwrap_err();
    assert!(matches!(error, PlanError::Changed(_)), "{error}");
}

#[test]
fn a_hard_link_to_what_is_denied_is_told() {
    let there = Project::new();
    let (secret, other) = (there.at("proj/src/secret"), there.at("proj/src/other"));
    fs::write(&secret, "").unwrap();
    fs::hard_link(&secret, &other).unwrap();
    let weaker = |denied: &[&str]| {
        let denied = denied.iter().map(|path| self::path(path, "deny"));
        let entries: Vec<_> = denied.chain([READ_ALL.to_owned()]).collect();
        there.plan(&entries.join(",")).unwrap().weaker
    };
    let told = weaker(&["@/proj/src/secret"]);
    assert!(
        told.len() == 1 && told[0].contains("src/secret: other names"),
        "{told:?}"
    );
    assert_eq!(weaker(&["@/proj/src/secret", "@/proj/src/other"]), [""; 0]);
    assert_eq!(weaker(&["@/proj/src"]), [""; 0]);
}

#[test]
fn mount_points_are_gone_after_the_plan() {
    let there = Project::new();
    let missing = path("@/proj/no/where", "deny");
    let entries = [READ_ALL, &path("@/proj", "write"), &missing].join(",");
    let plan = there.plan(&entries).unwrap();
    let mut fakes: Vec<_> = plan.fakes().collect();
    fakes.sort();
    assert_eq!(
        fakes,
        [".agents", ".aws", ".codex", "no"].map(|name| there.at("proj").join(name))
    );
    assert!(there.at("proj/.codex").is_dir() && there.at("proj/no").is_file());
    drop(plan);
    let left = fs::read_dir(there.at("proj")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".git", "src", "sub"]);
}

#[test]
fn only_whole_options_count() {
    let text = "\n    --perms OCTAL   Set permissions\n --bind-fd-not FD\n--argv0 VALUE, --ro-bind-fd FD DEST\n";
    let expected = Capabilities {
        perms: true,
        ..Capabilities::default()
    };
    assert_eq!(Capabilities::from_help(text), expected);
}

//! What a copy keeps of what it is given: times, holes, names, what directories inherit, and its
//! content as it was at one moment.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use exec_server::sys::file::{attribute, set_attribute};
use serde_json::json;

use super::{mode, parts, set_mode};
use crate::client::scripted::{Line, Scripted};
use crate::support::{EVERY, Environments, Need, command_line, finish, patterned, scratch};

const MIB: u64 = 1 << 20;

/// Copies both ways: from here to the environment, and what came there back. Gives both paths.
fn both_ways(environments: &Environments, environment: &str, source: &str) -> [String; 2] {
    let there = format!("{}/{environment}", environments.there);
    let back = environments.scratch.path(&format!("back-{environment}"));
    environments.stdout(&["cp", "-r", source, &format!("{environment}:{there}")]);
    environments.stdout(&["cp", "-r", &format!("{environment}:{there}"), &back]);
    [there, back]
}

/// Makes a directory with one in it, and files that go as a whole and in blocks.
fn make_files(outer: &str, inner: &str) {
    fs::create_dir_all(format!("{outer}/{inner}")).unwrap();
    fs::write(format!("{outer}/small"), "s").unwrap();
    fs::write(format!("{outer}/none"), "").unwrap();
    fs::write(format!("{outer}/{inner}/large"), patterned(3 << 20)).unwrap();
}

fn set_time(path: &str, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn times_of_modification_are_kept_both_ways() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    make_files(&format!("{here}/a"), "b");
    let names = ["a/small", "a/none", "a/b/large", "a/b", "a", ""];
    let at = |number: usize| {
        let back = Duration::new(1_000_000 * (number as u64 + 1), 123_456_789);
        match number {
            // Before 1970, too.
            0 => SystemTime::UNIX_EPOCH - back,
            _ => SystemTime::UNIX_EPOCH + back,
        }
    };
    for (number, name) in names.iter().enumerate() {
        set_time(&format!("{here}/{name}"), at(number));
    }
    for environment in EVERY {
        for copy in both_ways(&environments, environment, &here) {
            for (number, name) in names.iter().enumerate() {
                let found = fs::metadata(format!("{copy}/{name}")).unwrap();
                assert_eq!(found.modified().unwrap(), at(number), "{copy}/{name}");
            }
        }
    }
}

/// A file of 512 MiB with three pieces of data, the last of which is followed by a hole.
fn with_holes(path: &str) {
    let file = fs::File::create(path).unwrap();
    for (offset, data) in [
        (0, &b"begins"[..]),
        (100 * MIB + 5, &patterned(2 << 20)),
        (400 * MIB - 3, b"across blocks"),
    ] {
        file.write_all_at(data, offset).unwrap();
    }
    file.set_len(512 * MIB).unwrap();
}

#[test]
fn holes_stay_holes_both_ways() {
    let environments = Environments::start();
    let here = environments.scratch.path("holes");
    with_holes(&here);
    let least = fs::metadata(&here).unwrap().blocks() * 512;
    assert!(least < 8 * MIB, "no holes can be made here: {least}");
    // Also one that is small enough to go as a whole.
    let small = environments.scratch.path("small");
    fs::File::create(&small).unwrap().set_len(MIB / 2).unwrap();
    for environment in EVERY {
        for (source, size, most) in [(&here, 512 * MIB, least + MIB), (&small, MIB / 2, 0)] {
            for copy in both_ways(&environments, environment, source) {
                let found = fs::metadata(&copy).unwrap();
                assert_eq!(found.len(), size, "{copy}");
                let taken = found.blocks() * 512;
                assert!(taken <= most, "{copy} takes {taken} bytes, not {most}");
                let same = Command::new("cmp").args([source, &copy]).status().unwrap();
                assert!(same.success(), "{copy}");
                fs::remove_file(&copy).unwrap();
            }
        }
    }
}

/// Which names of a tree are those of one file.
fn names_of_one(tree: &str, names: &[&str]) -> bool {
    let inode = |name: &str| fs::metadata(format!("{tree}/{name}")).unwrap().ino();
    names.iter().all(|name| inode(name) == inode(names[0]))
}

#[test]
fn hard_links_within_a_tree_stay_links_both_ways() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    fs::create_dir_all(format!("{here}/a/b")).unwrap();
    fs::create_dir(format!("{here}/c")).unwrap();
    let groups = [
        ["small", "a/small", "a/b/other", "c/small"],
        ["large", "a/large", "a/b/large", "c/also"],
    ];
    for (group, size) in groups.iter().zip([100, 5 << 20]) {
        fs::write(format!("{here}/{}", group[0]), patterned(size)).unwrap();
        for name in &group[1..] {
            fs::hard_link(format!("{here}/{}", group[0]), format!("{here}/{name}")).unwrap();
        }
    }
    // Its other name is not in what is copied.
    fs::write(environments.scratch.path("outside"), "o").unwrap();
    fs::hard_link(environments.scratch.path("outside"), format!("{here}/c/in")).unwrap();
    for environment in EVERY {
        for copy in both_ways(&environments, environment, &here) {
            let other = format!("{copy}/.");
            // Twice: over what is there, too.
            for _ in 0..2 {
                for names in &groups {
                    assert!(names_of_one(&copy, names), "{copy}: {names:?}");
                }
                assert_eq!(fs::metadata(format!("{copy}/c/in")).unwrap().nlink(), 1);
                let output = Command::new("diff").args(["-r", &here, &copy]).output();
                assert!(output.unwrap().status.success(), "{copy}");
                for directory in ["", "a", "a/b", "c"] {
                    let left = parts(&format!("{copy}/{directory}"));
                    assert_eq!(left, Vec::<String>::new(), "{copy}/{directory}");
                }
                environments.stdout(&["cp", "-r", &format!("{environment}:{here}/."), &other]);
            }
        }
    }
}

fn odd(directory: &str, name: &[u8]) -> PathBuf {
    Path::new(directory).join(OsStr::from_bytes(name))
}

#[test]
fn names_and_targets_of_links_that_are_not_utf8_are_copied() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    let directory = odd(&here, b"d\xe9%41 \xff");
    fs::create_dir_all(&directory).unwrap();
    fs::write(odd(&here, b"caf\xe9"), "small").unwrap();
    fs::write(
        directory.join(OsStr::from_bytes(b"\xfe")),
        patterned(3 << 20),
    )
    .unwrap();
    symlink(OsStr::from_bytes(b"caf\xe9"), format!("{here}/link")).unwrap();
    symlink("link", odd(&here, b"l\xe9")).unwrap();
    for environment in EVERY {
        for copy in both_ways(&environments, environment, &here) {
            let output = Command::new("diff")
                .args(["-r", "--no-dereference", &here, &copy])
                .output()
                .unwrap();
            assert!(output.status.success(), "{copy}: {output:?}");
            let target = fs::read_link(format!("{copy}/link")).unwrap();
            assert_eq!(target.as_os_str().as_bytes(), b"caf\xe9");
        }
    }
}

/// A default access rule: the owner all, user 4242 reads, the group reads and enters, others nothing.
fn rules() -> Vec<u8> {
    let mut rules = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in [
        (1_u16, 7_u16, u32::MAX),
        (2, 4, 4242),
        (4, 5, u32::MAX),
        (0x10, 5, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        rules.extend_from_slice(&tag.to_le_bytes());
        rules.extend_from_slice(&bits.to_le_bytes());
        rules.extend_from_slice(&id.to_le_bytes());
    }
    rules
}

#[test]
fn new_directories_inherit_setgid() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    fs::create_dir_all(format!("{here}/a/b")).unwrap();
    set_mode(format!("{here}/a"), 0o750);
    set_mode(format!("{here}/a/b"), 0o555);
    let back = environments.scratch.path("back");
    fs::create_dir(&back).unwrap();
    for directory in [&environments.there, &back] {
        set_mode(directory, 0o2775);
    }
    for environment in EVERY {
        let there = format!("{}/{environment}", environments.there);
        let returned = format!("{back}/{environment}");
        environments.stdout(&["cp", "-r", &here, &format!("{environment}:{there}")]);
        environments.stdout(&["cp", "-r", &format!("{environment}:{here}"), &returned]);
        for copy in [there, returned] {
            assert_eq!(mode(&copy) & 0o2000, 0o2000, "{copy}");
            assert_eq!(mode(format!("{copy}/a")), 0o2750, "{copy}/a");
            assert_eq!(mode(format!("{copy}/a/b")), 0o2555, "{copy}/a/b");
        }
    }
}

#[test]
fn new_directories_inherit_access_rules() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    fs::create_dir_all(format!("{here}/a")).unwrap();
    set_mode(format!("{here}/a"), 0o777);
    let back = environments.scratch.path("back");
    fs::create_dir(&back).unwrap();
    for directory in [&environments.there, &back] {
        let opened = fs::File::open(directory).unwrap();
        set_attribute(opened.as_fd(), c"system.posix_acl_default", &rules())
            .expect("a file system with access rules");
    }
    for environment in EVERY {
        let there = format!("{}/{environment}", environments.there);
        let returned = format!("{back}/{environment}");
        environments.stdout(&["cp", "-r", &here, &format!("{environment}:{there}")]);
        environments.stdout(&["cp", "-r", &format!("{environment}:{here}"), &returned]);
        for copy in [there, returned] {
            // The source lets everybody in; the rules let nobody else.
            assert_eq!(mode(format!("{copy}/a")), 0o750, "{copy}/a");
            let opened = fs::File::open(format!("{copy}/a")).unwrap();
            let has = |name| attribute(opened.as_fd(), name).unwrap();
            assert_eq!(has(c"system.posix_acl_default"), rules(), "{copy}/a");
            assert_eq!(has(c"system.posix_acl_access"), rules(), "{copy}/a");
        }
    }
}

/// Tells that a test is over, also if it has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_source_that_is_written_to_is_an_error_or_a_whole() {
    let environments = Environments::start();
    for size in [200_000, 8 << 20] {
        let changing = format!("{}/changing", environments.there);
        fs::write(&changing, vec![0; size]).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _over = Over(&is_over);
            scope.spawn(|| {
                let file = fs::File::options().write(true).open(&changing).unwrap();
                for number in (0..=u8::MAX).cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    file.write_all_at(&[number], 0).unwrap();
                    file.write_all_at(&[number], size as u64 - 1).unwrap();
                }
            });
            for environment in ["local", "ws"] {
                let here = environments.scratch.path("here");
                let remote = format!("{environment}:{here}");
                for (from, to) in [
                    (&format!("{environment}:{changing}"), &here),
                    (&changing, &remote),
                ] {
                    let _ = fs::remove_file(&here);
                    let output = environments.run(&["cp", from, to]);
                    let stderr = String::from_utf8_lossy(&output.stderr);
                    match output.status.code() {
                        Some(0) => {
                            let copied = fs::read(&here).unwrap();
                            assert_eq!(copied.len(), size, "{from} to {to}");
                            // The last byte is written behind the first.
                            let newer = copied[0].wrapping_sub(copied[size - 1]);
                            assert!(newer <= 1, "{from} to {to}: {newer}");
                        }
                        code => {
                            assert_eq!(code, Some(1), "{stderr}");
                            assert!(stderr.contains("changed while it was"), "{stderr}");
                            assert!(fs::metadata(&here).is_err(), "{from} to {to}");
                        }
                    }
                    assert_eq!(parts(&environments.scratch.dir()), Vec::<String>::new());
                }
            }
        });
    }
}

/// The value of an attribute of a file.
fn attribute_of(path: &str, name: &CStr) -> Option<Vec<u8>> {
    let opened = fs::File::open(path).unwrap();
    attribute(opened.as_fd(), name).ok()
}

#[test]
fn an_archive_keeps_attributes_and_access_rules() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    make_files(&here, "d");
    let names = ["small", "none", "d/large", "d"];
    for name in names {
        let opened = fs::File::open(format!("{here}/{name}")).unwrap();
        set_attribute(opened.as_fd(), c"user.note", name.as_bytes()).unwrap();
        set_attribute(opened.as_fd(), c"system.posix_acl_access", &rules()).unwrap();
    }
    let d = fs::File::open(format!("{here}/d")).unwrap();
    set_attribute(d.as_fd(), c"system.posix_acl_default", &rules()).unwrap();
    for environment in EVERY {
        let there = format!("{}/{environment}", environments.there);
        let back = environments.scratch.path(&format!("back-{environment}"));
        environments.stdout(&["cp", "-a", &here, &format!("{environment}:{there}")]);
        environments.stdout(&["cp", "-a", &format!("{environment}:{there}"), &back]);
        let plain = format!("{there}-plain");
        environments.stdout(&["cp", "-r", &here, &format!("{environment}:{plain}")]);
        for copy in [there, back] {
            for name in names {
                let path = format!("{copy}/{name}");
                assert_eq!(
                    attribute_of(&path, c"user.note").as_deref(),
                    Some(name.as_bytes())
                );
                let rules_of = |name| attribute_of(&path, name);
                assert_eq!(
                    rules_of(c"system.posix_acl_access"),
                    Some(rules()),
                    "{path}"
                );
                let default = (name == "d").then(rules);
                assert_eq!(rules_of(c"system.posix_acl_default"), default, "{path}");
                assert_eq!(mode(&path), mode(format!("{here}/{name}")), "{path}");
            }
        }
        assert_eq!(attribute_of(&format!("{plain}/small"), c"user.note"), None);
    }
}

#[test]
fn a_server_that_knows_no_attributes_is_told_of() {
    let scratch = scratch();
    let source = scratch.path("source");
    fs::write(&source, patterned((3 << 20) + 1)).unwrap();
    let from = source.clone();
    let server = Scripted::new(move |_, line| take(line, &from, false));
    let mut command = command_line(&scratch.dir());
    command.args(["cp", "-a", "-e", server.url(), &source, ":/named"]);
    let output = finish(command, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("extended attributes are left out"),
        "{stderr}"
    );
}

/// Takes an upload of what cannot be renamed over `/named`, and writes to the source at the last
/// block.
fn take(line: &mut Line, source: &str, grows: bool) {
    line.greet_with(
        &json!({ "cwd": "file:///", "capabilities": { "execServer": {
        "extensions": ["fs/rename"] } } }),
    );
    loop {
        let request = line.hear();
        match request["method"].as_str() {
            None => return,
            Some("fs/getMetadata") => {
                let is_directory = request["params"]["path"] == "file:///";
                let found = json!({ "isDirectory": is_directory, "isFile": !is_directory,
                    "isSymlink": false, "size": 1, "createdAtMs": 0, "modifiedAtMs": 0 });
                line.answer(&request, found);
            }
            Some("fs/canonicalize") => line.answer(&request, json!({ "path": "file:///" })),
            Some("fs/rename") => line.say(json!({ "id": request["id"], "error": {
                "code": -32600, "message": "Permission denied (os error 13)",
                "data": { "errno": 13 } } })),
            Some("fs/writeBlock") => {
                let is_over = request["params"]["handleId"] != "part";
                if is_over && request["params"]["offset"] == 2 << 20 && grows {
                    let file = fs::File::options().write(true).open(source).unwrap();
                    file.write_all_at(b"more", (3 << 20) + 1).unwrap();
                }
                line.answer(&request, json!({}));
            }
            Some(_) => line.answer(&request, json!({})),
        }
    }
}

#[test]
fn a_source_that_grows_while_it_is_written_over_another_is_an_error() {
    for grows in [false, true] {
        let scratch = scratch();
        let source = scratch.path("source");
        fs::write(&source, patterned((3 << 20) + 1)).unwrap();
        let from = source.clone();
        let server = Scripted::new(move |_, line| take(line, &from, grows));
        let mut command = command_line(&scratch.dir());
        command.args(["cp", "-e", server.url(), &source, ":/named"]);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(grows)), "{stderr}");
        assert_eq!(stderr.contains("changed while it was"), grows, "{stderr}");
    }
}

#[test]
fn a_full_disk_ends_the_copy_with_one_line() {
    needs!(Need::Root, Need::MountNamespaces);
    let environments = Environments::start();
    let tree = environments.scratch.path("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..400 {
        fs::write(format!("{tree}/{number}"), patterned(20_000)).unwrap();
    }
    let large = environments.scratch.path("large");
    fs::write(&large, patterned(8 << 20)).unwrap();
    let full = environments.scratch.path("full");
    fs::create_dir(&full).unwrap();
    for (from, to) in [
        (&tree, format!("{full}/copy")),
        (&tree, format!("stdio:{full}/copy")),
        (&large, format!("{full}/copy")),
        (&large, format!("stdio:{full}/copy")),
    ] {
        let command = environments.command(&[]);
        let program = command.get_program().to_str().unwrap();
        let script = format!(
            "mount -t tmpfs -o size=2m none '{full}' && '{program}' cp -r '{from}' '{to}'; \
             code=$?; find '{full}' -name '*.PART-*' | grep . && exit 77; exit $code"
        );
        let mut shell = Command::new("unshare");
        shell.args(["-m", "/bin/sh", "-c", &script]);
        shell.env("EXEC_SERVER_HOME", environments.scratch.dir());
        let output = finish(shell, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{to}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{to}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{to}: {stderr}");
    }
}

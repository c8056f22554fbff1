//! Directories with all below them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{mode, set_mode};
use crate::support::{EVERY, Environments, REMOTE, patterned};

/// A tree with all that a tree can have.
fn tree(path: &str) {
    fs::create_dir_all(format!("{path}/a/b/empty")).unwrap();
    fs::write(format!("{path}/file"), "f").unwrap();
    fs::write(format!("{path}/a/none"), "").unwrap();
    fs::write(format!("{path}/a/b/large"), patterned(3 << 20)).unwrap();
    fs::write(format!("{path}/with blank\nand line"), "n").unwrap();
    fs::write(format!("{path}/.hidden"), "h").unwrap();
    fs::write(format!("{path}/-r"), "dash").unwrap();
    symlink("file", format!("{path}/to-file")).unwrap();
    symlink("/no/where", format!("{path}/a/to-nothing")).unwrap();
    symlink("a", format!("{path}/to-directory")).unwrap();
    for number in 0..100 {
        fs::write(format!("{path}/a/b/{number}"), number.to_string()).unwrap();
    }
    set_mode(format!("{path}/file"), 0o751);
    set_mode(format!("{path}/a/b"), 0o750);
    set_mode(format!("{path}/a/b/empty"), 0o555);
}

#[track_caller]
fn are_equal(one: &str, other: &str) {
    let output = Command::new("diff")
        .args(["-r", "--no-dereference", one, other])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    for path in ["file", "a/b", "a/b/empty", "a/b/large"] {
        let modes = [one, other].map(|base| mode(format!("{base}/{path}")));
        assert_eq!(modes[0], modes[1], "{path}");
    }
}

#[test]
fn a_tree_goes_there_and_back() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    tree(&here);
    for environment in EVERY {
        let there = format!("{}/{environment}", environments.there);
        environments.stdout(&["cp", "-r", &here, &format!("{environment}:{there}")]);
        are_equal(&here, &there);
        let back = environments.scratch.path(&format!("back-{environment}"));
        environments.stdout(&["cp", "-r", &format!("{environment}:{there}"), &back]);
        are_equal(&here, &back);
    }
}

#[test]
fn a_tree_goes_between_two_environments() {
    let environments = Environments::start();
    let from = format!("{}/from", environments.there);
    tree(&from);
    environments.stdout(&["cp", "-r", "ws:from", "unix:to"]);
    are_equal(&from, &format!("{}/to", environments.there));
}

#[test]
fn a_directory_that_is_there_takes_the_tree_in_or_is_filled() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    tree(&here);
    for environment in REMOTE {
        let base = format!("{}/{environment}", environments.there);
        fs::create_dir(&base).unwrap();
        environments.stdout(&["cp", "-r", &here, &format!("{environment}:{base}")]);
        are_equal(&here, &format!("{base}/tree"));
        fs::remove_dir_all(format!("{base}/tree")).unwrap();
        // Twice: over what is there, links included.
        for _ in 0..2 {
            environments.stdout(&[
                "cp",
                "-r",
                &format!("{here}/."),
                &format!("{environment}:{base}"),
            ]);
            are_equal(&here, &base);
        }
    }
}

#[test]
fn a_directory_that_was_there_keeps_its_mode() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    fs::create_dir_all(format!("{here}/sub")).unwrap();
    fs::write(format!("{here}/sub/file"), "f").unwrap();
    set_mode(&here, 0o755);
    set_mode(format!("{here}/sub"), 0o755);
    for environment in EVERY {
        let base = format!("{}/{environment}", environments.there);
        fs::create_dir_all(format!("{base}/sub")).unwrap();
        set_mode(&base, 0o1770);
        set_mode(format!("{base}/sub"), 0o700);
        let (from, to) = (format!("{here}/."), format!("{environment}:{base}"));
        environments.stdout(&["cp", "-r", &from, &to]);
        assert_eq!(fs::read(format!("{base}/sub/file")).unwrap(), b"f");
        let modes = [mode(&base), mode(format!("{base}/sub"))];
        assert_eq!(modes, [0o1770, 0o700], "{environment}");
    }
}

#[test]
fn a_directory_needs_r() {
    let environments = Environments::start();
    let words = "a directory; use -r";
    environments.fails(&["cp", &environments.there, "ws:new"], 1, words);
}

#[test]
fn what_is_no_file_is_left_out_and_told() {
    let environments = Environments::start();
    let here = environments.scratch.path("tree");
    fs::create_dir(&here).unwrap();
    fs::write(format!("{here}/file"), "f").unwrap();
    let made = Command::new("mkfifo")
        .arg(format!("{here}/pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    for (from, to) in [
        (here.clone(), "ws:out".to_owned()),
        (format!("unix:{here}"), environments.scratch.path("in")),
    ] {
        let words = "pipe: not a file, directory or link; left out";
        environments.fails(&["cp", "-r", &from, &to], 1, words);
    }
    assert_eq!(
        fs::read(format!("{}/out/file", environments.there)).unwrap(),
        b"f"
    );
    assert_eq!(
        fs::read(environments.scratch.path("in/file")).unwrap(),
        b"f"
    );
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let environments = Environments::start();
    fs::create_dir(format!("{}/dir", environments.there)).unwrap();
    let arguments = ["cp", "-r", "ws:dir", "ws:dir/sub"];
    environments.fails(&arguments, 1, "is inside it");
}

#[test]
fn a_directory_is_not_copied_into_itself_by_another_way_to_its_machine() {
    let environments = Environments::start();
    let directory = format!("{}/dir", environments.there);
    fs::create_dir_all(format!("{directory}/sub/deep")).unwrap();
    fs::write(format!("{directory}/file"), "f").unwrap();
    symlink("dir", format!("{}/link", environments.there)).unwrap();
    for (from, to) in [
        ("ws:dir", "unix:dir/sub/deep/new"),
        ("stdio:dir", "ws:link/sub"),
        ("unix:dir/.", "ws:dir"),
        (&directory, "unix:dir/new"),
        ("ws:link/", &format!("{directory}/sub")),
        ("stdio:dir", &directory),
    ] {
        environments.fails(&["cp", "-r", from, to], 1, "is inside it");
        let names = fs::read_dir(&directory).unwrap().count();
        assert_eq!(names, 2, "{from} to {to}");
    }
    // A directory beside it is another one.
    environments.stdout(&["cp", "-r", "ws:dir", "unix:beside"]);
    environments.stdout(&["cp", "-r", "ws:dir/sub", "unix:beside"]);
}

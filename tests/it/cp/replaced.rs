//! Files that are there already: what they keep, and what is done where none can take their place.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{mode, parts, set_mode};
use crate::support::sandbox::ORDINARY;
use crate::support::{EVERY, Environments, Need, finish, patterned};

/// A size for a whole file at once, and one for blocks.
const SIZES: [usize; 2] = [100, (3 << 20) + 1];

/// Copies both ways over a file that `prepare` has made somebody's, and gives both to `check`.
fn over(environments: &Environments, prepare: impl Fn(&str), check: impl Fn(&str, &str)) {
    for environment in EVERY {
        for size in SIZES {
            let new = environments.scratch.path("new");
            fs::write(&new, patterned(size)).unwrap();
            set_mode(&new, 0o644);
            let there = format!("{}/old", environments.there);
            let remote = format!("{environment}:{there}");
            for (from, to) in [(&new, &remote), (&format!("{environment}:{new}"), &there)] {
                let _ = fs::remove_file(&there);
                fs::write(&there, "old").unwrap();
                prepare(&there);
                environments.stdout(&["cp", from, to]);
                let what = format!("{from} to {to}, {size} bytes");
                assert!(fs::read(&there).unwrap() == patterned(size), "{what}");
                assert_eq!(parts(&environments.there), Vec::<String>::new(), "{what}");
                check(&there, &what);
            }
        }
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode() {
    let environments = Environments::start();
    over(
        &environments,
        |path| set_mode(path, 0o600),
        |path, what| assert_eq!(mode(path), 0o600, "{what}"),
    );
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner_and_group() {
    needs!(Need::Root);
    let environments = Environments::start();
    let prepare = |path: &str| {
        chown(path, Some(4242), Some(4343)).unwrap();
        set_mode(path, 0o640);
    };
    over(&environments, prepare, |path, what| {
        let found = fs::metadata(path).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), mode(path)),
            (4242, 4343, 0o640),
            "{what}"
        );
    });
}

/// Lets everybody into a directory, of which the file in it is `ORDINARY`'s to write and no more.
fn lend(directory: &str, file: &str, bits: u32) {
    fs::create_dir_all(directory).unwrap();
    fs::write(file, "old").unwrap();
    set_mode(file, 0o666);
    set_mode(directory, bits);
}

/// The program as an ordinary user, whose home is nowhere.
fn as_ordinary(environments: &Environments, arguments: &[&str]) -> Command {
    let mut command = environments.command(arguments);
    command.uid(ORDINARY).gid(ORDINARY);
    command.env("EXEC_SERVER_HOME", "/").current_dir("/");
    command
}

#[test]
fn what_may_be_written_and_not_replaced_is_written_in_place() {
    needs!(Need::Root);
    let environments = Environments::start();
    set_mode(environments.scratch.dir(), 0o755);
    let directory = environments.scratch.path("lent");
    let file = format!("{directory}/file");
    // Nothing can be made in the one; in the other, nothing be given away.
    for bits in [0o755, 0o777] {
        for size in SIZES {
            lend(&directory, &file, bits);
            let new = environments.scratch.path("new");
            fs::write(&new, patterned(size)).unwrap();
            set_mode(&new, 0o644);
            let inode = fs::metadata(&file).unwrap().ino();
            let what = format!("{bits:o}, {size} bytes");
            let program = environments.command(&[]).get_program().to_owned();
            let program = program.to_str().unwrap();
            let remote = format!("local:{file}");
            // By this program itself, and by a server of the same user.
            for to in [&file, &remote] {
                fs::write(&file, "old").unwrap();
                let output = finish(as_ordinary(&environments, &["cp", &new, to]), b"");
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(0), "{what}, {program}: {stderr}");
                assert!(fs::read(&file).unwrap() == patterned(size), "{what}");
                let found = fs::metadata(&file).unwrap();
                assert_eq!(
                    (found.ino(), found.uid(), mode(&file)),
                    (inode, 0, 0o666),
                    "{what}"
                );
                assert_eq!(parts(&directory), Vec::<String>::new(), "{what}");
            }
            fs::remove_dir_all(&directory).unwrap();
        }
    }
}

#[test]
fn what_can_neither_be_replaced_nor_written_is_an_error() {
    needs!(Need::Root);
    let environments = Environments::start();
    set_mode(environments.scratch.dir(), 0o755);
    let directory = environments.scratch.path("lent");
    let file = format!("{directory}/file");
    lend(&directory, &file, 0o755);
    set_mode(&file, 0o644);
    let new = environments.scratch.path("new");
    fs::write(&new, "new").unwrap();
    set_mode(&new, 0o644);
    for to in [
        file.clone(),
        format!("local:{file}"),
        format!("{directory}/another"),
    ] {
        let output = finish(as_ordinary(&environments, &["cp", &new, &to]), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{to}: {stderr}");
        assert!(stderr.contains("Permission denied"), "{to}: {stderr}");
        assert_eq!(fs::read(&file).unwrap(), b"old", "{to}");
    }
}

#[test]
fn a_file_that_is_mounted_is_written_in_place() {
    needs!(Need::Root, Need::MountNamespaces);
    let environments = Environments::start();
    let (new, file) = (
        environments.scratch.path("new"),
        environments.scratch.path("file"),
    );
    let below = environments.scratch.path("below");
    for size in SIZES {
        fs::write(&new, patterned(size)).unwrap();
        fs::write(&file, "").unwrap();
        fs::write(&below, "old").unwrap();
        for to in [file.clone(), format!("local:{file}")] {
            let command = environments.command(&[]);
            let program = command.get_program().to_str().unwrap();
            let script =
                format!("mount --bind '{below}' '{file}' && exec '{program}' cp '{new}' '{to}'");
            let mut shell = Command::new("unshare");
            shell.args(["-m", "/bin/sh", "-c", &script]);
            shell.env("EXEC_SERVER_HOME", environments.scratch.dir());
            let output = finish(shell, b"");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{to}: {stderr}");
            assert!(
                fs::read(&below).unwrap() == patterned(size),
                "{to}, {size} bytes"
            );
            assert_eq!(fs::read(&file).unwrap(), b"", "{to}, {size} bytes");
        }
    }
}

//! Single files.

use std::fs;
use std::os::unix::fs::symlink;

use super::{mode, parts, set_mode};
use crate::support::{EVERY, Environments, REMOTE, finish, patterned};

#[test]
fn a_file_goes_there_and_back_with_its_bytes_and_mode() {
    let environments = Environments::start();
    let (here, back) = (
        environments.scratch.path("here"),
        environments.scratch.path("back"),
    );
    for (size, bits) in [
        (0, 0o644),
        (1, 0o600),
        (1 << 20, 0o755),
        ((1 << 20) + 1, 0o640),
        (9 << 20, 0o444),
    ] {
        let _ = fs::remove_file(&here);
        fs::write(&here, patterned(size)).unwrap();
        set_mode(&here, bits);
        for environment in EVERY {
            let there = format!("{}/{environment}-{size}", environments.there);
            environments.stdout(&["cp", &here, &format!("{environment}:{there}")]);
            assert!(
                fs::read(&there).unwrap() == patterned(size),
                "{environment}: {size}"
            );
            assert_eq!(mode(&there), bits, "{environment}: {size}");
            let _ = fs::remove_file(&back);
            environments.stdout(&["cp", &format!("{environment}:{there}"), &back]);
            assert!(
                fs::read(&back).unwrap() == patterned(size),
                "{environment}: {size}"
            );
            assert_eq!(mode(&back), bits, "{environment}: {size}");
        }
    }
    assert_eq!(parts(&environments.there), Vec::<String>::new());
    assert_eq!(parts(&environments.scratch.dir()), Vec::<String>::new());
}

#[test]
fn a_file_goes_between_two_environments() {
    let environments = Environments::start();
    let from = format!("{}/from", environments.there);
    fs::write(&from, patterned(5 << 20)).unwrap();
    for (one, other) in [
        ("ws", "unix"),
        ("unix", "stdio"),
        ("stdio", "ws"),
        ("ws", "ws"),
    ] {
        let to = format!("{}/{one}-{other}", environments.there);
        environments.stdout(&["cp", &format!("{one}:{from}"), &format!("{other}:{to}")]);
        assert!(
            fs::read(&to).unwrap() == patterned(5 << 20),
            "{one} to {other}"
        );
    }
}

#[test]
fn a_relative_path_starts_where_commands_do() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, "x").unwrap();
    for environment in REMOTE {
        environments.stdout(&["cp", &here, &format!("{environment}:{environment}")]);
        assert_eq!(
            fs::read(format!("{}/{environment}", environments.there)).unwrap(),
            b"x"
        );
        environments.stdout(&["cp", &here, &format!("{environment}:")]);
        assert_eq!(
            fs::read(format!("{}/here", environments.there)).unwrap(),
            b"x"
        );
        fs::remove_file(format!("{}/here", environments.there)).unwrap();
    }
}

#[test]
fn the_default_environment_needs_no_name_and_another_can_be_meant() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, "x").unwrap();
    environments.stdout(&["cp", "-e", "ws", &here, ":meant"]);
    assert!(fs::exists(format!("{}/meant", environments.there)).unwrap());
    let mut command = environments.command(&["cp", &here, ":default"]);
    command.current_dir(environments.scratch.dir());
    assert!(finish(command, b"").status.success());
    assert!(fs::exists(environments.scratch.path("default")).unwrap());
}

#[test]
fn a_name_with_a_colon_can_be_a_file_here() {
    let environments = Environments::start();
    fs::write(environments.scratch.path("a:b"), "x").unwrap();
    let mut command = environments.command(&["cp", "./a:b", "ws:colon"]);
    command.current_dir(environments.scratch.dir());
    let output = finish(command, b"");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        fs::read(format!("{}/colon", environments.there)).unwrap(),
        b"x"
    );
}

#[test]
fn several_sources_go_into_a_directory() {
    let environments = Environments::start();
    let (one, two) = (
        environments.scratch.path("one"),
        environments.scratch.path("two"),
    );
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    environments.stdout(&["cp", &one, &two, "unix:."]);
    assert_eq!(
        fs::read(format!("{}/one", environments.there)).unwrap(),
        b"1"
    );
    assert_eq!(
        fs::read(format!("{}/two", environments.there)).unwrap(),
        b"2"
    );
    let output = environments.run(&["cp", &one, &two, "unix:new"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_there_is_replaced_and_a_link_to_it_kept() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(2 << 20)).unwrap();
    for environment in REMOTE {
        let there = format!("{}/{environment}", environments.there);
        fs::write(&there, "before").unwrap();
        let link = format!("{there}-link");
        symlink(&there, &link).unwrap();
        environments.stdout(&["cp", &here, &format!("{environment}:{link}")]);
        assert!(
            fs::symlink_metadata(&link).unwrap().is_symlink(),
            "{environment}"
        );
        assert!(
            fs::read(&there).unwrap() == patterned(2 << 20),
            "{environment}"
        );
    }
}

#[test]
fn files_without_a_size_are_read_to_their_end() {
    let environments = Environments::start();
    let here = environments.scratch.path("version");
    for environment in EVERY {
        environments.stdout(&["cp", &format!("{environment}:/proc/version"), &here]);
        assert_eq!(
            fs::read(&here).unwrap(),
            fs::read("/proc/version").unwrap(),
            "{environment}"
        );
    }
}

#[test]
fn verbose_names_what_was_copied_and_quiet_says_nothing() {
    let environments = Environments::start();
    let here = environments.scratch.path("here\x1b[2J");
    fs::write(&here, "x").unwrap();
    let output = environments.run(&["cp", "-v", &here, "ws:"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("-> ws:") && !stderr.contains('\x1b'),
        "{stderr:?}"
    );
    let output = environments.run(&["cp", "-q", &here, "ws:"]);
    assert_eq!(output.stderr, b"");
}

#[test]
fn on_a_terminal_it_shows_how_far_it_is_unless_it_is_to_be_quiet() {
    let environments = Environments::start();
    fs::write(format!("{}/file", environments.there), patterned(3 << 20)).unwrap();
    let to = environments.scratch.path("to");
    let shown = environments.on_a_terminal(&["cp", "unix:file", &to], &[]);
    for part in ["] ", "100 %", "3.0 MiB", "iB/s"] {
        assert!(shown.contains(part), "{part:?} is not in {shown:?}");
    }
    let quiet = environments.on_a_terminal(&["cp", "-q", "unix:file", &to], &[]);
    assert_eq!(quiet, "");
}

//! Copies that were interrupted, and go on.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::{mode, parts, set_mode};
use crate::support::{Environments, Proxy, Running, patterned, signal, within};

const SIZE: usize = 160 << 20;
/// As much as is copied again, and something more.
const ENOUGH: u64 = 48 << 20;

/// Starts a copy and waits until enough of it is there.
fn half_done(environments: &Environments, from: &str, to: &str, directory: &str) -> Running {
    let mut command = environments.command(&["cp", from, to]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut running = Running::new(command.spawn().unwrap());
    within(Duration::from_secs(30), "a part is there", || {
        assert!(running.0.try_wait().unwrap().is_none(), "it was too fast");
        let part = parts(directory).pop();
        part.is_some_and(|part| {
            fs::metadata(format!("{directory}/{part}")).is_ok_and(|part| part.len() > ENOUGH)
        })
    });
    running
}

/// Environments with a source, of which a copy that was killed has left a part.
fn killed_half_way() -> (Environments, String) {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(SIZE)).unwrap();
    let mut running = half_done(&environments, &here, "ws:there", &environments.there);
    running.0.kill().unwrap();
    running.ended(Duration::from_secs(10));
    (environments, here)
}

#[test]
fn a_killed_copy_leaves_no_file_and_goes_on() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(SIZE)).unwrap();
    let there = format!("{}/there", environments.there);
    let back = environments.scratch.path("back");
    fs::create_dir(&back).unwrap();
    let back_file = format!("{back}/file");
    for (from, to, directory, last) in [
        (
            here.as_str(),
            "ws:there",
            environments.there.as_str(),
            there.as_str(),
        ),
        (
            "unix:there",
            back_file.as_str(),
            back.as_str(),
            back_file.as_str(),
        ),
    ] {
        let mut running = half_done(&environments, from, to, directory);
        running.0.kill().unwrap();
        running.ended(Duration::from_secs(10));
        assert!(!fs::exists(last).unwrap(), "{to}");
        // What is trusted is not written again: another byte in the beginning of the part stays.
        let part = format!("{directory}/{}", parts(directory).pop().unwrap());
        let marked = fs::File::options().write(true).open(&part).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&marked, b"MARK", 0).unwrap();

        environments.stdout(&["cp", "--continue", from, to]);
        let copied = fs::read(last).unwrap();
        assert!(
            copied.len() == SIZE && copied[4..] == patterned(SIZE)[4..],
            "{to}"
        );
        assert_eq!(&copied[..4], b"MARK", "{to}: it began again");
        assert_eq!(parts(directory), Vec::<String>::new());
        fs::write(last, patterned(SIZE)).unwrap();
    }
}

#[test]
fn a_part_that_is_wrong_is_not_gone_on_from() {
    let (environments, here) = killed_half_way();
    let part = format!(
        "{}/{}",
        environments.there,
        parts(&environments.there).pop().unwrap()
    );
    let size = fs::metadata(&part).unwrap().len();
    fs::write(&part, vec![7; usize::try_from(size).unwrap()]).unwrap();
    environments.stdout(&["cp", "--continue", &here, "ws:there"]);
    assert!(fs::read(format!("{}/there", environments.there)).unwrap() == patterned(SIZE));
}

#[test]
fn a_part_that_may_be_somebody_else_s_is_not_gone_on_from() {
    let environments = Environments::start();
    fs::write(format!("{}/file", environments.there), patterned(SIZE)).unwrap();
    let to = environments.scratch.path("to");
    fs::create_dir(&to).unwrap();
    let last = format!("{to}/file");
    let mut running = half_done(&environments, "unix:file", &last, &to);
    running.0.kill().unwrap();
    running.ended(Duration::from_secs(10));
    let part = format!("{to}/{}", parts(&to).pop().unwrap());
    let kept = environments.scratch.path("kept");
    let marked = fs::File::options().write(true).open(&part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&marked, b"MARK", 0).unwrap();
    let goes_on = || {
        environments.stdout(&["cp", "--continue", "unix:file", &last]);
        let copied = fs::read(&last).unwrap();
        assert!(copied.len() == SIZE && copied[4..] == patterned(SIZE)[4..]);
        copied[..4] == *b"MARK"
    };

    set_mode(&part, 0o620);
    assert!(!goes_on(), "its group can write to it");
    set_mode(&part, 0o600);
    fs::hard_link(&part, &kept).unwrap();
    assert!(!goes_on(), "it has another name");
    fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink(&kept, &part).unwrap();
    assert!(!goes_on(), "it is a link");
    assert_eq!(fs::read(&kept).unwrap()[..4], *b"MARK");
    fs::rename(&kept, &part).unwrap();
    assert!(goes_on(), "it is ours again");
}

/// Where versions before put the part of a file: a name that anybody can tell beforehand.
fn name_that_was_foreseen(last: &str, source: &str) -> String {
    use sha2::{Digest, Sha256};
    let found = fs::metadata(source).unwrap();
    let modified = found.modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut digest = Sha256::new();
    digest.update(format!("unix:{source}"));
    digest.update([0]);
    digest.update(found.len().to_le_bytes());
    digest.update((modified.as_millis() as i64).to_le_bytes());
    let digest = digest.finalize();
    let digits: String = digest[..4].iter().map(|it| format!("{it:02x}")).collect();
    format!(".{last}.PART-{digits}")
}

#[test]
fn nothing_is_written_through_what_waits_where_a_part_could_be() {
    let environments = Environments::start();
    let to = environments.scratch.path("to");
    fs::create_dir(&to).unwrap();
    for size in [5, 3 << 20] {
        let source = format!("{}/file-{size}", environments.there);
        fs::write(&source, patterned(size)).unwrap();
        let name = format!("file-{size}");
        let trap = format!("{to}/{}", name_that_was_foreseen(&name, &source));
        // Whoever follows it gets an error, and with another device shows a stranger's bytes.
        std::os::unix::fs::symlink("/dev/full", &trap).unwrap();
        environments.stdout(&["cp", "-r", &format!("unix:{source}"), &to]);
        assert!(fs::read(format!("{to}/{name}")).unwrap() == patterned(size));
        assert!(fs::symlink_metadata(&trap).unwrap().is_symlink());
    }
}

#[test]
fn a_source_that_has_changed_is_copied_anew() {
    let (environments, here) = killed_half_way();
    fs::write(&here, vec![1; SIZE]).unwrap();
    environments.stdout(&["cp", "--continue", &here, "ws:there"]);
    assert!(fs::read(format!("{}/there", environments.there)).unwrap() == vec![1; SIZE]);
}

#[test]
fn a_signal_stops_it_and_tells_how_to_go_on() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(SIZE)).unwrap();
    let running = half_done(&environments, &here, "ws:there", &environments.there);
    signal(running.0.id(), "INT");
    let output = running.finish("cp", b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("--continue"), "{stderr}");
    assert!(!fs::exists(format!("{}/there", environments.there)).unwrap());
}

#[test]
fn a_killed_copy_of_a_directory_leaves_it_to_its_owner_and_goes_on() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::create_dir(&here).unwrap();
    fs::write(format!("{here}/file"), patterned(SIZE)).unwrap();
    set_mode(&here, 0o500);
    let there = format!("{}/there", environments.there);
    let mut command = environments.command(&["cp", "-r", &here, "ws:there"]);
    let mut running = Running::new(command.stdin(Stdio::null()).spawn().unwrap());
    within(Duration::from_secs(30), "a part is there", || {
        fs::exists(&there).unwrap() && !parts(&there).is_empty()
    });
    assert_eq!(mode(&there), 0o700);
    running.0.kill().unwrap();
    running.ended(Duration::from_secs(10));
    assert_eq!(mode(&there), 0o700);
    environments.stdout(&["cp", "-r", "--continue", &format!("{here}/."), "ws:there"]);
    assert_eq!(mode(&there), 0o500);
    assert!(fs::read(format!("{there}/file")).unwrap() == patterned(SIZE));
    // So that it can be removed by whoever is not root.
    set_mode(&here, 0o700);
    set_mode(&there, 0o700);
}

#[test]
fn a_cut_connection_is_survived_or_told() {
    let environments = Environments::start();
    let proxy = Proxy::before(environments.ws.address());
    environments.configure_own(&format!(
        "[environments.cut]\nurl = \"ws://{}\"\nbearer_token_env = \"TEST_TOKEN\"\n",
        proxy.address()
    ));
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(SIZE)).unwrap();
    let there = format!("{}/there", environments.there);
    let running = half_done(&environments, &here, "cut:there", &environments.there);
    proxy.cut();
    let output = running.finish("cp", b"");
    // A block that was on its way may be lost for good; then the file is not there, and what to do is said.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        assert!(!fs::exists(&there).unwrap());
        environments.stdout(&["cp", "--continue", &here, "cut:there"]);
    }
    assert!(fs::read(&there).unwrap() == patterned(SIZE));
}

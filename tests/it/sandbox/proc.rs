//! A machine whose `/proc` is not the only one, or can be no other.

use std::process::Command;

use super::read_only;
use crate::support::{Client, Need, Server, Start, has, scratch};

/// A client of a server in a mount namespace of its own, where `mounting` was done before, as the bundled bwrap confines.
fn after(mounting: &str) -> Option<Client> {
    if !has(Need::Root) || !has(Need::MountNamespaces) {
        return None;
    }
    let script = format!("{mounting} && exec \"$0\" --listen stdio --sandbox-launcher bundled");
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
    command.arg(Server::command().get_program());
    Some(Client::stdio_command(command))
}

#[test]
fn where_no_proc_can_be_mounted_no_process_of_the_host_is_seen() {
    // A new /proc would show what is covered here, so the kernel refuses it.
    let Some(mut client) = after("mount -t tmpfs none /proc/tty") else {
        return;
    };
    let start = Start::shell("p", "ls -A /proc; echo end").with("sandbox", read_only());
    let level = client.start(start)["sandboxLevel"].clone();
    let outcome = client.closed("p");
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (0, "end\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(level["launcher"], "bundled");
    let weaker = level["weaker"].to_string();
    assert!(weaker.contains("/proc is empty"), "{level}");
}

#[test]
fn a_second_proc_of_the_host_shows_no_process_either() {
    let scratch = scratch();
    // With a blank, which the kernel writes as \040.
    let jail = scratch.path("a jail");
    std::fs::create_dir(&jail).unwrap();
    let Some(mut client) = after(&format!("mount -t proc proc '{jail}'")) else {
        return;
    };
    let script = format!("ls -A '{jail}'; cat '{jail}/1/cmdline'; echo end");
    client.start(Start::shell("p", &script).with("sandbox", read_only()));
    let outcome = client.closed("p");
    assert_eq!(outcome.stdout, "end\n", "{}", outcome.stderr);
}

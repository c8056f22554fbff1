//! A machine that lets no new `/proc` be mounted, as many containers are.

use std::process::Command;

use super::read_only;
use crate::support::sandbox::is_root;
use crate::support::{Client, Server, Start};

#[test]
fn where_no_proc_can_be_mounted_no_process_of_the_host_is_seen() {
    if !is_root() {
        eprintln!("skipped: only root can cover a part of /proc");
        return;
    }
    // A new /proc would show what is covered here, so the kernel refuses it.
    let script =
        "mount -t tmpfs none /proc/tty && exec \"$0\" --listen stdio --sandbox-launcher bundled";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script]);
    command.arg(Server::command().get_program());
    let mut client = Client::stdio_command(command);
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

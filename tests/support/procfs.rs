//! Processes as the kernel shows them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Whether the process lives; a zombie that its parent has yet to reap does not.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Children of a process that have ended and were not reaped.
pub fn zombies_of(parent: u32) -> usize {
    all()
        .filter(|&pid| stat(pid) == Some(('Z', parent)))
        .count()
}

/// Living children of a process that go by this name.
pub fn children_named(parent: u32, name: &str) -> Vec<u32> {
    let is_child = |pid: &u32| stat(*pid).is_some_and(|(state, of)| of == parent && state != 'Z');
    let has_name = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    all().filter(is_child).filter(has_name).collect()
}

/// Living children of a process, apart from its guardian.
pub fn working_children(parent: u32) -> Vec<u32> {
    let guardians = children_named(parent, "exec-guardian");
    let is_child = |pid: &u32| stat(*pid).is_some_and(|(state, of)| of == parent && state != 'Z');
    all()
        .filter(is_child)
        .filter(|pid| !guardians.contains(pid))
        .collect()
}

/// A process and all below it.
pub fn descendants(top: u32) -> Vec<u32> {
    let mut found = vec![top];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all().filter(|&pid| stat(pid).is_some_and(|(_, of)| of == parent)));
        next += 1;
    }
    found
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Descriptors the process has open.
pub fn descriptors(pid: u32) -> usize {
    let list = format!("/proc/{pid}/fd");
    match fs::read_dir(&list) {
        Ok(descriptors) => descriptors.count(),
        // A server's are closed to all but root; how many there are the kernel tells everybody, from Linux 6.2 on.
        Err(_) => fs::metadata(list).unwrap().len() as usize,
    }
}

/// The session of the process; `None` if there is no such process.
pub fn session(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    fields.nth(3)?.parse().ok()
}

/// State and parent; `None` if there is no such process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Most memory the process ever had in RAM, in KiB.
pub fn peak_resident(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Memory the process has in RAM now, in KiB.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Memory of the process that is no file's, in KiB: its heap and its stacks.
pub fn anonymous(pid: u32) -> u64 {
    status(pid, "RssAnon:")
}

/// Address space of the process, in bytes.
pub fn address_space(pid: u32) -> u64 {
    status(pid, "VmSize:") << 10
}

/// Processor time the process has used, in ticks.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What the threads of a process are called, but for the main thread.
pub fn thread_names(pid: u32) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let others = tasks.filter(|task| *task != pid.to_string());
    // One may end meanwhile.
    let names =
        others.filter_map(|task| fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// Threads of the process.
pub fn threads(pid: u32) -> u64 {
    status(pid, "Threads:")
}

fn status(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends a signal by name; the shell's own `kill`, so that no test needs another program or unsafe code.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -s {name} {pid}");
}

//! All that could be changed of files, one line a file.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::kernel::{at, at_mut, call, text};
use crate::say;

const GETFLAGS: usize = 0x8008_6601;

/// Says what there is at each path, and below it: the path, and after a tab `name=value` for each thing that can be changed.
pub fn snapshot(paths: &[&str]) {
    let locks = locks();
    paths.iter().for_each(|path| look(Path::new(path), &locks));
}

fn look(path: &Path, locks: &HashMap<String, u32>) {
    let Ok(status) = fs::symlink_metadata(path) else {
        return say(&format!("{}\tgone=yes", path.display()));
    };
    let kind = status.file_type();
    let content = if kind.is_file() {
        hash(path)
    } else if kind.is_symlink() {
        fs::read_link(path).unwrap().display().to_string()
    } else {
        String::new()
    };
    let is_device = kind.is_char_device() || kind.is_block_device();
    // Whoever uses a terminal changes this one of it.
    let modified = if is_device {
        String::new()
    } else {
        format!("{}.{}", status.mtime(), status.mtime_nsec())
    };
    let inode = format!(
        "{:02x}:{:02x}:{}",
        libc::major(status.dev()),
        libc::minor(status.dev()),
        status.ino()
    );
    say(&format!(
        "{}\tcontent={content} mode={:o} owner={}:{} links={} modified={modified} changed={}.{} attributes={} flags={} locks={}",
        path.display(),
        status.mode(),
        status.uid(),
        status.gid(),
        status.nlink(),
        status.ctime(),
        status.ctime_nsec(),
        attributes(path),
        flags(path, kind.is_file() || kind.is_dir()),
        locks.get(&inode).copied().unwrap_or_default(),
    ));
    if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        names.sort();
        names.iter().for_each(|path| look(path, locks));
    }
}

fn hash(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut file = File::open(path).unwrap();
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return format!("{:x}", hasher.finish()),
            count => hasher.write(&buffer[..count]),
        }
    }
}

fn attributes(path: &Path) -> String {
    let path = text(path.to_str().unwrap());
    let mut names = vec![0_u8; 4096];
    let count = call(
        libc::SYS_llistxattr,
        &[at(&*path), at(names.as_mut_slice()), names.len()],
    );
    String::from_utf8_lossy(&names[..count.unwrap_or(0)]).replace('\0', ",")
}

/// The flags that `chattr` sets, where the file system has them.
fn flags(path: &Path, has_some: bool) -> String {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let Some(file) = opened.ok().filter(|_| has_some) else {
        return String::new();
    };
    let mut flags = 0_u64;
    match call(
        libc::SYS_ioctl,
        &[file.as_raw_fd() as usize, GETFLAGS, at_mut(&mut flags)],
    ) {
        Ok(_) => format!("{flags:x}"),
        Err(_) => String::new(),
    }
}

/// How many locks the kernel has on each file.
fn locks() -> HashMap<String, u32> {
    let mut found = HashMap::new();
    for line in fs::read_to_string("/proc/locks").unwrap().lines() {
        if let Some(inode) = line
            .split_whitespace()
            .find(|word| word.matches(':').count() == 2)
        {
            *found.entry(inode.to_string()).or_default() += 1;
        }
    }
    found
}

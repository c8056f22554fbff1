//! All that a program has or can reach, one line a thing. It judges nothing: a test compares the list with what it expects.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use crate::kernel::{at_mut, call, signed, text};
use crate::say;

/// Numbers of descriptors that are looked at.
const DESCRIPTORS: usize = 4096;

/// Says everything. `with-modes`: also which devices' modes can be set, by setting the one that is there. The rest are
/// sockets to try: paths, and names of the abstract kind after `@`.
pub fn inventory(words: &[&str]) {
    let has_modes = words.first() == Some(&"with-modes");
    descriptors();
    processes();
    mounts();
    devices(Path::new("/dev"), has_modes, 3);
    for name in words.iter().filter(|word| word.starts_with(['/', '@'])) {
        socket(name);
    }
    shared();
    own();
}

fn errno<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "works".into(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM) => "EPERM".into(),
            Some(libc::EACCES) => "EACCES".into(),
            Some(libc::EROFS) => "EROFS".into(),
            Some(libc::ENOSYS) => "ENOSYS".into(),
            Some(libc::ENOENT) => "ENOENT".into(),
            Some(libc::ENXIO) => "ENXIO".into(),
            _ => error.to_string(),
        },
    }
}

fn descriptors() {
    const KINDS: [(u32, &str); 7] = [
        (libc::S_IFIFO, "pipe"),
        (libc::S_IFCHR, "device"),
        (libc::S_IFBLK, "block device"),
        (libc::S_IFDIR, "directory"),
        (libc::S_IFREG, "file"),
        (libc::S_IFLNK, "link"),
        (libc::S_IFSOCK, "socket"),
    ];
    for number in 0..DESCRIPTORS {
        let Ok(flags) = call(libc::SYS_fcntl, &[number, libc::F_GETFL as usize]) else {
            continue;
        };
        let is_closed = call(libc::SYS_fcntl, &[number, libc::F_GETFD as usize]).unwrap() != 0;
        let file = crate::kernel::duplicate(number).unwrap();
        let status = file.metadata().unwrap();
        let kind = KINDS
            .iter()
            .find(|(kind, _)| status.mode() & libc::S_IFMT == *kind);
        let kind = kind.map_or("nameless", |(_, name)| name);
        let access = ["read", "write", "both", "none"][flags & 3];
        let device = if status.file_type().is_char_device() {
            let (major, minor) = (libc::major(status.rdev()), libc::minor(status.rdev()));
            let mode = file.set_permissions(Permissions::from_mode(status.mode() & 0o7777));
            format!(" {major}:{minor} mode {}", errno(mode))
        } else {
            String::new()
        };
        let more = flags & !(3 | libc::O_LARGEFILE as usize | 0o100_000);
        say(&format!(
            "descriptor {number} {kind}{device} {access} flags {more:o} close-on-exec {is_closed}"
        ));
    }
}

/// What leads out of a process or into it, and could be opened.
pub fn openings(pid: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let directory = PathBuf::from("/proc").join(pid);
    let is_place = |path: &Path| {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_PATH);
        options.open(path).is_ok()
    };
    for name in ["exe", "root", "cwd"] {
        if is_place(&directory.join(name)) {
            found.insert(name.to_string());
        }
    }
    for number in 0..64 {
        if is_place(&directory.join(format!("fd/{number}"))) {
            found.insert("fd".into());
        }
    }
    // Of descriptors the numbers can be listed, by root; they lead nowhere. Of mappings the addresses cannot.
    let mut mappings = fs::read_dir(directory.join("map_files"))
        .into_iter()
        .flatten();
    if mappings.next().is_some_and(|entry| entry.is_ok()) {
        found.insert("map_files".into());
    }
    for name in [
        "mem", "environ", "maps", "auxv", "syscall", "pagemap", "io", "stack",
    ] {
        let path = directory.join(name);
        // To open some of them is not to read them.
        let read = File::open(&path).and_then(|mut file| io::Read::read(&mut file, &mut [0; 16]));
        let is_read = read.is_ok_and(|count| count > 0);
        if is_read || (name == "mem" && File::open(&path).is_ok()) {
            found.insert(name.into());
        }
    }
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // This one everybody may open, and only a process itself, or who may trace it, write.
        if entry.file_name() == "timerslack_ns" {
            continue;
        }
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && OpenOptions::new().write(true).open(&path).is_ok() {
            found.insert(format!("write:{}", entry.file_name().display()));
        }
    }
    found.into_iter().collect()
}

fn processes() {
    let own = std::process::id().to_string();
    let mut others = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().display().to_string();
        if name.parse::<u32>().is_err() {
            continue;
        }
        if name == own {
            seen.insert("itself");
        } else if name == "1" {
            seen.insert("1");
            say(&format!("process 1 opens {:?}", openings("1")));
        } else {
            seen.insert("others");
            others.extend(openings(&name));
        }
    }
    if seen.contains("others") {
        say(&format!("process others opens {others:?}"));
    }
    say(&format!("processes {seen:?}"));
}

fn mounts() {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in list.lines() {
        let (mount, rest) = line.split_once(" - ").unwrap();
        let fields: Vec<&str> = mount.split(' ').collect();
        let has = |flag: &&&str| fields[5].split(',').any(|found| found == **flag);
        let flags: Vec<&str> = ["ro", "rw", "nosuid", "nodev", "noexec"]
            .iter()
            .filter(has)
            .copied()
            .collect();
        let kind = rest.split(' ').next().unwrap();
        // What is mounted below another one, which is seen in its place, is reached by nobody.
        let seen = fs::symlink_metadata(fields[4]).map(|status| status.dev());
        let is_seen = seen.is_ok_and(|device| {
            fields[2] == format!("{}:{}", libc::major(device), libc::minor(device))
        });
        if !is_seen {
            continue;
        }
        say(&format!(
            "mount {} {kind} {} {}",
            fields[4],
            fields[2],
            flags.join(",")
        ));
    }
}

fn devices(directory: &Path, has_modes: bool, depth: u32) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        let Ok(status) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = status.file_type();
        if kind.is_dir() && depth > 0 {
            devices(&path, has_modes, depth - 1);
        }
        if !kind.is_char_device() && !kind.is_block_device() {
            continue;
        }
        let (major, minor) = (libc::major(status.rdev()), libc::minor(status.rdev()));
        let open = |is_write: bool| {
            let mut options = OpenOptions::new();
            options.read(!is_write).write(is_write);
            options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            errno(options.open(&path))
        };
        let is_timer = path.display().to_string().contains("watchdog");
        // To open this one starts a timer that restarts the machine.
        let (read, write) = if is_timer {
            ("?".into(), "?".into())
        } else {
            (open(false), open(true))
        };
        let mode = if has_modes {
            errno(fs::set_permissions(
                &path,
                Permissions::from_mode(status.mode() & 0o7777),
            ))
        } else {
            "not tried".into()
        };
        say(&format!(
            "device {} {major}:{minor} read {read} write {write} mode {mode}",
            path.display()
        ));
    }
}

fn socket(name: &str) {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let address = address.unwrap();
    let stream = errno(UnixStream::connect_addr(&address));
    let datagram = UnixDatagram::unbound().and_then(|socket| socket.connect_addr(&address));
    say(&format!(
        "socket {name} stream {stream} datagram {}",
        errno(datagram)
    ));
}

/// What processes share without a file.
fn shared() {
    for kind in ["shm", "sem", "msg"] {
        let list = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        say(&format!(
            "{kind} seen {}",
            list.lines().count().saturating_sub(1)
        ));
    }
    let mut info = [0_u64; 32];
    let place = at_mut(&mut info);
    const IPC_INFO: usize = 3;
    for (name, result) in [
        ("shmctl", call(libc::SYS_shmctl, &[0, IPC_INFO, place])),
        ("semctl", call(libc::SYS_semctl, &[0, 0, IPC_INFO, place])),
        ("msgctl", call(libc::SYS_msgctl, &[0, IPC_INFO, place])),
    ] {
        say(&format!("{name} {}", errno(result)));
    }
    let queue = text("exec-server-no-such-queue");
    let opened = call(
        libc::SYS_mq_open,
        &[crate::kernel::at(&*queue), libc::O_RDWR as usize],
    );
    say(&format!("mq_open {}", errno(opened)));
    let session = signed(-3);
    say(&format!(
        "keyctl {}",
        errno(call(libc::SYS_keyctl, &[0, session, 0]))
    ));
    let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
    say(&format!("keys seen {}", keys.lines().count()));
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    say(&format!(
        "unix sockets seen {}",
        sockets.lines().count().saturating_sub(1)
    ));
}

/// What the process itself is.
fn own() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for name in [
        "Uid",
        "Gid",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "TracerPid",
    ] {
        let line = status
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        say(&words.join(" "));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits
        .lines()
        .for_each(|line| say(&format!("limit {}", line.trim_end())));
    std::env::vars().for_each(|(name, value)| say(&format!("variable {name}={value}")));
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        if let Ok(id) = fs::read_link(format!("/proc/self/ns/{name}")) {
            say(&format!("namespace {name} {}", id.display()));
        }
    }
    let session = call(libc::SYS_getsid, &[0]).unwrap();
    say(&format!(
        "leads its session {}",
        session == std::process::id() as usize
    ));
}

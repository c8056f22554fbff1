//! The numbers of system calls, by architecture.

use super::program::Argument;

/// A system call and its number; `None` where the architecture does not have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// For the failures of tests.
    #[cfg_attr(not(test), expect(dead_code))]
    pub(super) name: &'static str,
    pub(super) x86_64: Option<u32>,
    pub(super) aarch64: Option<u32>,
}

const fn call(name: &'static str, x86_64: u32, aarch64: u32) -> Call {
    Call {
        name,
        x86_64: Some(x86_64),
        aarch64: Some(aarch64),
    }
}

const fn x86_only(name: &'static str, number: u32) -> Call {
    Call {
        name,
        x86_64: Some(number),
        aarch64: None,
    }
}

/// What no confined program may call, with the reason of each group.
pub(super) const ALWAYS_DENIED: &[Call] = &[
    // Into the namespaces of others, or a file system that looks different.
    call("setns", 308, 268),
    call("mount", 165, 40),
    call("umount2", 166, 39),
    call("pivot_root", 155, 41),
    call("chroot", 161, 51),
    call("open_tree", 428, 428),
    call("move_mount", 429, 429),
    call("fsopen", 430, 430),
    call("fsconfig", 431, 431),
    call("fsmount", 432, 432),
    call("fspick", 433, 433),
    call("mount_setattr", 442, 442),
    call("open_tree_attr", 467, 467),
    // Past the checks of paths.
    call("open_by_handle_at", 304, 265),
    // The descriptors of other processes.
    call("pidfd_getfd", 438, 438),
    // Keyrings, which are the host's: no namespace separates them.
    call("add_key", 248, 217),
    call("request_key", 249, 218),
    call("keyctl", 250, 219),
    // Parts of the kernel with a long record of holes, and of no use to a build or a test.
    call("bpf", 321, 280),
    call("userfaultfd", 323, 282),
    call("perf_event_open", 298, 241),
    // Requests that no filter sees.
    call("io_uring_setup", 425, 425),
    call("io_uring_enter", 426, 426),
    call("io_uring_register", 427, 427),
    // The machine itself.
    call("kexec_load", 246, 104),
    call("kexec_file_load", 320, 294),
    call("init_module", 175, 105),
    call("finit_module", 313, 273),
    call("delete_module", 176, 106),
    call("reboot", 169, 142),
    call("swapon", 167, 224),
    call("swapoff", 168, 225),
    call("acct", 163, 89),
    x86_only("iopl", 172),
    x86_only("ioperm", 173),
];

/// What a program without a network may not call either: whatever leads to a socket that is not its own. What it has are
/// pairs; all that can be done with them it may.
pub(super) const NETWORK_DENIED: &[Call] = &[
    call("connect", 42, 203),
    call("accept", 43, 202),
    call("accept4", 288, 242),
    call("bind", 49, 200),
    call("listen", 50, 201),
];

/// What a program could share with processes outside, where it has no namespaces of its own: by keys, numbers and names
/// that anybody of its user can find. In a pid namespace tracing is for debuggers: there are only its own processes, and
/// the first one, which is not dumpable and so out of reach.
pub(super) const SHARED_DENIED: &[Call] = &[
    call("ptrace", 101, 117),
    call("process_vm_readv", 310, 270),
    call("process_vm_writev", 311, 271),
    call("shmget", 29, 194),
    call("shmat", 30, 196),
    call("shmctl", 31, 195),
    call("semget", 64, 190),
    call("semop", 65, 193),
    call("semtimedop", 220, 192),
    call("semctl", 66, 191),
    call("msgget", 68, 186),
    call("msgsnd", 69, 189),
    call("msgrcv", 70, 188),
    call("msgctl", 71, 187),
    call("mq_open", 240, 180),
    call("mq_unlink", 241, 181),
    call("kcmp", 312, 272),
    call("process_madvise", 440, 440),
    call("migrate_pages", 256, 238),
    call("move_pages", 279, 239),
];

/// What a program may call about itself only, which the number 0 stands for, and where that is.
pub(super) const OF_ITSELF: &[(Call, Argument)] = &[
    (call("prlimit64", 302, 261), Argument::First),
    (call("sched_setaffinity", 203, 122), Argument::First),
    (call("sched_setscheduler", 144, 119), Argument::First),
    (call("sched_setparam", 142, 118), Argument::First),
    (call("sched_setattr", 314, 274), Argument::First),
    (SETPRIORITY, Argument::Second),
    (IOPRIO_SET, Argument::Second),
];

pub(super) const SETPRIORITY: Call = call("setpriority", 141, 140);
pub(super) const IOPRIO_SET: Call = call("ioprio_set", 251, 30);
pub(super) const SOCKET: Call = call("socket", 41, 198);
pub(super) const SOCKETPAIR: Call = call("socketpair", 53, 199);
pub(super) const SENDTO: Call = call("sendto", 44, 206);
pub(super) const SENDMSG: Call = call("sendmsg", 46, 211);
pub(super) const SENDMMSG: Call = call("sendmmsg", 307, 269);
pub(super) const SETSOCKOPT: Call = call("setsockopt", 54, 208);
pub(super) const CLONE: Call = call("clone", 56, 220);
pub(super) const CLONE3: Call = call("clone3", 435, 435);
pub(super) const UNSHARE: Call = call("unshare", 272, 97);
pub(super) const IOCTL: Call = call("ioctl", 16, 29);
/// Of Linux 6.17: what the ioctls for flags do, by a path.
pub(super) const FILE_SETATTR: Call = call("file_setattr", 469, 469);

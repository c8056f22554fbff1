//! The filters of system calls that confined programs run under.
//!
//! A filter sees numbers only: the call and its arguments, not what pointers lead to. So a socket is judged when it is
//! made, since `connect` shows an address that cannot be read. Path sockets of the host lie in a file system that the
//! program may see; therefore it gets no Unix sockets but pairs, and of those no datagram ones, which can be sent from to
//! any address. A pair of streams or packets is connected for good, and the kernel sends to nobody else from it, whatever
//! address `sendmsg` names. So without a network every call on a socket is allowed that does not look for another end.
//!
//! What is denied fails with EPERM; `clone3`, whose flags are behind a pointer, with ENOSYS, and C libraries then use
//! `clone`. A call in the manner of another architecture kills the process.

mod program;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use self::program::{
    ALWAYS_DENIED, CLONE, CLONE3, FILE_SETATTR, IOCTL, IOPRIO_SET, NETWORK_DENIED, OF_ITSELF,
    SENDMMSG, SENDMSG, SENDTO, SETPRIORITY, SETSOCKOPT, SHARED_DENIED, SOCKET, SOCKETPAIR, UNSHARE,
};
use super::policy::Network;
use crate::sys::seccomp::Instruction;
use program::{Argument, Program};

/// An architecture whose calls a filter can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Architecture {
    /// 64 bits, little-endian; x32 calls are denied.
    X86_64,
    /// 64 bits, little-endian.
    Aarch64,
}

impl Architecture {
    /// The one that this program was built for.
    pub const OWN: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::X86_64
    };

    /// `AUDIT_ARCH_*`
    const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }
}

const CLONE_NEWUSER: u32 = 0x1000_0000;
/// Puts characters into the input of a terminal.
const TIOCSTI: u32 = 0x5412;
/// Does so on a console, among other things.
const TIOCLINUX: u32 = 0x541c;
/// Sends what is written to the machine's console to a terminal.
const TIOCCONS: u32 = 0x541d;
/// Gives a terminal another line discipline, which may load a module of the kernel.
const TIOCSETD: u32 = 0x5423;
/// What no program does to a terminal.
const TERMINAL_DENIED: [u32; 4] = [TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD];
/// The number of the first process in a namespace, which is this program.
const FIRST_PROCESS: u32 = 1;
/// `FS_IOC_SETFLAGS`, its form for 32 bits, and `FS_IOC_FSSETXATTR`.
const SET_FLAGS: [u32; 3] = [0x4008_6602, 0x4004_6602, 0x401c_5820];
/// All processes of a user.
const PRIO_USER: u32 = 2;
const IOPRIO_WHO_USER: u32 = 3;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOCK_STREAM: u32 = 1;
const SOCK_SEQPACKET: u32 = 5;
/// The bits of a socket's type that are no flags.
const SOCK_TYPE_MASK: u32 = 0xf;
/// In the flags of what is sent: a byte out of line, which no program sends on a pair, and which has been a hole of the
/// kernel's Unix sockets (CVE-2025-38236).
const MSG_OOB: u32 = 1;
/// Options that put a program of the caller's into the kernel: `SO_ATTACH_FILTER`, `SO_ATTACH_BPF`, and the same for a
/// group of sockets, `SO_ATTACH_REUSEPORT_CBPF` and `SO_ATTACH_REUSEPORT_EBPF`.
const SO_ATTACH: [u32; 4] = [26, 50, 51, 52];
/// Set in the number of a call with 32-bit pointers on x86_64.
const X32_BIT: u32 = 0x4000_0000;

/// One for each network, made when it is first wanted.
type Kept<T> = [OnceLock<Vec<T>>; 2];

fn kept<T>(kept: &'static Kept<T>, network: Network, make: fn(Network) -> Vec<T>) -> &'static [T] {
    let place = match network {
        Network::Restricted => 0,
        Network::Enabled => 1,
    };
    kept[place].get_or_init(|| make(network))
}

/// The filter for programs with this network and namespaces of their own, on the architecture that we run on.
pub fn filter(network: Network) -> &'static [Instruction] {
    static KEPT: Kept<Instruction> = [const { OnceLock::new() }; 2];
    kept(&KEPT, network, |network| {
        filter_for(Architecture::OWN, network)
    })
}

/// The filter for programs without namespaces of their own: besides, they must not reach other processes of the same user
/// by number, to trace them or otherwise, nor share the kernel's segments, semaphores and queues with them.
pub fn filter_without_namespaces(network: Network) -> &'static [Instruction] {
    static KEPT: Kept<Instruction> = [const { OnceLock::new() }; 2];
    kept(&KEPT, network, |network| {
        without_namespaces_for(Architecture::OWN, network)
    })
}

/// The same for programs that Landlock confines: besides, they must not change the flags of files, which it does not
/// restrict and hardly any program needs.
pub fn filter_under_landlock(network: Network) -> &'static [Instruction] {
    static KEPT: Kept<Instruction> = [const { OnceLock::new() }; 2];
    kept(&KEPT, network, |network| {
        let mut program = rules_without_namespaces(Architecture::OWN, network);
        program.deny_values(IOCTL, Argument::Second, &SET_FLAGS);
        program.deny(FILE_SETATTR);
        program.finish()
    })
}

fn without_namespaces_for(architecture: Architecture, network: Network) -> Vec<Instruction> {
    rules_without_namespaces(architecture, network).finish()
}

fn rules_without_namespaces(architecture: Architecture, network: Network) -> Program {
    let mut program = rules(architecture, network);
    for call in SHARED_DENIED {
        program.deny(*call);
    }
    program.deny_values(SETPRIORITY, Argument::First, &[PRIO_USER]);
    program.deny_values(IOPRIO_SET, Argument::First, &[IOPRIO_WHO_USER]);
    for (call, argument) in OF_ITSELF {
        program.allow_only(*call, *argument, &[0]);
    }
    program
}

fn filter_for(architecture: Architecture, network: Network) -> Vec<Instruction> {
    rules(architecture, network).finish()
}

fn rules(architecture: Architecture, network: Network) -> Program {
    let mut program = Program::new(architecture);
    if architecture == Architecture::X86_64 {
        program.deny_from(X32_BIT);
    }
    for call in ALWAYS_DENIED {
        program.deny(*call);
    }
    program.deny_as_unknown(CLONE3);
    program.deny_with_bits(UNSHARE, Argument::First, CLONE_NEWUSER);
    program.deny_with_bits(CLONE, Argument::First, CLONE_NEWUSER);
    program.deny_values(IOCTL, Argument::Second, &TERMINAL_DENIED);
    for (call, argument) in OF_ITSELF {
        program.deny_values(*call, *argument, &[FIRST_PROCESS]);
    }
    let families: &[u32] = match network {
        Network::Restricted => {
            for call in NETWORK_DENIED {
                program.deny(*call);
            }
            program.allow_only_null(SENDTO, Argument::Fifth);
            program.deny_with_bits(SENDTO, Argument::Fourth, MSG_OOB);
            program.deny_with_bits(SENDMSG, Argument::Third, MSG_OOB);
            program.deny_with_bits(SENDMMSG, Argument::Fourth, MSG_OOB);
            // Of whatever level: Unix sockets have options of one level only.
            program.deny_values(SETSOCKOPT, Argument::Third, &SO_ATTACH);
            // One that is neither connected nor bound does no harm, and some programs make one only to look at it.
            program.allow_streams(SOCKET);
            &[]
        }
        Network::Enabled => &[AF_INET, AF_INET6, AF_NETLINK],
    };
    program.allow_only(SOCKET, Argument::First, families);
    program.allow_streams(SOCKETPAIR);
    program.deny(SOCKETPAIR);
    program
}

//! The filters are run by a small evaluator of the instructions that they are made of.

use super::program::Call;
use super::*;

const X86: u32 = 0xc000_003e;
const ARM: u32 = 0xc000_00b7;
const I386: u32 = 0x4000_0003;

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    Errno(u32),
    Kill,
}

fn evaluate(filter: &[Instruction], architecture: u32, number: u32, arguments: &[u64]) -> Answer {
    run(filter, architecture, number, arguments).0
}

/// The answer, and how many instructions it took.
fn run(
    filter: &[Instruction],
    architecture: u32,
    number: u32,
    arguments: &[u64],
) -> (Answer, usize) {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let word = |offset: u32| match offset {
        0 => number,
        4 => architecture,
        16.. if offset.is_multiple_of(8) => argument((offset as usize - 16) / 8) as u32,
        20.. if offset % 8 == 4 => (argument((offset as usize - 20) / 8) >> 32) as u32,
        _ => panic!("a load from {offset}"),
    };
    let mut accumulator = 0;
    let mut at = 0;
    let mut steps = 0;
    loop {
        steps += 1;
        let Instruction {
            code,
            jump_true,
            jump_false,
            k,
        } = filter[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code {
            0x20 => accumulator = word(k),
            0x54 => accumulator &= k,
            0x15 => jump(accumulator == k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => {
                let answer = match k {
                    0x7fff_0000 => Answer::Allow,
                    0x8000_0000 => Answer::Kill,
                    _ if k & 0xffff_0000 == 0x0005_0000 => Answer::Errno(k & 0xffff),
                    _ => panic!("an answer of {k:#x}"),
                };
                return (answer, steps);
            }
            _ => panic!("an instruction {code:#x}"),
        }
    }
}

const BOTH: [(Architecture, u32); 2] = [(Architecture::X86_64, X86), (Architecture::Aarch64, ARM)];
const NETWORKS: [Network; 2] = [Network::Restricted, Network::Enabled];

/// Calls that are judged by their arguments.
const SINGLES: [Call; 11] = [
    SOCKET,
    SOCKETPAIR,
    SENDTO,
    SENDMSG,
    SENDMMSG,
    SETSOCKOPT,
    CLONE,
    CLONE3,
    UNSHARE,
    IOCTL,
    FILE_SETATTR,
];

fn number(architecture: Architecture, call: Call) -> Option<u32> {
    match architecture {
        Architecture::X86_64 => call.x86_64,
        Architecture::Aarch64 => call.aarch64,
    }
}

/// What every filter of both architectures answers to a call, which must be the same.
fn answer(network: Network, call: Call, arguments: &[u64]) -> Answer {
    let [first, second] = BOTH.map(|(architecture, audit)| {
        let number = number(architecture, call).unwrap();
        let filter = filter_for(architecture, network);
        evaluate(&filter, audit, number, arguments)
    });
    assert_eq!(first, second, "{}", call.name);
    first
}

#[test]
fn the_calls_of_another_architecture_kill() {
    for network in NETWORKS {
        let filter = filter_for(Architecture::X86_64, network);
        assert_eq!(evaluate(&filter, I386, 20, &[]), Answer::Kill);
        assert_eq!(evaluate(&filter, ARM, 20, &[]), Answer::Kill);
        let filter = filter_for(Architecture::Aarch64, network);
        assert_eq!(evaluate(&filter, X86, 20, &[]), Answer::Kill);
    }
}

#[test]
fn x32_is_denied() {
    let filter = filter_for(Architecture::X86_64, Network::Enabled);
    for number in [X32_BIT, X32_BIT | 1, u32::MAX] {
        assert_eq!(evaluate(&filter, X86, number, &[]), Answer::Errno(1));
    }
    assert_eq!(evaluate(&filter, X86, X32_BIT - 1, &[]), Answer::Allow);
}

#[test]
fn what_is_always_denied_is_denied_with_and_without_a_network() {
    for (architecture, audit) in BOTH {
        for network in NETWORKS {
            let filter = filter_for(architecture, network);
            for call in ALWAYS_DENIED {
                let Some(number) = number(architecture, *call) else {
                    continue;
                };
                let found = evaluate(&filter, audit, number, &[0; 6]);
                assert_eq!(found, Answer::Errno(1), "{} on {architecture:?}", call.name);
            }
        }
    }
}

#[test]
fn the_network_is_denied_only_where_it_is_restricted() {
    for call in NETWORK_DENIED {
        let name = call.name;
        assert_eq!(
            answer(Network::Restricted, *call, &[]),
            Answer::Errno(1),
            "{name}"
        );
        assert_eq!(
            answer(Network::Enabled, *call, &[]),
            Answer::Allow,
            "{name}"
        );
    }
}

#[test]
fn user_namespaces_are_denied_and_other_clones_are_not() {
    const SIGCHLD: u64 = 17;
    let new_user = u64::from(CLONE_NEWUSER);
    for network in NETWORKS {
        assert_eq!(answer(network, CLONE, &[SIGCHLD]), Answer::Allow);
        assert_eq!(
            answer(network, CLONE, &[new_user | SIGCHLD]),
            Answer::Errno(1)
        );
        assert_eq!(answer(network, UNSHARE, &[0x400]), Answer::Allow);
        assert_eq!(
            answer(network, UNSHARE, &[new_user | 0x2_0000]),
            Answer::Errno(1)
        );
        assert_eq!(answer(network, CLONE3, &[]), Answer::Errno(38));
    }
}

#[test]
fn a_terminal_gets_no_characters_and_no_other_discipline() {
    const TCGETS: u64 = 0x5401;
    let garbage = 0xdead_beef_0000_0000;
    for network in NETWORKS {
        assert_eq!(answer(network, IOCTL, &[0, TCGETS]), Answer::Allow);
        for request in TERMINAL_DENIED.map(u64::from) {
            assert_eq!(answer(network, IOCTL, &[0, request]), Answer::Errno(1));
            // The kernel ignores the upper half, so it must not matter to us either.
            assert_eq!(
                answer(network, IOCTL, &[0, garbage | request]),
                Answer::Errno(1)
            );
        }
    }
}

#[test]
fn sockets_are_judged_by_family_and_type() {
    const CLOEXEC: u64 = 0o2_000_000;
    const NONBLOCK: u64 = 0o4_000;
    let (stream, datagram, raw, packets) = (1, 2, 3, 5);
    let (unix, inet, inet6, netlink, vsock, alg) = (1, 2, 10, 16, 40, 38);
    let socket = |network, family, kind| answer(network, SOCKET, &[family, kind]);
    let pair = |network, family, kind| answer(network, SOCKETPAIR, &[family, kind]);
    for network in NETWORKS {
        for kind in [stream, packets, stream | CLOEXEC | NONBLOCK] {
            assert_eq!(pair(network, unix, kind), Answer::Allow);
        }
        for kind in [datagram, raw, datagram | CLOEXEC, 0] {
            assert_eq!(
                pair(network, unix, kind),
                Answer::Errno(1),
                "type {kind:#x}"
            );
        }
        assert_eq!(pair(network, inet, stream), Answer::Errno(1));
        for family in [vsock, alg, 17, 1 << 20] {
            assert_eq!(
                socket(network, family, stream),
                Answer::Errno(1),
                "family {family}"
            );
        }
    }
    for family in [inet, inet6, netlink] {
        assert_eq!(
            socket(Network::Restricted, family, stream),
            Answer::Errno(1)
        );
        assert_eq!(socket(Network::Enabled, family, stream), Answer::Allow);
    }
    assert_eq!(socket(Network::Restricted, unix, stream), Answer::Allow);
    assert_eq!(
        socket(Network::Restricted, unix, datagram),
        Answer::Errno(1)
    );
    // It could be connected to any path that is visible.
    assert_eq!(socket(Network::Enabled, unix, stream), Answer::Errno(1));
    // The upper half of an int says nothing.
    assert_eq!(
        socket(Network::Restricted, 1 << 32 | inet, stream),
        Answer::Errno(1)
    );
}

#[test]
fn without_a_network_nothing_is_sent_to_an_address() {
    let to = |address: u64| [3, 0x1000, 1, 0, address, 16];
    assert_eq!(
        answer(Network::Restricted, SENDTO, &to(0)),
        Answer::Allow,
        "`send`"
    );
    // A pointer has 64 bits, of which either half may be zero.
    for address in [0x7fff_0000_1000, 1, 1 << 32, u64::MAX << 32, u64::MAX] {
        let found = answer(Network::Restricted, SENDTO, &to(address));
        assert_eq!(found, Answer::Errno(1), "{address:#x}");
        let found = answer(Network::Enabled, SENDTO, &to(address));
        assert_eq!(found, Answer::Allow, "{address:#x}");
    }
}

#[test]
fn without_a_network_nothing_is_sent_out_of_line() {
    const MSG_NOSIGNAL: u64 = 0x4000;
    for (call, place) in [(SENDTO, 3), (SENDMSG, 2), (SENDMMSG, 3)] {
        let with = |flags: u64| {
            let mut arguments = [0; 6];
            arguments[place] = flags;
            answer(Network::Restricted, call, &arguments)
        };
        let name = call.name;
        assert_eq!(with(MSG_NOSIGNAL), Answer::Allow, "{name}");
        assert_eq!(
            with(MSG_NOSIGNAL | u64::from(MSG_OOB)),
            Answer::Errno(1),
            "{name}"
        );
    }
}

#[test]
fn without_a_network_no_program_is_attached_to_a_socket() {
    const SO_SNDBUF: u64 = 7;
    let option = |option: u64| answer(Network::Restricted, SETSOCKOPT, &[3, 1, option, 0, 0]);
    assert_eq!(option(SO_SNDBUF), Answer::Allow);
    for attach in SO_ATTACH.map(u64::from) {
        assert_eq!(option(attach), Answer::Errno(1), "{attach}");
        // The option is an int.
        assert_eq!(option(1 << 32 | attach), Answer::Errno(1), "{attach}");
    }
}

#[test]
fn ordinary_calls_are_allowed() {
    // read, execve, kill, and one that no kernel has yet.
    for (architecture, audit, numbers) in [
        (Architecture::X86_64, X86, [0, 59, 62, 9999]),
        (Architecture::Aarch64, ARM, [63, 221, 129, 9999]),
    ] {
        for number in numbers {
            let filter = filter_for(architecture, Network::Restricted);
            assert_eq!(
                evaluate(&filter, audit, number, &[]),
                Answer::Allow,
                "{number}"
            );
        }
    }
}

#[test]
fn a_call_without_a_rule_is_allowed_after_a_few_instructions() {
    for (architecture, audit) in BOTH {
        for network in NETWORKS {
            let others = [SETPRIORITY, IOPRIO_SET];
            let of_itself = OF_ITSELF.iter().map(|(call, _)| call);
            let with_rule: Vec<_> = ALWAYS_DENIED
                .iter()
                .chain(NETWORK_DENIED)
                .chain(SHARED_DENIED)
                .chain(of_itself)
                .chain(SINGLES.iter().chain(&others))
                .filter_map(|call| number(architecture, *call))
                .collect();
            let filters = [
                filter_for(architecture, network),
                without_namespaces_for(architecture, network),
            ];
            for filter in filters {
                for number in (0..600).filter(|number| !with_rule.contains(number)) {
                    let (answer, steps) = run(&filter, audit, number, &[]);
                    assert_eq!(answer, Answer::Allow, "{number} on {architecture:?}");
                    assert!(steps <= 18, "{steps} instructions for {number}");
                }
            }
        }
    }
}

#[test]
fn a_filter_is_within_the_kernel_s_limits() {
    for (architecture, _) in BOTH {
        for network in NETWORKS {
            let filter = filter_for(architecture, network);
            assert!(filter.len() < 200, "{}", filter.len());
            assert_eq!(filter.last().unwrap().code, 0x06);
        }
    }
}

/// The numbers of x86_64 are those that its C library has.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_numbers_are_the_c_library_s() {
    let known: &[(&str, i64)] = &[
        ("setns", libc::SYS_setns),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("open_tree", libc::SYS_open_tree),
        ("move_mount", libc::SYS_move_mount),
        ("fsopen", libc::SYS_fsopen),
        ("fsconfig", libc::SYS_fsconfig),
        ("fsmount", libc::SYS_fsmount),
        ("fspick", libc::SYS_fspick),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("keyctl", libc::SYS_keyctl),
        ("bpf", libc::SYS_bpf),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("io_uring_register", libc::SYS_io_uring_register),
        ("kexec_load", libc::SYS_kexec_load),
        ("kexec_file_load", libc::SYS_kexec_file_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("delete_module", libc::SYS_delete_module),
        ("reboot", libc::SYS_reboot),
        ("swapon", libc::SYS_swapon),
        ("swapoff", libc::SYS_swapoff),
        ("acct", libc::SYS_acct),
        ("iopl", libc::SYS_iopl),
        ("ioperm", libc::SYS_ioperm),
        ("connect", libc::SYS_connect),
        ("accept", libc::SYS_accept),
        ("accept4", libc::SYS_accept4),
        ("bind", libc::SYS_bind),
        ("listen", libc::SYS_listen),
        ("sendto", libc::SYS_sendto),
        ("sendmsg", libc::SYS_sendmsg),
        ("sendmmsg", libc::SYS_sendmmsg),
        ("setsockopt", libc::SYS_setsockopt),
        ("socket", libc::SYS_socket),
        ("socketpair", libc::SYS_socketpair),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("unshare", libc::SYS_unshare),
        ("ioctl", libc::SYS_ioctl),
        ("shmget", libc::SYS_shmget),
        ("shmat", libc::SYS_shmat),
        ("shmctl", libc::SYS_shmctl),
        ("semget", libc::SYS_semget),
        ("semop", libc::SYS_semop),
        ("semtimedop", libc::SYS_semtimedop),
        ("semctl", libc::SYS_semctl),
        ("msgget", libc::SYS_msgget),
        ("msgsnd", libc::SYS_msgsnd),
        ("msgrcv", libc::SYS_msgrcv),
        ("msgctl", libc::SYS_msgctl),
        ("mq_open", libc::SYS_mq_open),
        ("mq_unlink", libc::SYS_mq_unlink),
        ("kcmp", libc::SYS_kcmp),
        ("process_madvise", libc::SYS_process_madvise),
        ("migrate_pages", libc::SYS_migrate_pages),
        ("move_pages", libc::SYS_move_pages),
    ];
    let with_names = ALWAYS_DENIED
        .iter()
        .chain(NETWORK_DENIED)
        .chain(SHARED_DENIED)
        .chain(&SINGLES);
    for call in with_names {
        match known.iter().find(|(name, _)| *name == call.name) {
            Some((name, number)) => assert_eq!(call.x86_64.map(i64::from), Some(*number), "{name}"),
            // The library does not know the newest ones yet.
            None => assert!(["open_tree_attr", "file_setattr"].contains(&call.name)),
        }
    }
}

#[test]
fn in_a_namespace_of_its_own_a_program_may_trace() {
    for network in NETWORKS {
        for name in ["ptrace", "process_vm_readv", "process_vm_writev"] {
            let call = SHARED_DENIED.iter().find(|call| call.name == name);
            assert_eq!(
                answer(network, *call.unwrap(), &[]),
                Answer::Allow,
                "{name}"
            );
        }
    }
}

#[test]
fn in_a_namespace_of_its_own_a_program_does_not_govern_the_first_process() {
    for network in NETWORKS {
        for (call, argument) in OF_ITSELF {
            let about = |who: u64| match argument {
                Argument::First => answer(network, *call, &[who, 0]),
                _ => answer(network, *call, &[0, who]),
            };
            assert_eq!(about(1), Answer::Errno(1), "{}", call.name);
            assert_eq!(about(1 << 32 | 1), Answer::Errno(1), "{}", call.name);
            for who in [0, 2, 77] {
                assert_eq!(about(who), Answer::Allow, "{} {who}", call.name);
            }
        }
    }
}

#[test]
fn without_namespaces_a_program_reaches_itself_only() {
    for (architecture, audit) in BOTH {
        for network in NETWORKS {
            let filter = without_namespaces_for(architecture, network);
            let answer = |call: Call, arguments: &[u64]| {
                evaluate(
                    &filter,
                    audit,
                    number(architecture, call).unwrap(),
                    arguments,
                )
            };
            for call in SHARED_DENIED {
                assert_eq!(answer(*call, &[]), Answer::Errno(1), "{}", call.name);
            }
            for (call, argument) in OF_ITSELF {
                let of = |who: u64| match argument {
                    Argument::First => [who, 0],
                    Argument::Second => [0, who],
                    other => panic!("{other:?}"),
                };
                assert_eq!(answer(*call, &of(0)), Answer::Allow, "{}", call.name);
                for other in [1, 77] {
                    assert_eq!(answer(*call, &of(other)), Answer::Errno(1), "{}", call.name);
                }
            }
            assert_eq!(answer(SETPRIORITY, &[2, 0]), Answer::Errno(1));
            assert_eq!(answer(IOPRIO_SET, &[3, 0]), Answer::Errno(1));
            assert_eq!(answer(UNSHARE, &[0x1000_0000]), Answer::Errno(1));
            assert_eq!(answer(CLONE, &[17]), Answer::Allow);
        }
    }
}

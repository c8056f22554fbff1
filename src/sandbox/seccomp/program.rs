//! Writing a filter, one rule after the other.
//!
//! The kernel runs a new filter once for every call that it knows, to find out which ones are always allowed. So the
//! calls with a rule are not asked for one after the other, but by halves: with seventy of them that is a tenth of the
//! work, and most of what it costs to put a process under a filter.
//!
//! The numbers of system calls, by architecture.

use std::collections::BTreeMap;

use super::{AF_UNIX, Architecture, SOCK_SEQPACKET, SOCK_STREAM, SOCK_TYPE_MASK};
use crate::sys::seccomp::Instruction;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_BELOW: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const KILL_PROCESS: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
const FAIL_WITH: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Where the kernel puts what it tells about a call.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

/// So many calls are asked for one after the other: halving them further makes the filter longer, and the kernel's
/// translation of it costs as much as its trial.
const TOGETHER: usize = 8;

/// An argument of a call, of 64 bits. Of a number the kernel looks at the lower half only, and so do we; a pointer is null
/// if both halves are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    First,
    Second,
    Third,
    Fourth,
    Fifth,
}

impl Argument {
    const fn lower(self) -> u32 {
        16 + 8 * self as u32
    }

    const fn upper(self) -> u32 {
        self.lower() + 4
    }
}

/// A filter that is being written.
pub(crate) struct Program {
    architecture: Architecture,
    /// Every call of this number and above is denied.
    denied_from: Option<u32>,
    /// What is done about each call, by its number.
    rules: BTreeMap<u32, Rule>,
}

/// What is done about a call: a few instructions, of which some give an answer.
#[derive(Default)]
struct Rule {
    instructions: Vec<Instruction>,
    /// Whether no way leads past their end, which would allow the call.
    is_complete: bool,
}

impl Program {
    pub(crate) fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            denied_from: None,
            rules: BTreeMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Vec<Instruction> {
        let mut filter = vec![
            load(ARCHITECTURE_AT),
            instruction(JUMP_EQUAL, 1, 0, self.architecture.audit()),
            give(KILL_PROCESS),
            load(NUMBER_AT),
        ];
        if let Some(number) = self.denied_from {
            filter.push(instruction(JUMP_NOT_BELOW, 0, 1, number));
            filter.push(give(FAIL_WITH | EPERM));
        }
        let rules: Vec<_> = self.rules.into_iter().collect();
        filter.extend(choose(&rules));
        filter
    }

    /// Denies every call of this number and above.
    pub(crate) fn deny_from(&mut self, number: u32) {
        self.denied_from = Some(number);
    }

    pub(crate) fn deny(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | EPERM);
    }

    /// Denies a call as a kernel does that does not know it.
    pub(crate) fn deny_as_unknown(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | ENOSYS);
    }

    fn answer(&mut self, call: Call, answer: u32) {
        if let Some(rule) = self.rule(call, &[give(answer)]) {
            rule.is_complete = true;
        }
    }

    /// Denies a call if any of these bits is set in the argument.
    pub(crate) fn deny_with_bits(&mut self, call: Call, argument: Argument, bits: u32) {
        self.rule(
            call,
            &[
                load(argument.lower()),
                instruction(JUMP_ANY_BIT, 0, 1, bits),
                give(FAIL_WITH | EPERM),
            ],
        );
    }

    /// Denies a call if the argument is one of these.
    pub(crate) fn deny_values(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.values(call, argument, values, FAIL_WITH | EPERM);
    }

    /// Denies a call unless the argument is one of these.
    pub(crate) fn allow_only(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.values(call, argument, values, ALLOW);
        self.deny(call);
    }

    /// Denies a call unless the argument, a pointer, is null.
    pub(crate) fn allow_only_null(&mut self, call: Call, argument: Argument) {
        self.rule(
            call,
            &[
                load(argument.lower()),
                instruction(JUMP_EQUAL, 0, 2, 0),
                load(argument.upper()),
                instruction(JUMP_EQUAL, 1, 0, 0),
                give(FAIL_WITH | EPERM),
            ],
        );
    }

    fn values(&mut self, call: Call, argument: Argument, values: &[u32], answer: u32) {
        self.rule(call, &[load(argument.lower())]);
        for value in values {
            let answers = [instruction(JUMP_EQUAL, 0, 1, *value), give(answer)];
            self.rule(call, &answers);
        }
    }

    /// Allows a call that makes Unix sockets, if they can only talk to whom they are connected to.
    pub(crate) fn allow_streams(&mut self, call: Call) {
        self.rule(
            call,
            &[
                load(Argument::First.lower()),
                instruction(JUMP_EQUAL, 0, 5, AF_UNIX),
                load(Argument::Second.lower()),
                instruction(AND, 0, 0, SOCK_TYPE_MASK),
                instruction(JUMP_EQUAL, 1, 0, SOCK_STREAM),
                instruction(JUMP_EQUAL, 0, 1, SOCK_SEQPACKET),
                give(ALLOW),
            ],
        );
    }

    /// Instructions for one call, behind those that there are. Their end leads to what comes next. None where the
    /// architecture does not have the call.
    fn rule(&mut self, call: Call, instructions: &[Instruction]) -> Option<&mut Rule> {
        let number = match self.architecture {
            Architecture::X86_64 => call.x86_64,
            Architecture::Aarch64 => call.aarch64,
        };
        let rule = self.rules.entry(number?).or_default();
        rule.instructions.extend(instructions);
        Some(rule)
    }
}

/// Finds the rule for the number in the accumulator, of rules in the order of their numbers. Every way through ends with an
/// answer.
fn choose(rules: &[(u32, Rule)]) -> Vec<Instruction> {
    if rules.len() <= TOGETHER {
        return ask_each(rules);
    }
    let (below, above) = rules.split_at(rules.len() / 2);
    let below = choose(below);
    // A filter is a few hundred instructions; a jump that is too short for it would fail the test of every filter.
    let mut filter = vec![instruction(
        JUMP_NOT_BELOW,
        below.len() as u8,
        0,
        above[0].0,
    )];
    filter.extend(below);
    filter.extend(choose(above));
    filter
}

fn ask_each(rules: &[(u32, Rule)]) -> Vec<Instruction> {
    let mut questions = Vec::new();
    // First what a call without a rule comes to.
    let mut answers = vec![give(ALLOW)];
    for (place, (number, rule)) in rules.iter().enumerate() {
        let mut wanted = rule.instructions.clone();
        if !rule.is_complete {
            wanted.push(give(ALLOW));
        }
        // Most of them are one denial, which needs to be there once.
        let known = answers
            .windows(wanted.len())
            .position(|known| known == wanted);
        let at = known.unwrap_or(answers.len());
        if known.is_none() {
            answers.extend(wanted);
        }
        let questions_left = rules.len() - place - 1;
        let distance = (questions_left + at) as u8;
        questions.push(instruction(JUMP_EQUAL, distance, 0, *number));
    }
    questions.extend(answers);
    questions
}

fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

fn give(answer: u32) -> Instruction {
    instruction(RETURN, 0, 0, answer)
}

fn instruction(code: u16, jump_true: u8, jump_false: u8, k: u32) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        k,
    }
}

/// A system call and its number; `None` where the architecture does not have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// For the failures of tests.
    #[cfg_attr(not(test), expect(dead_code))]
    pub(crate) name: &'static str,
    pub(crate) x86_64: Option<u32>,
    pub(crate) aarch64: Option<u32>,
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
pub(crate) const ALWAYS_DENIED: &[Call] = &[
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
pub(crate) const NETWORK_DENIED: &[Call] = &[
    call("connect", 42, 203),
    call("accept", 43, 202),
    call("accept4", 288, 242),
    call("bind", 49, 200),
    call("listen", 50, 201),
];

/// What a program could share with processes outside, where it has no namespaces of its own: by keys, numbers and names
/// that anybody of its user can find. In a pid namespace tracing is for debuggers: there are only its own processes, and
/// the first one, which is not dumpable and so out of reach.
pub(crate) const SHARED_DENIED: &[Call] = &[
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

/// What a program may not call about the first process of its namespace, and without one about itself only, which the
/// number 0 stands for; and where that number is.
pub(crate) const OF_ITSELF: &[(Call, Argument)] = &[
    (call("prlimit64", 302, 261), Argument::First),
    (call("sched_setaffinity", 203, 122), Argument::First),
    (call("sched_setscheduler", 144, 119), Argument::First),
    (call("sched_setparam", 142, 118), Argument::First),
    (call("sched_setattr", 314, 274), Argument::First),
    (SETPRIORITY, Argument::Second),
    (IOPRIO_SET, Argument::Second),
];

pub(crate) const SETPRIORITY: Call = call("setpriority", 141, 140);
pub(crate) const IOPRIO_SET: Call = call("ioprio_set", 251, 30);
pub(crate) const SOCKET: Call = call("socket", 41, 198);
pub(crate) const SOCKETPAIR: Call = call("socketpair", 53, 199);
pub(crate) const SENDTO: Call = call("sendto", 44, 206);
pub(crate) const SENDMSG: Call = call("sendmsg", 46, 211);
pub(crate) const SENDMMSG: Call = call("sendmmsg", 307, 269);
pub(crate) const SETSOCKOPT: Call = call("setsockopt", 54, 208);
pub(crate) const CLONE: Call = call("clone", 56, 220);
pub(crate) const CLONE3: Call = call("clone3", 435, 435);
pub(crate) const UNSHARE: Call = call("unshare", 272, 97);
pub(crate) const IOCTL: Call = call("ioctl", 16, 29);
/// Of Linux 6.17: what the ioctls for flags do, by a path.
pub(crate) const FILE_SETATTR: Call = call("file_setattr", 469, 469);

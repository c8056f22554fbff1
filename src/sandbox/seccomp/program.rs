//! Writing a filter, one rule after the other.
//!
//! The kernel runs a new filter once for every call that it knows, to find out which ones are always allowed. So the
//! calls with a rule are not asked for one after the other, but by halves: with seventy of them that is a tenth of the
//! work, and most of what it costs to put a process under a filter.

use std::collections::BTreeMap;

use super::calls::Call;
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
pub(super) enum Argument {
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
pub(super) struct Program {
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
    pub(super) fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            denied_from: None,
            rules: BTreeMap::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<Instruction> {
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
    pub(super) fn deny_from(&mut self, number: u32) {
        self.denied_from = Some(number);
    }

    pub(super) fn deny(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | EPERM);
    }

    /// Denies a call as a kernel does that does not know it.
    pub(super) fn deny_as_unknown(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | ENOSYS);
    }

    fn answer(&mut self, call: Call, answer: u32) {
        if let Some(rule) = self.rule(call, &[give(answer)]) {
            rule.is_complete = true;
        }
    }

    /// Denies a call if any of these bits is set in the argument.
    pub(super) fn deny_with_bits(&mut self, call: Call, argument: Argument, bits: u32) {
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
    pub(super) fn deny_values(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.values(call, argument, values, FAIL_WITH | EPERM);
    }

    /// Denies a call unless the argument is one of these.
    pub(super) fn allow_only(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.values(call, argument, values, ALLOW);
        self.deny(call);
    }

    /// Denies a call unless the argument, a pointer, is null.
    pub(super) fn allow_only_null(&mut self, call: Call, argument: Argument) {
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
    pub(super) fn allow_streams(&mut self, call: Call) {
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

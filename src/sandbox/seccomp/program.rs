//! Writing a filter, one rule after the other.
//!
//! Every rule is a few instructions that begin with the number of the call in the accumulator and end with it there, so
//! rules can follow one another in any order and no jump is longer than its rule.

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

/// An argument of a call. The kernel looks at the lower half only of those that we judge, and so do we.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    First,
    Second,
}

impl Argument {
    const fn offset(self) -> u32 {
        match self {
            Self::First => 16,
            Self::Second => 24,
        }
    }
}

/// A filter that is being written.
pub(super) struct Program {
    architecture: Architecture,
    instructions: Vec<Instruction>,
}

impl Program {
    pub(super) fn new(architecture: Architecture) -> Self {
        let mut program = Self {
            architecture,
            instructions: Vec::new(),
        };
        program.load(ARCHITECTURE_AT);
        program.add(JUMP_EQUAL, 1, 0, architecture.audit());
        program.give(KILL_PROCESS);
        program.load(NUMBER_AT);
        program
    }

    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.give(ALLOW);
        self.instructions
    }

    /// Denies every call of this number and above.
    pub(super) fn deny_from(&mut self, number: u32) {
        self.add(JUMP_NOT_BELOW, 0, 1, number);
        self.give(FAIL_WITH | EPERM);
    }

    pub(super) fn deny(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | EPERM);
    }

    /// Denies a call as a kernel does that does not know it.
    pub(super) fn deny_as_unknown(&mut self, call: Call) {
        self.answer(call, FAIL_WITH | ENOSYS);
    }

    /// Denies a call if any of these bits is set in the argument.
    pub(super) fn deny_with_bits(&mut self, call: Call, argument: Argument, bits: u32) {
        self.rule(call, |program| {
            program.load(argument.offset());
            program.add(JUMP_ANY_BIT, 0, 1, bits);
            program.give(FAIL_WITH | EPERM);
        });
    }

    /// Denies a call if the argument is one of these.
    pub(super) fn deny_values(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.rule(call, |program| {
            program.load(argument.offset());
            for value in values {
                program.add(JUMP_EQUAL, 0, 1, *value);
                program.give(FAIL_WITH | EPERM);
            }
        });
    }

    /// Denies a call unless the argument is one of these.
    pub(super) fn allow_only(&mut self, call: Call, argument: Argument, values: &[u32]) {
        self.rule(call, |program| {
            program.load(argument.offset());
            for value in values {
                program.add(JUMP_EQUAL, 0, 1, *value);
                program.give(ALLOW);
            }
            program.give(FAIL_WITH | EPERM);
        });
    }

    /// Allows a call that makes Unix sockets, if they can only talk to whom they are connected to.
    pub(super) fn allow_streams(&mut self, call: Call) {
        self.rule(call, |program| {
            program.load(Argument::First.offset());
            program.add(JUMP_EQUAL, 0, 5, AF_UNIX);
            program.load(Argument::Second.offset());
            program.add(AND, 0, 0, SOCK_TYPE_MASK);
            program.add(JUMP_EQUAL, 1, 0, SOCK_STREAM);
            program.add(JUMP_EQUAL, 0, 1, SOCK_SEQPACKET);
            program.give(ALLOW);
        });
    }

    fn answer(&mut self, call: Call, answer: u32) {
        if let Some(number) = self.number(call) {
            self.add(JUMP_EQUAL, 0, 1, number);
            self.give(answer);
        }
    }

    /// Instructions for one call only; they may change the accumulator.
    fn rule(&mut self, call: Call, write: impl FnOnce(&mut Self)) {
        let Some(number) = self.number(call) else {
            return;
        };
        let test = self.instructions.len();
        self.add(JUMP_EQUAL, 0, 0, number);
        write(self);
        self.load(NUMBER_AT);
        let length = self.instructions.len() - test - 1;
        // The rules here are a dozen instructions; were one longer, a jump that is too short would land inside it, and the
        // test of every filter would fail.
        self.instructions[test].jump_false = length as u8;
    }

    fn number(&self, call: Call) -> Option<u32> {
        match self.architecture {
            Architecture::X86_64 => call.x86_64,
            Architecture::Aarch64 => call.aarch64,
        }
    }

    fn load(&mut self, offset: u32) {
        self.add(LOAD, 0, 0, offset);
    }

    fn give(&mut self, answer: u32) {
        self.add(RETURN, 0, 0, answer);
    }

    fn add(&mut self, code: u16, jump_true: u8, jump_false: u8, k: u32) {
        self.instructions.push(Instruction {
            code,
            jump_true,
            jump_false,
            k,
        });
    }
}

//! Filters of system calls: the kernel's form of them, and the call that installs one.

use super::spawn::errno;

/// One instruction of classic BPF, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jump_true: u8,
    /// How many to skip if it does not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

/// Puts the calling process under a filter, for good. Async-signal-safe; the errno on failure.
/// Needs `no_new_privs`.
pub(super) fn install(filter: &[Instruction]) -> Result<(), i32> {
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        // An Instruction is a sock_filter in memory; the kernel only reads it.
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the program describes a readable slice that outlives the call.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if failed < 0 { Err(errno()) } else { Ok(()) }
}

/// Whether this kernel can filter system calls with the actions that we use (4.14).
pub fn is_available() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads one u32.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        ) == 0
    }
}

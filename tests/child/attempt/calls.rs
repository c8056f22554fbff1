//! Calls that hardly any program needs and many exploits do.

use super::{Tried, bytes, done};
use crate::kernel::{at, at_mut, call, signed};

/// The mark of the x32 interface on a number.
const X32: i64 = 0x4000_0000;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["io-uring"] => done(call(
            libc::SYS_io_uring_setup,
            &[4, at_mut(&mut [0_u8; 120])],
        )),
        ["bpf"] => bpf(),
        ["userfaultfd"] => done(call(libc::SYS_userfaultfd, &[1])),
        ["perf"] => perf(),
        ["landlock"] => {
            call(libc::SYS_landlock_create_ruleset, &[0, 0, 1]).map(|version| version.to_string())
        }
        ["keyctl"] => done(call(libc::SYS_keyctl, &[0, signed(-3), 1])),
        ["fanotify"] => done(call(libc::SYS_fanotify_init, &[0, 0])),
        ["x32-unshare"] => done(call(
            libc::SYS_unshare | X32 as libc::c_long,
            &[libc::CLONE_NEWUSER as usize],
        )),
        #[cfg(target_arch = "x86_64")]
        ["32-unshare"] => done(crate::kernel::call_32(
            310,
            libc::CLONE_NEWUSER as u32,
            0,
            0,
        )),
        #[cfg(target_arch = "x86_64")]
        ["32-socket"] => done(crate::kernel::call_32(
            359,
            libc::AF_INET as u32,
            libc::SOCK_STREAM as u32,
            0,
        )),
        _ => return None,
    })
}

/// Makes a map of one entry.
fn bpf() -> Tried {
    const BPF_MAP_CREATE: usize = 0;
    let map: Vec<u8> = [2_u32, 4, 4, 1, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    done(call(libc::SYS_bpf, &[BPF_MAP_CREATE, at(&*map), map.len()]))
}

/// Counts the clock of this very process.
fn perf() -> Tried {
    const SIZE: u64 = 128;
    const PERF_TYPE_SOFTWARE: u64 = 1;
    let mut attributes = bytes::words([PERF_TYPE_SOFTWARE | SIZE << 32, 0]);
    attributes.resize(SIZE as usize, 0);
    done(call(
        libc::SYS_perf_event_open,
        &[at(&*attributes), 0, signed(-1), signed(-1), 0],
    ))
}

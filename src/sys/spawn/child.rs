//! What a child does between clone and exec, on our memory: async-signal-safe calls only, no
//! allocation, no panic, no return. Its steps also serve a process of its own that execs.

use std::ffi::{CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use super::{Program, Restrictions, Shared, Stage};
use crate::sys::limits::Resource;
use crate::sys::{capabilities, landlock, seccomp, signal};

/// The child's life.
pub(super) extern "C" fn main(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the parent passed a live `Shared` and is suspended, so this is the only access.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    let (stage, errno) = prepare_and_exec(shared);
    shared.failure = Some((stage, errno));
    // SAFETY: ends the child at once, without running what the parent registered.
    unsafe { libc::_exit(127) }
}

/// Returns only when it has failed.
fn prepare_and_exec(shared: &mut Shared<'_>) -> (Stage, i32) {
    match prepare(shared) {
        Ok(()) => exec(shared),
        Err(failure) => failure,
    }
}

fn prepare(shared: &mut Shared<'_>) -> Result<(), (Stage, i32)> {
    let launch = shared.launch;
    // SAFETY: takes no pointers.
    if unsafe { libc::setsid() } < 0 {
        return Err((Stage::Session, errno()));
    }
    if let Some(entry) = shared.entry {
        entry.register_self();
    }
    // SAFETY: takes no pointers. The parent may have died before the signal was asked for.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != shared.parent {
            libc::_exit(127);
        }
    }
    if let Some(limit) = shared.descriptor_limit {
        // SAFETY: the kernel reads one rlimit. What was ours at start cannot be refused.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    set_limits(launch.limits)?;
    if launch.has_terminal {
        take_terminal(launch.stdin.as_raw_fd()).map_err(|errno| (Stage::Terminal, errno))?;
    }
    // SAFETY: the path is a terminated string.
    if unsafe { libc::chdir(launch.cwd.as_ptr()) } < 0 {
        return Err((Stage::Directory, errno()));
    }
    restrict_files(&launch.restrictions)?;
    place_descriptors(shared).map_err(|errno| (Stage::Descriptors, errno))?;
    reset_signals(shared.ignored);
    if let Some(filter) = launch.restrictions.filter {
        // The last step: a filter need not allow any of the others.
        seccomp::install(filter).map_err(|errno| (Stage::Seccomp, errno))?;
    }
    Ok(())
}

/// Gives up privileges and files, in the order in which the kernel lets it.
fn restrict_files(restrictions: &Restrictions<'_>) -> Result<(), (Stage, i32)> {
    if restrictions.drop_capabilities {
        capabilities::drop_all().map_err(|errno| (Stage::Capabilities, errno))?;
    }
    if restrictions.no_new_privs {
        // SAFETY: takes no pointers.
        let failed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0;
        if failed {
            return Err((Stage::NoNewPrivs, errno()));
        }
    }
    match restrictions.landlock {
        Some(rules) => landlock::enter(rules).map_err(|errno| (Stage::Landlock, errno)),
        None => Ok(()),
    }
}

/// Makes `terminal` the controlling one of this session.
pub(in crate::sys) fn take_terminal(terminal: libc::c_int) -> Result<(), i32> {
    // SAFETY: takes no pointers.
    if unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) } < 0 {
        return Err(errno());
    }
    Ok(())
}

/// Puts every descriptor in its place and closes all others.
fn place_descriptors(shared: &mut Shared<'_>) -> Result<(), i32> {
    let launch = shared.launch;
    let count = launch.descriptors.len() as libc::c_int;
    let program = match launch.program {
        Program::Open(file) => Some(file),
        Program::Paths(_) => None,
    };
    // To above every place that is wanted, so that none is overwritten before it has moved.
    let above = 3 + count + 1;
    let sources = launch.descriptors.iter().chain(&program);
    for (parked, source) in shared.parked.iter_mut().zip(sources) {
        *parked = source.as_raw_fd();
        if *parked >= above {
            continue;
        }
        // SAFETY: takes no pointers.
        *parked = unsafe { libc::fcntl(*parked, libc::F_DUPFD_CLOEXEC, above) };
        if *parked < 0 {
            return Err(errno());
        }
    }
    let standard = [launch.stdin, launch.stdout, launch.stderr];
    place_standard(standard.map(|fd| fd.as_raw_fd()))?;
    for (target, source) in (3..3 + count).zip(shared.parked.iter()) {
        // SAFETY: takes no pointers; dup2 clears close-on-exec on the copy.
        if unsafe { libc::dup2(*source, target) } < 0 {
            return Err(errno());
        }
    }
    let mut first_free = 3 + count;
    if let (Some(_), Some(source)) = (program, shared.parked.last()) {
        // SAFETY: takes no pointers.
        if unsafe { libc::dup3(*source, first_free, libc::O_CLOEXEC) } < 0 {
            return Err(errno());
        }
        first_free += 1;
    }
    close_from(first_free as libc::c_uint);
    Ok(())
}

/// Makes these descriptors 0, 1 and 2.
pub(in crate::sys) fn place_standard(sources: [libc::c_int; 3]) -> Result<(), i32> {
    for (target, source) in (0..).zip(sources) {
        // SAFETY: takes no pointers; dup2 clears close-on-exec on the copy.
        if unsafe { libc::dup2(source, target) } < 0 {
            return Err(errno());
        }
    }
    Ok(())
}

/// Sets limits, soft and hard alike.
pub(in crate::sys) fn set_limits(limits: &[(Resource, u64)]) -> Result<(), (Stage, i32)> {
    for (place, (resource, value)) in limits.iter().enumerate() {
        let limit = libc::rlimit {
            rlim_cur: *value as libc::rlim_t,
            rlim_max: *value as libc::rlim_t,
        };
        // SAFETY: the kernel reads one rlimit.
        if unsafe { libc::setrlimit(resource.number() as _, &raw const limit) } < 0 {
            return Err((Stage::Limit(place), errno()));
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on. Async-signal-safe.
pub(in crate::sys) fn close_from(first: libc::c_uint) {
    // SAFETY: takes no pointers; whoever calls this is about to exec or owns nothing above.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        // Before Linux 5.9. Our own descriptors are close-on-exec, so this is for strangers'.
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let end = limit.rlim_cur.min(65_536) as libc::c_int;
        for fd in first as libc::c_int..end {
            libc::close(fd);
        }
    }
}

/// Default dispositions for the signals of `ignored`, and none blocked.
pub(in crate::sys) fn reset_signals(ignored: u64) {
    signal::reset(ignored);
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which is then only read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn exec(shared: &Shared<'_>) -> (Stage, i32) {
    match shared.launch.program {
        Program::Paths(programs) => exec_first(programs, shared.argv, shared.env),
        Program::Open(_) => {
            let place = 3 + shared.launch.descriptors.len() as libc::c_int;
            exec_open(place, shared.argv, shared.env)
        }
    }
}

/// Runs an open file. Both arrays end with a null pointer. Async-signal-safe.
pub(in crate::sys) fn exec_open(
    file: libc::c_int,
    argv: &[*const c_char],
    env: &[*const c_char],
) -> (Stage, i32) {
    let (argv, env) = (argv.as_ptr(), env.as_ptr());
    // SAFETY: terminated strings and null-terminated arrays.
    unsafe {
        let empty = c"".as_ptr();
        libc::syscall(
            libc::SYS_execveat,
            file,
            empty,
            argv,
            env,
            libc::AT_EMPTY_PATH,
        );
        let failure = errno();
        if !matches!(failure, libc::ENOSYS | libc::EPERM) {
            return (Stage::Exec(0), failure);
        }
        // A filter of the container may not know the call.
        let path = path_of(file);
        libc::execve(path.as_ptr().cast(), argv, env);
    }
    (Stage::Exec(0), errno())
}

/// `/proc/self/fd/` and a number, terminated, without memory of the heap.
fn path_of(number: libc::c_int) -> [u8; 32] {
    let mut path = [0; 32];
    let start = b"/proc/self/fd/";
    path[..start.len()].copy_from_slice(start);
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    while first == digits.len() || rest > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for (to, digit) in path[start.len()..].iter_mut().zip(&digits[first..]) {
        *to = *digit;
    }
    path
}

/// Tries the candidates as `execvp` does: a file that may not be run is
/// remembered, a missing one is passed over, anything else ends the search.
/// Both arrays end with a null pointer.
pub(in crate::sys) fn exec_first(
    programs: &[CString],
    argv: &[*const c_char],
    env: &[*const c_char],
) -> (Stage, i32) {
    let mut failure = (Stage::Exec(0), libc::ENOENT);
    for (place, program) in programs.iter().enumerate() {
        // SAFETY: the path is a terminated string, both arrays are null-terminated.
        unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => failure = (Stage::Exec(place), libc::EACCES),
            other => return (Stage::Exec(place), other),
        }
    }
    failure
}

/// The error of the last call that failed.
pub(in crate::sys) fn errno() -> i32 {
    // SAFETY: the C library gives a valid pointer on every thread.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_becomes_a_path() {
        for (number, expected) in [(0, "/proc/self/fd/0"), (10, "/proc/self/fd/10")] {
            let path = path_of(number);
            let end = path.iter().position(|byte| *byte == 0).unwrap();
            assert_eq!(str::from_utf8(&path[..end]).unwrap(), expected);
        }
        assert!(path_of(libc::c_int::MAX).contains(&0));
    }
}

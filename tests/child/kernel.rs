//! System calls by number, as a hostile program makes them.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;

/// Calls the kernel; addresses are given as numbers, and point to what outlives the call.
pub fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<usize> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers pass addresses of live values of the right size; nothing else of this process is touched.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as usize)
}

/// A call by the interface of 32-bit programs, whose numbers differ. The arguments must fit in 32 bits.
#[cfg(target_arch = "x86_64")]
pub fn call_32(number: u32, first: u32, second: u32, third: u32) -> io::Result<usize> {
    let result: i64;
    // SAFETY: the calls that are made this way take numbers, and no address.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, edi",
            "int 0x80",
            "pop rbx",
            inlateout("rax") i64::from(number) => result,
            in("edi") first,
            in("ecx") second,
            in("edx") third,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    if (-4095..0).contains(&result) {
        return Err(io::Error::from_raw_os_error(-result as i32));
    }
    Ok(result as usize)
}

/// What is open under a number, which need not be ours, under another.
pub fn duplicate(number: usize) -> io::Result<File> {
    let new = call(
        libc::SYS_fcntl,
        &[number, libc::F_DUPFD_CLOEXEC as usize, 0],
    )?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { File::from_raw_fd(new as i32) })
}

/// The address of a value, for [`call`].
pub fn at<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>() as usize
}

/// The address of a value that the kernel changes.
pub fn at_mut<T: ?Sized>(value: &mut T) -> usize {
    std::ptr::from_mut(value).cast::<u8>() as usize
}

/// Text as the kernel reads it.
pub fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// A number below zero, such as `AT_FDCWD`, as an argument.
pub fn signed(number: i32) -> usize {
    number as isize as usize
}

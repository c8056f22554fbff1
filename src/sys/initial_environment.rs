//! The memory in which we were given our environment.
//!
//! The kernel shows the environment that a program was started with in `/proc/PID/environ`,
//! whatever the program does to its variables later: it shows the memory in which it has put them.
//! So that memory is overwritten.

use std::ffi::{CStr, CString, OsString, c_char};
use std::ptr::null_mut;

unsafe extern "C" {
    /// The C library's list of variables, which ends with a null pointer.
    static mut environ: *mut *mut c_char;
}

/// Moves the variables to memory that nothing shows, and overwrites those that we were started
/// with. They keep their values. For the beginning of `main`: does nothing once there is a second
/// thread.
pub fn hide() {
    if !is_only_thread() {
        return;
    }
    let mut moved: Vec<*mut c_char> = Vec::new();
    // SAFETY: no other thread can look at the list or change it meanwhile. It is null, or has
    // pointers to terminated strings up to a null pointer. The strings are in memory that the
    // kernel has mapped for us to write, or that the C library has allocated, and nobody else has
    // kept a pointer to one.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let string = *entry;
            moved.push(CString::into_raw(CStr::from_ptr(string).to_owned()));
            std::ptr::write_bytes(string, 0, libc::strlen(string));
            entry = entry.add(1);
        }
        moved.push(null_mut());
        // It is the list from now on, so it is never freed.
        environ = moved.leak().as_mut_ptr();
    }
}

/// The value of a variable, which is a variable no more: a secret that none of our children is to
/// have. For the beginning of `main`: it stays a variable once there is a second thread.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    if is_only_thread() {
        // SAFETY: no other thread can look at the variables meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}

/// Whether this process has one thread, as far as can be told.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

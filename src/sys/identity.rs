//! Who we are to the system.

/// The user that this process, and so its children, run as.
pub fn user_id() -> u32 {
    // SAFETY: getuid takes nothing and cannot fail.
    unsafe { libc::getuid() }
}

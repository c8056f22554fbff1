//! What the standard library does about stack overflows, turned off before it begins.
//!
//! It gives every thread a second stack for a handler that says which thread has overflowed its own. Where there is no
//! memory for that one, the new thread panics, and so ends the program, though `Builder::spawn` has told nobody of an
//! error. It does so only where nothing handles SIGSEGV and SIGBUS yet when the program begins; so something does.
//! An overflow still ends the program by SIGSEGV, at the guard page of the stack.

/// Called by the C library before Rust's own beginning.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_RUST: extern "C" fn() = handle_faults;

extern "C" fn handle_faults() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler does only what a handler may.
        unsafe { libc::signal(signal, end as *const () as libc::sighandler_t) };
    }
}

/// Ends the program by this signal, as if nothing handled it. A program that we start has the usual
/// handling again.
extern "C" fn end(signal: libc::c_int) {
    // SAFETY: both may be called by a handler. The signal is held back until it returns, and then kills.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

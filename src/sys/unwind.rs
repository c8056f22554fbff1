//! The unwinder of a program that does not unwind.
//!
//! A panic ends this program (`panic = "abort"`), and the tables by which a stack is walked are not linked
//! (`build/link.rs`), so a backtrace is always empty. The standard library has its walk all the same, and with it the
//! unwinder and all that reads debugging information. With these functions in the unwinder's place the compiler sees
//! that no frame is ever found, and leaves all that out.
//!
//! Their names and forms are those of the Itanium C++ ABI, level I. All are here that the standard library names, since
//! one that is not would bring the true unwinder with it.

use std::ffi::{c_int, c_void};
use std::process::abort;

/// `_URC_END_OF_STACK`: there are no more frames.
const END_OF_STACK: c_int = 5;

/// Finds no frame, so `callback` is never called.
// SAFETY: whoever calls it must do with any number of frames.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    _argument: *mut c_void,
) -> c_int {
    END_OF_STACK
}

/// Defines functions that are of use only in a frame that was found, or to unwind: nobody calls them.
macro_rules! never_called {
    ($($name:ident)+) => {
        $(
            // SAFETY: it never returns, so that its parameters and its result can be any.
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                abort()
            }
        )+
    };
}

never_called! {
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetGR
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}

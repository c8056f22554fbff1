//! The terminal that we were started from: its size, and raw mode that is always undone.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::check;
use super::pty::WindowSize;

use crate::sys::sync::Mutex;

/// A terminal whose mode was changed, and what to set it back to.
struct Changed {
    terminal: OwnedFd,
    before: libc::termios,
}

/// In one place for the whole process, so that whoever ends it can set the terminal back.
static CHANGED: Mutex<Option<Changed>> = Mutex::new(None);

/// A terminal in raw mode: bytes pass as they are typed, no key makes a signal. Dropping it sets
/// the former mode again. One at a time.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Sets it. [`restore`] undoes it from any thread, for ends that drop nothing.
    ///
    /// # Errors
    /// It is no terminal, or one is in raw mode already (`EBUSY`).
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = terminal.try_clone_to_owned()?;
        let mut changed = CHANGED.lock();
        if changed.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let before = mode(&terminal)?;
        let mut raw = before;
        // SAFETY: the structure is live and initialised.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        set_mode(&terminal, &raw)?;
        *changed = Some(Changed { terminal, before });
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Sets a terminal in raw mode back, if there is one. For every way in which the process can end
/// and for a panic, so it never waits for whoever holds the lock: that thread is doing the same.
pub fn restore() {
    let changed = CHANGED.try_lock().and_then(|mut changed| changed.take());
    if let Some(Changed { terminal, before }) = changed {
        // A terminal that is gone needs no mode.
        let _ = set_mode(&terminal, &before);
    }
}

/// Whether a terminal is in raw mode, where a line feed alone does not return to its start.
pub fn is_raw() -> bool {
    CHANGED.lock().is_some()
}

/// Stops this process as Ctrl-Z does; returns when it is continued.
pub fn stop_self() {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

/// The size of a terminal's window; none if it is no terminal, or one that knows no size.
pub fn window_size(terminal: BorrowedFd<'_>) -> Option<WindowSize> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: TIOCGWINSZ writes one winsize, which is valid when zeroed too.
    let (result, size) = unsafe {
        let result = libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        (result, size.assume_init())
    };
    let known = result == 0 && size.ws_row > 0 && size.ws_col > 0;
    known.then_some(WindowSize {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}

fn mode(terminal: &OwnedFd) -> io::Result<libc::termios> {
    let mut mode = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr fills the structure, or fails.
    unsafe {
        check(libc::tcgetattr(terminal.as_raw_fd(), mode.as_mut_ptr()))?;
        Ok(mode.assume_init())
    }
}

fn set_mode(terminal: &OwnedFd, mode: &libc::termios) -> io::Result<()> {
    loop {
        // SAFETY: the structure is live and initialised.
        let set = unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, mode) };
        match check(set) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pty;
    use std::os::fd::AsFd;

    #[test]
    fn raw_mode_is_undone_once_and_by_anyone() {
        let size = WindowSize { rows: 7, cols: 9 };
        let pty = pty::open(size).unwrap();
        assert_eq!(window_size(pty.slave.as_fd()), Some(size));
        let flags = || mode(&pty.slave).unwrap().c_lflag & (libc::ECHO | libc::ICANON);
        let before = flags();
        assert_ne!(before, 0);

        let raw = RawMode::enter(pty.slave.as_fd()).unwrap();
        assert_eq!(flags(), 0);
        let second = RawMode::enter(pty.slave.as_fd()).unwrap_err();
        assert_eq!(second.raw_os_error(), Some(libc::EBUSY));
        drop(raw);
        assert_eq!(flags(), before);

        let raw = RawMode::enter(pty.slave.as_fd()).unwrap();
        restore();
        assert_eq!(flags(), before);
        drop(raw);
        assert_eq!(flags(), before);
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(RawMode::enter(null.as_fd()).is_err());
        assert_eq!(window_size(null.as_fd()), None);
    }
}

//! Children that do not outlive what started them.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use support::comes_true;

static LIVE: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// A child that is killed and waited for when this is dropped.
pub struct Guarded {
    child: Arc<Mutex<Child>>,
    pid: u32,
}

impl Guarded {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        live().push(Arc::clone(&child));
        Self { child, pid }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes something out of the child, its pipes above all.
    pub fn with<T>(&self, take: impl FnOnce(&mut Child) -> T) -> T {
        take(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for its end; `None` if that does not come in time.
    pub fn ended(&self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        comes_true(limit, || {
            status = self.with(|child| child.try_wait().expect("it is our child"));
            status.is_some()
        });
        status
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        live().retain(|other| !Arc::ptr_eq(other, &self.child));
        end(&self.child);
    }
}

/// Ends the program, and every child, should it take longer than `limit`.
pub fn kill_all_after(limit: Duration) {
    thread::spawn(move || {
        // Nothing ends it but the end of the program.
        thread::sleep(limit);
        eprintln!("interop: not done after {limit:?}");
        live().iter().for_each(|child| end(child));
        std::process::exit(1);
    });
}

fn live() -> std::sync::MutexGuard<'static, Vec<Arc<Mutex<Child>>>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Both fail only for a child that is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

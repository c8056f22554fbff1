//! Children of the bench, none of which may outlive it.
//!
//! A step drops its children when it ends, by a panic too. If it is told to stop from outside
//! (its standard input ends), or if the run's own process dies, [`kill_all`] takes them down.

use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::{During, Failure};

static LIVE: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());

/// A child that is killed and waited for when this is dropped.
pub struct Guarded {
    child: Arc<Mutex<Child>>,
    pid: u32,
}

impl Guarded {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Result<Self, Failure> {
        let child = command
            .spawn()
            .during(format_args!("starting {}", command.get_program().display()))?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&child));
        Ok(Self { child, pid })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes something out of the child, its pipes above all.
    pub fn with<T>(&mut self, take: impl FnOnce(&mut Child) -> T) -> T {
        take(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &self.child));
        end(&self.child);
    }
}

/// Kills every child that is still there.
pub fn kill_all() {
    for child in &*LIVE.lock().unwrap_or_else(PoisonError::into_inner) {
        end(child);
    }
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Both fail only for a child that is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

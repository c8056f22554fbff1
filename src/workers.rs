//! Threads: how one is started, and those that are kept for a moment after use.
//!
//! Starting a thread costs a good part of what starting a small program
//! costs, so a thread that is done waits a little for the next job.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::sys::reserve;
use crate::sys::sync::{Condvar, Mutex};

/// How long a thread waits for more work.
const IDLE: Duration = Duration::from_secs(5);
/// A thread's stack, of which only the touched pages count.
const STACK_BYTES: usize = 256 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Starts a thread with a stack of so many bytes.
///
/// # Errors
/// The system gives no more threads, or there is no memory for what one needs besides its stack.
pub fn start_thread(
    name: impl Into<String>,
    stack: usize,
    job: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    if !reserve::is_kept() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let thread = thread::Builder::new().name(name.into()).stack_size(stack);
    thread.spawn(job).map(drop)
}

/// A set of threads that grows with the work.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    name: &'static str,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
}

impl Workers {
    /// A set without threads yet; `name` will be theirs.
    pub fn named(name: &'static str) -> Self {
        Self(Arc::new(Shared {
            name,
            state: Mutex::default(),
            work: Condvar::new(),
        }))
    }

    /// Runs `job` on a thread of its own. Fails when the system gives no more threads.
    pub fn run(&self, job: Job) -> io::Result<()> {
        let mut state = self.0.state.lock();
        if state.idle > state.jobs.len() {
            state.jobs.push_back(job);
            // A thread that wakes up must not find the lock taken.
            drop(state);
            self.0.work.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        start_thread(shared.name, STACK_BYTES, move || {
            job();
            shared.work_on();
        })
    }
}

impl Shared {
    fn work_on(&self) {
        loop {
            let mut state = self.state.lock();
            state.idle += 1;
            while state.jobs.is_empty() {
                let (waited, timeout) = self.work.wait_timeout(state, IDLE);
                state = waited;
                if timeout.timed_out() && state.jobs.is_empty() {
                    state.idle -= 1;
                    return;
                }
            }
            state.idle -= 1;
            let job = state.jobs.pop_front();
            drop(state);
            if let Some(job) = job {
                job();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_run_at_the_same_time_however_many() {
        let workers = Workers::named("test");
        let (here, there) = mpsc::channel();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        for _ in 0..8 {
            let (here, barrier) = (here.clone(), Arc::clone(&barrier));
            let job = move || {
                barrier.wait();
                here.send(()).unwrap();
            };
            workers.run(Box::new(job)).unwrap();
        }
        for _ in 0..8 {
            there.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }

    #[test]
    fn a_thread_is_used_again() {
        let workers = Workers::named("test");
        let (here, there) = mpsc::channel();
        let mut threads = std::collections::HashSet::new();
        for _ in 0..4 {
            let here = here.clone();
            let job = move || here.send(thread::current().id()).unwrap();
            workers.run(Box::new(job)).unwrap();
            threads.insert(there.recv_timeout(Duration::from_secs(10)).unwrap());
            while workers.0.state.lock().idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(threads.len(), 1);
    }
}

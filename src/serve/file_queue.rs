//! The file requests of one connection, one after the other on a thread of their own.
//!
//! They take effect in the order in which they were sent, and however long one
//! takes, the connection's reader goes on. Only when very much waits does the
//! reader wait too. The thread comes with the first request and goes a moment
//! after the last.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::confined::{ConfinedFiles, ConfinedRequest, HelperCancel, Wanted};
use super::files::{FileService, FileWork};
use super::reply::Responder;
use super::services::Services;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::transport::{Outbound, shrink_blocks};
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Requests that may wait.
const MAX_WAITING: usize = 1024;
/// Bytes that waiting requests may hold, and one request more.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How long a thread waits for the next request.
const LINGER: Duration = Duration::from_secs(3);
/// Answers are sent together up to so many bytes. With more the next request waits until they are
/// gone, far below the reader's own limit: file answers alone never keep it from reading. That a
/// block is written is told at once: the client has the next one ready.
const BATCH: usize = 64 * 1024;
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between looks at a dead connection.
const TICK: Duration = Duration::from_secs(1);

/// What waits.
pub(crate) enum Job {
    /// A request without a policy.
    Plain(FileWork),
    /// One under a policy.
    Confined(ConfinedRequest),
}

impl Job {
    /// About how much memory it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Plain(work) => work.bytes,
            Self::Confined(request) => request.bytes(),
        }
    }
}

/// One connection's file requests.
pub(crate) struct FileQueue {
    shared: Arc<Shared>,
    workers: Workers,
}

struct Shared {
    outbound: Arc<Outbound>,
    queue: Mutex<Queue>,
    /// Told of a request, and of the end.
    work: Condvar,
    /// Told when a request is done.
    done: Condvar,
    confined: Arc<ConfinedFiles>,
    /// On the helper of the request that is being answered.
    cancel: HelperCancel,
    /// Only ever locked by the thread that runs.
    service: Mutex<FileService>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Responder, Job)>,
    bytes: usize,
    is_running: bool,
    /// A request is being answered.
    is_busy: bool,
    /// Nothing more will come.
    is_closed: bool,
    answered: u64,
    /// Whether the thread waits for a request. Waking nobody costs a system call too.
    is_asleep: bool,
    /// How many wait for requests to be done.
    watching: usize,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.bytes > MAX_BYTES
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }
}

impl FileQueue {
    /// A queue without a thread yet.
    pub(crate) fn new(outbound: Arc<Outbound>, services: &Services) -> Self {
        Self {
            shared: Arc::new(Shared {
                service: Mutex::new(FileService::new(Arc::clone(&outbound), PATIENCE)),
                outbound,
                confined: Arc::clone(&services.confined),
                cancel: HelperCancel::new(),
                queue: Mutex::default(),
                work: Condvar::new(),
                done: Condvar::new(),
            }),
            workers: services.file_workers.clone(),
        }
    }

    /// Takes a request, which is answered later. Waits while there is no room for it.
    pub(crate) fn push(&self, responder: Responder, job: Job) {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        while queue.is_full() && !shared.outbound.is_dead() {
            queue = shared.watch(queue, TICK);
        }
        if !queue.is_running {
            let file_queue = Arc::clone(shared);
            if let Err(error) = self.workers.run(Box::new(move || file_queue.run())) {
                drop(queue);
                let message = format!("no thread for file requests: {error}; try again later");
                return responder.fail(&RpcError::new(ErrorKind::Busy, message));
            }
            queue.is_running = true;
        }
        queue.bytes += job.bytes();
        queue.waiting.push_back((responder, job));
        let is_asleep = queue.is_asleep;
        drop(queue);
        if is_asleep {
            shared.work.notify_one();
        }
    }

    /// No more requests will come: the thread ends, with its open files, after those it has.
    pub(crate) fn close(&self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.work.notify_one();
    }

    /// From now on no more than this is wanted of what a policy confines. What is done without a
    /// helper is done to its end.
    pub(crate) fn shorten(&self, wanted: Wanted) {
        self.shared.cancel.shorten(wanted);
    }

    /// Waits until all requests are answered. Not for ever: when none was for as long as
    /// `patience`, or nobody is left to answer, that is the end of the wait.
    pub(crate) fn wait_until_idle(&self, patience: Duration) {
        let mut queue = self.shared.queue.lock();
        let mut progress = (queue.answered, Instant::now());
        while !queue.is_idle() && !self.shared.outbound.is_dead() {
            queue = self.shared.watch(queue, TICK.min(patience));
            if queue.answered != progress.0 {
                progress = (queue.answered, Instant::now());
            } else if progress.1.elapsed() >= patience {
                return;
            }
        }
    }

    /// Waits until nothing is being done any more, answered or not; at most for `limit`.
    pub(crate) fn wait_until_done(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut queue = self.shared.queue.lock();
        while !queue.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.shared.watch(queue, left);
        }
    }
}

impl Drop for FileQueue {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        let mut service = self.service.lock();
        while let Some((responder, job)) = self.next() {
            let is_urgent = matches!(&job, Job::Plain(work) if work.is_urgent);
            match job {
                Job::Plain(work) => service.answer(&responder, work),
                Job::Confined(request) => {
                    self.confined
                        .answer(&mut service, &responder, &request, &self.cancel);
                }
            }
            drop(responder);
            let is_last = self.finished();
            if self.outbound.unsent() > BATCH {
                if !self.outbound.send_waiting(PATIENCE) {
                    self.outbound.kill();
                }
            } else if is_last || is_urgent {
                self.outbound.flush();
            }
        }
        service.shrink();
        shrink_blocks();
    }

    /// The next request, or none when there was none for a while.
    fn next(&self) -> Option<(Responder, Job)> {
        let mut queue = self.queue.lock();
        let give_up = Instant::now() + LINGER;
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                queue.bytes -= next.1.bytes();
                queue.is_busy = true;
                return Some(next);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if queue.is_closed || left.is_zero() {
                queue.is_running = false;
                return None;
            }
            queue.is_asleep = true;
            queue = wait(&self.work, queue, left);
            queue.is_asleep = false;
        }
    }

    /// One request is done; whether no other waits.
    fn finished(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.is_busy = false;
        queue.answered += 1;
        if queue.watching > 0 {
            self.done.notify_all();
        }
        queue.waiting.is_empty()
    }

    /// Waits until a request is done, or for so long.
    fn watch<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        limit: Duration,
    ) -> MutexGuard<'a, Queue> {
        queue.watching += 1;
        let mut queue = wait(&self.done, queue, limit);
        queue.watching -= 1;
        queue
    }
}

fn wait<'a>(
    condition: &Condvar,
    queue: MutexGuard<'a, Queue>,
    limit: Duration,
) -> MutexGuard<'a, Queue> {
    condition.wait_timeout(queue, limit).0
}

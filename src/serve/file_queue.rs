//! The file requests of one connection, one after the other on a thread of their own.
//!
//! They take effect in the order in which they were sent, and however long one
//! takes, the connection's reader goes on: a request that finds the queue full is
//! refused. The thread comes with the first request and goes a moment after the
//! last.
//!
//! When the connection is lost, what waits is dropped, since nobody would see its
//! answer. What has begun goes on, and the session's next connection begins its
//! first file request when that is over: no request takes effect behind a later
//! one of the same session.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::confined::{ConfinedFiles, ConfinedRequest, HelperCancel, Wanted};
use super::files::{FileService, FileWork};
use super::reply::Responder;
use super::services::Services;
use crate::memory::{self, Kind, Reserved};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::transport::{Outbound, shrink_blocks};
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Requests that may wait.
const MAX_WAITING: usize = 16 * 1024;
/// What a request takes besides what its parameters hold, about, in bytes.
const OVERHEAD: usize = 256;
/// Bytes of waiting requests that need no room in the server's memory.
const UNCOUNTED: usize = memory::UNCOUNTED / 4;
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
/// How long after it is taken up a session waits for a request of its last connection to end.
const FORMER: Duration = Duration::from_secs(10);
/// Between looks at whether the connection that waits for that is still there.
const FORMER_TICK: Duration = Duration::from_millis(100);

/// What waits.
pub(crate) enum Job {
    /// A request without a policy.
    Plain(FileWork),
    /// One under a policy.
    Confined(ConfinedRequest),
}

/// Room in memory for one request of a connection, until that is answered or dropped.
pub(crate) struct Room {
    shared: Arc<Shared>,
    bytes: usize,
    _reserved: Option<Reserved>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.queue.lock().bytes -= self.bytes;
    }
}

/// One connection's file requests.
pub(crate) struct FileQueue {
    shared: Arc<Shared>,
    workers: FileWorkers,
}

/// What a session knows of the file requests of a connection.
#[derive(Clone)]
pub(crate) struct FileRequests(Arc<Shared>);

/// File requests of connections that a session has lost, one a connection, which have not ended.
#[derive(Default)]
pub(crate) struct Unfinished(Vec<Arc<Shared>>);

/// The threads for the file requests of all connections.
#[derive(Clone)]
pub(crate) struct FileWorkers {
    workers: Workers,
    running: Arc<AtomicUsize>,
    /// No more than so many run.
    limit: usize,
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
    waiting: VecDeque<(Responder, Job, Room)>,
    /// What there is room for: requests that wait, and the one that is answered.
    bytes: usize,
    is_running: bool,
    /// A request is being answered.
    is_busy: bool,
    /// Nothing more will come.
    is_closed: bool,
    /// The session has lost the connection: nothing more begins.
    is_abandoned: bool,
    /// What has to end before the next request begins, and when that is waited for no longer.
    unfinished: Unfinished,
    give_up: Option<Instant>,
    answered: u64,
    /// Whether the thread waits for a request. Waking nobody costs a system call too.
    is_asleep: bool,
    /// How many wait for requests to be done.
    watching: usize,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_busy
    }
}

impl FileWorkers {
    /// No thread yet, and never more than `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            workers: Workers::named("files"),
            running: Arc::default(),
            limit,
        }
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), RpcError> {
        let busy = |message| RpcError::new(ErrorKind::Busy, message);
        let running = Arc::clone(&self.running);
        if running.fetch_add(1, Ordering::Relaxed) >= self.limit {
            running.fetch_sub(1, Ordering::Relaxed);
            return Err(busy(format!(
                "{} connections have file requests at work, some of them without a client any \
                 more, because their file system does not answer; try again later",
                self.limit
            )));
        }
        let count = Arc::clone(&self.running);
        let job = move || {
            job();
            count.fetch_sub(1, Ordering::Relaxed);
        };
        self.workers.run(Box::new(job)).map_err(|error| {
            running.fetch_sub(1, Ordering::Relaxed);
            busy(format!(
                "no thread for file requests: {error}; try again later"
            ))
        })
    }
}

impl FileRequests {
    /// The session has lost the connection: drops what waits. What has not ended, with what that
    /// waits for.
    pub(crate) fn abandon(&self) -> Unfinished {
        let mut queue = self.0.queue.lock();
        queue.is_closed = true;
        queue.is_abandoned = true;
        let dropped = std::mem::take(&mut queue.waiting);
        let mut unfinished = std::mem::take(&mut queue.unfinished);
        if queue.is_busy {
            unfinished.0.push(Arc::clone(&self.0));
        }
        drop(queue);
        drop(dropped);
        self.0.work.notify_one();
        self.0.cancel.shorten(Wanted::Changes);
        unfinished
    }

    /// Begins no request before what is unfinished has ended.
    pub(crate) fn follow(&self, unfinished: Unfinished) {
        let mut queue = self.0.queue.lock();
        queue.unfinished = unfinished;
        queue.give_up = Some(Instant::now() + FORMER);
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

    /// What a session has to know of the requests.
    pub(crate) fn requests(&self) -> FileRequests {
        FileRequests(Arc::clone(&self.shared))
    }

    /// Room for a request with so many bytes of parameters, before anything is made of them. One
    /// connection has no more than half of what there is for all, and one request.
    pub(crate) fn room(&self, len: usize) -> Result<Room, RpcError> {
        let bytes = OVERHEAD + len;
        let mut queue = self.shared.queue.lock();
        let is_full =
            queue.waiting.len() >= MAX_WAITING || queue.bytes > Kind::Requests.share() / 2;
        if is_full {
            return Err(RpcError::new(
                ErrorKind::Busy,
                format!(
                    "{} file requests of this connection wait already, with {} bytes; send this \
                     one again when some of them are answered",
                    queue.waiting.len(),
                    queue.bytes
                ),
            ));
        }
        let is_little = queue.bytes + bytes <= UNCOUNTED;
        let reserved = (!is_little).then(|| Reserved::of(Kind::Requests, bytes));
        if matches!(reserved, Some(None)) {
            let message = "too many large requests wait for files; try again later";
            return Err(RpcError::new(ErrorKind::Busy, message));
        }
        queue.bytes += bytes;
        Ok(Room {
            shared: Arc::clone(&self.shared),
            bytes,
            _reserved: reserved.flatten(),
        })
    }

    /// Takes a request, which is answered later; at once, if there is no thread. One of a
    /// connection that has lost its session is dropped.
    pub(crate) fn push(&self, responder: Responder, job: Job, room: Room) {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        if queue.is_abandoned {
            return;
        }
        if !queue.is_running {
            let file_queue = Arc::clone(shared);
            if let Err(error) = self.workers.run(move || file_queue.run()) {
                drop(queue);
                return responder.fail(&error);
            }
            queue.is_running = true;
        }
        queue.waiting.push_back((responder, job, room));
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
        while let Some((responder, job, room)) = self.next() {
            let is_urgent = matches!(&job, Job::Plain(work) if work.is_urgent);
            match (self.await_former(), job) {
                (Err(error), _) => responder.fail(&error),
                (Ok(()), Job::Plain(work)) => service.answer(&responder, work),
                (Ok(()), Job::Confined(request)) => {
                    self.confined
                        .answer(&mut service, &responder, &request, &self.cancel);
                }
            }
            drop((responder, room));
            let is_last = self.finished();
            if self.outbound.unsent() > BATCH {
                if !self.outbound.send_waiting(PATIENCE) {
                    self.outbound.kill();
                }
            } else if is_last || is_urgent {
                self.outbound.flush();
            }
        }
        if self.queue.lock().is_abandoned {
            service.close_all();
        }
        service.shrink();
        shrink_blocks();
    }

    /// Waits until no request of a connection that the session has lost is at work any more.
    fn await_former(&self) -> Result<(), RpcError> {
        let busy = |message: &str| Err(RpcError::new(ErrorKind::Busy, message));
        loop {
            let queue = self.queue.lock();
            let Some(former) = queue.unfinished.0.last().cloned() else {
                return Ok(());
            };
            if queue.is_abandoned {
                return busy("the session has lost this connection");
            }
            let left = queue.give_up.map_or(Duration::ZERO, |at| {
                at.saturating_duration_since(Instant::now())
            });
            drop(queue);
            if former.is_idle_within(left.min(FORMER_TICK)) {
                let mut queue = self.queue.lock();
                queue.unfinished.0.retain(|one| !Arc::ptr_eq(one, &former));
            } else if left.is_zero() {
                return busy(
                    "a file request of the connection that had this session before is still at \
                     work, and none may begin until it ends; try again later",
                );
            }
        }
    }

    /// Whether nothing is at work any more after `limit` at most.
    fn is_idle_within(&self, limit: Duration) -> bool {
        let queue = self.queue.lock();
        let queue = match queue.is_busy {
            true => self.watch(queue, limit),
            false => queue,
        };
        !queue.is_busy
    }

    /// The next request, or none when there was none for a while.
    fn next(&self) -> Option<(Responder, Job, Room)> {
        let mut queue = self.queue.lock();
        let give_up = Instant::now() + LINGER;
        loop {
            if let Some(next) = queue.waiting.pop_front() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn no_more_threads_run_than_the_limit() {
        let workers = FileWorkers::new(1);
        let (end, ended) = mpsc::channel::<()>();
        workers
            .run(move || {
                let _ = ended.recv();
            })
            .unwrap();
        let refused = workers.run(|| ()).unwrap_err();
        assert!(refused.message.contains("1 connections"), "{refused:?}");
        drop(end);
        let deadline = Instant::now() + Duration::from_secs(20);
        while workers.run(|| ()).is_err() {
            assert!(Instant::now() < deadline, "the thread goes on counting");
            std::thread::yield_now();
        }
    }
}

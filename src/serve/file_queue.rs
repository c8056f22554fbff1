//! The file requests of one connection, one after the other.
//!
//! They take effect in the order in which they were sent, and however long one
//! takes, the connection's reader goes on: a request that finds the queue full is
//! refused. A request that finds the queue empty may be carried out by the thread that reads
//! ([`OwnRequest`]), unless the one before it was slow. The others are carried out by a thread of
//! the queue, which comes with the first of them and goes a moment after the last.
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
use crate::blocks;
use crate::memory::{self, Kind, Reserved};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::transport::Outbound;
use crate::sys::process::name_thread;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Requests that may wait.
const MAX_WAITING: usize = 16 * 1024;
/// What a request takes besides what its parameters hold, about, in bytes.
const OVERHEAD: usize = 256;
/// Bytes of waiting requests that need no room in the server's memory.
const UNCOUNTED: usize = memory::UNCOUNTED / 4;
/// A request that takes longer is slow: the next one had better not keep the reader.
const SLOW: Duration = Duration::from_millis(1);
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

impl Job {
    /// Whether it is one of many blocks, of which the client has the next one under way.
    pub(crate) fn is_bulk(&self) -> bool {
        matches!(self, Self::Plain(work) if work.answers_raw)
    }
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

/// A request that the connection's own thread carries out: nothing was before it.
pub(crate) struct OwnRequest {
    responder: Responder,
    job: Job,
    room: Room,
    workers: FileWorkers,
    at_work: AtWork,
    /// Whether the queue has no other thread, which would wait meanwhile.
    is_only: bool,
}

/// The threads for the file requests of all connections.
#[derive(Clone)]
pub(crate) struct FileWorkers {
    workers: Workers,
    running: Arc<AtomicUsize>,
    /// No more than so many run.
    limit: usize,
}

/// One thread that is at work, until this is dropped.
struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
    /// Only ever locked by the thread that carries out a request.
    service: Mutex<FileService>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Responder, Job, Room)>,
    /// What there is room for: requests that wait, and the one that is answered.
    bytes: usize,
    /// There is a thread for them, or a reader that becomes it when its request is slow.
    is_running: bool,
    /// A request is being answered.
    is_busy: bool,
    /// The last one was slow.
    was_slow: bool,
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

    /// Counts a thread more, if there may be one.
    fn begin(&self) -> Result<AtWork, RpcError> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let at_work = AtWork(Arc::clone(&self.running));
        if before >= self.limit {
            return Err(RpcError::new(
                ErrorKind::Busy,
                format!(
                    "{} connections have file requests at work, some of them without a client any \
                     more, because their file system does not answer; try again later",
                    self.limit
                ),
            ));
        }
        Ok(at_work)
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), RpcError> {
        let at_work = self.begin()?;
        let job = move || {
            job();
            drop(at_work);
        };
        self.workers.run(Box::new(job)).map_err(|error| {
            let message = format!("no thread for file requests: {error}; try again later");
            RpcError::new(ErrorKind::Busy, message)
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
        self.shared.push(&self.workers, responder, job, room);
    }

    /// Takes a request from the thread that reads. The request where that thread is to carry it
    /// out: there is nothing before it, and the one before it was quick.
    pub(crate) fn push_or_keep(
        &self,
        responder: Responder,
        job: Job,
        room: Room,
    ) -> Option<OwnRequest> {
        let mut queue = self.shared.queue.lock();
        let may_keep = queue.is_idle() && !queue.was_slow && queue.unfinished.0.is_empty();
        if !may_keep || queue.is_abandoned {
            drop(queue);
            self.push(responder, job, room);
            return None;
        }
        let at_work = match self.workers.begin() {
            Ok(at_work) => at_work,
            Err(error) => {
                drop(queue);
                responder.fail(&error);
                return None;
            }
        };
        let is_only = !std::mem::replace(&mut queue.is_running, true);
        queue.is_busy = true;
        Some(OwnRequest {
            responder,
            job,
            room,
            workers: self.workers.clone(),
            at_work,
            is_only,
        })
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

impl OwnRequest {
    /// Lets it take its turn on the queue's thread after all.
    pub(crate) fn put_back(self) {
        let shared = Arc::clone(&self.room.shared);
        let mut queue = shared.queue.lock();
        queue.is_busy = false;
        queue.is_running &= !self.is_only;
        drop(queue);
        shared.push(&self.workers, self.responder, self.job, self.room);
    }

    /// Carries it out. `take_back` then tells whether this thread is still the one that reads: it
    /// sends the answer before it waits for the next message. Where it is not, this sends the answer,
    /// and goes on as the queue's thread if that has none.
    pub(crate) fn carry_out<R>(self, take_back: impl FnOnce() -> Option<R>) -> Option<R> {
        let Self {
            responder,
            job,
            room,
            workers,
            at_work,
            is_only,
        } = self;
        let shared = Arc::clone(&room.shared);
        let mut service = shared.service.lock();
        shared.answer(&mut service, &responder, job);
        drop((responder, room));
        let was_large = service.shrink();
        drop(service);
        if shared.outbound.unsent() > BATCH {
            shared.send();
        }
        let reader = take_back();
        let mut queue = shared.queue.lock();
        let is_last = shared.finish(&mut queue, was_large || reader.is_none());
        if is_only && is_last && reader.is_some() {
            queue.is_running = false;
        }
        let is_abandoned = queue.is_abandoned;
        drop(queue);
        if is_abandoned {
            shared.service.lock().close_all();
        }
        if reader.is_none() {
            shared.outbound.flush();
        }
        match reader {
            None if is_only => name_thread("files", || shared.run()),
            // Another thread than the reader has added to the queue meanwhile.
            Some(_) if is_only && !is_last => shared.start(&workers),
            _ => {}
        }
        drop(at_work);
        reader
    }
}

impl Shared {
    fn push(self: &Arc<Self>, workers: &FileWorkers, responder: Responder, job: Job, room: Room) {
        let mut queue = self.queue.lock();
        if queue.is_abandoned {
            return;
        }
        queue.waiting.push_back((responder, job, room));
        let is_running = std::mem::replace(&mut queue.is_running, true);
        let is_asleep = queue.is_asleep;
        drop(queue);
        if !is_running {
            self.start(workers);
        } else if is_asleep {
            self.work.notify_one();
        }
    }

    /// Starts the thread of the queue. If there can be none, what waits is refused.
    fn start(self: &Arc<Self>, workers: &FileWorkers) {
        let shared = Arc::clone(self);
        let Err(error) = workers.run(move || shared.run()) else {
            return;
        };
        let mut queue = self.queue.lock();
        queue.is_running = false;
        let refused = std::mem::take(&mut queue.waiting);
        drop(queue);
        for (responder, _, _) in refused {
            responder.fail(&error);
        }
    }

    fn run(&self) {
        while let Some((responder, job, room)) = self.next() {
            let began = Instant::now();
            let is_urgent = matches!(&job, Job::Plain(work) if work.is_urgent);
            match self.await_former() {
                Ok(()) => self.answer(&mut self.service.lock(), &responder, job),
                Err(error) => responder.fail(&error),
            }
            drop((responder, room));
            let was_slow = began.elapsed() > SLOW;
            let is_last = self.finish(&mut self.queue.lock(), was_slow);
            if self.outbound.unsent() > BATCH {
                self.send();
            } else if is_last || is_urgent {
                self.outbound.flush();
            }
        }
        let mut service = self.service.lock();
        if self.queue.lock().is_abandoned {
            service.close_all();
        }
        service.shrink();
        blocks::shrink();
    }

    fn answer(&self, service: &mut FileService, responder: &Responder, job: Job) {
        match job {
            Job::Plain(work) => service.answer(responder, work),
            Job::Confined(request) => {
                self.confined
                    .answer(service, responder, &request, &self.cancel);
            }
        }
    }

    /// Waits until the client has taken what it was sent.
    fn send(&self) {
        if !self.outbound.send_waiting(PATIENCE) {
            self.outbound.kill();
        }
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
            if !queue.is_busy
                && let Some(next) = queue.waiting.pop_front()
            {
                queue.is_busy = true;
                return Some(next);
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let may_end = queue.is_closed || left.is_zero();
            if may_end && queue.waiting.is_empty() {
                queue.is_running = false;
                return None;
            }
            let left = if may_end { TICK } else { left };
            queue.is_asleep = true;
            queue = wait(&self.work, queue, left);
            queue.is_asleep = false;
        }
    }

    /// One request is done; whether no other waits.
    fn finish(&self, queue: &mut Queue, was_slow: bool) -> bool {
        queue.is_busy = false;
        queue.was_slow = was_slow;
        queue.answered += 1;
        if queue.watching > 0 {
            self.done.notify_all();
        }
        if queue.is_asleep && !queue.waiting.is_empty() {
            self.work.notify_one();
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

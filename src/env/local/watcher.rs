//! The thread that watches directories for all clients.
//!
//! It alone touches the file system, which may hang, and it sleeps until a
//! directory changes or a client wants something. It starts with the first wish
//! and stays. Watches [for missing files](super::missing) and [of
//! trees](super::trees) have an inotify each, so that neither loses events to
//! the other.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::Instant;

use super::missing::{Missing, MissingWatch};
use super::trees::Trees;
use super::trees::{TreeWatch, WatchError};
use crate::log;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::sync::Mutex;

/// Wishes that may wait for the thread; more are refused.
const MAX_WAITING: usize = 1024;
/// The thread's stack, of which only the touched pages count.
const STACK_BYTES: usize = 128 * 1024;

/// The watches of all clients, which are told apart by numbers.
#[derive(Default)]
pub struct Watches(Mutex<Option<Arc<Shared>>>);

struct Shared {
    wishes: Mutex<VecDeque<Wish>>,
    wake: Arc<WakeEvent>,
}

/// Called when a tree is no longer watched, or when that is refused.
type Unwatched = Box<dyn FnOnce(Result<(), WatchError>) + Send>;

enum Wish {
    Missing(u64, MissingWatch),
    Tree(u64, TreeWatch),
    Unwatch(u64, String, Unwatched),
    Forget(u64),
}

impl Wish {
    fn refuse(self, why: WatchError) {
        match self {
            Self::Missing(_, watch) => {
                log::warn!("cannot watch for missing files: {why}");
                (watch.answer)(false);
            }
            Self::Tree(_, watch) => (watch.answer)(Err(why)),
            Self::Unwatch(_, _, answer) => answer(Err(why)),
            Self::Forget(_) => {}
        }
    }
}

impl Watches {
    /// Watches for missing files in place of those before. Does not wait; the
    /// answer comes from another thread, or from this one if there cannot be a
    /// watch at all.
    pub fn watch_missing(&self, client: u64, watch: MissingWatch) {
        self.start_and_wish(Wish::Missing(client, watch));
    }

    /// Watches a directory or a tree, beside those before. Does not wait, either.
    pub fn watch_tree(&self, client: u64, watch: TreeWatch) {
        self.start_and_wish(Wish::Tree(client, watch));
    }

    /// Ends the watch of a tree, if there is one of this id; there is no report after the answer.
    pub fn unwatch_tree(
        &self,
        client: u64,
        id: String,
        answer: impl FnOnce(Result<(), WatchError>) + Send + 'static,
    ) {
        let shared = self.lock().clone();
        match shared {
            Some(shared) => shared.wish(Wish::Unwatch(client, id, Box::new(answer))),
            None => answer(Ok(())),
        }
    }

    /// Ends all watches of `client`.
    pub fn forget(&self, client: u64) {
        if let Some(shared) = &*self.lock() {
            shared.lock().push_back(Wish::Forget(client));
            shared.wake.set();
        }
    }

    fn start_and_wish(&self, wish: Wish) {
        match self.running() {
            Ok(shared) => shared.wish(wish),
            Err(error) => wish.refuse(WatchError::System(error)),
        }
    }

    fn running(&self) -> io::Result<Arc<Shared>> {
        let mut running = self.lock();
        if let Some(shared) = &*running {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new(Shared {
            wishes: Mutex::default(),
            wake: Arc::new(WakeEvent::new()?),
        });
        let watcher = Watcher {
            trees: Trees::new(Arc::clone(&shared.wake))?,
            shared: Arc::clone(&shared),
            missing: Missing::new()?,
        };
        thread::Builder::new()
            .name("watch".into())
            .stack_size(STACK_BYTES)
            .spawn(move || watcher.run())?;
        *running = Some(Arc::clone(&shared));
        Ok(shared)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Shared>>> {
        self.0.lock()
    }
}

impl Shared {
    /// Hands the wish over, unless too many wait.
    fn wish(&self, wish: Wish) {
        let mut wishes = self.lock();
        if wishes.len() >= MAX_WAITING {
            drop(wishes);
            wish.refuse(WatchError::Busy);
            return;
        }
        wishes.push_back(wish);
        self.wake.set();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Wish>> {
        self.wishes.lock()
    }
}

/// The thread's own.
struct Watcher {
    shared: Arc<Shared>,
    missing: Missing,
    trees: Trees,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let round = self.wait().and_then(|()| self.take_changes());
            if let Err(error) = round.and_then(|()| self.grant_wishes()) {
                log::error!("watching files ends: {error}");
                return;
            }
            self.trees.report(Instant::now());
        }
    }

    fn grant_wishes(&mut self) -> io::Result<()> {
        loop {
            let next = self.shared.lock().pop_front();
            match next {
                Some(Wish::Missing(client, watch)) => self.missing.watch(client, watch),
                Some(Wish::Tree(client, watch)) => self.trees.watch(client, watch),
                Some(Wish::Unwatch(client, id, answer)) => {
                    self.trees.unwatch(client, &id);
                    answer(Ok(()));
                }
                Some(Wish::Forget(client)) => {
                    self.missing.end(client);
                    self.trees.forget(client)?;
                }
                None => return Ok(()),
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.trees.due().map(|due| {
            let now = Instant::now();
            due.saturating_duration_since(now)
        });
        let mut fds = [
            PollFd::new(self.shared.wake.as_fd(), READABLE),
            PollFd::new(self.missing.fd(), READABLE),
            PollFd::new(self.trees.fd(), READABLE),
        ];
        poll::wait(&mut fds, timeout)?;
        let is_woken = fds[0].is_ready();
        if is_woken {
            self.shared.wake.take();
            self.trees.retry();
        }
        Ok(())
    }

    fn take_changes(&mut self) -> io::Result<()> {
        self.missing.take_changes()?;
        self.trees.take_changes()
    }
}

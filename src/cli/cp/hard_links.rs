//! Files with several names: the first that is copied is what the others become hard links to.

use std::collections::HashMap;
use std::path::PathBuf;

use super::queue::Job;
use super::side::Found;

/// Memory for the names of such files. Above it they become files of their own.
const MOST: usize = 16 * 1024 * 1024;
/// What a file takes besides its names, about.
const OVERHEAD: usize = 256;

/// The files of one copy that have several names.
#[derive(Default)]
pub(crate) struct HardLinks {
    files: HashMap<String, State>,
    held: usize,
    /// Tells one attempt to copy a file from the next.
    attempts: u64,
}

enum State {
    /// The first name is being copied by this attempt; the others wait.
    Copying(u64, Vec<Job>),
    /// It is there.
    Copied(PathBuf),
}

/// The attempt to copy the first name of a file.
#[derive(Clone, Debug)]
pub(crate) struct FirstName {
    id: String,
    attempt: u64,
}

/// What becomes of a name.
pub(crate) enum Claim {
    /// The file is to be copied; [`HardLinks::finish`] is to be told what came of it.
    First(Job, FirstName),
    /// It is to be a hard link to this copy.
    Link(Job, PathBuf),
    /// It waits for the first.
    Waits,
    /// The file is to be copied as if it had no other name.
    Alone(Job),
}

impl HardLinks {
    pub(crate) fn claim(&mut self, job: Job, found: &Found) -> Claim {
        let Some(id) = found.id.as_ref().filter(|_| found.links > 1) else {
            return Claim::Alone(job);
        };
        let size = OVERHEAD + job.from.as_os_str().len() + job.to.as_os_str().len();
        match self.files.get_mut(id) {
            Some(State::Copied(first)) => Claim::Link(job, first.clone()),
            _ if self.held + size > MOST => Claim::Alone(job),
            Some(State::Copying(_, waiting)) => {
                self.held += size;
                waiting.push(job);
                Claim::Waits
            }
            None => {
                self.held += size;
                self.attempts += 1;
                let state = State::Copying(self.attempts, Vec::new());
                self.files.insert(id.clone(), state);
                let first = FirstName {
                    id: id.clone(),
                    attempt: self.attempts,
                };
                Claim::First(job, first)
            }
        }
    }

    /// Notes that the first name of a file is there as `copied`, or that it could not be copied;
    /// which names have waited for it.
    pub(crate) fn finish(&mut self, first: &FirstName, copied: Option<PathBuf>) -> Vec<Job> {
        let is_its = matches!(self.files.get(&first.id),
            Some(State::Copying(attempt, _)) if *attempt == first.attempt);
        if !is_its {
            return Vec::new();
        }
        let before = match copied {
            Some(path) => self.files.insert(first.id.clone(), State::Copied(path)),
            None => self.files.remove(&first.id),
        };
        match before {
            Some(State::Copying(_, waiting)) => waiting,
            _ => Vec::new(),
        }
    }
}

//! Resource limits of this process and of the children it starts.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use super::check;

use crate::sys::sync::Mutex;

/// A resource and its number for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource(i32);

/// What a child can be limited in.
// The libcs disagree on the type of these small constants.
#[allow(clippy::unnecessary_cast)]
const RESOURCES: [(&str, i32); 9] = [
    ("as", libc::RLIMIT_AS as i32),
    ("core", libc::RLIMIT_CORE as i32),
    ("cpu", libc::RLIMIT_CPU as i32),
    ("data", libc::RLIMIT_DATA as i32),
    ("fsize", libc::RLIMIT_FSIZE as i32),
    ("memlock", libc::RLIMIT_MEMLOCK as i32),
    ("nofile", libc::RLIMIT_NOFILE as i32),
    ("nproc", libc::RLIMIT_NPROC as i32),
    ("stack", libc::RLIMIT_STACK as i32),
];

impl Resource {
    /// The resource of this lower-case name, as `ulimit` and POSIX know it.
    pub fn from_name(name: &str) -> Option<Self> {
        let (_, number) = RESOURCES.iter().find(|(known, _)| *known == name)?;
        Some(Self(*number))
    }

    /// Its name; none of one that [`Resource::from_name`] does not know.
    pub fn name(self) -> &'static str {
        let known = RESOURCES.iter().find(|(_, number)| *number == self.0);
        known.map_or("", |(name, _)| name)
    }

    /// The kernel's number, which [`Resource::from_number`] takes again.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The resource of a number from [`Resource::number`].
    pub fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Every name that [`Resource::from_name`] knows, for messages.
    pub const NAMES: &str = "as, core, cpu, data, fsize, memlock, nofile, nproc, stack";
}

/// What a child may have of a resource, and up to what it may raise that by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// How much.
    pub soft: u64,
    /// The most.
    pub hard: u64,
}

/// The descriptor limits that we were started with, which children get back.
static STARTED_WITH: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises our own descriptor limit to what the system allows: a thousand
/// connections and processes need more than the customary 1024.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    STARTED_WITH.get_or_init(|| limit);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the kernel only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}

/// How much address space we may have, if that is limited.
pub fn address_space_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }).ok()?;
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The descriptor limits from before [`raise_descriptor_limit`], if it was called.
pub(super) fn descriptor_limit_at_start() -> Option<libc::rlimit> {
    STARTED_WITH.get().copied()
}

/// How much sooner children go than we do when memory runs out, in thousandths of all memory: even where we
/// have most of it. A server that is itself a child of another's still has room for its own.
const OOM_DISTANCE: i32 = 800;

/// Our `oom_score_adj`, and how many children are being made with a higher one.
struct OomScore {
    /// None where there is no `/proc`.
    file: Option<File>,
    state: Mutex<Raised>,
}

#[derive(Default)]
struct Raised {
    births: usize,
    /// What it was before.
    before: Vec<u8>,
}

static OOM_SCORE: OnceLock<OomScore> = OnceLock::new();

/// Opens our `oom_score_adj`. Once our memory is closed to others the file is root's, so this comes
/// before.
pub fn open_oom_score() {
    oom_score();
}

fn oom_score() -> &'static OomScore {
    OOM_SCORE.get_or_init(|| {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .open("/proc/self/oom_score_adj");
        OomScore {
            file: file.ok(),
            state: Mutex::default(),
        }
    })
}

/// While it lives, every child that is made goes sooner than we do when memory runs out.
///
/// A child inherits our score, so ours is as high for the moment. Between clone and exec it could
/// not set its own: it has our memory then, and with that its `/proc` files are root's.
pub(super) struct Starting(());

impl Starting {
    /// Raises our score, unless that cannot be done, or another birth has done it.
    pub(super) fn begin() -> Self {
        let score = oom_score();
        let mut state = score.state.lock();
        if state.births == 0 {
            state.before = score.file.as_ref().and_then(raise).unwrap_or_default();
        }
        state.births += 1;
        Self(())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let score = oom_score();
        let mut state = score.state.lock();
        state.births -= 1;
        if let (0, Some(file)) = (state.births, &score.file)
            && !state.before.is_empty()
        {
            // The kernel takes back what it has let us leave.
            let _ = file.write_all_at(&state.before, 0);
        }
    }
}

/// Raises the score in the file; what it was, if it is another now.
fn raise(file: &File) -> Option<Vec<u8>> {
    let mut text = [0; 16];
    let count = file.read_at(&mut text, 0).ok()?;
    let before = text[..count].to_vec();
    let own: i32 = str::from_utf8(&before).ok()?.trim().parse().ok()?;
    let raised = (own + OOM_DISTANCE).min(1000);
    if raised == own {
        return None;
    }
    file.write_all_at(raised.to_string().as_bytes(), 0).ok()?;
    Some(before)
}

//! Resource limits of this process and of the children it starts.

use std::io;
use std::sync::OnceLock;

use super::check;

/// A resource and its number for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource(i32);

impl Resource {
    /// The resource of this lower-case name, as `ulimit` and POSIX know it.
    pub fn from_name(name: &str) -> Option<Self> {
        let number = match name {
            "as" => libc::RLIMIT_AS,
            "core" => libc::RLIMIT_CORE,
            "cpu" => libc::RLIMIT_CPU,
            "data" => libc::RLIMIT_DATA,
            "fsize" => libc::RLIMIT_FSIZE,
            "memlock" => libc::RLIMIT_MEMLOCK,
            "nofile" => libc::RLIMIT_NOFILE,
            "nproc" => libc::RLIMIT_NPROC,
            "stack" => libc::RLIMIT_STACK,
            _ => return None,
        };
        // The libcs disagree on the type of these small constants.
        #[allow(clippy::unnecessary_cast)]
        Some(Self(number as i32))
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

/// The descriptor limits from before [`raise_descriptor_limit`], if it was called.
pub(super) fn descriptor_limit_at_start() -> Option<libc::rlimit> {
    STARTED_WITH.get().copied()
}

/// How much sooner children go than we do when memory runs out, in thousandths of all memory.
const OOM_DISTANCE: i32 = 100;

/// The text for a child's `oom_score_adj`, decided once. `None` where it
/// cannot be read or cannot be raised; lowering it would be a privilege.
pub(super) fn child_oom_score() -> Option<&'static str> {
    static SCORE: OnceLock<Option<String>> = OnceLock::new();
    let score = SCORE.get_or_init(|| {
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?;
        let own: i32 = own.trim().parse().ok()?;
        (own < 1000).then(|| (own + OOM_DISTANCE).min(1000).to_string())
    });
    score.as_deref()
}

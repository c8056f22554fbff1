//! What our wire has beyond the reference's, as announced to clients.

/// Methods, and members written `method.member`.
pub(super) const EXTENSIONS: &[&str] = &[
    "environment/info.cgroup",
    "process/closeStdin",
    "process/list",
    "process/resize",
    "process/exited.signal",
    "process/exited.timedOut",
    "process/read.firstRetainedSeq",
    "process/read.signal",
    "process/read.timedOut",
    "process/signal.anySignal",
    "process/start.rlimits",
    "process/start.size",
    "process/start.timeoutMs",
    "process/terminate.graceMs",
];

//! Where ours answers otherwise than the reference, and why.

/// One intended difference.
#[derive(Debug)]
pub struct Difference {
    /// The exchange, or `*` for any.
    name: &'static str,
    /// The reference's version, or `*` for both.
    version: &'static str,
    /// What differs: a pointer whose segments may be `*`, with everything below it.
    at: &'static str,
    /// The reason.
    #[allow(dead_code, reason = "for the reader of this table and of a failure")]
    pub why: &'static str,
}

impl Difference {
    /// Whether this row is about that field of that exchange.
    pub fn explains(&self, name: &str, version: &str, pointer: &str) -> bool {
        let mut segments = pointer.split('/');
        (self.name == "*" || self.name == name)
            && (self.version == "*" || self.version == version)
            && self.at.split('/').all(|wanted| {
                segments
                    .next()
                    .is_some_and(|its| wanted == "*" || wanted == its)
            })
    }
}

/// A row of a table of differences.
pub const fn row(
    name: &'static str,
    version: &'static str,
    at: &'static str,
    why: &'static str,
) -> Difference {
    Difference {
        name,
        version,
        at,
        why,
    }
}

pub const V130: &str = "0.130.0";
pub const V169: &str = "0.169.0";
pub const BOTH: &str = "*";
pub const ANY: &str = "*";

/// The table: exchange, version, field, reason.
pub const DIFFERENCES: &[Difference] = &[
    row(
        ANY,
        BOTH,
        "/*/error/data",
        "an extension: why and where, for programs; both clients ignore it",
    ),
    // One server for clients of both versions.
    row(
        ANY,
        V130,
        "/*/result/environmentInfo",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        ANY,
        V130,
        "/*/result/sandboxType",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        ANY,
        V130,
        "/*/result/sandboxDenied",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        ANY,
        V130,
        "/*/params/sandboxDenied",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        "environment-info",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "environment-status",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "signal-unknown",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "signal-bad",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "signal-running",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "signal-running",
        V130,
        "/p 1",
        "the process ends, because the signal is sent",
    ),
    row(
        "signal-running",
        V130,
        "/p 2",
        "the process ends, because the signal is sent",
    ),
    row(
        "start-native-path-or-uri",
        BOTH,
        "/answer 1",
        "both ways to write a path are taken",
    ),
    row(
        "start-native-path-or-uri",
        BOTH,
        "/p 1",
        "the process runs, because its directory is understood",
    ),
    row(
        "start-native-path-or-uri",
        BOTH,
        "/p 2",
        "the process runs, because its directory is understood",
    ),
    row(
        "start-native-path-or-uri",
        BOTH,
        "/p 3",
        "the process runs, because its directory is understood",
    ),
    row(
        "read-all-after-exit",
        V130,
        "/answer 1/result/nextSeq",
        "without maxBytes 0.169's number, which counts the exit and the close",
    ),
    row(
        "read-bad-wait",
        V169,
        "/answer 1/error/message",
        "0.130's words, which say what is wrong with the number",
    ),
    row(
        "write-dup-id",
        V130,
        "/p 1/params/chunk",
        "a write id counts for every client: nothing is written twice",
    ),
    row(
        "write-empty-id",
        V130,
        "/answer 1",
        "0.169 refuses an empty write id; 0.130's client sends none",
    ),
    row(
        "write-empty-id",
        V130,
        "/p 1",
        "nothing is written, because the write is refused",
    ),
    row(
        "batch-empty",
        V130,
        "/answer -1/error/message",
        "0.169's words",
    ),
    row("batch", V130, "/answer -1/error/message", "0.169's words"),
    row("scalar", V130, "/answer -1/error/message", "0.169's words"),
    row(
        "stdio-batch",
        V130,
        "/answer -1/error/message",
        "0.169's words",
    ),
    row(
        "start-missing-tty",
        BOTH,
        "/answer 1",
        "a start needs no more than a name and a command: no terminal unless one is asked for",
    ),
    row(
        "start-missing-tty",
        BOTH,
        "/p 1",
        "the process runs, because nothing that it needs is missing",
    ),
    row(
        "start-missing-tty",
        BOTH,
        "/p 2",
        "the process runs, because nothing that it needs is missing",
    ),
    // Faults of the reference that ours has not.
    row(
        "initialized-before-initialize",
        BOTH,
        "/connection",
        "a message out of turn costs no connection",
    ),
    row(
        "client-response",
        BOTH,
        "/connection",
        "an answer that nobody waits for costs no connection",
    ),
    row(
        "id-float",
        V130,
        "/connection",
        "a bad id costs no connection",
    ),
    row(
        "id-float",
        V130,
        "/answer -1",
        "a bad id is answered, in 0.169's words",
    ),
    row(
        "start-noexec",
        BOTH,
        "/answer \"s-p\"/error/message",
        "the error names what could not be run; the system's words are its end",
    ),
    row(
        "start-bad-cwd",
        BOTH,
        "/answer \"s-p\"/error/message",
        "the error names the directory, so it is not taken for a missing program",
    ),
    row(
        "start-kill9",
        V130,
        "/p 1/params/exitCode",
        "128 and the signal, as a shell says it and 0.169 does",
    ),
    row(
        "start-kill9-tty",
        BOTH,
        "/p 1/params/exitCode",
        "128 and the signal, on a terminal as on a pipe",
    ),
    row(
        "terminate-running",
        V130,
        "/p 1/params/exitCode",
        "128 and the signal, as a shell says it and 0.169 does",
    ),
    // Extensions.
    row(
        ANY,
        BOTH,
        "/*/params/signal",
        "extension: the name of the signal",
    ),
    row(
        ANY,
        BOTH,
        "/*/result/firstRetainedSeq",
        "extension: output below this is gone, so a gap is seen",
    ),
    row(
        ANY,
        V169,
        "/*/result/environmentInfo/capabilities/execServer",
        "extension: what we have besides",
    ),
    row(
        "environment-info",
        V169,
        "/*/result/capabilities/execServer",
        "extension: what we have besides",
    ),
    row(
        "signal-bad",
        V169,
        "/answer 1",
        "extension: any signal by its name",
    ),
    // What is left out.
    row(
        ANY,
        V169,
        "/*/result/environmentInfo/providerId",
        "the same everywhere, so it tells nothing; clients do without",
    ),
    row(
        "environment-info",
        V169,
        "/*/result/providerId",
        "the same everywhere, so it tells nothing; clients do without",
    ),
    // Files.
    row(
        "readFile-otherstyle",
        BOTH,
        "/answer 1",
        "both ways to write a path are taken",
    ),
    row(
        "canonicalize",
        V130,
        "/answer 1",
        "a method that only 0.169 has",
    ),
    row(
        "getMetadata-link",
        V130,
        "/answer 1/result/size",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        "getMetadata-link",
        BOTH,
        "/answer 1/result/createdAtMs",
        "the file system knows when the file was made",
    ),
    row(
        "getMetadata-link",
        BOTH,
        "/answer 1/result/mode",
        "extension: the permission bits",
    ),
    row(
        "remove-nofollow",
        V169,
        "/answer 1",
        "a tree is removed without following links, so there is nothing to refuse",
    ),
    row(
        "readBlock-exact-end",
        V169,
        "/answer 1/result/eof",
        "there is nothing behind the block, so it is the last",
    ),
    row(
        "open-bad-mode",
        V169,
        "/*/error/message",
        "the list of modes has our extension `update`",
    ),
    // HTTP.
    row(
        "http-refused",
        BOTH,
        "/answer 1/error/message",
        "the reason is said at the end",
    ),
];

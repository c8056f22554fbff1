//! Where ours answers these cases otherwise than the reference, and why.
//!
//! From the particular to the general: rows of single methods and cases, what holds for two values wherever they are,
//! and the rows of the recorded exchanges that are about every exchange.

use super::case::Case;
use super::confinement::SANDBOX;
use crate::subject::Generation;
use support::recorded::differences::{ANY, BOTH, DIFFERENCES, Difference, V130, V169, row};

/// Why a field of a case may differ, if it may. The values are `None` where the field is missing.
pub fn reason(
    case: &Case,
    generation: Generation,
    pointer: &str,
    theirs: Option<&str>,
    ours: Option<&str>,
) -> Option<&'static str> {
    let name = format!("{} {}", case.method, case.name);
    let version = generation.version();
    let particular = CASES.iter().chain(SANDBOX).find(|row| {
        row.explains(&name, version, pointer) || row.explains(case.method, version, pointer)
    });
    // No recorded exchange has this name, so that only rows for all of them fit.
    let general = || {
        DIFFERENCES
            .iter()
            .find(|row| row.explains("(any)", version, pointer))
    };
    particular
        .map(|row| row.why)
        .or_else(|| texts(pointer, theirs?, ours?))
        .or_else(|| deaths(pointer, theirs?, ours?))
        .or_else(|| general().map(|row| row.why))
}

/// Error texts that say the same in other words; the code is a field of its own.
fn texts(pointer: &str, theirs: &str, ours: &str) -> Option<&'static str> {
    let (theirs, ours) = (theirs.trim_matches('"'), ours.trim_matches('"'));
    if !pointer.ends_with("/error/message") && !pointer.ends_with(" done") {
        None
    } else if ours.ends_with(&format!(": {theirs}"))
        || ours.starts_with(&format!("{theirs}: "))
        || ours.contains(&format!(": {theirs}; the process's PATH is "))
    {
        Some("the error names what it is about; the words of theirs are in it")
    } else if theirs.starts_with("invalid ") && ours.starts_with("invalid ") {
        Some("what is wrong with a value is said in 0.130's words, which name it")
    } else {
        None
    }
}

/// What a death by a signal is as an exit code.
fn deaths(pointer: &str, theirs: &str, ours: &str) -> Option<&'static str> {
    let by_signal = ours.parse().is_ok_and(|code: u8| code > 128);
    (pointer.ends_with("/exitCode") && matches!(theirs, "-1" | "1") && by_signal)
        .then_some("128 and the signal, as a shell says it, on a terminal as on a pipe")
}

/// Method, or method and case; version; field; reason.
const CASES: &[Difference] = &[
    // Faults of the reference that ours has not.
    row(
        "(envelope) an unknown notification",
        BOTH,
        "/connection",
        "a notification of a later client costs no connection",
    ),
    row(
        "(envelope) an answer to nothing",
        BOTH,
        "/connection",
        "an answer that nobody waits for costs no connection",
    ),
    row(
        "(envelope) an error to nothing",
        BOTH,
        "/connection",
        "an answer that nobody waits for costs no connection",
    ),
    row(
        "(envelope) initialized first",
        BOTH,
        "/connection",
        "a message out of turn costs no connection",
    ),
    row(
        "process/start no such directory on a terminal",
        BOTH,
        "",
        "a missing directory is an error; theirs runs the command in the home directory",
    ),
    row(
        "process/start without cwd",
        BOTH,
        "",
        "a start needs a name and a command: it runs with the default",
    ),
    row(
        "process/start without env",
        BOTH,
        "",
        "a start needs a name and a command: it runs with the default",
    ),
    row(
        "process/start without tty",
        BOTH,
        "",
        "a start needs a name and a command: it runs with the default",
    ),
    row(
        "process/start a policy with little in it",
        BOTH,
        "",
        "members of a policy that are left out have defaults",
    ),
    row(
        "process/start no shebang",
        BOTH,
        "",
        "the shell runs what is no binary and begins with no #!, as execvp has it",
    ),
    row(
        "process/write with one id twice",
        V169,
        "/answer 3",
        "other bytes under a used id are an error; theirs drops them and says accepted",
    ),
    row(
        "process/start an empty program",
        BOTH,
        "/answer 0/error",
        "the parameter is bad, and the text names it",
    ),
    row(
        "process/start NUL in a variable",
        V169,
        "/answer 0/error/message",
        "0.130's words, and where it is",
    ),
    row("fs/copy a file onto itself", BOTH, "/tree", ONTO_ITSELF),
    row("fs/copy onto its link", BOTH, "/tree", ONTO_ITSELF),
    row("fs/copy onto its hard link", BOTH, "/tree", ONTO_ITSELF),
    row(
        "fs/copy a setuid file",
        BOTH,
        "/tree/copy",
        "setuid is not copied unless asked for",
    ),
    row("fs/copy a tree", BOTH, "/tree/copy/sub", TREE_MODES),
    row(
        "fs/copy a tree into new parents",
        BOTH,
        "/tree/new/er/copy/sub",
        TREE_MODES,
    ),
    row(
        "fs/copy a tree onto a tree",
        BOTH,
        "/tree/empty/sub",
        TREE_MODES,
    ),
    row(
        "fs/getMetadata",
        BOTH,
        "/*/result/createdAtMs",
        "the time of birth, which theirs never finds",
    ),
    row(
        "fs/readBlock",
        V169,
        "/*/result/eof",
        "the end is told with the last bytes, not by a read more",
    ),
    row(
        "fs/readBlock far out",
        V169,
        "/answer 2",
        "an offset that is too large leaves the handle open",
    ),
    row("fs/readDirectory", BOTH, "/*/result/entries/dang", DANGLING),
    row(
        "fs/readDirectory",
        BOTH,
        "/*/result/entries/loop1",
        DANGLING,
    ),
    row(
        "fs/readDirectory",
        BOTH,
        "/*/result/entries/loop2",
        DANGLING,
    ),
    row(
        "fs/walk",
        V169,
        "/*/result/entries/lf",
        "links to files are files, so none is lost",
    ),
    row(
        "fs/remove not following, a tree",
        V169,
        "",
        "a tree can be removed without following links; theirs refuses",
    ),
    row(
        "fs/readFile a bad sandbox",
        BOTH,
        "/answer 0/error",
        "what is wrong is said to be in the sandbox",
    ),
    row(
        "capabilityRoots/discoverV1 a bad sandbox",
        V169,
        "/answer 0/error",
        "what is wrong is said to be in the sandbox",
    ),
    // Extensions.
    row(
        "fs/getMetadata",
        BOTH,
        "/*/result/mode",
        "extension: the permission bits",
    ),
    row(
        "fs/readDirectory",
        BOTH,
        "/*/result/entries/*/isSymlink",
        "extension: what is a link says so",
    ),
    row(
        "fs/walk",
        V169,
        "/*/result/entries/*/isSymlink",
        "extension: what is a link says so",
    ),
    row(
        "fs/walk",
        V169,
        "/*/result/others",
        "extension: what is neither file nor directory",
    ),
    row(
        ANY,
        BOTH,
        "/*/result/signal",
        "extension: the name of the signal",
    ),
    row(
        "process/signal that is none",
        V169,
        "/answer 0/error/message",
        "extension: any signal by its name",
    ),
    row(
        "fs/open a bad mode",
        V169,
        "/answer 0/error/message",
        "extension: a file can be opened to be updated, too",
    ),
    row(
        "environment/info",
        V169,
        "/*/result/capabilities/execServer",
        "extension: what we have besides",
    ),
    // What is left out or put in.
    row(
        "environment/info",
        V169,
        "/*/result/providerId",
        "the same everywhere, so it tells nothing; clients do without",
    ),
    row(
        "environment/info",
        V169,
        "/*/result/capabilities/networkProxyTransparentTcp",
        NO_PROXY,
    ),
    row(
        ANY,
        V169,
        "/*/result/environmentInfo/capabilities/networkProxyTransparentTcp",
        NO_PROXY,
    ),
    row(
        "environment/info",
        V169,
        "/*/result/prependPathDirs",
        NO_DIRECTORIES,
    ),
    row(
        ANY,
        V169,
        "/*/result/environmentInfo/prependPathDirs",
        NO_DIRECTORIES,
    ),
    row(
        "http/request an endless redirect",
        V130,
        "/answer 0/error/message",
        WORDS,
    ),
    row(
        "http/request a time limit",
        BOTH,
        "/answer 0/error/message",
        TIME_LIMIT,
    ),
    row(
        "http/request no time at all",
        V130,
        "/answer 0",
        "no time is not enough; theirs sometimes answers in it",
    ),
    row(
        "http/request no time at all",
        BOTH,
        "/answer 0/error/message",
        TIME_LIMIT,
    ),
    row(
        "http/request a bad body",
        BOTH,
        "/answer 0/error/message",
        "what is wrong with base64 is said in one way everywhere",
    ),
    // One server for clients of both versions.
    row("fs/readFile of /dev/null", V130, "/answer 0", ONLY_FILES),
    row(
        "fs/readFile a directory",
        V130,
        "/answer 0/error",
        ONLY_FILES,
    ),
    row(
        "fs/readFile a relative path",
        V130,
        "/answer 0/error/message",
        WORDS,
    ),
    row(
        "fs/readFile an empty path",
        V130,
        "/answer 0/error/message",
        WORDS,
    ),
    row(
        "fs/writeFile by a bad path",
        V130,
        "/answer 0/error/message",
        WORDS,
    ),
    row(
        "initialize a session in use",
        V130,
        "/answer 0/error/code",
        "0.169's code; 0.130's client never asks for a session again",
    ),
    row(
        "process/start no such program on a terminal",
        V130,
        "/answer 0/error/message",
        "the same words on a terminal as on a pipe",
    ),
    row(
        "process/write with one id twice",
        V130,
        "",
        "a write id counts for every client; 0.130's sends none",
    ),
    row(
        "process/write an empty id",
        V130,
        "/answer 2",
        "a write id counts for every client; 0.130's sends none",
    ),
    row(
        "process/write an empty id",
        V130,
        "/p stdout",
        "nothing is written, because the write is refused",
    ),
    row(
        ANY,
        V130,
        "/*/result/nextSeq",
        "0.169's number, which counts the exit and the close",
    ),
    row(
        "process/terminate one on a terminal",
        V130,
        "/p pty",
        LINE_END,
    ),
    row("process/write to a terminal", V130, "/p pty", LINE_END),
    row(
        "(envelope) an empty array",
        V130,
        "/answer -1/error/message",
        WORDS,
    ),
    row(
        "(envelope) a batch",
        V130,
        "/answer -1/error/message",
        WORDS,
    ),
    row(
        "(envelope) a scalar",
        V130,
        "/answer -1/error/message",
        WORDS,
    ),
    row(
        "(envelope) a fraction as id",
        V130,
        "",
        "a bad id is answered and costs no connection, as in 0.169",
    ),
    row(
        "(envelope) a member twice",
        V130,
        "",
        "a member given twice is answered and costs no connection, as in 0.169",
    ),
    row(
        "fs/getMetadata",
        V130,
        "/*/result/size",
        "a member that only 0.169 has; 0.130's client ignores it",
    ),
    row(
        "process/write without an id",
        V169,
        "/answer 1",
        "0.130's client sends no write id, so none is needed",
    ),
];

const NO_PROXY: &str = "a capability of 0.171; what is left out is false, and there is no proxy";
const NO_DIRECTORIES: &str =
    "an empty list where theirs has no member: it depends on how theirs is installed";
const ONTO_ITSELF: &str = "a file copied onto itself keeps its content; theirs empties it";
const TREE_MODES: &str = "the directories of a copied tree keep their modes";
const DANGLING: &str = "links that lead nowhere are listed, so no name is lost";
const WORDS: &str = "0.169's words";
const ONLY_FILES: &str = "only regular files are read, as in 0.169: a device may have no end";
const LINE_END: &str =
    "nothing is typed that nobody sent; theirs types a line end as it lets go of a terminal";
const TIME_LIMIT: &str = "a time limit says so, and which it was";

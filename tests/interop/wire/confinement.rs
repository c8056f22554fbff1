//! Where ours confines otherwise than the reference, and why: each reason is one of those by which it is better.

use support::recorded::differences::{BOTH, Difference, V130, V169, row};

/// Method, or method and case; version; field; reason.
pub const SANDBOX: &[Difference] = &[
    row(
        "(sandbox) commands",
        BOTH,
        "/*/result/sandboxLevel",
        "the level really in force is told",
    ),
    row(
        "(sandbox) commands 13 disabled",
        V169,
        "/*/result/sandboxType",
        "a command that is not confined is not said to be",
    ),
    row(
        "(sandbox) commands",
        BOTH,
        "/*/params/sandboxDenial",
        DENIAL,
    ),
    row("(sandbox) files", BOTH, "/*/error/data", DENIAL),
    row(
        "(sandbox) files",
        BOTH,
        "/*/result/entries/*/isSymlink",
        "extension: what is a link says so",
    ),
    row(
        "(sandbox) files 2 workspace without a cwd",
        BOTH,
        "/answer 0/error/message",
        DENIAL,
    ),
    row(
        "(sandbox) files 5 a denied pattern, made later",
        BOTH,
        "/answer 1/error",
        "a denied file says that it is denied, to who writes as to who reads",
    ),
    row(
        "(sandbox) files 1 read-only, a directory",
        V130,
        "/answer 0/error",
        "only regular files are read, as in 0.169: a device may have no end",
    ),
    // 0.130 leaves root its capabilities inside.
    row(
        "(sandbox) commands 11 read-only, its capabilities",
        V130,
        "/p stdout",
        CAPABLE,
    ),
    row(
        "(sandbox) commands 4 a denied directory",
        V130,
        "/p stdout",
        CAPABLE,
    ),
    row(
        "(sandbox) commands 5 a denied pattern",
        V130,
        "/p stdout",
        CAPABLE,
    ),
    row(
        "(sandbox) files 4 a denied directory",
        V130,
        "/*/error",
        CAPABLE,
    ),
    row(
        "(sandbox) files 4 a denied directory",
        V130,
        "/*/result/entries",
        CAPABLE,
    ),
    row(
        "(sandbox) files 5 a denied pattern",
        V130,
        "/*/error",
        CAPABLE,
    ),
    row(
        "(sandbox) files 5 a denied pattern",
        V130,
        "/*/result/dataBase64",
        CAPABLE,
    ),
    row(
        "(sandbox) files 5 a denied pattern, not deep",
        V130,
        "/*/error",
        CAPABLE,
    ),
    row(
        "(sandbox) files 5 a denied pattern, not deep",
        V130,
        "/*/result/dataBase64",
        CAPABLE,
    ),
    row(
        "(sandbox) commands 15 online",
        V130,
        "/p stdout",
        "a filter of system calls with the network on, too, as in 0.169: sockets of the host, nested namespaces",
    ),
    // Who is not root cannot make `/.git`.
    row(
        "(sandbox) commands 7 everything but one",
        BOTH,
        "/p exited/params",
        FOREIGN,
    ),
    row(
        "(sandbox) commands 7 everything but one",
        BOTH,
        "/p stderr",
        FOREIGN,
    ),
    row(
        "(sandbox) commands 7 everything but one",
        BOTH,
        "/p stdout",
        FOREIGN,
    ),
    row(
        "(sandbox) commands 7 everything but one",
        BOTH,
        "/tree/other/made",
        FOREIGN,
    ),
    row(
        "(sandbox) commands 7 everything but one",
        BOTH,
        "/tree/proj/.git/made",
        FOREIGN,
    ),
    row(
        "(sandbox) files 7 everything but one",
        BOTH,
        "/*/error",
        FOREIGN,
    ),
    row(
        "(sandbox) files 7 everything but one",
        BOTH,
        "/*/result",
        FOREIGN,
    ),
    row(
        "(sandbox) files 7 everything but one",
        BOTH,
        "/tree/other/made",
        FOREIGN,
    ),
    row(
        "(sandbox) files 7 everything but one",
        BOTH,
        "/tree/proj/.git/made",
        FOREIGN,
    ),
    row("(sandbox) files", BOTH, "/tree/proj/.agents", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/.aws", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/.codex", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/sub/a/.agents", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/sub/a/.aws", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/sub/a/.codex", WARM),
    row("(sandbox) files", BOTH, "/tree/proj/sub/a/.git", WARM),
];

const DENIAL: &str = "typed data beside the text: what failed, by which error, at which path";
const CAPABLE: &str =
    "root has no capability inside, as in 0.169, so what is denied is denied to it, too";
const FOREIGN: &str =
    "a directory of another owner is no obstacle; theirs runs nothing where it cannot make a mask";
const WARM: &str =
    "no processes for each request: the helper that is kept warm keeps its mount points, for 30 s";

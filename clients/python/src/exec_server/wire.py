"""The types of the wire, made from docs/openrpc.json by tools/generate.py. PROTOCOL.md says what they mean."""

from __future__ import annotations

from typing import Any, Dict, Generic, List, Literal, Optional, TypedDict, TypeVar, Union

P = TypeVar("P")
R = TypeVar("R")


class Method(Generic[P, R]):
    """A method by its name, with the types of its parameters and of its result."""

    def __init__(self, name: str) -> None:
        self.name = name


# Which of the server's variables a child starts from.
Inherit = Literal["all", "none", "core"]
# Keys of a configuration, from the outermost table inwards.
KeyPath = List[str]
# What a file is opened for.
OpenMode = Literal["read", "replace", "update", "create"]
# What to do when redirected.
RedirectPolicy = Literal["follow", "stop"]
# A resource limit.
Rlimit = Union[int, Dict[str, Any]]
# A stream of a process.
StreamName = Literal["stdout", "stderr", "pty"]
# What became of a write.
WriteStatus = Literal["accepted", "unknownProcess", "stdinClosed", "starting"]


class CanonicalizeReply(TypedDict):
    path: str


# The optional abilities that clients ask about. All are off by default.
class Capabilities(TypedDict):
    # The search for skills and plugins takes a sandbox.
    capabilityDiscoverySandbox: bool
    # `capabilities/discoverV2` exists.
    capabilityDiscoveryV2: bool
    # Credentials are hidden from children behind the proxy.
    credentialMasking: bool
    # The same, for providers that the client defines.
    credentialMaskingCustomProviders: bool
    # `environmentConfig/read` exists.
    environmentConfigRead: bool
    # What no other server has.
    execServer: ExecServer
    # `fs/writeBlock` exists.
    fileWriteStreaming: bool
    # `fs/watchMissing` watches.
    fsWatchMissing: bool
    # `http/request` takes `valueEnvVar`.
    httpHeaderEnvVars: bool
    # The same sandbox, approved by the user, keeps its restrictions.
    linuxApprovedRootWritePreservesRestrictions: bool
    # A sandbox that may write everywhere keeps devices.
    linuxRootWritePreservesDevices: bool
    # `process/start` runs behind a network proxy.
    networkProxyLaunch: bool
    # That proxy asks the client about unknown domains.
    networkProxyReviewDomains: bool
    # `fs/open` takes a sandbox.
    sandboxedFileStreaming: bool
    # `process/start` takes `shellSnapshot`.
    shellSnapshotV2: bool
    # A kind of sandbox on Windows.
    windowsMxc: bool


class _CapturedOutputRequired(TypedDict):
    # The bytes, or where there were too many the first and the last of them.
    dataBase64: str
    # How many it has written.
    totalBytes: int


# What a process has written to one of its streams.
class CapturedOutput(_CapturedOutputRequired, total=False):
    # What was left out between the first and the last.
    missing: Optional[MissingBytes]


# Limits of the control group that the server and all its processes are in.
class CgroupLimits(TypedDict, total=False):
    # In processors: 1.5 is the whole time of one and half that of another.
    cpuLimit: Optional[float]
    # In bytes.
    memoryLimitBytes: Optional[int]


# One change of [`ChangedParams`].
Change = TypedDict(
    "Change",
    {
        "from": "Optional[str]",
        "isDirectory": "bool",
        "kind": "str",
        "path": "str",
    },
    total=False,
)


# What a file says of what is wanted.
class ConfigLayer(TypedDict):
    # Where relative paths in it begin, as a URI.
    baseDir: str
    # Whose file it is, and its path.
    source: str
    # That part of it, as TOML.
    toml: str


class _ConfigReadReplyRequired(TypedDict):
    config: ConfigStack
    requirements: ConfigStack


class ConfigReadReply(_ConfigReadReplyRequired, total=False):
    # Where the client's software keeps its own files on this machine, as a URI.
    codexHomeDir: Optional[str]
    hostname: Optional[str]
    # As in `environment/info`.
    userHomeDir: Optional[str]


# Configuration files, the weakest first.
class ConfigStack(TypedDict):
    # Where in the list a layer from elsewhere belongs.
    cloudInsertionIndex: int
    # The files that say something of what is wanted.
    layers: List[ConfigLayer]


class CopyReply(TypedDict, total=False):
    # Extension: what was left out; only there if something was.
    skipped: List[SkippedEntry]


# What a sandbox has denied.
class Denial(TypedDict, total=False):
    # What the system said.
    errno: Optional[str]
    # `syscall`, `path` or `text`; only the last is a guess.
    kind: str
    # The path that was refused.
    path: Optional[str]
    # The rule for which it did, where the server tells.
    rule: Optional[DenyingRule]
    # The words that the guess is made from.
    text: Optional[str]


# The rule of a policy that a request, or a program, has failed for.
class DenyingRule(TypedDict, total=False):
    # What it lets be done: `read`, `deny` (nothing), or `none` where no rule is about the path.
    access: str
    # Who made it: `policy`, `metadata` (it protects that of a project), or `default`.
    origin: str
    # The path that the rule is about, written as the client writes paths.
    path: Optional[str]
    # The pattern that it is, in its place.
    pattern: Optional[str]


class _DirectoryEntryRequired(TypedDict):
    # Its name, with other characters for what is not UTF-8.
    fileName: str
    # Whether it is, or a link leads to, a directory.
    isDirectory: bool
    # Whether it is, or a link leads to, a regular file.
    isFile: bool


# One entry of [`ReadDirectoryReply`].
class DirectoryEntry(_DirectoryEntryRequired, total=False):
    # Extension: the bytes of a name that is not UTF-8.
    fileNameBase64: Optional[str]
    # Extension: whether it is a link.
    isSymlink: bool


class DiscoverReply(TypedDict):
    plugins: List[Any]
    skills: List[Any]
    warnings: List[Any]


class DiscoverRootsReply(TypedDict):
    roots: List[RootFound]


# The reply of what has nothing to tell.
class Empty(TypedDict):
    pass


# How to make a child's environment. The default is what a start without one and without `env` gets.
class EnvPolicy(TypedDict, total=False):
    # Patterns (`*`, `?`, case ignored) of inherited names to drop.
    exclude: List[str]
    # Keeps names that look like credentials (`KEY`, `SECRET`, `TOKEN` anywhere in them).
    ignoreDefaultExcludes: bool
    # If not empty: patterns of the names to keep, also among `set`.
    includeOnly: List[str]
    # Which variables of the server to start from. Left out, that is `core` where files are confined, and else
    # `all`.
    inherit: Inherit
    # Variables to add after that.
    set: Dict[str, str]


class _EnvironmentInfoRequired(TypedDict):
    # What this server can do beyond the least.
    capabilities: Capabilities
    executorVersion: str
    # `linux`.
    platformOs: str
    # Directories, as URIs, that the client must put before `PATH`.
    prependPathDirs: List[str]
    # What runs the client's command lines. A client cannot work without it.
    shell: Shell
    # Where temporary files go, as a URI.
    tempDir: str
    # Directories for temporary files besides `/tmp`, as URIs.
    temporaryDirectories: List[str]


# Part of the answer to `initialize`, and the answer to `environment/info`. The reference also has a
# `providerId`. It is the same on every machine, for every user and directory, so it identifies nothing of ours;
# clients do without it, and it is left out.
class EnvironmentInfo(_EnvironmentInfoRequired, total=False):
    # What the machine may give to processes, where it is less than it has. An extension.
    cgroup: Optional[CgroupLimits]
    # Where the server was started, as a URI; absent if that directory is gone.
    cwd: Optional[str]
    # The user's home, as a URI; absent if there is none.
    userHomeDir: Optional[str]


class _ExecServerRequired(TypedDict):
    # Names of methods, and of members written `method.member`.
    extensions: List[str]
    version: str


# Our extensions of the protocol.
class ExecServer(_ExecServerRequired, total=False):
    # The confinement that a start gets at best, or why there is none; in the answer to `environment/info` only.
    sandbox: Any


# A file and its text.
class FoundFile(TypedDict):
    contents: str
    # As a URI.
    path: str


class _GetMetadataReplyRequired(TypedDict):
    # Whether it is, or a link leads to, a directory.
    isDirectory: bool
    # Whether it is, or a link leads to, a regular file.
    isFile: bool


class GetMetadataReply(_GetMetadataReplyRequired, total=False):
    # Extension: its extended attributes, `user.*` and access rules, each with its value in base64.
    attributes: Optional[Dict[str, str]]
    # Milliseconds since 1970; 0 where the file system does not keep it.
    createdAtMs: int
    # Extension: which file it is on its machine: equal for two names of one file.
    fileId: Optional[str]
    # Extension: whether it has holes.
    isSparse: bool
    # Whether the path itself is a link.
    isSymlink: bool
    # Extension: how many names it has.
    links: Optional[int]
    # Extension: the permission bits, setuid, setgid and sticky included.
    mode: Optional[int]
    # Milliseconds since 1970.
    modifiedAtMs: int
    # Extension: nanoseconds beyond the milliseconds of `modifiedAtMs`.
    modifiedNs: Optional[int]
    # Bytes; 0.130 does not tell.
    size: Optional[int]
    # Extension: a text that is another after each change of the file.
    version: Optional[str]


# A header of the answer.
class Header(TypedDict):
    # In lower case.
    name: str
    # As it came.
    value: str


class _HeaderParamsRequired(TypedDict):
    # In any case.
    name: str
    # Its value, or what comes before the variable's.
    value: str


# A header to send.
class HeaderParams(_HeaderParamsRequired, total=False):
    # A variable of the server whose content is appended to the value.
    valueEnvVar: Optional[str]


class _HttpReplyRequired(TypedDict):
    status: int


# Reply of `http/request`. The server writes it around the body.
class HttpReply(_HttpReplyRequired, total=False):
    # The body, unless it comes in notifications.
    bodyBase64: str
    # In their order, with repeats.
    headers: List[Header]


# How the content of a file broke off.
class Incomplete(TypedDict):
    # How many bytes are good.
    bytes: int
    message: str


class _InitializeReplyRequired(TypedDict):
    # By which it is resumed.
    sessionId: str


class InitializeReply(_InitializeReplyRequired, total=False):
    # An [`EnvironmentInfo`]; 0.130 tells nothing.
    environmentInfo: Any


class ListReply(TypedDict):
    # In the order of their ids.
    processes: List[ListedProcess]


class _ListedProcessRequired(TypedDict):
    # Whether all its output is in.
    closed: bool
    exited: bool
    # The oldest sequence number that `process/read` can still give.
    firstRetainedSeq: int
    # The next sequence number.
    nextSeq: int
    # The client's name for it.
    processId: str
    # Whether it runs on a terminal.
    tty: bool


# One entry of the extension `process/list`.
class ListedProcess(_ListedProcessRequired, total=False):
    exitCode: Optional[int]
    # The kernel's number, once it runs.
    pid: Optional[int]


class MissingBytes(TypedDict):
    # How many they are.
    bytes: int
    # Where in all that was written they begin, which is where in the data.
    offset: int


# What a file or a directory is to have. An extension.
class NewMetadata(TypedDict, total=False):
    # Milliseconds since 1970.
    modifiedAtMs: Optional[int]
    # Nanoseconds beyond the milliseconds, 0 to 999,999.
    modifiedNs: Optional[int]
    # 0 to 511 (octal 777). Setuid, setgid and sticky stay as they are; to a directory that has its access rules
    # from the one above it none is added.
    permissions: Optional[int]
    # Bytes: a file is cut, or ends in a hole.
    size: Optional[int]


class OpenReply(TypedDict):
    handleId: str


class _PluginFoundRequired(TypedDict):
    manifest: FoundFile


# A plugin.
class PluginFound(_PluginFoundRequired, total=False):
    # Its apps.
    appsConfig: Optional[FoundFile]
    # Its MCP servers.
    mcpConfig: Optional[FoundFile]


class _ReadBlockReplyRequired(TypedDict):
    # Base64; fewer bytes than asked for only at the end.
    chunk: str
    # Whether the file ends behind it.
    eof: bool


class ReadBlockReply(_ReadBlockReplyRequired, total=False):
    # Extension: up to where there is a hole, if that is all.
    data_at: Optional[int]


# Reply of `fs/readDirectory`. The server writes it entry by entry.
class ReadDirectoryReply(TypedDict):
    # In no order.
    entries: List[DirectoryEntry]


class _ReadFileReplyRequired(TypedDict):
    # All bytes; ends in `!`, which is no base64, if the file failed in the middle.
    dataBase64: str


# Reply of `fs/readFile`. The server writes it piece by piece.
class ReadFileReply(_ReadFileReplyRequired, total=False):
    # Extension: that it failed, and how.
    incomplete: Optional[Incomplete]


class _ReadLinkReplyRequired(TypedDict):
    # What the link says, as it is.
    target: str


class ReadLinkReply(_ReadLinkReplyRequired, total=False):
    # Extension: the bytes of what is not UTF-8.
    targetBase64: Optional[str]


class _ReadReplyRequired(TypedDict):
    # What is retained, in its order.
    chunks: List[ProcessOutputParams]
    # The number of the next event that is to come.
    nextSeq: int


# Reply of `process/read`. The server writes it chunk by chunk.
class ReadReply(_ReadReplyRequired, total=False):
    # Whether all its output is in.
    closed: bool
    # The code, or 128+n for signal n; 0.130 says -1 then.
    exitCode: Optional[int]
    exited: bool
    # Why there is nothing to be read.
    failure: Optional[str]
    # Extension: the oldest number that can still be given.
    firstRetainedSeq: Optional[int]
    # Extension: whether the kernel has ended it, as its group had no memory left.
    oomKilled: Optional[bool]
    # Extension: what was denied.
    sandboxDenial: Optional[Denial]
    # Whether the sandbox is what it failed of, as far as the server can tell.
    sandboxDenied: Optional[bool]
    # Extension: the name of the signal that killed it.
    signal: Optional[str]
    # Extension: whether its time was up.
    timedOut: Optional[bool]


class _RootFoundRequired(TypedDict):
    id: str
    # Manifests of plugins in it, below it, or of the one around it.
    namespaceManifests: List[FoundFile]
    path: str
    # Skills in it and below it.
    skills: List[SkillFound]
    # What could not be looked at or told.
    warnings: List[str]


# What one root holds.
class RootFound(_RootFoundRequired, total=False):
    # Why nothing could be looked for.
    error: Optional[str]
    # The plugin that it is.
    plugin: Optional[PluginFound]


class _RootParamsRequired(TypedDict):
    # The client's name for it.
    id: str
    path: str


# A directory that may hold skills or a plugin.
class RootParams(_RootParamsRequired, total=False):
    # The policy under which it is looked at; the same for all roots of a request.
    sandbox: Any


class _RunReplyRequired(TypedDict):
    # Milliseconds from its start to its exit.
    durationMs: int
    # The client's name for it, or the one that was made up.
    processId: str
    stderr: CapturedOutput
    # What it has written there, or on its terminal.
    stdout: CapturedOutput


# Reply of the extension `process/run`. The server writes it itself.
class RunReply(_RunReplyRequired, total=False):
    # The code, or 128+n for signal n; 0.130 says -1 then.
    exitCode: Optional[int]
    # Extension: whether the kernel has ended it, as its group had no memory left.
    oomKilled: Optional[bool]
    # Extension: what was denied.
    sandboxDenial: Optional[Denial]
    # Whether the sandbox is what it failed of, as far as the server can tell.
    sandboxDenied: Optional[bool]
    # As in the reply of `process/start`.
    sandboxLevel: Any
    # As in the reply of `process/start`.
    sandboxType: Optional[str]
    # Extension: the name of the signal that killed it.
    signal: Optional[str]
    # Extension: whether its time was up.
    timedOut: Optional[bool]


# A shell that takes `-c COMMAND` and `-lc COMMAND`.
class Shell(TypedDict):
    # `bash`, `zsh` or `sh`.
    name: str
    # A native path.
    path: str


# A terminal's size in characters.
class Size(TypedDict):
    cols: int
    rows: int


class _SkillFoundRequired(TypedDict):
    # `SKILL.md`.
    instructions: FoundFile


# A skill.
class SkillFound(_SkillFoundRequired, total=False):
    # `agents/openai.yaml` beside it.
    metadata: Optional[FoundFile]


# One entry of [`CopyReply`].
class SkippedEntry(TypedDict):
    # In the style of the source in the request.
    path: str
    reason: str


class StartReply(TypedDict, total=False):
    processId: str
    # Extension: the confinement in force, if one was asked for.
    sandboxLevel: Any
    # The confinement in force, in the reference's words; 0.130 does not tell.
    sandboxType: Optional[str]


class StatusReply(TypedDict):
    # `ready`.
    status: str


class TerminateReply(TypedDict):
    # Whether it was running until now.
    running: bool


class _WalkEntryRequired(TypedDict):
    kind: str
    path: str


# One entry of [`WalkReply`].
class WalkEntry(_WalkEntryRequired, total=False):
    # Extension: whether it is a link.
    isSymlink: bool


# What [`WalkReply`] tells of a failure.
class WalkError(TypedDict):
    message: str
    path: str


class _WalkOptionsRequired(TypedDict):
    # Whether links to directories are walked into.
    followDirectorySymlinks: bool
    # Levels below the names in the top directory, 0 to 64.
    maxDepth: int
    # Directories read, 1 to 10,000.
    maxDirectories: int
    # Names seen, 1 to 50,000.
    maxEntries: int


# How far to walk.
class WalkOptions(_WalkOptionsRequired, total=False):
    # Whether directories whose names begin with a dot are listed only.
    pruneHiddenDirectories: bool


class _WalkReplyRequired(TypedDict):
    # Regular files and directories.
    entries: List[WalkEntry]
    # What could not be looked at.
    errors: List[WalkError]
    # Whether there is more than was told.
    truncated: bool


# Reply of `fs/walk`. The server writes it entry by entry.
class WalkReply(_WalkReplyRequired, total=False):
    # Extension: what is neither; only there if something is.
    others: List[WalkEntry]


# Reply of `fs/watch`, where it is always true, and `fs/watchMissing`.
class WatchReply(TypedDict):
    # Whether notifications may follow.
    watching: bool


# Reply of `process/write` and `process/closeStdin`.
class WriteReply(TypedDict):
    # What became of it.
    status: WriteStatus


class _InitializeParamsRequired(TypedDict):
    # Who is calling; any text. Shown in the log only.
    clientName: str


# Parameters of `initialize`.
class InitializeParams(_InitializeParamsRequired, total=False):
    # The session to take up again.
    resumeSessionId: Optional[str]


# Parameters of `initialized`.
class InitializedParams(TypedDict):
    pass


# Parameters of `environment/info`.
class EnvironmentInfoParams(TypedDict):
    pass


# Parameters of `environment/status`.
class EnvironmentStatusParams(TypedDict):
    pass


# Parameters of `process/acknowledge`.
class ProcessAcknowledgeParams(TypedDict):
    processId: str
    # The client has all events up to this number.
    seq: int


# Parameters of `process/closeStdin`.
class ProcessCloseStdinParams(TypedDict):
    processId: str


# Parameters of `process/list`.
class ProcessListParams(TypedDict):
    pass


class _ProcessRunParamsRequired(TypedDict):
    # The program and its arguments; at least one.
    argv: List[str]


# Parameters of `process/run`.
class ProcessRunParams(_ProcessRunParamsRequired, total=False):
    # Extension: the client tells what it has by `process/acknowledge`.
    acknowledges: bool
    # What the program sees as its own name, if not `argv[0]`.
    arg0: Optional[str]
    # Extension: processors whose time they may use, such as 1.5.
    cpuMax: Optional[float]
    # Credentials to be masked from the process.
    credentialProviders: Any
    # Where to start: an absolute path or a `file:` URI; left out, the server's own directory.
    cwd: str
    # Whether network rules must be enforced.
    enforceManagedNetwork: bool
    # Laid over what `env_policy` lets through; without a policy, all there is. Without both, the default policy
    # applies.
    env: Dict[str, str]
    # What to inherit of the server's environment.
    envPolicy: Optional[EnvPolicy]
    # Network rules.
    managedNetwork: Any
    # Bytes of each of its streams that are answered at most.
    maxOutputBytes: Optional[int]
    # Extension: bytes of memory that it may have together with all that descends from it.
    memoryMax: Optional[int]
    # A proxy that network rules need.
    networkProxy: Any
    # Extension: processes and threads that these may be.
    pidsMax: Optional[int]
    # Whether standard input is a pipe for `process/write`; otherwise it is empty.
    pipeStdin: bool
    # The client's name for the process, unique in the session; made up if left out.
    processId: Optional[str]
    # Extension: resource limits by their lower-case names.
    rlimits: Dict[str, Rlimit]
    sandbox: Any
    # Extension: the terminal's first size; 24 rows of 80 otherwise.
    size: Optional[Size]
    # All of its standard input, as base64.
    stdin: Optional[str]
    # Extension: milliseconds after which the group gets TERM and 2 s later KILL.
    timeoutMs: Optional[int]
    # Whether to run on a pseudo-terminal.
    tty: bool


# Parameters of `process/resize`.
class ProcessResizeParams(TypedDict):
    cols: int
    processId: str
    rows: int


class _ProcessOutputParamsRequired(TypedDict):
    chunk: str
    seq: int
    # Where it was written.
    stream: StreamName


# Parameters of `process/output`.
class ProcessOutputParams(_ProcessOutputParamsRequired, total=False):
    # Which process; left out of `process/read`.
    processId: str


class _ProcessExitedParamsRequired(TypedDict):
    processId: str
    seq: int


# Parameters of `process/exited`.
class ProcessExitedParams(_ProcessExitedParamsRequired, total=False):
    # The code, or 128+n for signal n; 0.130 says -1 then.
    exitCode: Optional[int]
    # Extension: whether the kernel has ended it, as its group had no memory left.
    oomKilled: Optional[bool]
    # Extension: what was denied.
    sandboxDenial: Optional[Denial]
    # Whether the sandbox is what it failed of, as far as the server can tell.
    sandboxDenied: Optional[bool]
    # Extension: the name of the signal that killed it.
    signal: Optional[str]
    # Extension: whether its time was up.
    timedOut: Optional[bool]


class _ProcessClosedParamsRequired(TypedDict):
    processId: str
    seq: int


# Parameters of `process/closed`.
class ProcessClosedParams(_ProcessClosedParamsRequired, total=False):
    # The code, or 128+n for signal n; 0.130 says -1 then.
    exitCode: Optional[int]
    # Extension: whether the kernel has ended it, as its group had no memory left.
    oomKilled: Optional[bool]
    # Extension: what was denied.
    sandboxDenial: Optional[Denial]
    # Whether the sandbox is what it failed of, as far as the server can tell.
    sandboxDenied: Optional[bool]
    # Extension: the name of the signal that killed it.
    signal: Optional[str]
    # Extension: whether its time was up.
    timedOut: Optional[bool]


class _ProcessReadParamsRequired(TypedDict):
    processId: str


# Parameters of `process/read`.
class ProcessReadParams(_ProcessReadParamsRequired, total=False):
    # Chunks above this number are wanted; from the start when left out.
    afterSeq: Optional[int]
    # Bytes of output at most, in whole chunks and at least one.
    maxBytes: Optional[int]
    # Milliseconds to wait for news.
    waitMs: Optional[int]


# Parameters of `process/signal`.
class ProcessSignalParams(TypedDict):
    processId: str
    # `interrupt`, or as an extension any signal's name.
    signal: str


class _ProcessStartParamsRequired(TypedDict):
    # The program and its arguments; at least one.
    argv: List[str]
    # The client's name for the process, unique in the session.
    processId: str


# Parameters of `process/start`.
class ProcessStartParams(_ProcessStartParamsRequired, total=False):
    # Extension: the client tells what it has by `process/acknowledge`.
    acknowledges: bool
    # What the program sees as its own name, if not `argv[0]`.
    arg0: Optional[str]
    # Extension: processors whose time they may use, such as 1.5.
    cpuMax: Optional[float]
    # Credentials to be masked from the process.
    credentialProviders: Any
    # Where to start: an absolute path or a `file:` URI; left out, the server's own directory.
    cwd: str
    # Whether network rules must be enforced.
    enforceManagedNetwork: bool
    # Laid over what `env_policy` lets through; without a policy, all there is. Without both, the default policy
    # applies.
    env: Dict[str, str]
    # What to inherit of the server's environment.
    envPolicy: Optional[EnvPolicy]
    # Network rules.
    managedNetwork: Any
    # Extension: bytes of memory that it may have together with all that descends from it.
    memoryMax: Optional[int]
    # A proxy that network rules need.
    networkProxy: Any
    # Extension: processes and threads that these may be.
    pidsMax: Optional[int]
    # Whether standard input is a pipe for `process/write`; otherwise it is empty.
    pipeStdin: bool
    # Extension: resource limits by their lower-case names.
    rlimits: Dict[str, Rlimit]
    sandbox: Any
    # Extension: the terminal's first size; 24 rows of 80 otherwise.
    size: Optional[Size]
    # Extension: milliseconds after which the group gets TERM and 2 s later KILL.
    timeoutMs: Optional[int]
    # Whether to run on a pseudo-terminal.
    tty: bool


class _ProcessTerminateParamsRequired(TypedDict):
    processId: str


# Parameters of `process/terminate`.
class ProcessTerminateParams(_ProcessTerminateParamsRequired, total=False):
    # Extension: milliseconds between TERM and KILL; at once KILL when left out.
    graceMs: Optional[int]


class _ProcessWriteParamsRequired(TypedDict):
    chunk: str
    processId: str


# Parameters of `process/write`.
class ProcessWriteParams(_ProcessWriteParamsRequired, total=False):
    # Makes a repeated write harmless. 0.130 clients send none.
    writeId: Optional[str]


class _FsChangedParamsRequired(TypedDict):
    # In their order.
    changes: List[Change]
    watchId: str


# Parameters of `fs/changed`.
class FsChangedParams(_FsChangedParamsRequired, total=False):
    # Whether changes were lost, so that everything must be looked at again.
    overflow: bool


class _FsHardLinkParamsRequired(TypedDict):
    # Its new name, which must be free, in the same file system.
    destinationPath: str
    # A file; a symbolic link gets one more name itself.
    sourcePath: str


# Parameters of `fs/hardLink`.
class FsHardLinkParams(_FsHardLinkParamsRequired, total=False):
    # As in [`ReadFileParams`], of the directories on the way.
    followSymlinks: Optional[bool]
    sandbox: Any


# Parameters of `fs/missingChanged`.
class FsMissingChangedParams(TypedDict):
    watchId: int


class _FsCanonicalizeParamsRequired(TypedDict):
    path: str


# Parameters of `fs/canonicalize`.
class FsCanonicalizeParams(_FsCanonicalizeParamsRequired, total=False):
    sandbox: Any


# Parameters of `fs/close`.
class FsCloseParams(TypedDict):
    handleId: str


class _FsCopyParamsRequired(TypedDict):
    # Where to.
    destinationPath: str
    # Whether it may be a directory.
    recursive: bool
    sourcePath: str


# Parameters of `fs/copy`.
class FsCopyParams(_FsCopyParamsRequired, total=False):
    # Extension: copies keep owners as far as that is possible, times, attributes, and which names are those of one
    # file.
    preserve: Optional[bool]
    # Extension: copies keep setuid and setgid.
    preserveSetuid: Optional[bool]
    sandbox: Any


class _FsCreateDirectoryParamsRequired(TypedDict):
    path: str


# Parameters of `fs/createDirectory`.
class FsCreateDirectoryParams(_FsCreateDirectoryParamsRequired, total=False):
    followSymlinks: Optional[bool]
    # Extension: what a new directory gets, as in [`NewMetadata`]; 0777 less the umask when left out.
    permissions: Optional[int]
    # Makes those above it too, and is content with one that exists; true when left out.
    recursive: Optional[bool]
    sandbox: Any


class _FsGetMetadataParamsRequired(TypedDict):
    path: str


# Parameters of `fs/getMetadata`.
class FsGetMetadataParams(_FsGetMetadataParamsRequired, total=False):
    # Extension: whether the reply is to have `attributes`.
    attributes: bool
    followSymlinks: Optional[bool]
    sandbox: Any
    # Extension: whether the reply is to have what begins with `version`.
    version: bool


class _FsOpenParamsRequired(TypedDict):
    # The client's name for it, at most 32 bytes.
    handleId: str
    path: str


# Parameters of `fs/open`.
class FsOpenParams(_FsOpenParamsRequired, total=False):
    # An extension; as in [`ReadFileParams`].
    followSymlinks: Optional[bool]
    mode: OpenMode
    sandbox: Any
    # Extension: what `fs/getMetadata` has told of a file to be read; it must be the same now, and after each block.
    version: Optional[str]


class _FsReadBlockParamsRequired(TypedDict):
    handleId: str
    # How many, 1 to 1,048,576.
    len: int
    offset: int


# Parameters of `fs/readBlock`.
class FsReadBlockParams(_FsReadBlockParamsRequired, total=False):
    # Whether the bytes are to follow the answer as they are. An extension.
    raw: bool
    # Whether no bytes are to come where all are those of a hole. An extension.
    skipHoles: bool


class _FsReadDirectoryParamsRequired(TypedDict):
    path: str


# Parameters of `fs/readDirectory`.
class FsReadDirectoryParams(_FsReadDirectoryParamsRequired, total=False):
    sandbox: Any


class _FsReadFileParamsRequired(TypedDict):
    # An absolute path or a `file:` URI, as everywhere here.
    path: str


# Parameters of `fs/readFile`.
class FsReadFileParams(_FsReadFileParamsRequired, total=False):
    # False: a symbolic link anywhere in the path is an error.
    followSymlinks: Optional[bool]
    # Extension: the longest message in bytes that the client takes; 64 MiB when left out.
    maxMessageBytes: Optional[int]
    sandbox: Any
    # Extension: what `fs/getMetadata` has told; the file must be the same until it is read.
    version: Optional[str]


class _FsReadLinkParamsRequired(TypedDict):
    path: str


# Parameters of `fs/readLink`.
class FsReadLinkParams(_FsReadLinkParamsRequired, total=False):
    sandbox: Any


class _FsRemoveParamsRequired(TypedDict):
    path: str


# Parameters of `fs/remove`.
class FsRemoveParams(_FsRemoveParamsRequired, total=False):
    followSymlinks: Optional[bool]
    # What does not exist is no error; true when left out.
    force: Optional[bool]
    # A directory goes with all below it; true when left out.
    recursive: Optional[bool]
    sandbox: Any


class _FsRenameParamsRequired(TypedDict):
    # To what, in the same file system.
    destinationPath: str
    # What; a link is renamed itself.
    sourcePath: str


# Parameters of `fs/rename`.
class FsRenameParams(_FsRenameParamsRequired, total=False):
    # Whether a file gets the owner, the group and the permission bits of the file that it replaces; if that cannot
    # be, nothing is replaced. False when left out.
    asReplaced: Optional[bool]
    # As in [`ReadFileParams`], of the directories on the way.
    followSymlinks: Optional[bool]
    # Whether what is there is replaced; true when left out.
    overwrite: Optional[bool]
    sandbox: Any


class _FsSetMetadataParamsRequired(TypedDict):
    # What is left out stays as it is.
    metadata: NewMetadata
    path: str


# Parameters of `fs/setMetadata`.
class FsSetMetadataParams(_FsSetMetadataParamsRequired, total=False):
    # Extended attributes as `fs/getMetadata` tells them; others stay.
    attributes: Dict[str, str]
    followSymlinks: Optional[bool]
    sandbox: Any


class _FsSetPermissionsParamsRequired(TypedDict):
    # 0 to 4095 (octal 7777).
    mode: int
    path: str


# Parameters of `fs/setPermissions`.
class FsSetPermissionsParams(_FsSetPermissionsParamsRequired, total=False):
    followSymlinks: Optional[bool]
    sandbox: Any


class _FsSymlinkParamsRequired(TypedDict):
    # The link to be made; the name must be free.
    path: str
    # What it is to say: a path, relative or not, or a `file:` URI.
    target: str


# Parameters of `fs/symlink`.
class FsSymlinkParams(_FsSymlinkParamsRequired, total=False):
    # As in [`ReadFileParams`], of the directories on the way.
    followSymlinks: Optional[bool]
    sandbox: Any
    # Extension: the bytes of what it is to say, in place of `target`.
    targetBase64: Optional[str]


# Parameters of `fs/unwatch`.
class FsUnwatchParams(TypedDict):
    watchId: str


class _FsWalkParamsRequired(TypedDict):
    options: WalkOptions
    path: str


# Parameters of `fs/walk`.
class FsWalkParams(_FsWalkParamsRequired, total=False):
    sandbox: Any


class _FsWatchParamsRequired(TypedDict):
    path: str
    # Names the watch in its notifications.
    watchId: str


# Parameters of `fs/watch`.
class FsWatchParams(_FsWatchParamsRequired, total=False):
    # Whether directories below it are watched, too; false when left out.
    recursive: Optional[bool]
    sandbox: Any


class _FsWatchMissingParamsRequired(TypedDict):
    # Paths that do not exist.
    missing: List[str]
    # Names the watch in its notification; must grow from call to call.
    watchId: int


# Parameters of `fs/watchMissing`.
class FsWatchMissingParams(_FsWatchMissingParamsRequired, total=False):
    # A path that exists and matters to the client.
    present: Optional[str]
    sandbox: Any


# Parameters of `fs/writeBlock`.
class FsWriteBlockParams(TypedDict):
    # Base64 of 1 to 1,048,576 bytes.
    chunk: str
    handleId: str
    offset: int


class _FsWriteFileParamsRequired(TypedDict):
    dataBase64: str
    path: str


# Parameters of `fs/writeFile`.
class FsWriteFileParams(_FsWriteFileParamsRequired, total=False):
    # Extension: the file is replaced at once and for good, or not at all.
    atomic: Optional[bool]
    followSymlinks: Optional[bool]
    # Extension: what the file gets when it has its content.
    metadata: Optional[NewMetadata]
    # Extension: false, and the file must not be there yet; true when left out.
    overwrite: Optional[bool]
    sandbox: Any


class _HttpRequestBodyDeltaParamsRequired(TypedDict):
    # The next piece of the body.
    deltaBase64: str
    # Whether it is the last one.
    done: bool
    requestId: str
    # 1 for the first.
    seq: int


# Parameters of `http/request/bodyDelta`.
class HttpRequestBodyDeltaParams(_HttpRequestBodyDeltaParamsRequired, total=False):
    # Why the body broke off.
    error: Optional[str]


class _HttpRequestParamsRequired(TypedDict):
    # Any token; its case is kept.
    method: str
    # Names the stream in its notifications.
    requestId: str
    # Of `http` or `https`.
    url: str


# Parameters of `http/request`.
class HttpRequestParams(_HttpRequestParamsRequired, total=False):
    # What to send along.
    bodyBase64: Optional[str]
    # In order, with repeats.
    headers: List[HeaderParams]
    # What to do when redirected; `follow` unless said otherwise.
    redirectPolicy: Optional[RedirectPolicy]
    # Whether the body comes in notifications.
    streamResponse: bool
    # For everything including the body of the answer; none is no limit.
    timeoutMs: Optional[int]


# Parameters of `environmentConfig/read`.
class EnvironmentConfigReadParams(TypedDict):
    # What is wanted of the configuration.
    configPaths: List[KeyPath]
    cwd: str
    # What is wanted of what an administrator requires.
    requirementsPaths: List[KeyPath]


# Parameters of `capabilityRoots/discoverV1`.
class CapabilityRootsDiscoverV1Params(TypedDict):
    roots: List[RootParams]


# Parameters of `capabilities/discoverV2`.
class CapabilitiesDiscoverV2Params(TypedDict):
    cwd: str


INITIALIZE: Method[InitializeParams, InitializeReply] = Method("initialize")
ENVIRONMENT_INFO: Method[EnvironmentInfoParams, EnvironmentInfo] = Method("environment/info")
ENVIRONMENT_STATUS: Method[EnvironmentStatusParams, StatusReply] = Method("environment/status")
PROCESS_ACKNOWLEDGE: Method[ProcessAcknowledgeParams, Empty] = Method("process/acknowledge")
PROCESS_CLOSE_STDIN: Method[ProcessCloseStdinParams, WriteReply] = Method("process/closeStdin")
PROCESS_LIST: Method[ProcessListParams, ListReply] = Method("process/list")
PROCESS_RUN: Method[ProcessRunParams, RunReply] = Method("process/run")
PROCESS_RESIZE: Method[ProcessResizeParams, Empty] = Method("process/resize")
PROCESS_READ: Method[ProcessReadParams, ReadReply] = Method("process/read")
PROCESS_SIGNAL: Method[ProcessSignalParams, Empty] = Method("process/signal")
PROCESS_START: Method[ProcessStartParams, StartReply] = Method("process/start")
PROCESS_TERMINATE: Method[ProcessTerminateParams, TerminateReply] = Method("process/terminate")
PROCESS_WRITE: Method[ProcessWriteParams, WriteReply] = Method("process/write")
FS_HARD_LINK: Method[FsHardLinkParams, Empty] = Method("fs/hardLink")
FS_CANONICALIZE: Method[FsCanonicalizeParams, CanonicalizeReply] = Method("fs/canonicalize")
FS_CLOSE: Method[FsCloseParams, Empty] = Method("fs/close")
FS_COPY: Method[FsCopyParams, CopyReply] = Method("fs/copy")
FS_CREATE_DIRECTORY: Method[FsCreateDirectoryParams, Empty] = Method("fs/createDirectory")
FS_GET_METADATA: Method[FsGetMetadataParams, GetMetadataReply] = Method("fs/getMetadata")
FS_OPEN: Method[FsOpenParams, OpenReply] = Method("fs/open")
FS_READ_BLOCK: Method[FsReadBlockParams, ReadBlockReply] = Method("fs/readBlock")
FS_READ_DIRECTORY: Method[FsReadDirectoryParams, ReadDirectoryReply] = Method("fs/readDirectory")
FS_READ_FILE: Method[FsReadFileParams, ReadFileReply] = Method("fs/readFile")
FS_READ_LINK: Method[FsReadLinkParams, ReadLinkReply] = Method("fs/readLink")
FS_REMOVE: Method[FsRemoveParams, Empty] = Method("fs/remove")
FS_RENAME: Method[FsRenameParams, Empty] = Method("fs/rename")
FS_SET_METADATA: Method[FsSetMetadataParams, Empty] = Method("fs/setMetadata")
FS_SET_PERMISSIONS: Method[FsSetPermissionsParams, Empty] = Method("fs/setPermissions")
FS_SYMLINK: Method[FsSymlinkParams, Empty] = Method("fs/symlink")
FS_UNWATCH: Method[FsUnwatchParams, Empty] = Method("fs/unwatch")
FS_WALK: Method[FsWalkParams, WalkReply] = Method("fs/walk")
FS_WATCH: Method[FsWatchParams, WatchReply] = Method("fs/watch")
FS_WATCH_MISSING: Method[FsWatchMissingParams, WatchReply] = Method("fs/watchMissing")
FS_WRITE_BLOCK: Method[FsWriteBlockParams, Empty] = Method("fs/writeBlock")
FS_WRITE_FILE: Method[FsWriteFileParams, Empty] = Method("fs/writeFile")
HTTP_REQUEST: Method[HttpRequestParams, HttpReply] = Method("http/request")
ENVIRONMENT_CONFIG_READ: Method[EnvironmentConfigReadParams, ConfigReadReply] = Method("environmentConfig/read")
CAPABILITY_ROOTS_DISCOVER_V1: Method[CapabilityRootsDiscoverV1Params, DiscoverRootsReply] = Method("capabilityRoots/discoverV1")
CAPABILITIES_DISCOVER_V2: Method[CapabilitiesDiscoverV2Params, DiscoverReply] = Method("capabilities/discoverV2")

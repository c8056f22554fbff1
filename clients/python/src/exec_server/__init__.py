"""Hands on another machine: commands, files and terminals through an exec-server.

    from exec_server import Sandbox

    with Sandbox.connect("box") as sandbox:
        result = sandbox.commands.run("make test", timeout=600)
        print(result.exit_code, result.stdout)

`Sandbox` is for threads: any number of them may use one at the same time. `AsyncSandbox` is the same for asyncio, to be
used by the event loop that it was made in. After `os.fork()` neither can be used by the child.
"""

from ._aio.commands import AsyncCommandHandle, AsyncCommands
from ._aio.files import AsyncFiles, AsyncWatchHandle
from ._aio.pty import AsyncPty, AsyncPtyHandle
from ._aio.sandbox import AsyncSandbox
from ._sync.commands import CommandHandle, Commands
from ._sync.files import Files, WatchHandle
from ._sync.pty import Pty, PtyHandle
from ._sync.sandbox import Sandbox
from .errors import (
    KINDS,
    AlreadyExists,
    BadDirectory,
    Busy,
    CommandFailed,
    ConnectError,
    ConnectionLost,
    DirectoryNotEmpty,
    ExecServerError,
    FileChanged,
    Forgotten,
    InputClosed,
    InvalidParams,
    InvalidRequest,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotExecutable,
    NotFound,
    OperationFailed,
    OutputLost,
    PermissionDenied,
    ReadOnly,
    RequestError,
    RequestTimeout,
    SandboxClosed,
    SandboxDenied,
    SandboxFailed,
    ServerTimeout,
    SessionAttached,
    TooLarge,
    UnknownMethod,
    Unreachable,
)
from .types import CommandInfo, CommandResult, EntryInfo, Output, Policy, WatchEvent

__all__ = [
    "KINDS",
    "AlreadyExists",
    "AsyncCommandHandle",
    "AsyncCommands",
    "AsyncFiles",
    "AsyncPty",
    "AsyncPtyHandle",
    "AsyncSandbox",
    "AsyncWatchHandle",
    "BadDirectory",
    "Busy",
    "CommandFailed",
    "CommandHandle",
    "CommandInfo",
    "CommandResult",
    "Commands",
    "ConnectError",
    "ConnectionLost",
    "DirectoryNotEmpty",
    "EntryInfo",
    "ExecServerError",
    "FileChanged",
    "Files",
    "Forgotten",
    "InputClosed",
    "InvalidParams",
    "InvalidRequest",
    "IsADirectory",
    "NoSpace",
    "NotADirectory",
    "NotExecutable",
    "NotFound",
    "OperationFailed",
    "Output",
    "OutputLost",
    "PermissionDenied",
    "Policy",
    "Pty",
    "PtyHandle",
    "ReadOnly",
    "RequestError",
    "RequestTimeout",
    "Sandbox",
    "SandboxClosed",
    "SandboxDenied",
    "SandboxFailed",
    "ServerTimeout",
    "SessionAttached",
    "TooLarge",
    "UnknownMethod",
    "Unreachable",
    "WatchEvent",
    "WatchHandle",
]

"""What can go wrong.

Every exception of this package is an ``ExecServerError``. What the server refuses is a ``RequestError``; its class says
why, by the table ``KINDS``, and where Python has an exception for the same it is that, too: ``except FileNotFoundError``
works.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Type


class ExecServerError(Exception):
    """Any failure of this package."""


class ConnectError(ExecServerError, ConnectionError):
    """The server was not reached, or did not let us in. Nothing was done there."""


class ConnectionLost(ExecServerError, ConnectionError):
    """The connection has ended, and the session with it; or a request was under way that cannot be repeated.

    Such a request may have been carried out or not.
    """


class SandboxClosed(ExecServerError):
    """The ``Sandbox`` was closed before or meanwhile."""


class RequestTimeout(ExecServerError, TimeoutError):
    """No answer came within the time that the caller allowed."""


class OutputLost(ExecServerError):
    """The server has dropped output before it was read. ``pieces`` says how many pieces, whose sizes nobody knows.

    When it comes from ``run`` or ``wait``, ``result`` has what is left.
    """

    def __init__(self, pieces: int, result: Any = None) -> None:
        super().__init__(f"{pieces} pieces of output were lost; what was read is not complete")
        self.pieces = pieces
        self.result = result


class CommandFailed(ExecServerError):
    """A command that was run with ``check=True`` has not ended with exit code 0. ``result`` says how it ended."""

    def __init__(self, result: Any) -> None:
        how = "its time was up" if result.timed_out else f"exit code {result.exit_code}"
        tail = (result.stderr or result.stdout).strip()[-1000:]
        super().__init__(f"the command failed: {how}" + (f"\n{tail}" if tail else ""))
        self.result = result


class InputClosed(ExecServerError, BrokenPipeError):
    """The command takes no input any more, or never did: it has ended, or was started without ``stdin=True``."""


class RequestError(ExecServerError):
    """The server has refused a request.

    ``code`` is that of JSON-RPC, ``kind`` says why, ``path`` what it was about, ``hint`` what to do, and ``data`` has
    all that the server told besides. Each but ``code`` may be empty.
    """

    def __init__(self, message: str, code: int = 0, data: Optional[Dict[str, Any]] = None) -> None:
        self.message = message
        self.code = code
        self.data: Dict[str, Any] = data or {}
        super().__init__(message)

    @property
    def kind(self) -> str:
        """One of the keys of ``KINDS``, or empty where the server does not tell."""
        return str(self.data.get("kind") or "")

    @property
    def path(self) -> str:
        """The path that it was about."""
        return str(self.data.get("path") or "")

    @property
    def hint(self) -> str:
        """What to do about it."""
        return str(self.data.get("hint") or "")

    def __str__(self) -> str:
        parts = [self.message]
        if self.path and self.path not in self.message:
            parts[0] = f"{self.path}: {self.message}"
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


class InvalidRequest(RequestError):
    """The request makes no sense at this moment, or for this object."""


class UnknownMethod(RequestError):
    """The server has no such method, or not this member of it: it is an older one, or another program."""


class InvalidParams(RequestError, ValueError):
    """A parameter is missing, or can never be right."""


class SessionAttached(RequestError):
    """The session has a living connection already."""


class OperationFailed(RequestError):
    """The operation itself has failed, and nothing finer is known."""


class Busy(RequestError):
    """A limit of the server is reached; the same request may succeed later."""


class NotFound(RequestError, FileNotFoundError):
    """The file, process or program does not exist."""


class Forgotten(RequestError):
    """The process or session was there, and its time is over."""


class PermissionDenied(RequestError, PermissionError):
    """The system of the server does not permit it."""


class AlreadyExists(RequestError, FileExistsError):
    """Something of that name is there already."""


class NotADirectory(RequestError, NotADirectoryError):
    """A directory was expected."""


class IsADirectory(RequestError, IsADirectoryError):
    """Something else than a directory was expected."""


class DirectoryNotEmpty(RequestError):
    """The directory is not empty."""


class NoSpace(RequestError):
    """The disk or the quota is full."""


class ReadOnly(RequestError, PermissionError):
    """The file system is read-only."""


class TooLarge(RequestError):
    """Above a size that a file, a message or a list of arguments may have."""


class FileChanged(RequestError):
    """The file was changed while it was read."""


class ServerTimeout(RequestError, TimeoutError):
    """The server has run out of the time for it."""


class Unreachable(RequestError):
    """Whom an HTTP request is for cannot be reached."""


class BadDirectory(RequestError):
    """The working directory of a command cannot be entered."""


class NotExecutable(RequestError):
    """The program is there and cannot be run."""


class SandboxDenied(RequestError, PermissionError):
    """The sandbox of the request denies it. ``data["rule"]`` tells the rule, where the server knows it."""


class SandboxFailed(RequestError):
    """The sandbox could not be had as it must be, so nothing was done."""


KINDS: Dict[str, Type[RequestError]] = {
    "invalidRequest": InvalidRequest,
    "unknownMethod": UnknownMethod,
    "invalidParams": InvalidParams,
    "sessionAttached": SessionAttached,
    "failed": OperationFailed,
    "busy": Busy,
    "notFound": NotFound,
    "forgotten": Forgotten,
    "permission": PermissionDenied,
    "exists": AlreadyExists,
    "notDirectory": NotADirectory,
    "isDirectory": IsADirectory,
    "notEmpty": DirectoryNotEmpty,
    "noSpace": NoSpace,
    "readOnly": ReadOnly,
    "tooLarge": TooLarge,
    "changed": FileChanged,
    "timedOut": ServerTimeout,
    "unreachable": Unreachable,
    "badCwd": BadDirectory,
    "notExecutable": NotExecutable,
    "sandboxDenied": SandboxDenied,
    "sandboxFailed": SandboxFailed,
}

# For servers that tell no kind.
CODES: Dict[int, Type[RequestError]] = {
    -32600: InvalidRequest,
    -32601: UnknownMethod,
    -32602: InvalidParams,
    -32603: OperationFailed,
    -32000: Busy,
    -32004: NotFound,
    -32010: SessionAttached,
}


def refusal(error: Any) -> RequestError:
    """The exception for the ``error`` of an answer."""
    if not isinstance(error, dict):
        return RequestError(str(error))
    code = error.get("code")
    code = code if isinstance(code, int) else 0
    data = error.get("data")
    data = data if isinstance(data, dict) else {}
    found = KINDS.get(str(data.get("kind"))) or CODES.get(code) or RequestError
    return found(str(error.get("message", "")), code, data)

"""What the client hands out, the same with threads and with asyncio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence, Union



@dataclass(frozen=True)
class CommandResult:
    """How a command has ended, and what it has written.

    ``stdout`` and ``stderr`` are decoded as UTF-8, with U+FFFD for what is none; the bytes are beside them. Where a
    stream was longer than ``output_limit``, its middle is missing: ``omitted`` says how many bytes, and the text has a
    line there that says so. What is written on a terminal is all in ``stdout``.
    """

    exit_code: int
    """The exit code, or 128 and the number of the signal that ended it."""
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: bytes = field(default=b"", repr=False)
    stderr_bytes: bytes = field(default=b"", repr=False)
    omitted: int = 0
    """Bytes of both streams that were left out."""
    signal: Optional[str] = None
    """The name of the signal that ended it, such as ``SIGKILL``, where the server tells."""
    timed_out: bool = False
    """Its ``timeout`` was up. What it had written until then is here all the same."""
    oom_killed: bool = False
    """It, or something that it has started, was killed for want of memory."""
    sandbox_denied: bool = False
    """It has failed because of its sandbox, as far as the server can tell."""
    denial: Dict[str, Any] = field(default_factory=dict)
    """What the sandbox denied, as ``sandboxDenial`` in PROTOCOL.md."""

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


@dataclass(frozen=True)
class Output:
    """A piece of what a command writes. How output is cut into pieces means nothing."""

    stream: str
    """``stdout``, ``stderr``, or ``pty`` for all output of a terminal."""
    data: bytes
    text: str
    """``data`` as UTF-8. A character that is cut in two is in the piece where it ends."""


@dataclass(frozen=True)
class CommandInfo:
    """A command that runs."""

    id: str
    pid: Optional[int]
    """Its number on the server's machine."""
    is_terminal: bool


@dataclass(frozen=True)
class EntryInfo:
    """A file, directory, or something else that has a name."""

    name: str
    path: str
    type: str
    """``file``, ``dir`` or ``other``: what a link leads to, and ``other`` where that is not there."""
    is_symlink: bool = False
    size: int = 0
    """Bytes. Told by ``get_info`` only, like all that follow."""
    mode: int = 0
    """The permission bits."""
    modified_at: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True)
class WatchEvent:
    """A change in a directory that is watched."""

    type: str
    """``created``, ``modified``, ``removed`` or ``renamed``; ``overflow`` says that changes were lost: look for yourself."""
    path: str = ""
    old_path: Optional[str] = None
    """Of what was renamed: how it was called."""
    is_dir: bool = False


@dataclass(frozen=True)
class Policy:
    """What a command or a file operation may do, by words: a preset, and what is permitted beyond it.

    Where the server cannot enforce it, nothing is done. A ``dict`` in its place is the ``sandbox`` object of PROTOCOL.md.
    """

    preset: str = "workspace-write"
    """``read-only``, or ``workspace-write``: its working directory and those for temporary files may be written."""
    write: Sequence[str] = ()
    """More that may be written: directories and files."""
    network: bool = False
    """Whether there is a network."""
    accept_weaker: Sequence[str] = ()
    """What may be given up where it cannot be enforced: ``metadata``, the protection of ``.git`` and its like."""


Sandboxing = Union[str, Policy, Dict[str, Any], None]
"""``read-only``, ``workspace-write``, ``off``, a ``Policy``, or the object of the wire; nothing is the sandbox's default."""

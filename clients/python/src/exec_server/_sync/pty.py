# Made from _aio/pty.py by tools/generate.py.
"""Commands on a terminal."""

from __future__ import annotations

import re
from typing import Iterator, Callable, Dict, Mapping, Optional, Sequence, Union

from .. import wire
from .._machine import PathLike
from ..types import CommandResult, Sandboxing
from ._io import call_back
from .commands import OUTPUT_LIMIT, CommandHandle, Commands, until
from .session import Session


class PtyHandle:
    """A command on a terminal. What it writes is bytes: control sequences, and characters that may be cut in two."""

    def __init__(self, session: Session, command: CommandHandle) -> None:
        self.id = command.id
        """Its name in the session."""
        self._session = session
        self._command = command

    @property
    def exit_code(self) -> Optional[int]:
        """The exit code, as far as it is known; nothing while the command runs."""
        return self._command.exit_code

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._command:
            if piece.data:
                yield piece.data

    def send(self, data: Union[str, bytes], timeout: Optional[float] = None) -> None:
        """Types something. A line ends with ``\\n``, and ``\\x03`` is Ctrl-C."""
        self._command.send_stdin(data, timeout)

    def resize(self, rows: int, cols: int) -> None:
        """Gives the terminal another size."""
        params: wire.ProcessResizeParams = {"processId": self.id, "rows": rows, "cols": cols}
        self._session.call(wire.PROCESS_RESIZE, params, repeats=True)

    def kill(self, grace: float = 0.0) -> bool:
        """Kills the command and all that it has started; false if it had ended already."""
        return self._command.kill(grace)

    def wait(
        self, timeout: Optional[float] = None, *, on_data: Optional[Callable[[bytes], object]] = None
    ) -> CommandResult:
        """Waits for the end of the command. Its output is in `stdout`, as far as `output_limit` lets it.

        `RequestTimeout` when it has not ended after `timeout` seconds; it runs on.
        """
        for piece in self._command._outputs(until(timeout)):
            if on_data is not None and piece.data:
                call_back(on_data, piece.data)
        return self._command._result()


class Pty:
    """Terminals of a sandbox."""

    def __init__(self, session: Session, commands: Commands) -> None:
        self._session = session
        self._commands = commands

    def create(
        self,
        cmd: Optional[str] = None,
        *,
        rows: int = 24,
        cols: int = 80,
        argv: Optional[Sequence[str]] = None,
        cwd: Optional[PathLike] = None,
        envs: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        sandbox: Sandboxing = None,
        output_limit: int = OUTPUT_LIMIT,
    ) -> PtyHandle:
        """Starts a command on a terminal; without one the user's login shell. See `commands.run` for the rest."""
        more: Dict[str, object] = {"tty": True}
        if self._session.machine.has("process/start.size"):
            more["size"] = {"rows": rows, "cols": cols}
        if cmd is None and argv is None:
            shell = self._session.machine.shell or "/bin/sh"
            argv = [shell]
            more["arg0"] = "-" + re.sub(".*/", "", shell)
        command = self._commands._start(
            self._commands._argv(cmd, argv),
            cwd=cwd,
            envs={"TERM": "xterm-256color", **(envs or {})},
            timeout=timeout,
            takes_input=True,
            sandbox=sandbox,
            output_limit=output_limit,
            more=more,
        )
        return PtyHandle(self._session, command)

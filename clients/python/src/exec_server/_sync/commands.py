# Made from _aio/commands.py by tools/generate.py.
"""Commands: run to their end, or in the background."""

from __future__ import annotations

import base64
import time
from typing import Any, Iterator, Callable, Dict, List, Literal, Mapping, Optional, Sequence, Union, cast, overload

from .. import wire
from .._capture import Capture
from .._events import Gap
from .._machine import PathLike
from ..errors import (
    AlreadyExists,
    CommandFailed,
    ExecServerError,
    InputClosed,
    OutputLost,
    RequestError,
    RequestTimeout,
    SandboxFailed,
    UnknownMethod,
)
from ..types import CommandInfo, CommandResult, Output, Sandboxing
from ._io import call_back, spawn
from .session import OutputQueue, Session, fresh_name

# What is kept of each stream of a command, in bytes, unless something else is said.
OUTPUT_LIMIT = 8 * 1024 * 1024
# Input is sent in pieces of so many bytes.
INPUT_PIECE = 256 * 1024
# A command whose time is up gets TERM, and KILL so much later.
TIMEOUT_GRACE_MS = 2000

OnOutput = Optional[Callable[[str], object]]
Stdin = Union[str, bytes, bool, None]


class CommandHandle:
    """A command that was started.

    Its output is read by iteration or by `wait`, by one reader at a time. A command whose output nobody reads is made
    to wait when 4 MiB are unread; `discard_output` lets it go on.
    """

    def __init__(
        self,
        session: Session,
        queue: OutputQueue,
        output_limit: int = OUTPUT_LIMIT,
        deadline: Optional[float] = None,
        sandbox_level: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.id = queue.id
        """Its name in the session."""
        self.sandbox_level: Optional[Dict[str, Any]] = sandbox_level
        """The confinement in force, as ``sandboxLevel`` in PROTOCOL.md, if one was asked for and the server tells."""
        self._session = session
        self._queue = queue
        self._captures = {"stdout": Capture(output_limit), "stderr": Capture(output_limit)}
        self._lost = 0
        # When we end its time ourselves, for a server that does not.
        self._deadline = deadline
        self._has_timed_out = False
        self._on_stdout: OnOutput = None
        self._on_stderr: OnOutput = None

    def __repr__(self) -> str:
        state = "running" if self.exit_code is None else f"exit code {self.exit_code}"
        return f"<{type(self).__name__} {self.id}: {state}>"

    @property
    def exit_code(self) -> Optional[int]:
        """The exit code, as far as it is known; nothing while the command runs."""
        exit = self._queue.events.exit
        return None if exit is None else exit.code

    def __iter__(self) -> Iterator[Output]:
        return self._outputs(None)

    def wait(
        self,
        timeout: Optional[float] = None,
        *,
        on_stdout: OnOutput = None,
        on_stderr: OnOutput = None,
        check: bool = False,
    ) -> CommandResult:
        """Waits for the end of the command and of its output.

        With a `timeout` in seconds, `RequestTimeout` when it has not ended by then; it runs on. With `check`,
        `CommandFailed` unless it ends with exit code 0. `OutputLost` if not all of its output is here. The functions
        get output as text, as it comes; what one of them raises comes out of `wait`, and the command runs on.
        """
        on_stdout, on_stderr = on_stdout or self._on_stdout, on_stderr or self._on_stderr
        for piece in self._outputs(until(timeout)):
            function = on_stderr if piece.stream == "stderr" else on_stdout
            if function is not None and piece.text:
                call_back(function, piece.text)
        result = self._result()
        if self._lost:
            raise OutputLost(self._lost, result)
        if check and not result.ok:
            raise CommandFailed(result)
        return result

    def kill(self, grace: float = 0.0) -> bool:
        """Kills the command and all that it has started; false if it had ended already.

        With `grace` they get TERM, and KILL after so many seconds.
        """
        params: wire.ProcessTerminateParams = {"processId": self.id}
        if grace > 0 and self._session.machine.has("process/terminate.graceMs"):
            params["graceMs"] = round(grace * 1000)
        reply = self._session.call(wire.PROCESS_TERMINATE, params, repeats=True)
        return reply["running"]

    def send_signal(self, name: str) -> None:
        """Sends a signal to the command's process group, by its name: ``INT``, ``HUP``."""
        name = name.upper()
        is_interrupt = name in ("INT", "SIGINT")
        signal = "interrupt" if is_interrupt else name
        self._session.call(wire.PROCESS_SIGNAL, wire.ProcessSignalParams(processId=self.id, signal=signal))

    def send_stdin(self, data: Union[str, bytes], timeout: Optional[float] = None) -> None:
        """Writes to its standard input; text as UTF-8. It must have been started with ``stdin=True``.

        Returns when the server has it. While much of it is not read by the command, that takes as long as the command
        does not read, or until `timeout`. `InputClosed` if nobody can read it.
        """
        raw = data.encode("utf-8") if isinstance(data, str) else data
        deadline = None if timeout is None else time.monotonic() + timeout
        for begin in range(0, len(raw), INPUT_PIECE):
            piece = base64.b64encode(raw[begin : begin + INPUT_PIECE]).decode("ascii")
            params: wire.ProcessWriteParams = {"processId": self.id, "chunk": piece, "writeId": fresh_name()}
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            pending = self._session.begin(wire.PROCESS_WRITE, params, repeats=True)
            reply = self._session.end(pending, left)
            # Of a write that was sent again nobody knows whether the command read it first, and has ended since.
            if reply["status"] not in ("accepted", "starting") and not pending.was_repeated:
                raise InputClosed(f"the command takes no input: {reply['status']}")

    def close_stdin(self) -> None:
        """Ends its standard input, behind everything that was sent before."""
        self._session.call(wire.PROCESS_CLOSE_STDIN, wire.ProcessCloseStdinParams(processId=self.id), repeats=True)

    def discard_output(self) -> None:
        """Throws away all output that was not read yet, and all that is still to come. `wait` then waits for the end."""
        self._session.discard(self.id)

    def _outputs(self, deadline: Optional[float]) -> Iterator[Output]:
        """What the command writes, until it has ended."""
        while True:
            until = deadline
            if self._deadline is not None and (until is None or self._deadline < until):
                until = self._deadline
            try:
                event = self._queue.next(until)
            except RequestTimeout:
                if until is None or until is not self._deadline:
                    raise
                # The server does not know about the time limit, so it is ours.
                self._deadline = None
                self._has_timed_out = True
                self.kill()
                continue
            if event is None:
                break
            if isinstance(event, Gap):
                self._lost += event.pieces
                continue
            capture = self._captures["stderr" if event.stream == "stderr" else "stdout"]
            capture.add(event.data)
            yield Output(event.stream, event.data, capture.decode(event.data))
        for name, capture in self._captures.items():
            # A character that was cut by the end.
            rest = capture.decode(b"", is_last=True)
            if rest:
                yield Output(name, b"", rest)

    def _result(self) -> CommandResult:
        exit = self._queue.events.exit
        if exit is None:
            raise ExecServerError("the server did not tell how the command has ended")
        stdout, stderr = self._captures["stdout"], self._captures["stderr"]
        return CommandResult(
            exit_code=exit.code,
            stdout=stdout.text(),
            stderr=stderr.text(),
            stdout_bytes=stdout.data(),
            stderr_bytes=stderr.data(),
            omitted=stdout.omitted + stderr.omitted,
            signal=exit.signal,
            timed_out=exit.timed_out or self._has_timed_out,
            oom_killed=exit.oom_killed,
            sandbox_denied=exit.sandbox_denied,
            denial=exit.denial,
        )

    def _abandon(self) -> None:
        """Kills it without waiting for anything: its caller is on the way out."""
        self._session.discard(self.id)
        try:
            self._session.post("process/terminate", {"processId": self.id}, repeats=True)
        except ExecServerError:
            pass

    def _feed(self, data: bytes) -> None:
        """All of its input, beside the reading of its output."""
        try:
            self.send_stdin(data)
            self.close_stdin()
        except ExecServerError:
            # It has ended without reading all, or the connection has: whoever waits for it is told.
            pass

    def __del__(self) -> None:
        # Not from here: any thread may be anywhere at this moment.
        session = getattr(self, "_session", None)
        if session is not None and not self._queue.events.is_closed:
            session.dropped.append(self.id)


class Commands:
    """The commands of a sandbox."""

    def __init__(self, session: Session, cwd: Optional[str], envs: Mapping[str, str], sandbox: Sandboxing) -> None:
        self._session = session
        self._cwd = cwd
        self._envs = dict(envs)
        self._sandbox = sandbox

    @overload
    def run(
        self,
        cmd: Optional[str] = None,
        *,
        background: Literal[False] = False,
        argv: Optional[Sequence[str]] = None,
        cwd: Optional[PathLike] = None,
        envs: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        stdin: Stdin = None,
        sandbox: Sandboxing = None,
        on_stdout: OnOutput = None,
        on_stderr: OnOutput = None,
        output_limit: int = OUTPUT_LIMIT,
        check: bool = False,
        memory_max: Optional[int] = None,
        pids_max: Optional[int] = None,
        cpu_max: Optional[float] = None,
    ) -> CommandResult: ...

    @overload
    def run(
        self,
        cmd: Optional[str] = None,
        *,
        background: Literal[True],
        argv: Optional[Sequence[str]] = None,
        cwd: Optional[PathLike] = None,
        envs: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        stdin: Stdin = None,
        sandbox: Sandboxing = None,
        on_stdout: OnOutput = None,
        on_stderr: OnOutput = None,
        output_limit: int = OUTPUT_LIMIT,
        memory_max: Optional[int] = None,
        pids_max: Optional[int] = None,
        cpu_max: Optional[float] = None,
    ) -> CommandHandle: ...

    def run(
        self,
        cmd: Optional[str] = None,
        *,
        background: bool = False,
        argv: Optional[Sequence[str]] = None,
        cwd: Optional[PathLike] = None,
        envs: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        stdin: Stdin = None,
        sandbox: Sandboxing = None,
        on_stdout: OnOutput = None,
        on_stderr: OnOutput = None,
        output_limit: int = OUTPUT_LIMIT,
        check: bool = False,
        memory_max: Optional[int] = None,
        pids_max: Optional[int] = None,
        cpu_max: Optional[float] = None,
    ) -> Union[CommandResult, CommandHandle]:
        """Runs a command: `cmd` by a shell (bash where that is the user's shell, else sh), or `argv` without one.

        Gives its result when it has ended, or with `background` a handle at once.

        * `cwd`: where it starts; a relative path starts at the sandbox's `cwd`.
        * `envs`: variables besides those that a login there has.
        * `timeout`: seconds; then it gets TERM, 2 s later KILL, and the result says `timed_out`.
        * `stdin`: its whole input; or with `background`, True for input by `send_stdin`. Else its input is empty.
        * `sandbox`: ``"read-only"``, ``"workspace-write"``, ``"off"``, or a `Policy`. Where the server cannot enforce
          it, `SandboxFailed`, and nothing has run.
        * `on_stdout`, `on_stderr`: called with text as it comes; in the background only while somebody waits. The
          command waits for slow ones. What one of them raises comes out of here, and the command is killed.
        * `output_limit`: bytes of each stream that the result has; above that its middle is left out.
        * `check`: `CommandFailed` unless it ends with exit code 0.
        * `memory_max` (bytes), `pids_max`, `cpu_max` (processors): of it and all that it starts together. Where the
          server has no cgroup for that, nothing runs.

        If it is interrupted or cancelled, the command is killed.
        """
        limits = {"memoryMax": memory_max, "pidsMax": pids_max, "cpuMax": cpu_max}
        line = self._argv(cmd, argv)
        handle = self._start(
            line,
            cwd=cwd,
            envs=envs,
            timeout=timeout,
            takes_input=stdin is True or isinstance(stdin, (str, bytes)),
            sandbox=sandbox,
            output_limit=output_limit,
            more={name: value for name, value in limits.items() if value is not None},
        )
        try:
            handle._on_stdout, handle._on_stderr = on_stdout, on_stderr
            if isinstance(stdin, (str, bytes)):
                data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
                spawn(lambda: handle._feed(data), "exec-server input")
            elif stdin is True and not background:
                handle.close_stdin()
            if background:
                return handle
            return handle.wait(check=check)
        except (CommandFailed, OutputLost):
            raise
        except BaseException:
            handle._abandon()
            raise

    def list(self) -> List[CommandInfo]:
        """The commands of the session that run."""
        reply = self._session.call(wire.PROCESS_LIST, wire.ProcessListParams(), repeats=True)
        return [
            CommandInfo(it["processId"], it.get("pid"), it["tty"]) for it in reply["processes"] if not it["exited"]
        ]

    def kill(self, id: str) -> bool:
        """Kills the command of that id and all that it has started; false if it did not run."""
        params: wire.ProcessTerminateParams = {"processId": id}
        reply = self._session.call(wire.PROCESS_TERMINATE, params, repeats=True)
        return reply["running"]

    def connect(self, id: str) -> CommandHandle:
        """A handle of a command that the session remembers, for a session that was taken up by its id.

        Its output begins with what the server has kept; `OutputLost` tells when that is not all.
        """
        queue = self._session.open_queue(id)
        try:
            # An answer, so that an unknown command is told here.
            params: wire.ProcessReadParams = {"processId": id, "afterSeq": 0}
            queue.events.merge(self._session.call(wire.PROCESS_READ, params, repeats=True))
        except BaseException:
            self._session.queues.pop(id, None)
            raise
        return CommandHandle(self._session, queue)

    def _argv(self, cmd: Optional[str], argv: Optional[Sequence[str]]) -> List[str]:
        if (cmd is None) == (argv is None):
            raise TypeError("give a command line for a shell, or argv=[...], and not both")
        if argv is not None:
            if isinstance(argv, (str, bytes)) or not argv:
                raise TypeError("argv is a list: the program and its arguments")
            return [str(word) for word in argv]
        shell = self._session.machine.shell
        return [shell if shell.endswith("/bash") else "/bin/sh", "-c", str(cmd)]

    def directory(self, cwd: Optional[PathLike]) -> Optional[str]:
        """Where something starts, if that is known."""
        machine = self._session.machine
        base = machine.absolute(self._cwd) if self._cwd is not None else machine.cwd
        if cwd is None:
            return base or None
        path = machine.absolute(cwd) if str(cwd).startswith(("/", "~", "file:")) or not base else f"{base}/{cwd}"
        return path

    def _start(
        self,
        argv: List[str],
        *,
        cwd: Optional[PathLike],
        envs: Optional[Mapping[str, str]],
        timeout: Optional[float],
        takes_input: bool,
        sandbox: Sandboxing,
        output_limit: int,
        more: Mapping[str, Any],
    ) -> CommandHandle:
        session = self._session
        machine = session.machine
        directory = self.directory(cwd)
        confinement = machine.sandbox(sandbox if sandbox is not None else self._sandbox, directory or "")
        params: Dict[str, Any] = {
            "processId": fresh_name(),
            "argv": argv,
            "env": {**self._envs, **(envs or {})},
            "envPolicy": {
                "inherit": "all",
                "ignoreDefaultExcludes": True,
                "exclude": [],
                "set": {},
                "includeOnly": [],
            },
            "tty": False,
            "pipeStdin": takes_input,
            **more,
        }
        if directory is None and not machine.has("process/start.defaults"):
            raise ValueError("the server does not tell where commands start; name a directory by cwd=")
        if directory is not None:
            params["cwd"] = machine.wire(directory)
        if confinement is not None:
            params["sandbox"] = confinement
        if machine.has("process/start.acknowledges"):
            params["acknowledges"] = True
        if any(name in more for name in ("memoryMax", "pidsMax", "cpuMax")) and not machine.has("process/start.memoryMax"):
            raise UnknownMethod("the server cannot limit a command by a cgroup, so nothing was run")
        deadline = None
        if timeout is not None:
            if machine.has("process/start.timeoutMs"):
                params["timeoutMs"] = max(round(timeout * 1000), 1)
            else:
                deadline = time.monotonic() + timeout
        queue = session.open_queue(params["processId"])
        handle = CommandHandle(session, queue, output_limit, deadline)
        # Where a start that was lost with its connection can be told from one that was not, it is made again.
        can_repeat = bool(machine.extensions)
        pending = None
        try:
            pending = session.begin(wire.PROCESS_START, cast(wire.ProcessStartParams, params), repeats=can_repeat)
            reply = session.end(pending)
        except AlreadyExists:
            if pending is None or not pending.was_repeated:
                session.queues.pop(queue.id, None)
                raise
            # It runs since before the connection was lost. Ours never starts what it cannot confine.
            return handle
        except RequestError:
            session.queues.pop(queue.id, None)
            queue.events.is_closed = True
            raise
        except BaseException:
            handle._abandon()
            raise
        if confinement is not None and _confines(confinement) and reply.get("sandboxType") in (None, "none"):
            handle._abandon()
            raise SandboxFailed("the server did not confine the command, which was killed at once")
        handle.sandbox_level = reply.get("sandboxLevel")
        return handle


def until(timeout: Optional[float]) -> Optional[float]:
    """The moment when so many seconds are over."""
    return None if timeout is None else time.monotonic() + timeout


def _confines(sandbox: Mapping[str, Any]) -> bool:
    """Whether the object of the wire asks for any confinement of files."""
    permissions = sandbox.get("permissions")
    return isinstance(permissions, dict) and permissions.get("type") not in ("disabled", "external")

"""Waiting and streams with asyncio. `_sync/_io.py` is the same with threads."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
from typing import Any, Callable, Coroutine, Optional, Set

from .._address import Address, Endpoint, Program
from ..errors import ConnectError

# As much is taken at once.
PIECE = 256 * 1024
# What is kept of the standard error of a program, for error messages.
LAST_WORDS = 4096
# For the last bytes of a connection that is ended.
LAST_BYTES = 1.0
# A program that was told to end by the end of its input is killed after this time.
PROGRAM_GRACE = 5.0

Lock = asyncio.Lock


class Mutex:
    """Nothing: all of this runs on one thread, and nobody else comes between without an `await`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class Event:
    """An event that is waited for with a limit."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.set = self._event.set
        self.clear = self._event.clear
        self.is_set = self._event.is_set

    async def wait(self, timeout: Optional[float] = None) -> bool:
        """Whether it was set before the time was up."""
        if self._event.is_set():
            return True
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
            return True
        except asyncio.TimeoutError:
            return self._event.is_set()


# A task that nobody holds may be collected before its end.
_tasks: Set[asyncio.Task[None]] = set()


def spawn(function: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
    """Runs the function as a task."""
    task = asyncio.get_running_loop().create_task(function(), name=name)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


async def join(task: asyncio.Task[None], timeout: float) -> None:
    """Waits for the end of what was spawned."""
    if task is not asyncio.current_task():
        await asyncio.wait([task], timeout=timeout)


sleep = asyncio.sleep


async def call_back(function: Callable[[Any], object], value: Any) -> None:
    """Calls what a user has given, which may be a coroutine function."""
    result = function(value)
    if inspect.isawaitable(result):
        await result


class Stream:
    """Bytes both ways. `write` never waits: what is not taken at once goes out later."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._draining = asyncio.Lock()
        self._is_closed = False
        self._child: Optional[asyncio.subprocess.Process] = None
        self._listener: Optional[asyncio.Task[None]] = None
        self.last_words = b""

    async def read(self, timeout: float) -> Optional[bytes]:
        """What comes next; empty at the end, nothing when the time is up."""
        try:
            return await asyncio.wait_for(self._reader.read(PIECE), timeout)
        except asyncio.TimeoutError:
            return None

    def write(self, data: bytes) -> None:
        """Sends as much as is taken at once, and keeps the rest."""
        if self._is_closed or self._writer.is_closing():
            raise OSError("the connection is closed")
        self._writer.write(data)

    async def drain(self, timeout: float) -> bool:
        """Waits until not much is unsent; false when the time is up."""
        try:
            # Python 3.9 lets one at a time wait for that.
            async with self._draining:
                await asyncio.wait_for(self._writer.drain(), timeout)
        except asyncio.TimeoutError:
            return False
        except OSError:
            # Whoever reads notices it, too.
            pass
        return True

    def unsent(self) -> int:
        """How many bytes are not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def stop(self) -> None:
        """Ends the read that is under way, and all that follow."""
        self._writer.close()
        # What cannot be sent within a moment is not waited for.
        asyncio.get_running_loop().call_later(LAST_BYTES, self._writer.transport.abort)

    async def close(self) -> None:
        """Gives everything back."""
        if self._is_closed:
            return
        self._is_closed = True
        self._writer.close()
        if self._child is not None:
            try:
                await asyncio.wait_for(self._child.wait(), PROGRAM_GRACE)
            except asyncio.TimeoutError:
                os.killpg(self._child.pid, signal.SIGKILL)
                await self._child.wait()
        if self._listener is not None:
            await asyncio.wait([self._listener], timeout=1.0)
            self._listener.cancel()

    async def _listen(self) -> None:
        """Keeps the last of what a program says on its standard error."""
        assert self._child and self._child.stderr
        while True:
            said = await self._child.stderr.read(PIECE)
            if not said:
                return
            self.last_words = (self.last_words + said)[-LAST_WORDS:]


async def open_stream(address: Address, timeout: float) -> Stream:
    """Connects, or starts the program."""
    try:
        if isinstance(address, Program):
            return await _start(address)
        return await asyncio.wait_for(_connect(address), timeout)
    except ConnectError:
        raise
    except asyncio.TimeoutError:
        raise ConnectError(f"{address.label}: not reached within {timeout:g} s") from None
    except OSError as error:
        raise ConnectError(f"{address.label}: {error}") from error


async def _start(program: Program) -> Stream:
    # In a session of its own, so that a Ctrl-C in a terminal does not end it behind our back.
    child = await asyncio.create_subprocess_exec(
        *program.argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=program.env,
        start_new_session=True,
        limit=PIECE,
    )
    assert child.stdin and child.stdout
    stream = Stream(child.stdout, child.stdin)
    stream._child = child
    stream._listener = asyncio.ensure_future(stream._listen())
    return stream


async def _connect(endpoint: Endpoint) -> Stream:
    if endpoint.path:
        reader, writer = await asyncio.open_unix_connection(endpoint.path, limit=PIECE)
    else:
        context = endpoint.tls()
        name = endpoint.host if context else None
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=context, server_hostname=name, limit=PIECE
        )
    try:
        connection = writer.get_extra_info("socket")
        if endpoint.path:
            endpoint.check_owner(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encrypted = writer.get_extra_info("ssl_object")
        if encrypted is not None:
            endpoint.check_certificate(encrypted.getpeercert(binary_form=True))
    except BaseException:
        writer.close()
        raise
    return Stream(reader, writer)

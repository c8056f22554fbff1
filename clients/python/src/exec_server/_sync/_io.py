"""Waiting and streams with threads. `_aio/_io.py` is the same for asyncio; everything else of `_sync` is made from `_aio`."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from typing import Any, Callable, List, Optional

from .._address import Address, Endpoint, Program
from ..errors import ConnectError

# As much is taken at once.
PIECE = 256 * 1024
# Who writes waits while so much is not sent.
MOST_UNSENT = 1024 * 1024
# What is kept of the standard error of a program, for error messages.
LAST_WORDS = 4096
# A program that was told to end by the end of its input is killed after this time.
PROGRAM_GRACE = 5.0

Mutex = threading.RLock
Lock = threading.Lock
Event = threading.Event


def spawn(function: Callable[[], None], name: str) -> threading.Thread:
    """Runs the function on a thread that does not keep the program from ending."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


def join(thread: threading.Thread, timeout: float) -> None:
    """Waits for the end of what was spawned."""
    if thread is not threading.current_thread():
        thread.join(timeout)


sleep = time.sleep


def call_back(function: Callable[[Any], object], value: Any) -> None:
    """Calls what a user has given."""
    function(value)


class Stream:
    """Bytes both ways. One thread reads; any may write, which never blocks: what is not taken at once goes out later."""

    def __init__(self, reader: int, writer: int, stderr: Optional[int] = None) -> None:
        self._reader = reader
        self._writer = writer
        self._stderr = stderr
        self._wake_reader, self._wake_writer = os.pipe()
        for descriptor in (reader, writer, self._wake_writer, self._wake_reader, *([stderr] if stderr else [])):
            os.set_blocking(descriptor, False)
        self._room = threading.Condition()
        self._unsent = bytearray()
        self._is_stopped = False
        self._is_closed = False
        self._tls: Optional[_Tls] = None
        self._release: List[Callable[[], None]] = []
        self.last_words = b""

    def read(self, timeout: float) -> Optional[bytes]:
        """What comes next; empty at the end, nothing when the time is up."""
        deadline = time.monotonic() + timeout
        while not self._is_stopped:
            data = self._take()
            if data is not None:
                return data
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._poll(left)
        return b""

    def write(self, data: bytes) -> None:
        """Sends as much as is taken at once, and keeps the rest."""
        with self._room:
            if self._is_closed:
                raise OSError("the connection is closed")
            if self._tls is not None:
                data = self._tls.encrypt(data)
            self._unsent += data
            self._flush()
            is_sent = not self._unsent
        if not is_sent:
            self._wake()

    def drain(self, timeout: float) -> bool:
        """Waits until not much is unsent; false when the time is up."""
        with self._room:
            return self._room.wait_for(lambda: len(self._unsent) < MOST_UNSENT or self._is_stopped, timeout)

    def unsent(self) -> int:
        """How many bytes are not taken yet."""
        return len(self._unsent)

    def stop(self) -> None:
        """Ends the read that is under way, and all that follow."""
        self._is_stopped = True
        with self._room:
            self._room.notify_all()
        self._wake()

    def close(self) -> None:
        """Gives everything back. For the thread that reads."""
        self.stop()
        with self._room:
            if self._is_closed:
                return
            self._is_closed = True
            os.close(self._wake_reader)
            os.close(self._wake_writer)
        for release in self._release:
            release()

    def _take(self) -> Optional[bytes]:
        """What is here already."""
        try:
            data = os.read(self._reader, PIECE)
        except BlockingIOError:
            return None
        if self._tls is None:
            return data
        with self._room:
            plain = self._tls.decrypt(data)
            # Renewed keys may have to be answered.
            self._unsent += self._tls.pending()
            self._flush()
        return plain if plain or not data else None

    def _poll(self, timeout: float) -> None:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if self._stderr is not None:
            poll.register(self._stderr, select.POLLIN)
        is_full = bool(self._unsent)
        if self._reader == self._writer:
            poll.register(self._reader, select.POLLIN | (select.POLLOUT if is_full else 0))
        else:
            poll.register(self._reader, select.POLLIN)
            if is_full:
                poll.register(self._writer, select.POLLOUT)
        for descriptor, _ in poll.poll(timeout * 1000):
            if descriptor == self._wake_reader:
                os.read(self._wake_reader, PIECE)
            elif descriptor == self._stderr:
                self._listen()
        if is_full:
            with self._room:
                self._flush()

    def _listen(self) -> None:
        """Keeps the last of what a program says on its standard error."""
        if self._stderr is None:
            return
        try:
            said = os.read(self._stderr, PIECE)
        except BlockingIOError:
            return
        self.last_words = (self.last_words + said)[-LAST_WORDS:]
        if not said:
            self._stderr = None

    def _flush(self) -> None:
        """Sends what is taken. The lock is held."""
        try:
            while self._unsent:
                with memoryview(self._unsent)[:PIECE] as piece:
                    sent = os.write(self._writer, piece)
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        if len(self._unsent) < MOST_UNSENT:
            self._room.notify_all()

    def _wake(self) -> None:
        with self._room:
            if not self._is_closed:
                try:
                    os.write(self._wake_writer, b"\0")
                except BlockingIOError:
                    pass


class _Tls:
    """TLS between memory and memory, since one object of it must not be used by two threads at once."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def handshake(self, connection: socket.socket) -> None:
        """Over a socket that blocks, with a timeout."""
        while True:
            try:
                self.object.do_handshake()
                connection.sendall(self._outgoing.read())
                return
            except ssl.SSLWantReadError:
                connection.sendall(self._outgoing.read())
                data = connection.recv(PIECE)
                if not data:
                    raise ConnectionError("the server has ended the connection in the TLS handshake") from None
                self._incoming.write(data)

    def encrypt(self, data: bytes) -> bytes:
        if data:
            self.object.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        if not data:
            return b""
        self._incoming.write(data)
        plain = bytearray()
        try:
            while True:
                piece = self.object.read(PIECE)
                if not piece:
                    return bytes(plain)
                plain += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            return bytes(plain)


def open_stream(address: Address, timeout: float) -> Stream:
    """Connects, or starts the program."""
    try:
        if isinstance(address, Program):
            return _start(address)
        return _connect(address, timeout)
    except ConnectError:
        raise
    except OSError as error:
        raise ConnectError(f"{address.label}: {error}") from error


def _start(program: Program) -> Stream:
    # In a session of its own, so that a Ctrl-C in a terminal does not end it behind our back.
    child = subprocess.Popen(
        program.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.env,
        bufsize=0,
        start_new_session=True,
    )
    assert child.stdin and child.stdout and child.stderr
    stream = Stream(child.stdout.fileno(), child.stdin.fileno(), child.stderr.fileno())

    def end() -> None:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.close()
        try:
            child.wait(PROGRAM_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(PROGRAM_GRACE)
        stream._listen()
        child.stdout.close()
        child.stderr.close()

    stream._release.append(end)
    return stream


def _connect(endpoint: Endpoint, timeout: float) -> Stream:
    if endpoint.path:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(timeout)
    else:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout)
    try:
        tls = None
        if endpoint.path:
            connection.connect(endpoint.path)
            endpoint.check_owner(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = endpoint.tls()
        if context is not None:
            tls = _Tls(context, endpoint.host)
            tls.handshake(connection)
            endpoint.check_certificate(tls.object.getpeercert(binary_form=True))
    except BaseException:
        connection.close()
        raise
    stream = Stream(connection.fileno(), connection.fileno())
    stream._tls = tls
    stream._release.append(connection.close)
    return stream

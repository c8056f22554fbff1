"""What the tests share: servers under test, and a proxy that cuts connections."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

from exec_server._address import find_binary

# How long a test waits for what must come.
PATIENCE = 20.0

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT.parent.parent


class Server:
    """A server that listens, for as long as a test needs it."""

    def __init__(self, *options: str, unix: bool = False, listen: str = "ws://127.0.0.1:0") -> None:
        self.directory = tempfile.mkdtemp(prefix="exec-server-")
        if unix:
            listen = f"unix://{self.directory}/socket"
        self.child = subprocess.Popen(
            [find_binary(), "--listen", listen, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            start_new_session=True,
        )
        assert self.child.stdout
        self.url = self.child.stdout.readline().decode().strip()

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def close(self) -> None:
        self.kill()
        assert self.child.stdout
        self.child.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """Passes connections on to a server, and cuts them when it is told to."""

    def __init__(self, url: str) -> None:
        host, port = url[len("ws://") :].split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "ws://127.0.0.1:%d" % self._listener.getsockname()[1]
        self._pairs: List[List[socket.socket]] = []
        self._lock = threading.Lock()
        self.is_refusing = False
        # Nothing is passed on while this is clear.
        self.flows = threading.Event()
        self.flows.set()
        self.accepted = 0
        self._is_over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections at once, without a word."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        self._is_over = True
        # This wakes the thread that accepts; closing does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flows.set()
        self.cut()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.is_refusing:
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._lock:
                self._pairs.append([client, server])
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        ends = {client: server, server: client}
        try:
            while True:
                self.flows.wait()
                ready, _, _ = select.select(list(ends), [], [], 1.0)
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()


class InDirectory(unittest.TestCase):
    """A test with an empty directory of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="exec-server-test-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)


def within(what: str, condition: Callable[[], Any]) -> Any:
    """Waits until something is so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def resident(pid: Optional[int] = None) -> int:
    """The memory of a process in bytes."""
    pages = Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def can_confine() -> bool:
    """Whether this machine can confine a command at all."""
    tried = subprocess.run(
        [find_binary(), "run", "--sandbox", "read-only", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return tried.returncode == 0


def run(argv: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """A program of this machine, and what it says."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, **options)

# Made from _aio/session.py by tools/generate.py.
"""A session with a server: requests and their answers, the events of commands and watches, and lost connections.

One asyncio task reads the connection, and makes a new one when it is lost. It never waits for a caller: what a
caller does not read is held back by the server, which is told what was read (`process/acknowledge`).
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, TypeVar, Union, cast

from .. import wire
from .._address import Address
from .._events import Chunk, Events, Exit, Gap
from .._framing import Framing, ProtocolError, UpgradeRefused
from .._machine import Machine, native
from ..errors import (
    ConnectError,
    ConnectionLost,
    ExecServerError,
    Forgotten,
    InvalidRequest,
    NotFound,
    RequestError,
    RequestTimeout,
    SandboxClosed,
    refusal,
)
from ..types import WatchEvent
from ._io import Event, Mutex, Stream, join, open_stream, sleep, spawn

P = TypeVar("P")
R = TypeVar("R")

# Between two looks at how long the server has been silent.
TICK = 5.0
# A server that is silent for so long is asked for a sign of life, and is lost after the second time.
ASK_AFTER = 10.0
LOST_AFTER = 30.0
# A lost connection is made again within this time, unless something else is set; the server keeps a session for 90 s.
RECOVERY_WINDOW = 45.0
# The longest pause between two attempts.
RECOVERY_PAUSE = 2.0
# For the commands that are ended when the session is closed.
CLOSE_TIMEOUT = 5.0
# Acknowledges whatever is still to come.
ALL = (1 << 63) - 1
# Changes of a watch that nobody has read.
MOST_CHANGES = 4096


class LinkLost(Exception):
    """A connection has ended."""


class Link:
    """One connection: a stream, and how messages are carried on it."""

    def __init__(self, stream: Stream, framing: Framing) -> None:
        self.stream = stream
        self.framing = framing
        # Messages that came with the answer to the handshake.
        self.backlog: List[Dict[str, Any]] = []
        # What a program said that is no message.
        self.junk: List[bytes] = []
        self.is_established = False
        self.has_heard = False

    def send(self, message: bytes) -> None:
        """Sends a message; does not wait."""
        self.stream.write(self.framing.encode(message))

    def receive(self, timeout: float) -> List[Dict[str, Any]]:
        """The next messages; none when the time is up."""
        if self.backlog:
            messages, self.backlog = self.backlog, []
            return messages
        try:
            data = self.stream.read(timeout)
            self.has_heard = data is not None
            if data is None:
                return []
            if not data:
                raise LinkLost("the connection was closed")
            try:
                raw = self.framing.feed(data)
            finally:
                replies = self.framing.replies()
                if replies:
                    self.stream.write(replies)
        except (OSError, ProtocolError) as error:
            raise LinkLost(str(error)) from error
        messages = []
        for text in raw:
            try:
                message = json.loads(text)
            except ValueError:
                message = None
            if isinstance(message, dict):
                messages.append(message)
            elif self.is_established:
                raise LinkLost(f"the server sent what is no message: {text[:200]!r}")
            else:
                self.junk = (self.junk + [text[:200]])[-5:]
        return messages

    def answer(self, id: int, deadline: float) -> Dict[str, Any]:
        """The answer to a request of the handshake."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise LinkLost("the server did not answer in time")
            messages = self.receive(left)
            for at, message in enumerate(messages):
                if message.get("id") == id and "method" not in message:
                    self.backlog = messages[at + 1 :]
                    return message

    def close(self, says_goodbye: bool = False) -> None:
        """Ends the connection."""
        if says_goodbye:
            try:
                self.stream.write(self.framing.closing())
            except OSError:
                pass
        self.stream.close()


class Pending:
    """A request that has no answer yet."""

    def __init__(self, message: bytes, repeats: bool, then: Optional[Callable[[Any], None]]) -> None:
        self.message = message
        # Doing it twice is the same as doing it once.
        self.repeats = repeats
        self.then = then
        self.is_sent = False
        # It was sent on an earlier connection, too.
        self.was_repeated = False
        self.done = Event()
        self.result: Any = None
        self.error: Optional[ExecServerError] = None

    def finish(self, result: Any, error: Optional[ExecServerError]) -> None:
        """The answer has come, or never will."""
        self.result, self.error = result, error
        self.done.set()


class OutputQueue:
    """The output of one command, for whoever reads it: one at a time."""

    def __init__(self, session: Session, id: str) -> None:
        self.id = id
        self.events = Events(session.machine.has("process/acknowledge"))
        self.wake = Event()
        self.failure: Optional[ExecServerError] = None
        self._session = session

    def next(self, deadline: Optional[float]) -> Union[Chunk, Gap, None]:
        """The next piece, or nothing when all has been read that will ever come."""
        while True:
            with self._session.mutex:
                event = self.events.next()
                seq = self.events.acknowledgement()
                is_over = event is None and self.events.is_closed
                if event is None:
                    self.wake.clear()
                if is_over:
                    self._session.queues.pop(self.id, None)
            if seq is not None:
                self._session.tell("process/acknowledge", {"processId": self.id, "seq": seq})
            if event is not None or is_over:
                return event
            if self.failure is not None:
                raise self.failure
            left = None if deadline is None else deadline - time.monotonic()
            if not (left is None or left > 0) or not self.wake.wait(left):
                raise RequestTimeout("the command has not ended in time")


class Changes:
    """The changes in a directory that is watched."""

    def __init__(self, session: Session, id: str, params: wire.FsWatchParams) -> None:
        self.id = id
        self.params = params
        self.events: Deque[WatchEvent] = deque()
        self.wake = Event()
        self.failure: Optional[ExecServerError] = None
        self.is_stopped = False
        self._session = session

    def add(self, event: WatchEvent) -> None:
        """One more change. Where too many wait, they become one that says so."""
        if len(self.events) >= MOST_CHANGES:
            self.events.clear()
            event = WatchEvent("overflow")
        self.events.append(event)
        self.wake.set()

    def take(self) -> List[WatchEvent]:
        """All that wait."""
        with self._session.mutex:
            events = list(self.events)
            self.events.clear()
        return events

    def next(self, timeout: Optional[float]) -> Optional[WatchEvent]:
        """The next change; nothing when the watch is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._session.mutex:
                if self.events:
                    return self.events.popleft()
                if self.is_stopped:
                    return None
                self.wake.clear()
            if self.failure is not None:
                raise self.failure
            left = None if deadline is None else deadline - time.monotonic()
            if not (left is None or left > 0) or not self.wake.wait(left):
                raise RequestTimeout("nothing has changed in that time")


class Session:
    """A session, over as many connections as it takes."""

    def __init__(self, address: Address, *, name: str, connect_timeout: float, request_timeout: float) -> None:
        self.address = address
        self.machine = Machine(None)
        self.id: Optional[str] = None
        self.request_timeout = request_timeout
        self.recovery_window = RECOVERY_WINDOW
        self.mutex = Mutex()
        self.queues: Dict[str, OutputQueue] = {}
        self.watches: Dict[str, Changes] = {}
        # Commands whose handles were thrown away; their output is not wanted any more.
        self.dropped: Deque[str] = deque()
        # Counts connections, since open files belong to one.
        self.connection = 0
        self._name = name
        self._connect_timeout = connect_timeout
        self._link: Optional[Link] = None
        self._pending: Dict[int, Pending] = {}
        self._last_id = 1
        self._failure: Optional[ExecServerError] = None
        self._is_closing = False
        self._is_ended = Event()
        self._process = os.getpid()
        self._reader: Any = None

    # Requests.

    def call(
        self,
        method: wire.Method[P, R],
        params: P,
        *,
        timeout: Optional[float] = -1.0,
        repeats: bool = False,
    ) -> R:
        """Makes a request and gives its result. Without a timeout it waits until the connection ends.

        With ``repeats`` it is made again on the next connection if one is lost: only for what makes no difference when
        it is done twice.
        """
        pending = self.begin(method, params, repeats=repeats)
        return cast(R, self.end(pending, timeout))

    def begin(self, method: wire.Method[P, R], params: P, *, repeats: bool = False) -> Pending:
        """Sends a request without waiting for its answer."""
        pending = self.post(method.name, params, repeats)
        link = self._link
        if link is not None:
            link.stream.drain(self.request_timeout)
        return pending

    def end(self, pending: Pending, timeout: Optional[float] = -1.0) -> Any:
        """Waits for the answer to what was begun."""
        limit = self.request_timeout if timeout == -1.0 else timeout
        if not pending.done.wait(limit):
            raise RequestTimeout(f"the server has not answered within {limit:g} s")
        if pending.error is not None:
            raise pending.error
        return pending.result

    def post(
        self, method: str, params: Any, repeats: bool = False, then: Optional[Callable[[Any], None]] = None
    ) -> Pending:
        """Sends a request now, or on the next connection if there is none at the moment."""
        if os.getpid() != self._process:
            raise ExecServerError("this Sandbox belongs to the process before fork(); make one of your own")
        with self.mutex:
            if self._failure is not None:
                raise self._failure
            self._last_id += 1
            message = json.dumps({"id": self._last_id, "method": method, "params": params}, separators=(",", ":"))
            pending = Pending(message.encode("ascii"), repeats, then)
            self._pending[self._last_id] = pending
            self._send(pending)
        return pending

    def tell(self, method: str, params: Any) -> None:
        """Sends a request whose answer nobody needs, if there is a connection."""
        try:
            with self.mutex:
                if self._link is not None:
                    self._last_id += 1
                    message = {"id": self._last_id, "method": method, "params": params}
                    self._link.send(json.dumps(message, separators=(",", ":")).encode("ascii"))
        except OSError:
            pass

    def _send(self, pending: Pending) -> None:
        if self._link is None:
            return
        try:
            self._link.send(pending.message)
            pending.is_sent = True
        except OSError:
            # The reader notices it, too, and makes a new connection.
            pass

    # Commands and watches.

    def open_queue(self, id: str) -> OutputQueue:
        """Makes the place for the output of a command that is about to be started."""
        queue = OutputQueue(self, id)
        with self.mutex:
            if self._failure is not None:
                raise self._failure
            self.queues[id] = queue
        return queue

    def discard(self, id: str) -> None:
        """Throws away what a command has written and will write; it is never held up by that."""
        with self.mutex:
            queue = self.queues.get(id)
            if queue is None or queue.events.is_discarded:
                return
            queue.events.discard()
            queue.wake.set()
        self.tell("process/acknowledge", {"processId": id, "seq": ALL})

    def read_again(self, queue: OutputQueue) -> None:
        """Asks for what a command has written while there was no connection."""
        self.post(
            "process/read",
            {"processId": queue.id, "afterSeq": queue.events.known},
            repeats=True,
            then=lambda reply: self._merge(queue, reply),
        )
        if queue.events.is_discarded:
            self.tell("process/acknowledge", {"processId": queue.id, "seq": ALL})

    def _merge(self, queue: OutputQueue, reply: Any) -> None:
        if isinstance(reply, ExecServerError):
            queue.failure = queue.failure or reply
        else:
            queue.events.merge(reply)
        queue.wake.set()

    def _watch_again(self, watch: Changes) -> None:
        """Watches a directory on the next connection."""

        def then(reply: Any) -> None:
            if isinstance(reply, ExecServerError):
                watch.failure = reply
            # What has changed meanwhile nobody has seen.
            watch.add(WatchEvent("overflow"))

        self.post("fs/watch", watch.params, repeats=True, then=then)

    # The connection.

    def has_another_connection(self, number: int) -> bool:
        """Whether the connection of this number was lost, and there is, or soon will be, the next one."""
        if self.connection != number:
            return True
        if self._link is not None:
            return False
        # Anything that is answered on the next connection.
        self.call(wire.ENVIRONMENT_STATUS, wire.EnvironmentStatusParams(), repeats=True)
        return self.connection != number

    def open(self, resume: Optional[str] = None) -> None:
        """Makes the first connection."""
        self._link = self._attach(time.monotonic() + self._connect_timeout, resume)
        self._reader = spawn(self._serve, "exec-server")

    def close(self, kill: bool = True) -> None:
        """Ends the session. Unless told otherwise, everything that runs in it is killed first."""
        with self.mutex:
            if self._is_closing or os.getpid() != self._process:
                return
            self._is_closing = True
        try:
            if kill and self._failure is None:
                self._kill_all()
        except ExecServerError:
            pass
        finally:
            link = self._link
            self._fail(SandboxClosed("the Sandbox is closed"))
            if link is not None:
                try:
                    link.stream.write(link.framing.closing())
                except OSError:
                    pass
                link.stream.stop()
            self._is_ended.set()
            join(self._reader, CLOSE_TIMEOUT + 5)

    def _kill_all(self) -> None:
        ids = set(self.queues)
        if self.machine.has("process/list"):
            reply = self.call(wire.PROCESS_LIST, wire.ProcessListParams(), timeout=CLOSE_TIMEOUT)
            ids.update(it["processId"] for it in reply["processes"])
        deadline = time.monotonic() + CLOSE_TIMEOUT
        answers = [self.post("process/terminate", {"processId": id}) for id in ids]
        for answer in answers:
            answer.done.wait(max(deadline - time.monotonic(), 0.0))

    def _attach(self, deadline: float, resume: Optional[str]) -> Link:
        """Connects and introduces us."""
        label = self.address.label
        stream = open_stream(self.address, max(deadline - time.monotonic(), 0.1))
        link = Link(stream, self.address.framing())
        try:
            stream.write(link.framing.opening())
            while not link.framing.is_open:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LinkLost("the server did not answer in time")
                link.backlog += link.receive(left)
            params: Dict[str, Any] = {"clientName": self._name}
            if resume is not None:
                params["resumeSessionId"] = resume
            link.send(json.dumps({"id": 1, "method": "initialize", "params": params}).encode("ascii"))
            answer = link.answer(1, deadline)
            if "error" in answer:
                raise refusal(answer["error"])
            result = answer["result"]
            self.id = result.get("sessionId")
            self.machine = Machine(result.get("environmentInfo"))
            link.send(b'{"method":"initialized","params":{}}')
            link.is_established = True
            self.connection += 1
            return link
        except UpgradeRefused as error:
            link.close()
            advice = "\nthe token is given by token=, or in EXEC_SERVER_TOKEN" if error.status == 401 else ""
            raise ConnectError(f"{label}: the server refuses: {error}{advice}") from error
        except RequestError:
            link.close()
            raise
        except (LinkLost, OSError) as error:
            link.close()
            said = stream.last_words.decode("utf-8", "replace").strip()
            junk = b"\n".join(link.junk).decode("utf-8", "replace")
            more = "".join(f"\n{text}" for text in (junk, said) if text)
            raise ConnectError(f"{label}: {error}{more}") from error
        except BaseException:
            link.close()
            raise

    def _serve(self) -> None:
        """Reads connection after connection. Runs on a thread or task of its own."""
        why: Optional[ExecServerError] = None
        link = self._link
        while link is not None:
            try:
                self._read(link)
            except LinkLost as error:
                said = link.stream.last_words.decode("utf-8", "replace").strip()
                why = ConnectionLost(f"{self.address.label}: {error}" + (f"\n{said}" if said else ""))
            except Exception as error:  # A server that sends nonsense must not leave anybody waiting.
                why = ConnectionLost(f"{self.address.label}: {error!r}")
            with self.mutex:
                self._link = None
            link.close()
            link = None
            if not self._is_closing and self._failure is None and self.address.can_resume:
                try:
                    link = self._recover(str(why))
                except ExecServerError as error:
                    why = error
        self._fail(why or SandboxClosed("the Sandbox is closed"))

    def _read(self, link: Link) -> None:
        """Reads one connection to its end."""
        silent = 0.0
        looked = time.monotonic()
        is_asked = False
        unsent = 0
        while not self._is_ended.is_set():
            messages = link.receive(TICK)
            now = time.monotonic()
            if link.has_heard or link.stream.unsent() != unsent:
                silent, is_asked = 0.0, False
            else:
                # A program that was stopped for an hour could hear nothing in that time.
                silent += min(now - looked, TICK + 1)
            looked, unsent = now, link.stream.unsent()
            if silent >= LOST_AFTER:
                raise LinkLost(f"the server has been silent for {silent:.0f} s")
            if silent >= ASK_AFTER and not is_asked:
                is_asked = True
                self.tell("environment/status", {})
            for message in messages:
                self._take(message)
            while self.dropped:
                self.discard(self.dropped.popleft())

    def _recover(self, why: str) -> Link:
        """Takes the session up again on a new connection."""
        with self.mutex:
            for id, pending in list(self._pending.items()):
                if pending.is_sent and not pending.repeats:
                    del self._pending[id]
                    lost = f"{why}\nthe connection was lost; whether the request was carried out is not known"
                    pending.finish(None, ConnectionLost(lost))
                pending.was_repeated = pending.was_repeated or pending.is_sent
                pending.is_sent = False
        deadline = time.monotonic() + self.recovery_window
        pause = 0.05
        while True:
            try:
                link = self._attach(min(deadline, time.monotonic() + self._connect_timeout), self.id)
                break
            except (Forgotten, InvalidRequest, NotFound) as error:
                raise ConnectionLost(f"{why}\nthe session is over: {error}") from error
            except (ConnectError, RequestError) as error:
                if time.monotonic() + pause > deadline:
                    raise ConnectionLost(f"{why}\nnot reached again: {error}") from error
            if self._is_ended.wait(pause):
                raise SandboxClosed("the Sandbox is closed")
            pause = min(2 * pause, RECOVERY_PAUSE)
        with self.mutex:
            self._link = link
            # What was asked for the last connection is asked again below.
            self._pending = {id: pending for id, pending in self._pending.items() if pending.then is None}
            for pending in self._pending.values():
                self._send(pending)
            for queue in list(self.queues.values()):
                if not queue.events.is_closed:
                    self.read_again(queue)
            for watch in list(self.watches.values()):
                self._watch_again(watch)
        return link

    def _fail(self, why: ExecServerError) -> None:
        """Nothing more will come: wakes everybody who waits."""
        with self.mutex:
            self._failure = self._failure or why
            self._link = None
            pending, self._pending = list(self._pending.values()), {}
            for queue in self.queues.values():
                queue.failure = queue.failure or why
                queue.wake.set()
            for watch in self.watches.values():
                watch.failure = watch.failure or why
                watch.wake.set()
        for each in pending:
            each.finish(None, why)

    # What the server says.

    def _take(self, message: Dict[str, Any]) -> None:
        method = message.get("method")
        if method is not None:
            with self.mutex:
                self._notice(str(method), message.get("params") or {})
            return
        id = message.get("id")
        error = refusal(message["error"]) if "error" in message else None
        if id == -1 and error is not None and "resumed by another connection" in str(error):
            with self.mutex:
                self._failure = ConnectionLost(str(error))
            return
        with self.mutex:
            pending = self._pending.pop(id, None) if isinstance(id, int) else None
            if pending is None:
                return
            result = message.get("result")
            if pending.then is not None:
                pending.then(error or result)
        pending.finish(result, error)

    def _notice(self, method: str, params: Dict[str, Any]) -> None:
        """A notification. The lock is held."""
        if method == "fs/changed":
            watch = self.watches.get(str(params.get("watchId")))
            if watch is not None:
                for change in params.get("changes") or ():
                    watch.add(
                        WatchEvent(
                            change["kind"],
                            native(change["path"]),
                            native(change["from"]) if change.get("from") else None,
                            bool(change.get("isDirectory")),
                        )
                    )
                if params.get("overflow"):
                    watch.add(WatchEvent("overflow"))
            return
        queue = self.queues.get(str(params.get("processId")))
        if queue is None:
            return
        if method == "process/output":
            queue.events.output(int(params["seq"]), str(params["stream"]), base64.b64decode(params["chunk"]))
        elif method == "process/exited":
            queue.events.exited(int(params["seq"]), Exit.of(params))
        elif method == "process/closed":
            queue.events.closed(int(params["seq"]))
        if queue.events.is_closed and queue.events.is_discarded:
            self.queues.pop(queue.id, None)
        queue.wake.set()


def fresh_name() -> str:
    """A name that no command, file or watch of a session has, whoever else uses it."""
    return uuid.uuid4().hex[:24]

"""The events of one command, in the order of their numbers, however they have come."""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Deque, Dict, List, Optional, Tuple, Union

# How much is consumed before the server is told that it may forget it.
ACKNOWLEDGE_EVERY = 256 * 1024
# What may wait here of a server that takes no acknowledgements. One that does makes the command wait instead, from 4 MiB
# on unless it was told otherwise.
MOST_UNREAD = 16 * 1024 * 1024


@dataclass(frozen=True)
class Chunk:
    """A piece of output as it came."""

    stream: str
    data: bytes


@dataclass(frozen=True)
class Gap:
    """So many pieces of output are lost."""

    pieces: int


@dataclass(frozen=True)
class Exit:
    """How a command has ended."""

    code: int
    signal: Optional[str] = None
    timed_out: bool = False
    oom_killed: bool = False
    sandbox_denied: bool = False
    denial: Dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Any) -> Exit:
        """From the members of `process/exited` or of the answer to `process/read`."""
        code = facts.get("exitCode")
        return cls(
            code=code if isinstance(code, int) else -1,
            signal=facts.get("signal"),
            timed_out=bool(facts.get("timedOut")),
            oom_killed=bool(facts.get("oomKilled")),
            sandbox_denied=bool(facts.get("sandboxDenied")),
            denial=facts.get("sandboxDenial") or {},
        )


class Events:
    """What has come of a command and was not read yet. Whoever owns it keeps other threads out."""

    def __init__(self, is_acknowledged: bool) -> None:
        self.is_acknowledged = is_acknowledged
        self.exit: Optional[Exit] = None
        # Whether everything is here that will ever come.
        self.is_closed = False
        # Nobody wants the output.
        self.is_discarded = False
        # The number up to which everything was read by the caller.
        self.consumed = 0
        self._ready: Deque[Tuple[int, Union[Chunk, Gap]]] = deque()
        self._ready_bytes = 0
        # What has come behind something that is missing.
        self._ahead: Dict[int, Optional[Chunk]] = {}
        self._closing: Optional[int] = None
        # The number up to which everything is here.
        self.known = 0
        self._unacknowledged = 0
        self._acknowledged = 0

    def output(self, seq: int, stream: str, data: bytes) -> None:
        """A piece of output."""
        self._accept(seq, Chunk(stream, data))

    def exited(self, seq: int, exit: Exit) -> None:
        """The command has ended."""
        self.exit = self.exit or exit
        self._accept(seq, None)

    def closed(self, seq: int) -> None:
        """Nothing comes behind this number."""
        self._closing = seq
        self._accept(seq, None)

    def merge(self, reply: Any) -> None:
        """Takes the answer to a `process/read` of all behind ``known``, which settles what has become of the rest."""
        last = int(reply["nextSeq"]) - 1
        told = {int(chunk["seq"]): chunk for chunk in reply["chunks"]}
        here = set(told) | set(self._ahead)
        missing = [seq for seq in range(self.known + 1, last + 1) if seq not in here]
        # The exit and the end have numbers that a read does not tell.
        silent = 0
        if reply.get("exited") and self.exit is None:
            self.exit = Exit.of(reply)
            silent += 1
        if reply.get("closed") and self._closing is None:
            self._closing = last
            silent += 1
        lost = len(missing) - silent
        if lost > 0:
            self._ready.append((self.known, Gap(lost)))
        for seq, chunk in told.items():
            # What has come by notifications meanwhile is not needed again.
            if seq > self.known:
                self._ahead.setdefault(seq, Chunk(str(chunk["stream"]), base64.b64decode(chunk["chunk"])))
        for seq in missing:
            self._ahead[seq] = None
        self._advance()

    def next(self) -> Union[Chunk, Gap, None]:
        """The next event that was not read yet, if there is one."""
        if not self._ready:
            if self.is_closed:
                self.consumed = self.known
            return None
        seq, event = self._ready.popleft()
        self.consumed = max(self.consumed, seq)
        if isinstance(event, Chunk):
            self._ready_bytes -= len(event.data)
            self._unacknowledged += len(event.data)
        return event

    def discard(self) -> None:
        """Nobody wants the output any more."""
        self.is_discarded = True
        self._ready.clear()
        self._ready_bytes = 0

    def acknowledgement(self) -> Optional[int]:
        """The number that the server should be told now, if any."""
        if not self.is_acknowledged or self.is_discarded:
            return None
        is_over = self.is_closed and not self._ready
        if is_over:
            self.consumed = self.known
        if self._acknowledged < self.consumed and (is_over or self._unacknowledged >= ACKNOWLEDGE_EVERY):
            self._acknowledged = self.consumed
            self._unacknowledged = 0
            return self.consumed
        return None

    def _accept(self, seq: int, chunk: Optional[Chunk]) -> None:
        if seq <= self.known:
            return
        self._ahead.setdefault(seq, chunk)
        self._advance()

    def _advance(self) -> None:
        """Moves what is in its turn to what can be read."""
        while self.known + 1 in self._ahead:
            self.known += 1
            chunk = self._ahead.pop(self.known)
            if chunk is not None and not self.is_discarded:
                self._ready.append((self.known, chunk))
                self._ready_bytes += len(chunk.data)
        if not self.is_acknowledged:
            self._limit()
        if self._closing is not None and self.known >= self._closing:
            self.is_closed = True
            self._ahead.clear()

    def _limit(self) -> None:
        """Drops the oldest where too much waits, and says so."""
        lost: List[Gap] = []
        while self._ready_bytes > MOST_UNREAD:
            seq, event = self._ready.popleft()
            self.consumed = max(self.consumed, seq)
            if isinstance(event, Chunk):
                self._ready_bytes -= len(event.data)
                lost.append(Gap(1))
            else:
                lost.append(event)
        if lost:
            self._ready.appendleft((self.consumed, Gap(sum(gap.pieces for gap in lost))))

"""What is kept of the output of a command, within a limit, and its text."""

from __future__ import annotations

import codecs


class Capture:
    """The first and the last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit, 0) // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.omitted = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, data: bytes) -> None:
        """Keeps what fits."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Cut now and then, and not for each piece.
        if len(self._tail) > 2 * self._half + 65536:
            self._cut()

    def decode(self, data: bytes, is_last: bool = False) -> str:
        """The text of this piece; the beginning of a character waits for its end."""
        return self._decoder.decode(data, is_last)

    def data(self) -> bytes:
        """All that is kept."""
        self._cut()
        return bytes(self._head + self._tail)

    def text(self) -> str:
        """The same as UTF-8, with a line where something is missing."""
        self._cut()
        if not self.omitted:
            return bytes(self._head + self._tail).decode("utf-8", "replace")
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return f"{head}\n[... {self.omitted} bytes left out ...]\n{tail}"

    def _cut(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self.omitted += excess

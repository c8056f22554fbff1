"""Messages in bytes and bytes in messages: lines, and websocket frames (RFC 6455). No input or output is done here."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from typing import List, Optional, Protocol, Tuple

# A longer message from the server is an error: it sends at most 64 MiB.
LARGEST_MESSAGE = 96 * 1024 * 1024
# Of the answer to the request to upgrade.
LARGEST_HEAD = 64 * 1024

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class ProtocolError(Exception):
    """The other side has broken the rules, or has ended the connection by them."""


class UpgradeRefused(Exception):
    """The answer to the request to upgrade was not 101."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.text = text


class Framing(Protocol):
    """How messages are carried."""

    is_open: bool

    def opening(self) -> bytes:
        """What has to be sent first."""

    def feed(self, data: bytes) -> List[bytes]:
        """Takes bytes that have come, and gives the messages that are complete."""

    def encode(self, message: bytes) -> bytes:
        """A message as it is sent."""

    def replies(self) -> bytes:
        """What the framing itself has to send, such as the answer to a ping. Empty when there is nothing."""

    def closing(self) -> bytes:
        """What is sent last."""


class Lines:
    """One message a line."""

    is_open = True

    def __init__(self) -> None:
        self._rest = bytearray()

    def opening(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> List[bytes]:
        # What has no line end yet is not searched again.
        searched = len(self._rest)
        self._rest += data
        end = self._rest.rfind(b"\n", searched)
        if end < 0:
            if len(self._rest) > LARGEST_MESSAGE:
                raise ProtocolError("the server has sent a line without an end")
            return []
        lines = bytes(self._rest[:end]).split(b"\n")
        del self._rest[: end + 1]
        return [line for line in lines if line.strip()]

    def encode(self, message: bytes) -> bytes:
        return message + b"\n"

    def replies(self) -> bytes:
        return b""

    def closing(self) -> bytes:
        return b""


class WebSocket:
    """The client's side of a websocket: the upgrade, masked frames, fragments, pings, the close handshake."""

    def __init__(self, host: str, path: str = "/", token: Optional[str] = None) -> None:
        self.is_open = False
        self._key = base64.b64encode(os.urandom(16))
        self._head = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {self._key.decode()}",
        ]
        if token is not None:
            self._head.append(f"Authorization: Bearer {token}")
        self._rest = bytearray()
        self._message: Optional[bytearray] = None
        self._replies = bytearray()

    def opening(self) -> bytes:
        return ("\r\n".join(self._head) + "\r\n\r\n").encode("utf-8")

    def feed(self, data: bytes) -> List[bytes]:
        self._rest += data
        if not self.is_open and not self._upgraded():
            return []
        messages: List[bytes] = []
        while True:
            frame = self._frame()
            if frame is None:
                return messages
            message = self._take(*frame)
            if message is not None:
                messages.append(message)

    def encode(self, message: bytes) -> bytes:
        return _frame(_TEXT, message)

    def replies(self) -> bytes:
        replies, self._replies = bytes(self._replies), bytearray()
        return replies

    def closing(self) -> bytes:
        return _frame(_CLOSE, struct.pack("!H", 1000)) if self.is_open else b""

    def _upgraded(self) -> bool:
        """Reads the answer to the upgrade; false while it is not complete."""
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > LARGEST_HEAD:
                raise ProtocolError("the answer to the upgrade has no end")
            return False
        lines = bytes(self._rest[:end]).decode("latin-1").split("\r\n")
        body = bytes(self._rest[end + 4 :])
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise ProtocolError("no web server answers there")
        if words[1] != "101":
            text = body.decode("utf-8", "replace").strip() or words[-1]
            raise UpgradeRefused(int(words[1]), text[:1000])
        headers = {name.strip().lower(): value.strip() for name, _, value in (it.partition(":") for it in lines[1:])}
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID).digest()).decode()
        if headers.get("sec-websocket-accept") != accept or headers.get("upgrade", "").lower() != "websocket":
            raise ProtocolError("the answer to the upgrade does not fit the request")
        if "sec-websocket-extensions" in headers or "sec-websocket-protocol" in headers:
            raise ProtocolError("the server has chosen an extension that it was not offered")
        del self._rest[: end + 4]
        self.is_open = True
        return True

    def _frame(self) -> Optional[Tuple[int, bool, bytes]]:
        """The next complete frame: what it is, whether it ends its message, and its bytes."""
        rest = self._rest
        if len(rest) < 2:
            return None
        first, second = rest[0], rest[1]
        kind, is_last = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise ProtocolError("a frame has bits of an extension")
        if second & 0x80:
            raise ProtocolError("a frame of the server is masked")
        size, begin = second & 0x7F, 2
        if size == 126:
            begin = 4
        elif size == 127:
            begin = 10
        if len(rest) < begin:
            return None
        if begin > 2:
            size = int.from_bytes(rest[2:begin], "big")
        if kind >= _CLOSE and (size > 125 or not is_last):
            raise ProtocolError("a control frame is too long or in pieces")
        if size > LARGEST_MESSAGE:
            raise ProtocolError(f"a frame of {size} bytes is too large")
        if len(rest) < begin + size:
            return None
        payload = bytes(rest[begin : begin + size])
        del rest[: begin + size]
        return kind, is_last, payload

    def _take(self, kind: int, is_last: bool, payload: bytes) -> Optional[bytes]:
        """Handles a frame, and gives the message that it completes."""
        if kind == _PING:
            self._replies += _frame(_PONG, payload)
            return None
        if kind == _PONG:
            return None
        if kind == _CLOSE:
            self._replies += _frame(_CLOSE, payload[:2])
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            reason = payload[2:].decode("utf-8", "replace")
            raise ProtocolError(f"the server has closed the websocket with code {code}" + (reason and f": {reason}"))
        if kind in (_TEXT, _BINARY):
            if self._message is not None:
                raise ProtocolError("a message begins inside another")
            if is_last:
                return payload
            self._message = bytearray(payload)
            return None
        if kind != _CONTINUATION or self._message is None:
            raise ProtocolError(f"a frame of kind {kind} makes no sense here")
        self._message += payload
        if len(self._message) > LARGEST_MESSAGE:
            raise ProtocolError("a message is too large")
        if not is_last:
            return None
        message, self._message = bytes(self._message), None
        return message


def _frame(kind: int, payload: bytes) -> bytes:
    """A whole masked frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
    mask = os.urandom(4)
    # One exclusive-or of two large numbers is the fastest way without a module in C.
    repeated = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")
    return head + mask + masked

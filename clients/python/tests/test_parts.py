"""The parts that need no server."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
import unittest
from pathlib import Path
from typing import Any, List, Optional

from exec_server import KINDS, ConnectError, OutputLost, RequestError, Sandbox, errors
from exec_server._address import Endpoint, Program, resolve
from exec_server._capture import Capture
from exec_server._events import Chunk, Events, Exit, Gap
from exec_server._framing import Lines, ProtocolError, UpgradeRefused, WebSocket
from exec_server._machine import Machine
from exec_server.types import Policy

from .support import PROJECT, ROOT, InDirectory, Server, run


class Generated(unittest.TestCase):
    def test_what_is_generated_is_up_to_date(self) -> None:
        result = run([sys.executable, str(ROOT / "tools" / "generate.py"), "--check"])
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_every_module_is_python_3_9(self) -> None:
        for path in sorted((ROOT / "src").rglob("*.py")):
            ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))


class Errors(unittest.TestCase):
    def test_the_kinds_are_those_of_the_protocol(self) -> None:
        text = (PROJECT / "PROTOCOL.md").read_text("utf-8")
        table = text[text.index("| `kind` | when |") :].split("\n\n")[0]
        kinds = [kind for row in table.splitlines()[2:] for kind in re.findall(r"`(\w+)`", row.split("|")[1])]
        self.assertEqual(sorted(kinds), sorted(KINDS))

    def test_an_error_says_all_that_the_server_told(self) -> None:
        data = {"kind": "notFound", "path": "/gone", "hint": "look elsewhere"}
        error = errors.refusal({"code": -32004, "message": "No such file", "data": data})
        self.assertIsInstance(error, FileNotFoundError)
        self.assertEqual(str(error), "/gone: No such file\nlook elsewhere")
        self.assertEqual((error.code, error.kind, error.path), (-32004, "notFound", "/gone"))
        self.assertIs(type(errors.refusal({"code": -32000, "message": "full"})), errors.Busy)
        for nonsense in (None, 5, {}, {"code": "x", "data": []}, {"data": {"kind": "new"}, "code": 1}):
            self.assertIs(type(errors.refusal(nonsense)), RequestError)


def accepted(socket: WebSocket) -> bytes:
    """A good answer to the request to upgrade."""
    key = re.findall(rb"Sec-WebSocket-Key: (.*)\r\n", socket.opening())[0]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def frame(kind: int, payload: bytes, is_last: bool = True, masked: bool = False) -> bytes:
    """A frame as a server sends it."""
    first = kind | (0x80 if is_last else 0)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, size | (0x80 if masked else 0))
    elif size < 65536:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def unmasked(data: bytes) -> bytes:
    """The payload of a short frame of a client."""
    mask, payload = data[2:6], data[6:]
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Framing(unittest.TestCase):
    def opened(self) -> WebSocket:
        link = WebSocket("localhost")
        self.assertEqual(link.feed(accepted(link)), [])
        self.assertTrue(link.is_open)
        return link

    def test_messages_come_however_they_are_cut(self) -> None:
        long = os.urandom(70000)
        stream = (
            frame(1, b"one")
            + frame(1, b"t", is_last=False)
            + frame(9, b"ping")
            + frame(0, b"wo")
            + frame(2, long)
            + frame(10, b"")
            + frame(1, b"x" * 200)
        )
        for step in (1, 2, 7, 1000, len(stream)):
            link = self.opened()
            messages: List[bytes] = []
            for begin in range(0, len(stream), step):
                messages += link.feed(stream[begin : begin + step])
            self.assertEqual(messages, [b"one", b"two", long, b"x" * 200])
            reply = link.replies()
            self.assertEqual((reply[0], unmasked(reply)), (0x8A, b"ping"))
            self.assertEqual(link.replies(), b"")

    def test_what_is_sent_is_masked(self) -> None:
        link = self.opened()
        sent = link.encode(b"hello")
        self.assertEqual((sent[0], sent[1], unmasked(sent)), (0x81, 0x85, b"hello"))
        self.assertEqual(link.encode(b"x" * 126)[1:4], b"\xfe\x00\x7e")
        self.assertEqual(link.encode(b"x" * 65536)[1:10], b"\xff" + struct.pack("!Q", 65536))
        self.assertEqual(unmasked(link.closing()), struct.pack("!H", 1000))

    def test_a_broken_stream_is_an_error(self) -> None:
        for wrong in (
            frame(1, b"x", masked=True),
            b"\xc1\x00",
            frame(3, b""),
            frame(0, b"x"),
            frame(1, b"x", is_last=False) + frame(1, b"y"),
            frame(9, b"x" * 126),
            frame(9, b"x", is_last=False),
            struct.pack("!BBQ", 0x81, 127, 1 << 40),
            frame(8, struct.pack("!H", 1001) + b"bye"),
        ):
            with self.assertRaises(ProtocolError):
                self.opened().feed(wrong)

    def test_a_refused_upgrade_says_why(self) -> None:
        link = WebSocket("localhost", token="secret")
        self.assertIn(b"\r\nAuthorization: Bearer secret\r\n", link.opening())
        with self.assertRaises(UpgradeRefused) as caught:
            link.feed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nno!\n")
        self.assertEqual((caught.exception.status, caught.exception.text), (401, "no!"))
        for wrong in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", b"x" * 70000):
            with self.assertRaises(ProtocolError):
                WebSocket("localhost").feed(wrong)

    def test_lines_come_however_they_are_cut(self) -> None:
        stream = b'{"a":1}\n\r\n{"b":2}\r\n{"c'
        for step in (1, 3, 100):
            lines, messages = Lines(), []
            for begin in range(0, len(stream), step):
                messages += lines.feed(stream[begin : begin + step])
            self.assertEqual([json.loads(message) for message in messages], [{"a": 1}, {"b": 2}])


class Numbered(unittest.TestCase):
    def everything(self, events: Events) -> List[Any]:
        return list(iter(events.next, None))

    def reply(self, next_seq: int, chunks: List[Any], **more: Any) -> Any:
        rows = [{"seq": seq, "stream": "stdout", "chunk": base64.b64encode(data).decode()} for seq, data in chunks]
        return {"nextSeq": next_seq, "chunks": rows, **more}

    def test_events_come_in_order_and_once(self) -> None:
        events = Events(True)
        events.closed(4)
        events.output(2, "stdout", b"two")
        self.assertEqual(self.everything(events), [])
        events.output(1, "stdout", b"one")
        events.output(1, "stdout", b"again")
        self.assertEqual(self.everything(events), [Chunk("stdout", b"one"), Chunk("stdout", b"two")])
        events.exited(3, Exit(0))
        self.assertTrue(events.is_closed)
        self.assertIsNone(events.next())
        self.assertEqual(events.acknowledgement(), 4)

    def test_a_read_fills_what_is_missing(self) -> None:
        events = Events(True)
        events.output(1, "stdout", b"a")
        events.output(3, "stdout", b"c")
        events.merge(self.reply(6, [(2, b"b"), (3, b"c")], exited=True, exitCode=7, closed=True))
        self.assertEqual(b"".join(it.data for it in self.everything(events)), b"abc")
        self.assertTrue(events.is_closed)
        self.assertEqual(events.exit and events.exit.code, 7)

    def test_what_is_lost_is_told(self) -> None:
        events = Events(True)
        events.output(1, "stdout", b"a")
        events.merge(self.reply(12, [(8, b"h"), (9, b"i")], exited=True, exitCode=0, closed=True))
        found = self.everything(events)
        self.assertEqual(found, [Chunk("stdout", b"a"), Gap(6), Chunk("stdout", b"h"), Chunk("stdout", b"i")])

    def test_an_exit_among_what_was_missed_is_no_gap(self) -> None:
        events = Events(True)
        events.merge(self.reply(4, [(1, b"a"), (3, b"late")], exited=True, exitCode=0))
        self.assertEqual(len(self.everything(events)), 2)
        self.assertFalse(events.is_closed)
        events.merge(self.reply(5, [], exited=True, exitCode=0, closed=True))
        self.assertEqual(self.everything(events), [])
        self.assertTrue(events.is_closed)

    def test_too_much_that_is_not_read_is_a_gap(self) -> None:
        events = Events(False)
        for seq in range(1, 301):
            events.output(seq, "stdout", bytes(65536))
        found = self.everything(events)
        self.assertEqual(found[0], Gap(300 - len(found) + 1))
        self.assertLessEqual(sum(len(it.data) for it in found[1:]), 16 * 1024 * 1024)

    def test_what_is_read_is_acknowledged_now_and_then(self) -> None:
        events = Events(True)
        for seq in range(1, 9):
            events.output(seq, "stdout", bytes(65536))
        told = []
        while events.next() is not None:
            told.append(events.acknowledgement())
        self.assertEqual([it for it in told if it], [4, 8])


class Kept(unittest.TestCase):
    def test_the_first_and_the_last_bytes_are_kept(self) -> None:
        capture = Capture(10)
        for byte in range(200):
            capture.add(bytes([65 + byte % 26]) * 1000)
        self.assertEqual(capture.data(), b"AAAAA" + b"RRRRR")
        self.assertEqual(capture.omitted, 200 * 1000 - 10)
        none = Capture(0)
        none.add(b"abc")
        self.assertEqual((none.data(), none.omitted), (b"", 3))


class Addresses(InDirectory):
    def test_a_url_says_where(self) -> None:
        for url, host, port, query in (
            ("ws://localhost:80/x?y", "localhost", 80, "/x?y"),
            ("ws://[::1]:9", "::1", 9, "/"),
            ("wss://box", "box", 443, "/"),
        ):
            found = resolve(url)
            assert isinstance(found, Endpoint)
            self.assertEqual((found.host, found.port, found.query), (host, port, query))
        found = resolve("unix:///run/a%20b")
        assert isinstance(found, Endpoint)
        self.assertEqual(found.path, "/run/a b")
        found = resolve("ssh://me@box:2222")
        assert isinstance(found, Program)
        self.assertEqual(found.argv[-6:], ["-p", "2222", "me@box", "exec-server", "--listen", "stdio"])
        found = resolve("stdio:docker exec -i 'a b' exec-server --listen stdio")
        assert isinstance(found, Program)
        self.assertEqual(found.argv[:4], ["docker", "exec", "-i", "a b"])
        for wrong in ("http://x", "ws://", "ws://a:b@c", "unix://relative", "ssh://-oProxyCommand=x", "ssh://h/p", "stdio:"):
            with self.assertRaises(ValueError, msg=wrong):
                resolve(wrong)

    def test_a_token_is_not_sent_in_clear_text(self) -> None:
        with self.assertRaises(ConnectError):
            resolve("ws://box.example:1", token="secret")
        found = resolve("wss://box.example:1", token="secret")
        self.assertNotIn("secret", repr(found))
        resolve("ws://127.0.0.1:1", token="secret")

    def test_a_program_that_is_no_server_is_told(self) -> None:
        with self.assertRaises(ConnectError) as caught:
            Sandbox.connect(["sh", "-c", "echo welcome; echo no such host >&2; exit 255"])
        self.assertIn("welcome", str(caught.exception))
        self.assertIn("no such host", str(caught.exception))
        with self.assertRaises(ConnectError):
            Sandbox.connect(["/no/such/program"])
        # What a login prints before the server speaks is passed over.
        script = "echo welcome; exec $EXEC_SERVER_BIN --listen stdio"
        with Sandbox.connect(["sh", "-c", script]) as sandbox:
            self.assertEqual(sandbox.commands.run("echo hi").stdout, "hi\n")

    def test_an_environment_is_reached_by_its_name(self) -> None:
        server = Server("--ws-auth", "capability-token", "--ws-token-file", self.token())
        self.addCleanup(server.close)
        binary = os.environ["EXEC_SERVER_BIN"]
        Path(self.path("environments.toml")).write_text(
            f'default = "piped"\n[[environments]]\nid = "far"\nurl = "{server.url}"\nauth_bearer_token = "word"\n'
            f'[[environments]]\nid = "piped"\nprogram = "{binary}"\nargs = ["--listen", "stdio"]\n'
        )
        os.environ["EXEC_SERVER_HOME"] = self.directory
        self.addCleanup(os.environ.pop, "EXEC_SERVER_HOME")
        for name in ("far", "piped", "local", None):
            with self.subTest(name), Sandbox.connect(name) as sandbox:
                self.assertEqual(sandbox.commands.run("echo hi").stdout, "hi\n")
        # The session outlives the program that carries it.
        with Sandbox.connect("far") as sandbox:
            handle = sandbox.commands.run("echo one; read x; echo $x", background=True, stdin=True)
            link = sandbox._session._link
            assert link is not None
            link.stream.stop()
            handle.send_stdin("two\n")
            self.assertEqual(handle.wait(20).stdout, "one\ntwo\n")
        with self.assertRaises(ConnectError) as caught:
            Sandbox.connect("fra")
        self.assertIn("configured are: local, far, piped", str(caught.exception))
        with self.assertRaises(ValueError):
            Sandbox.connect("piped", keep=True)

    def test_a_wrong_token_is_refused(self) -> None:
        server = Server("--ws-auth", "capability-token", "--ws-token-file", self.token())
        self.addCleanup(server.close)
        with Sandbox.connect(server.url, token="word") as sandbox:
            self.assertEqual(sandbox.commands.run("echo hi").stdout, "hi\n")
        for token in ("another", None):
            with self.assertRaises(ConnectError) as caught:
                Sandbox.connect(server.url, token=token)
            self.assertIn("401", str(caught.exception))
        os.environ["EXEC_SERVER_TOKEN"] = "word"
        try:
            Sandbox.connect(server.url).close()
        finally:
            del os.environ["EXEC_SERVER_TOKEN"]

    def test_a_pinned_certificate_is_the_only_one(self) -> None:
        made = run([os.environ["EXEC_SERVER_BIN"], "cert", "--name", "localhost"], cwd=self.directory)
        pin = next(line for line in made.stdout.splitlines() if line.startswith("fingerprint: ")).split()[1]
        pair = ("--tls-cert", self.path("cert.pem"), "--tls-key", self.path("key.pem"))
        server = Server(*pair, listen="wss://127.0.0.1:0")
        self.addCleanup(server.close)
        url = server.url.replace("127.0.0.1", "localhost")
        data = os.urandom(3_000_000)
        for options in ({"pin": pin}, {"ca_file": self.path("cert.pem")}):
            with Sandbox.connect(url, **options) as sandbox:
                self.assertEqual(sandbox.commands.run(argv=["cat"], stdin=data).stdout_bytes, data)
        for options in ({"pin": "sha256:" + "0" * 64}, {}):
            with self.assertRaises(ConnectError):
                Sandbox.connect(url, **options)

    def test_a_server_that_says_nothing_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = "ws://127.0.0.1:%d" % listener.getsockname()[1]
            with self.assertRaises(ConnectError):
                Sandbox.connect(url, connect_timeout=0.3)

    def token(self) -> str:
        Path(self.path("token")).write_text("word\n")
        os.chmod(self.path("token"), 0o600)
        return self.path("token")


class Paths(unittest.TestCase):
    def machine(self, **capabilities: Any) -> Machine:
        return Machine({"cwd": "file:///srv/a%20b", "userHomeDir": "file:///home/u", "capabilities": capabilities})

    def test_a_path_starts_where_commands_do(self) -> None:
        ours = self.machine(execServer={"extensions": []})
        self.assertEqual(ours.wire("x"), "/srv/a b/x")
        self.assertEqual(ours.wire("~/x"), "/home/u/x")
        self.assertEqual(ours.wire("/x"), "/x")
        self.assertEqual(ours.wire(os.fsdecode(b"/odd\xff")), "file:///odd%FF")
        self.assertEqual(self.machine().wire("x y"), "file:///srv/a%20b/x%20y")
        with self.assertRaises(ValueError):
            ours.wire("a\0b")
        with self.assertRaises(ValueError):
            Machine(None).wire("x")

    def test_a_server_that_cannot_confine_is_not_asked(self) -> None:
        with self.assertRaises(errors.SandboxFailed):
            Machine(None).sandbox("read-only", "/srv")
        sandbox = self.machine().sandbox(Policy(write=["/data"], network=True, accept_weaker=["metadata"]), "/srv")
        assert sandbox is not None
        self.assertEqual(sandbox["permissions"]["network"], "enabled")
        self.assertEqual(sandbox["acceptWeaker"], ["metadata"])
        self.assertIn({"path": {"type": "path", "path": "file:///data"}, "access": "write"}, sandbox["permissions"]["file_system"]["entries"])
        for cwd, policy in (("/", "workspace-write"), ("/srv", Policy(write=["/tmp/.."])), ("/srv", "none")):
            with self.assertRaises(ValueError):
                self.machine().sandbox(policy, cwd)

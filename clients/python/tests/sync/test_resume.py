# Made from aio/test_resume.py by tools/generate.py.
"""Lost connections: what was begun goes on, and not a byte is lost."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

from exec_server import Sandbox, ConnectionLost, Forgotten, OutputLost, RequestError

from ..support import PATIENCE, InDirectory, Proxy, Server, is_alive, within
from .io import TestCase, begin, pause, together


class OverACutConnection(InDirectory, TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = Server()
        self.addCleanup(self.server.close)
        self.proxy = Proxy(self.server.url)
        self.addCleanup(self.proxy.close)

    def connect(self, **options: Any) -> Sandbox:
        return Sandbox.connect(self.proxy.url, cwd=self.directory, **options)

    def test_no_byte_of_output_is_lost(self) -> None:
        with self.connect() as sandbox:
            size = 20_000_000
            data = os.urandom(size)
            sandbox.files.write("data", data)
            handle = sandbox.commands.run("cat data; echo done >&2; exit 9", background=True)
            digest, seen, cuts = hashlib.sha256(), 0, 0
            for piece in handle:
                if piece.stream == "stdout":
                    digest.update(piece.data)
                    seen += len(piece.data)
                if seen > (cuts + 1) * size // 6:
                    cuts += 1
                    self.proxy.cut()
            result = handle.wait(PATIENCE)
            self.assertEqual(digest.digest(), hashlib.sha256(data).digest())
            self.assertEqual((seen, result.exit_code, result.stderr), (size, 9, "done\n"))
            self.assertGreaterEqual(self.proxy.accepted, 5)

    def test_what_ends_while_nobody_is_there_is_told(self) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("read x; echo $x; touch done; exit 3", background=True, stdin=True)
            waiting = begin(handle.wait)
            self.proxy.is_refusing = True
            handle.send_stdin("word\n")
            self.proxy.cut()
            within("it has ended", lambda: os.path.exists(self.path("done")))
            self.proxy.is_refusing = False
            result = waiting.result()
            self.assertEqual((result.exit_code, result.stdout), (3, "word\n"))

    def test_input_is_written_once(self) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run(argv=["cat"], background=True, stdin=True)

            def feed() -> None:
                for n in range(200):
                    if n % 40 == 20:
                        self.proxy.cut()
                    handle.send_stdin(f"{n}\n")
                handle.close_stdin()

            feeding = begin(feed)
            result = handle.wait(PATIENCE)
            feeding.result()
            self.assertEqual(result.stdout, "".join(f"{n}\n" for n in range(200)))

    def test_a_start_that_is_lost_is_made_once(self) -> None:
        with self.connect() as sandbox:
            for n in range(30):
                cutting = begin(self.cut_soon)
                result = sandbox.commands.run(f"echo {n} >>started; echo {n}")
                cutting.result()
                self.assertEqual(result.stdout, f"{n}\n")
            lines = (sandbox.files.read("started")).split()
            self.assertEqual(lines, [str(n) for n in range(30)])

    def cut_soon(self) -> None:
        pause(random.random() * 0.01)
        self.proxy.cut()

    def test_large_files_go_on(self) -> None:
        with self.connect() as sandbox:
            data = os.urandom(12 * 1024 * 1024)

            def cut() -> None:
                for _ in range(3):
                    pause(0.03)
                    self.proxy.cut()

            cutting = begin(cut)
            sandbox.files.write("large", data)
            cutting.result()
            cutting = begin(cut)
            self.assertEqual(sandbox.files.read("large", "bytes"), data)
            cutting.result()

    def test_what_cannot_be_repeated_is_told(self) -> None:
        with self.connect() as sandbox:
            sandbox.files.write("one", "x")
            sandbox.files.write("other", "y")
            self.proxy.flows.clear()
            renaming = begin(lambda: sandbox.files.rename("one", "two"))
            reading = begin(lambda: sandbox.files.read("other"))
            pause(0.1)
            self.proxy.cut()
            self.proxy.flows.set()
            with self.assertRaises(ConnectionLost) as caught:
                renaming.result()
            self.assertIn("whether the request was carried out is not known", str(caught.exception))
            self.assertEqual(reading.result(), "y")

    def test_a_watch_goes_on_and_says_that_it_was_blind(self) -> None:
        with self.connect() as sandbox:
            with sandbox.files.watch_dir() as watch:
                self.proxy.cut()
                event = watch.next_event(PATIENCE)
                self.assertEqual(event.type, "overflow")
                # It is watched again when this is answered.
                sandbox.files.list()
                sandbox.files.write("new", "")
                self.assertEqual((watch.next_event(PATIENCE)).path, self.path("new"))

    def test_a_session_is_left_and_taken_up(self) -> None:
        first = self.connect(keep=True)
        handle = first.commands.run("echo one; read x; echo $x", background=True, stdin=True)
        for piece in handle:
            self.assertEqual(piece.text, "one\n")
            break
        first.close()
        with self.connect(session_id=first.session_id) as second:
            again = second.commands.connect(handle.id)
            again.send_stdin("two\n")
            self.assertEqual((again.wait(PATIENCE)).stdout, "one\ntwo\n")
        with self.assertRaises(RequestError):
            self.connect(session_id="no-such-session")

    def test_a_session_that_is_over_is_told(self) -> None:
        server = Server("--session-retention", "0.2")
        self.addCleanup(server.close)
        proxy = Proxy(server.url)
        self.addCleanup(proxy.close)
        with Sandbox.connect(proxy.url) as sandbox:
            handle = sandbox.commands.run("echo $$; exec sleep 100", background=True)
            for piece in handle:
                pid = int(piece.text)
                break
            waiting = begin(handle.wait)
            proxy.is_refusing = True
            proxy.cut()
            within("the server has given the session up", lambda: not is_alive(pid))
            proxy.is_refusing = False
            with self.assertRaises(ConnectionLost) as caught:
                waiting.result()
            self.assertIsInstance(caught.exception.__cause__ or Forgotten(""), RequestError)

    def test_many_commands_survive_many_cuts(self) -> None:
        with self.connect() as sandbox:

            def cut() -> None:
                for _ in range(10):
                    pause(0.05)
                    self.proxy.cut()

            cutting = begin(cut)
            script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; head -c 300000 /dev/zero"
            results = together([lambda: sandbox.commands.run(script) for _ in range(20)])
            cutting.result()
            for result in results:
                self.assertEqual(result.stdout_bytes, b"1\n2\n3\n4\n5\n" + bytes(300000))


class WithoutAcknowledgement(InDirectory, TestCase):
    """What a server that keeps little can lose is told."""

    def test_lost_output_is_an_error(self) -> None:
        server = Server("--retained-output", "64k")
        self.addCleanup(server.close)
        with Sandbox.connect(server.url, cwd=self.directory, keep=True) as first:
            # As a server without acknowledgements is used.
            first._session.machine.extensions -= {"process/start.acknowledges", "process/acknowledge"}
            script = "echo begun; read x; seq 1 100000; touch done; exec sleep 100"
            handle = first.commands.run(script, background=True, stdin=True)
            for _ in handle:
                break
            handle.send_stdin("go\n")
        within("all is written", lambda: os.path.exists(self.path("done")))
        with Sandbox.connect(server.url, session_id=first.session_id) as second:
            again = second.commands.connect(handle.id)
            again.kill()
            with self.assertRaises(OutputLost) as caught:
                again.wait(PATIENCE)
            self.assertGreater(caught.exception.pieces, 0)
            self.assertTrue(caught.exception.result.stdout.endswith("\n100000\n"))

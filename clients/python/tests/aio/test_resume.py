"""Lost connections: what was begun goes on, and not a byte is lost."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

from exec_server import AsyncSandbox, ConnectionLost, Forgotten, OutputLost, RequestError

from ..support import PATIENCE, InDirectory, Proxy, Server, is_alive, within
from .io import TestCase, begin, pause, together


class OverACutConnection(InDirectory, TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = Server()
        self.addCleanup(self.server.close)
        self.proxy = Proxy(self.server.url)
        self.addCleanup(self.proxy.close)

    async def connect(self, **options: Any) -> AsyncSandbox:
        return await AsyncSandbox.connect(self.proxy.url, cwd=self.directory, **options)

    async def test_no_byte_of_output_is_lost(self) -> None:
        async with await self.connect() as sandbox:
            size = 20_000_000
            data = os.urandom(size)
            await sandbox.files.write("data", data)
            handle = await sandbox.commands.run("cat data; echo done >&2; exit 9", background=True)
            digest, seen, cuts = hashlib.sha256(), 0, 0
            async for piece in handle:
                if piece.stream == "stdout":
                    digest.update(piece.data)
                    seen += len(piece.data)
                if seen > (cuts + 1) * size // 6:
                    cuts += 1
                    self.proxy.cut()
            result = await handle.wait(PATIENCE)
            self.assertEqual(digest.digest(), hashlib.sha256(data).digest())
            self.assertEqual((seen, result.exit_code, result.stderr), (size, 9, "done\n"))
            self.assertGreaterEqual(self.proxy.accepted, 5)

    async def test_what_ends_while_nobody_is_there_is_told(self) -> None:
        async with await self.connect() as sandbox:
            handle = await sandbox.commands.run("read x; echo $x; touch done; exit 3", background=True, stdin=True)
            waiting = begin(handle.wait)
            self.proxy.is_refusing = True
            await handle.send_stdin("word\n")
            self.proxy.cut()
            within("it has ended", lambda: os.path.exists(self.path("done")))
            self.proxy.is_refusing = False
            result = await waiting.result()
            self.assertEqual((result.exit_code, result.stdout), (3, "word\n"))

    async def test_input_is_written_once(self) -> None:
        async with await self.connect() as sandbox:
            handle = await sandbox.commands.run(argv=["cat"], background=True, stdin=True)

            async def feed() -> None:
                for n in range(200):
                    if n % 40 == 20:
                        self.proxy.cut()
                    await handle.send_stdin(f"{n}\n")
                await handle.close_stdin()

            feeding = begin(feed)
            result = await handle.wait(PATIENCE)
            await feeding.result()
            self.assertEqual(result.stdout, "".join(f"{n}\n" for n in range(200)))

    async def test_a_start_that_is_lost_is_made_once(self) -> None:
        async with await self.connect() as sandbox:
            for n in range(30):
                cutting = begin(self.cut_soon)
                result = await sandbox.commands.run(f"echo {n} >>started; echo {n}")
                await cutting.result()
                self.assertEqual(result.stdout, f"{n}\n")
            lines = (await sandbox.files.read("started")).split()
            self.assertEqual(lines, [str(n) for n in range(30)])

    async def cut_soon(self) -> None:
        await pause(random.random() * 0.01)
        self.proxy.cut()

    async def test_large_files_go_on(self) -> None:
        async with await self.connect() as sandbox:
            data = os.urandom(12 * 1024 * 1024)

            async def cut() -> None:
                for _ in range(3):
                    await pause(0.03)
                    self.proxy.cut()

            cutting = begin(cut)
            await sandbox.files.write("large", data)
            await cutting.result()
            cutting = begin(cut)
            self.assertEqual(await sandbox.files.read("large", "bytes"), data)
            await cutting.result()

    async def test_what_cannot_be_repeated_is_told(self) -> None:
        async with await self.connect() as sandbox:
            await sandbox.files.write("one", "x")
            await sandbox.files.write("other", "y")
            self.proxy.flows.clear()
            renaming = begin(lambda: sandbox.files.rename("one", "two"))
            reading = begin(lambda: sandbox.files.read("other"))
            await pause(0.1)
            self.proxy.cut()
            self.proxy.flows.set()
            with self.assertRaises(ConnectionLost) as caught:
                await renaming.result()
            self.assertIn("whether the request was carried out is not known", str(caught.exception))
            self.assertEqual(await reading.result(), "y")

    async def test_a_watch_goes_on_and_says_that_it_was_blind(self) -> None:
        async with await self.connect() as sandbox:
            async with await sandbox.files.watch_dir() as watch:
                self.proxy.cut()
                event = await watch.next_event(PATIENCE)
                self.assertEqual(event.type, "overflow")
                # It is watched again when this is answered.
                await sandbox.files.list()
                await sandbox.files.write("new", "")
                self.assertEqual((await watch.next_event(PATIENCE)).path, self.path("new"))

    async def test_a_session_is_left_and_taken_up(self) -> None:
        first = await self.connect(keep=True)
        handle = await first.commands.run("echo one; read x; echo $x", background=True, stdin=True)
        async for piece in handle:
            self.assertEqual(piece.text, "one\n")
            break
        await first.close()
        async with await self.connect(session_id=first.session_id) as second:
            again = await second.commands.connect(handle.id)
            await again.send_stdin("two\n")
            self.assertEqual((await again.wait(PATIENCE)).stdout, "one\ntwo\n")
        with self.assertRaises(RequestError):
            await self.connect(session_id="no-such-session")

    async def test_a_session_that_is_over_is_told(self) -> None:
        server = Server("--session-retention", "0.2")
        self.addCleanup(server.close)
        proxy = Proxy(server.url)
        self.addCleanup(proxy.close)
        async with await AsyncSandbox.connect(proxy.url) as sandbox:
            handle = await sandbox.commands.run("echo $$; exec sleep 100", background=True)
            async for piece in handle:
                pid = int(piece.text)
                break
            waiting = begin(handle.wait)
            proxy.is_refusing = True
            proxy.cut()
            within("the server has given the session up", lambda: not is_alive(pid))
            proxy.is_refusing = False
            with self.assertRaises(ConnectionLost) as caught:
                await waiting.result()
            self.assertIsInstance(caught.exception.__cause__ or Forgotten(""), RequestError)

    async def test_many_commands_survive_many_cuts(self) -> None:
        async with await self.connect() as sandbox:

            async def cut() -> None:
                for _ in range(10):
                    await pause(0.05)
                    self.proxy.cut()

            cutting = begin(cut)
            script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; head -c 300000 /dev/zero"
            results = await together([lambda: sandbox.commands.run(script) for _ in range(20)])
            await cutting.result()
            for result in results:
                self.assertEqual(result.stdout_bytes, b"1\n2\n3\n4\n5\n" + bytes(300000))


class WithoutAcknowledgement(InDirectory, TestCase):
    """What a server that keeps little can lose is told."""

    async def test_lost_output_is_an_error(self) -> None:
        server = Server("--retained-output", "64k")
        self.addCleanup(server.close)
        async with await AsyncSandbox.connect(server.url, cwd=self.directory, keep=True) as first:
            # As a server without acknowledgements is used.
            first._session.machine.extensions -= {"process/start.acknowledges", "process/acknowledge"}
            script = "echo begun; read x; seq 1 100000; touch done; exec sleep 100"
            handle = await first.commands.run(script, background=True, stdin=True)
            async for _ in handle:
                break
            await handle.send_stdin("go\n")
        within("all is written", lambda: os.path.exists(self.path("done")))
        async with await AsyncSandbox.connect(server.url, session_id=first.session_id) as second:
            again = await second.commands.connect(handle.id)
            await again.kill()
            with self.assertRaises(OutputLost) as caught:
                await again.wait(PATIENCE)
            self.assertGreater(caught.exception.pieces, 0)
            self.assertTrue(caught.exception.result.stdout.endswith("\n100000\n"))

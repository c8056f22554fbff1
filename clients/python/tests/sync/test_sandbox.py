# Made from aio/test_sandbox.py by tools/generate.py.
"""What a Sandbox does, over each transport."""

from __future__ import annotations

import os
import signal
import time
import unittest
from typing import Any, List

from exec_server import (
    Sandbox,
    BadDirectory,
    CommandFailed,
    ConnectionLost,
    ExecServerError,
    InputClosed,
    NotFound,
    Policy,
    RequestTimeout,
    SandboxClosed,
    SandboxDenied,
    wire,
)

from ..support import PATIENCE, InDirectory, Server, can_confine, is_alive, within
from .io import TestCase, begin, pause, together

CONFINES = can_confine()


class Behaviour:
    """The tests; each class below is a transport."""

    def connect(self, **options: Any) -> Sandbox:
        raise NotImplementedError

    # Commands.

    def test_a_command_has_output_and_an_exit_code(self: Any) -> None:
        with self.connect() as sandbox:
            result = sandbox.commands.run("echo out; echo err >&2; exit 3")
            self.assertEqual((result.exit_code, result.stdout, result.stderr), (3, "out\n", "err\n"))
            self.assertFalse(result.ok or result.timed_out or result.omitted)
            result = sandbox.commands.run(argv=["printf", "%s|", "a b", "$HOME"])
            self.assertEqual(result.stdout, "a b|$HOME|")

    def test_a_command_has_directory_and_variables(self: Any) -> None:
        with self.connect(cwd=self.directory, envs={"A": "1", "B": "2"}) as sandbox:
            os.mkdir(self.path("sub"))
            result = sandbox.commands.run("pwd; echo $A $B; test -n \"$PATH\"", cwd="sub", envs={"B": "3"})
            self.assertEqual(result.stdout, f"{self.directory}/sub\n1 3\n")
            self.assertEqual(result.exit_code, 0)
            with self.assertRaises(BadDirectory):
                sandbox.commands.run("true", cwd="gone")
            with self.assertRaises(FileNotFoundError) as caught:
                sandbox.commands.run(argv=["no-such-program"])
            self.assertIsInstance(caught.exception, NotFound)

    def test_output_is_told_as_text_while_it_comes(self: Any) -> None:
        with self.connect() as sandbox:
            said: List[str] = []
            heard: List[str] = []
            # A character in three pieces, and one that is cut by the end.
            script = "printf '\\342'; sleep 0.05; printf '\\202'; sleep 0.05; printf '\\254!'; printf '\\342' >&2"
            result = sandbox.commands.run(script, on_stdout=said.append, on_stderr=heard.append)
            self.assertEqual(("".join(said), "".join(heard)), ("\u20ac!", "\ufffd"))
            self.assertEqual((result.stdout, result.stderr), ("\u20ac!", "\ufffd"))
            self.assertEqual(result.stdout_bytes, "\u20ac!".encode())

    def test_a_function_that_raises_ends_its_command_only(self: Any) -> None:
        with self.connect() as sandbox:

            def fail(text: str) -> None:
                raise KeyError(text)

            other = sandbox.commands.run("read x; echo $x", background=True, stdin=True)
            with self.assertRaises(KeyError):
                sandbox.commands.run(f"echo $$ >{self.path('pid')}; echo x; exec sleep 100", on_stdout=fail)
            pid = int(sandbox.files.read(self.path("pid")))
            within("the command is killed", lambda: not is_alive(pid))
            other.send_stdin("still here\n")
            self.assertEqual((other.wait(PATIENCE)).stdout, "still here\n")

    def test_input_is_bytes_of_any_kind_and_length(self: Any) -> None:
        with self.connect() as sandbox:
            data = bytes(range(256)) * 20000
            result = sandbox.commands.run(argv=["cat"], stdin=data)
            self.assertEqual(result.stdout_bytes, data)
            self.assertEqual((sandbox.commands.run(argv=["cat"], stdin="h\u00e9")).stdout, "h\u00e9")
            # Nobody reads it, and nothing hangs.
            self.assertEqual((sandbox.commands.run("exec true", stdin=data)).exit_code, 0)
            # Without any it is empty.
            self.assertEqual((sandbox.commands.run("cat")).stdout, "")

    def test_a_background_command_is_steered(self: Any) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("while read x; do echo got $x; done", background=True, stdin=True)
            self.assertIsNone(handle.exit_code)
            self.assertIn(handle.id, [it.id for it in sandbox.commands.list()])
            handle.send_stdin("one\n")
            handle.send_stdin(b"two\n")
            with self.assertRaises(RequestTimeout):
                handle.wait(timeout=0.1)
            handle.close_stdin()
            result = handle.wait(PATIENCE)
            self.assertEqual((result.stdout, result.exit_code, handle.exit_code), ("got one\ngot two\n", 0, 0))
            with self.assertRaises(InputClosed):
                handle.send_stdin("three")
            self.assertFalse(handle.kill())
            self.assertEqual(sandbox.commands.list(), [])

    def test_output_is_iterated_over(self: Any) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("for i in 1 2 3; do echo $i; done; echo e >&2", background=True)
            text = {"stdout": "", "stderr": ""}
            for piece in handle:
                text[piece.stream] += piece.text
            self.assertEqual(text, {"stdout": "1\n2\n3\n", "stderr": "e\n"})
            self.assertEqual((handle.wait(PATIENCE)).stdout, "1\n2\n3\n")

    def test_a_command_is_killed_with_its_descendants(self: Any) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("sleep 100 & echo $!; wait", background=True)
            for piece in handle:
                pid = int(piece.text)
                break
            self.assertTrue(handle.kill())
            result = handle.wait(PATIENCE)
            self.assertEqual((result.exit_code, result.signal), (137, "SIGKILL"))
            within("the descendant is gone", lambda: not is_alive(pid))
            handle = sandbox.commands.run("exec sleep 100", background=True)
            handle.send_signal("HUP")
            self.assertEqual((handle.wait(PATIENCE)).signal, "SIGHUP")

    def test_a_command_whose_time_is_up_keeps_its_output(self: Any) -> None:
        with self.connect() as sandbox:
            result = sandbox.commands.run("echo begun; exec sleep 100", timeout=0.3)
            self.assertTrue(result.timed_out)
            self.assertEqual((result.stdout, result.exit_code), ("begun\n", 143))
            with self.assertRaises(CommandFailed) as caught:
                sandbox.commands.run("echo why >&2; exit 4", check=True)
            self.assertEqual(caught.exception.result.exit_code, 4)
            self.assertIn("why", str(caught.exception))

    def test_much_output_is_kept_within_its_limit(self: Any) -> None:
        with self.connect() as sandbox:
            result = sandbox.commands.run("seq 1 200000", output_limit=1000)
            self.assertLess(len(result.stdout), 1100)
            self.assertTrue(result.stdout.startswith("1\n2\n") and result.stdout.endswith("\n200000\n"))
            self.assertEqual(result.omitted + len(result.stdout_bytes), 1288895)
            self.assertIn(f"[... {result.omitted} bytes left out ...]", result.stdout)

    def test_who_does_not_read_holds_nobody_up(self: Any) -> None:
        with self.connect() as sandbox:
            unread = sandbox.commands.run("head -c 30000000 /dev/zero", background=True)
            results = together([lambda n=n: sandbox.commands.run(f"echo {n}") for n in range(100)])
            self.assertEqual([it.stdout for it in results], [f"{n}\n" for n in range(100)])
            self.assertIsNone(unread.exit_code)
            total = 0
            for piece in unread:
                total += len(piece.data)
            self.assertEqual(total, 30000000)

    def test_output_that_nobody_wants_is_thrown_away(self: Any) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("head -c 30000000 /dev/zero; exit 5", background=True)
            handle.discard_output()
            self.assertEqual((handle.wait(PATIENCE)).exit_code, 5)
            dropped = sandbox.commands.run("head -c 30000000 /dev/zero; touch done", background=True, cwd=self.directory)
            del dropped
            deadline = time.monotonic() + PATIENCE
            while not sandbox.files.exists(self.path("done")):
                self.assertLess(time.monotonic(), deadline)
                pause(0.05)

    def test_a_command_is_of_a_shell_or_of_arguments(self: Any) -> None:
        with self.connect() as sandbox:
            for wrong in ({}, {"cmd": "x", "argv": ["x"]}, {"argv": "ls"}, {"argv": []}):
                with self.assertRaises(TypeError):
                    sandbox.commands.run(**wrong)
            self.assertEqual(sandbox.commands.kill("nobody"), False)
            with self.assertRaises(NotFound):
                sandbox.commands.connect("nobody")

    # Confinement.

    @unittest.skipUnless(CONFINES, "this machine cannot confine")
    def test_a_sandbox_confines_commands_and_files(self: Any) -> None:
        outside = os.path.join("/var/tmp", os.path.basename(self.directory))
        with self.connect(cwd=self.directory) as sandbox:
            script = f"echo a >inside; echo b >{outside}"
            result = sandbox.commands.run(script, sandbox="workspace-write")
            self.assertTrue(result.sandbox_denied, result)
            self.assertEqual(result.denial.get("path"), outside)
            self.assertEqual(sandbox.files.read("inside"), "a\n")
            result = sandbox.commands.run("echo c >inside", sandbox="read-only")
            self.assertNotEqual(result.exit_code, 0)
            with self.assertRaises(SandboxDenied):
                sandbox.files.write("inside", "c", sandbox="read-only")
            self.assertEqual(sandbox.files.read("inside", sandbox="read-only"), "a\n")
            wide = Policy("read-only", write=[self.directory])
            self.assertEqual((sandbox.commands.run("echo c >inside", sandbox=wide)).exit_code, 0)
            with self.assertRaises(ValueError):
                sandbox.commands.run("true", sandbox="read-onyl")
            with self.assertRaises(ValueError):
                sandbox.commands.run("true", sandbox="workspace-write", cwd="/")
        with self.connect(cwd=self.directory, sandbox="read-only") as sandbox:
            self.assertNotEqual((sandbox.commands.run("echo d >inside")).exit_code, 0)
            with self.assertRaises(PermissionError):
                sandbox.files.remove("inside")
            self.assertEqual((sandbox.commands.run("echo d >inside", sandbox="off")).exit_code, 0)

    # Files.

    def test_files_are_written_and_read(self: Any) -> None:
        with self.connect(cwd=self.directory) as sandbox:
            files = sandbox.files
            files.write("a b", "gr\u00fc\u00dfe\n")
            self.assertEqual(files.read("a b"), "gr\u00fc\u00dfe\n")
            self.assertEqual(files.read(self.path("a b"), "bytes"), "gr\u00fc\u00dfe\n".encode())
            large = os.urandom(9 * 1024 * 1024 + 1)
            files.write("large", large)
            self.assertEqual(files.read("large", "bytes"), large)
            files.write("large", b"short", atomic=True)
            self.assertEqual(files.read("large"), "short")
            files.write("binary", b"\xff\x00")
            with self.assertRaises(UnicodeDecodeError):
                files.read("binary")
            with self.assertRaises(FileNotFoundError):
                files.read("gone")
            with self.assertRaises(ExecServerError):
                files.read(self.directory)

    def test_files_are_listed_moved_and_removed(self: Any) -> None:
        with self.connect(cwd=self.directory) as sandbox:
            files = sandbox.files
            files.make_dir("d/e")
            files.make_dir("d/e")
            files.write("d/f", "12345")
            os.symlink("nowhere", self.path("d/g"))
            odd = os.fsdecode(b"odd\xff")
            files.write(f"d/{odd}", "x")
            rows = [(it.name, it.type, it.is_symlink) for it in files.list("d")]
            self.assertEqual(
                rows, [("e", "dir", False), ("f", "file", False), ("g", "other", True), (odd, "file", False)]
            )
            self.assertEqual(files.read(f"d/{odd}"), "x")
            info = files.get_info("d/f")
            self.assertEqual((info.name, info.path, info.type, info.size), ("f", self.path("d/f"), "file", 5))
            self.assertLess(abs(info.modified_at - time.time()), 60)
            files.copy("d", "copied")
            files.rename("d/f", "moved")
            self.assertEqual(
                [files.exists(it) for it in ("d/f", "moved", "copied/f")], [False, True, True]
            )
            with self.assertRaises(FileExistsError):
                files.rename("moved", "copied/f", overwrite=False)
            files.remove("d")
            self.assertFalse(files.exists("d"))
            with self.assertRaises(NotFound) as caught:
                files.remove("d")
            self.assertEqual((caught.exception.kind, caught.exception.path), ("notFound", self.path("d")))

    def test_changes_in_a_directory_are_told(self: Any) -> None:
        with self.connect(cwd=self.directory) as sandbox:
            with sandbox.files.watch_dir(".", recursive=True) as watch:
                sandbox.files.write("new", "x")
                event = watch.next_event(PATIENCE)
                self.assertEqual((event.type, event.path), ("created", self.path("new")))
                sandbox.files.rename("new", "other")
                event = watch.next_event(PATIENCE)
                self.assertEqual((event.type, event.path, event.old_path), ("renamed", self.path("other"), self.path("new")))
                self.assertEqual(watch.get_new_events(), [])
                with self.assertRaises(RequestTimeout):
                    watch.next_event(0.05)
                reading = begin(watch.next_event)
            self.assertIsNone(reading.result())

    # Terminals.

    def test_a_terminal_has_a_size_and_takes_input(self: Any) -> None:
        with self.connect() as sandbox:
            terminal = sandbox.pty.create("stty -echo; stty size; read x; stty size; echo [$x]", rows=30, cols=90)
            screen = b""
            for data in terminal:
                screen += data
                if b"30 90" in screen and not screen.endswith(b"]\r\n"):
                    terminal.resize(40, 100)
                    terminal.send("word\n")
                    break
            result = terminal.wait(PATIENCE)
            self.assertIn("40 100", result.stdout)
            self.assertTrue(result.stdout.endswith("[word]\r\n"), result.stdout)
            shell = sandbox.pty.create()
            shell.send("tty; exit 7\n")
            self.assertEqual((shell.wait(PATIENCE)).exit_code, 7)
            sleeping = sandbox.pty.create(argv=["sleep", "100"])
            sleeping.send(b"\x03")
            self.assertEqual((sleeping.wait(PATIENCE)).signal, "SIGINT")

    # The end.

    def test_closing_kills_what_was_started(self: Any) -> None:
        with self.connect() as sandbox:
            handle = sandbox.commands.run("setsid sleep 100 & echo $!; exec sleep 100", background=True)
            for piece in handle:
                pid = int(piece.text)
                break
            waiting = begin(handle.wait)
        with self.assertRaises(ExecServerError):
            # It was killed, or nobody listens any more.
            result = waiting.result()
            raise SandboxClosed(str(result))
        within("the daemon is gone", lambda: not is_alive(pid))
        with self.assertRaises(SandboxClosed):
            sandbox.commands.run("true")
        sandbox.close()

    def test_any_method_can_be_called(self: Any) -> None:
        with self.connect() as sandbox:
            status = sandbox.call(wire.ENVIRONMENT_STATUS, wire.EnvironmentStatusParams())
            self.assertEqual(status["status"], "ready")
            self.assertEqual(sandbox.info["platformOs"], "linux")


class OverStdio(Behaviour, InDirectory, TestCase):
    def connect(self, **options: Any) -> Sandbox:
        return Sandbox.local(**options)


class Listening(Behaviour, InDirectory, TestCase):
    server: Server

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()

    def connect(self, **options: Any) -> Sandbox:
        return Sandbox.connect(self.server.url, **options)

    def test_a_server_that_dies_leaves_nobody_waiting(self) -> None:
        server = Server(unix=self.server.url.startswith("unix"))
        self.addCleanup(server.close)
        sandbox = Sandbox.connect(server.url)
        sandbox._session.recovery_window = 0.5
        handle = sandbox.commands.run("exec sleep 100", background=True)
        waiting = begin(handle.wait)
        watch = sandbox.files.watch_dir(self.directory)
        watching = begin(watch.next_event)
        server.kill()
        for each in (waiting, watching):
            with self.assertRaises(ConnectionLost):
                each.result()
        with self.assertRaises(ConnectionLost):
            sandbox.commands.run("true")
        sandbox.close()


class OverUnix(Listening):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(unix=True)


class OverWebSocket(Listening):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()


# The class that the two have in common is no test itself.
del Listening, Behaviour


class LocalProgram(InDirectory, TestCase):
    def test_a_program_that_dies_leaves_nobody_waiting(self) -> None:
        with Sandbox.local() as sandbox:
            handle = sandbox.commands.run("exec sleep 100", background=True)
            waiting = begin(handle.wait)
            parent = sandbox.commands.run("echo $PPID")
            os.kill(int(parent.stdout), signal.SIGKILL)
            with self.assertRaises(ConnectionLost):
                waiting.result()

"""The wheel: made, installed into a fresh environment, and used from there."""

from __future__ import annotations

import os
import platform
import sys

from exec_server._address import find_binary

from .support import ROOT, InDirectory, run


class Wheel(InDirectory):
    def make(self, name: str) -> str:
        target = f"{platform.machine()}-unknown-linux-musl"
        made = run([sys.executable, str(ROOT / "tools" / "wheel.py"), self.path(name), find_binary(), target])
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        return made.stdout.strip()

    def test_it_installs_the_client_and_the_program(self) -> None:
        wheel = self.make("dist")
        with open(wheel, "rb") as first, open(self.make("again"), "rb") as second:
            self.assertEqual(first.read(), second.read())
        made = run([sys.executable, "-m", "venv", self.path("venv")])
        self.assertEqual(made.returncode, 0, made.stderr)
        pip = [self.path("venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
        installed = run([*pip, "--no-index", "--no-compile", wheel])
        self.assertEqual(installed.returncode, 0, installed.stdout + installed.stderr)
        script = (
            "import exec_server, sys\n"
            "assert exec_server.__file__.startswith(sys.prefix), exec_server.__file__\n"
            "with exec_server.Sandbox.local() as sandbox:\n"
            "    print(sandbox.commands.run('readlink /proc/$PPID/exe').stdout)\n"
        )
        clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EXEC_SERVER_BIN")}
        used = run([self.path("venv/bin/python"), "-c", script], env=clean, cwd=self.directory)
        self.assertEqual((used.returncode, used.stderr), (0, ""))
        self.assertEqual(used.stdout.strip(), os.path.realpath(self.path("venv/bin/exec-server")))
        version = run([self.path("venv/bin/exec-server"), "--version"])
        self.assertEqual(version.returncode, 0)

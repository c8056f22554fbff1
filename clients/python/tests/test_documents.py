"""The README and the example do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest

from .support import ROOT, InDirectory, can_confine, run


class Documents(InDirectory):
    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "EXEC_SERVER_HOME": self.directory}
        return run([sys.executable, *arguments], env=environment, cwd=self.directory)

    @unittest.skipUnless(can_confine(), "this machine cannot confine")
    def test_every_block_of_the_readme_runs(self) -> None:
        text = (ROOT / "README.md").read_text("utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertGreater(len(blocks), 5)
        for block in blocks:
            result = self.python("-c", block)
            self.assertEqual((result.returncode, result.stderr), (0, ""), block)

    @unittest.skipUnless(can_confine(), "this machine cannot confine")
    def test_the_agent_repairs_its_program(self) -> None:
        result = self.python(str(ROOT / "examples" / "agent.py"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        self.assertEqual((lines[1], lines[-2:]), ("AssertionError", ["4", "add() works now."]))

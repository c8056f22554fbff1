"""An agent in forty lines: a model asks for commands, and they run on another machine, confined.

    python3 agent.py [ENVIRONMENT or URL]

The model here is a script, so that the example runs anywhere; put a call of yours in its place.
"""

import sys
import tempfile

from exec_server import Sandbox

SCRIPT = [
    {"tool": "write", "path": "add.py", "content": "def add(a, b):\n    return a - b\n"},
    {"tool": "run", "command": "python3 -c 'from add import add; assert add(2, 2) == 4'"},
    {"tool": "write", "path": "add.py", "content": "def add(a, b):\n    return a + b\n"},
    {"tool": "run", "command": "python3 -c 'from add import add; assert add(2, 2) == 4; print(add(2, 2))'"},
    {"tool": "done", "answer": "add() works now."},
]


def model(messages):
    """What the model says next."""
    return SCRIPT[len(messages) - 1]


def agent(sandbox, task):
    """Lets the model work on the task; its answer."""
    messages = [task]
    while True:
        step = model(messages)
        if step["tool"] == "done":
            return step["answer"]
        if step["tool"] == "write":
            sandbox.files.write(step["path"], step["content"])
            messages.append(f"wrote {step['path']}")
        else:
            result = sandbox.commands.run(step["command"], timeout=60, output_limit=20_000)
            messages.append(f"exit code {result.exit_code}\n{result.stdout}{result.stderr}")
        print(messages[-1].strip().splitlines()[-1])


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else "local"
    with tempfile.TemporaryDirectory() as work, Sandbox.connect(where, cwd=work, sandbox="workspace-write") as box:
        print(agent(box, "Repair add.py."))

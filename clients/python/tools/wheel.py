"""Makes the wheel, with the program inside or without it.

    python3 tools/wheel.py DIRECTORY [BINARY [TARGET]]

With a binary of a TARGET such as ``x86_64-unknown-linux-musl`` the wheel is for that platform, and installs it as
``exec-server``. The same input makes the same bytes. It is also the build backend of pyproject.toml (PEP 517), which
makes a wheel without the program.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
NAME = "exec_server"
# The oldest time that an archive can tell.
TIME = (1980, 1, 1, 0, 0, 0)


def version() -> str:
    """The version of the program."""
    found = re.search(r'^version = "(.*)"$', (PROJECT / "Cargo.toml").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("wheel.py: Cargo.toml has no version")
    return found.group(1)


def tag(target: Optional[str]) -> str:
    """For which machines the wheel is. A static binary runs with any C library."""
    if target is None:
        return "py3-none-any"
    machine = target.split("-")[0]
    return f"py3-none-manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"


def contents(binary: Optional[Path], target: Optional[str]) -> Dict[str, Tuple[bytes, int]]:
    """What is in the wheel, with permissions."""
    files: Dict[str, Tuple[bytes, int]] = {}
    source = HERE / "src"
    for path in sorted((source / NAME).rglob("*")):
        if path.suffix == ".py" or path.name == "py.typed":
            files[str(path.relative_to(source))] = (path.read_bytes(), 0o644)
    if binary is not None:
        files[f"{NAME}-{version()}.data/scripts/exec-server"] = (binary.read_bytes(), 0o755)
    readme = (HERE / "README.md").read_text("utf-8")
    information = f"{NAME}-{version()}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: exec-server\nVersion: {version()}\n"
        "Summary: Hands on another machine: commands, files and terminals through an exec-server\n"
        f"License: MIT\nRequires-Python: >=3.9\nDescription-Content-Type: text/markdown\n\n{readme}"
    )
    tags = expanded(tag(target))
    wheel = f"Wheel-Version: 1.0\nGenerator: exec-server\nRoot-Is-Purelib: {'false' if binary else 'true'}\n"
    files[f"{information}/METADATA"] = (metadata.encode("utf-8"), 0o644)
    files[f"{information}/WHEEL"] = ((wheel + "".join(f"Tag: {each}\n" for each in tags)).encode("utf-8"), 0o644)
    files[f"{information}/licenses/LICENSE"] = ((PROJECT / "LICENSE").read_bytes(), 0o644)
    return files


def expanded(compressed: str) -> List[str]:
    """Each tag that a compressed one stands for."""
    python, abi, platforms = compressed.split("-")
    return [f"{python}-{abi}-{platform}" for platform in platforms.split(".")]


def make(directory: Path, binary: Optional[Path] = None, target: Optional[str] = None) -> Path:
    """Writes the wheel into the directory; its path."""
    files = contents(binary, target)
    record = f"{NAME}-{version()}.dist-info/RECORD"
    rows = []
    for name, (data, _) in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}\n")
    files[record] = ("".join([*rows, f"{record},,\n"]).encode("utf-8"), 0o644)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{NAME}-{version()}-{tag(target)}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, mode) in sorted(files.items(), key=lambda item: (item[0] == record, item[0])):
            entry = zipfile.ZipInfo(name, TIME)
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """PEP 517."""
    return make(Path(wheel_directory)).name


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """PEP 517 wants it; the source of this package is that of the whole project."""
    raise SystemExit("wheel.py: build a wheel, or an archive of the whole project by `make dist`")


def main(arguments: List[str]) -> None:
    """Makes one, and prints its path."""
    if not 1 <= len(arguments) <= 3:
        raise SystemExit("usage: wheel.py DIRECTORY [BINARY [TARGET]]")
    binary = Path(arguments[1]) if len(arguments) > 1 else None
    target = arguments[2] if len(arguments) > 2 else "x86_64-unknown-linux-musl" if binary else None
    print(make(Path(arguments[0]), binary, target))


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a server has told about its machine, and what paths and policies are there."""

from __future__ import annotations

import os
import posixpath
from typing import Any, Dict, FrozenSet, Optional, Union
from urllib.parse import quote, unquote_to_bytes, urlsplit

from .errors import SandboxFailed
from .types import Policy, Sandboxing

PathLike = Union[str, "os.PathLike[str]"]


class Machine:
    """The machine of a server."""

    def __init__(self, info: Optional[Dict[str, Any]]) -> None:
        # One that tells nothing is a server of the first generation.
        self.info: Dict[str, Any] = info or {}
        capabilities = self.info.get("capabilities") or {}
        ours = capabilities.get("execServer") or {}
        self.extensions: FrozenSet[str] = frozenset(ours.get("extensions") or ())
        # Other servers of the second generation take URIs only, those of the first native paths only.
        self.takes_uris = bool(self.info) and not ours
        self.can_confine = bool(self.info)
        self.version = str(self.info.get("executorVersion") or "")
        shell = self.info.get("shell") or {}
        self.shell = str(shell.get("path") or "")
        self.cwd = native(str(self.info.get("cwd") or ""))
        self.home = native(str(self.info.get("userHomeDir") or ""))

    def has(self, extension: str) -> bool:
        """Whether the server has this extension of PROTOCOL.md."""
        return extension in self.extensions

    def absolute(self, path: PathLike) -> str:
        """The path from `/` on: a relative one starts where commands do, `~/` at the user's home."""
        text = os.fspath(path)
        if text.startswith("file:"):
            return native(text)
        if text == "~" or text.startswith("~/"):
            base, text = self.home, text[2:]
        elif text.startswith("/"):
            return text
        else:
            base = self.cwd or self.home
        if not base:
            raise ValueError(f"{path!r} is relative, and the server does not tell where it starts; use an absolute path")
        return posixpath.join(base, text) if text else base

    def wire(self, path: PathLike) -> str:
        """A path as the server takes it. Bytes that are not UTF-8 are lone surrogates here, as everywhere in Python."""
        text = self.absolute(path)
        if "\0" in text:
            raise ValueError(f"{path!r} has a NUL inside")
        has_other_bytes = any("\udc80" <= character <= "\udcff" for character in text)
        if self.takes_uris or has_other_bytes:
            return "file://" + quote(os.fsencode(text))
        return text

    def sandbox(self, sandboxing: Sandboxing, cwd: str) -> Optional[Dict[str, Any]]:
        """The `sandbox` of a request for what starts in `cwd`; nothing for no confinement."""
        if sandboxing is None or sandboxing == "off":
            return None
        if not self.can_confine:
            raise SandboxFailed("the server does not tell that it can confine anything, so nothing was done")
        if isinstance(sandboxing, dict):
            return sandboxing
        policy = Policy(sandboxing) if isinstance(sandboxing, str) else sandboxing
        if policy.preset not in ("read-only", "workspace-write"):
            raise ValueError(f"sandbox={policy.preset!r}: expected read-only, workspace-write or off")
        if not cwd:
            raise ValueError("a sandbox needs to know the working directory; name it by cwd=")
        writable = [self.absolute(path) for path in policy.write]
        entries = [_special("root", "read")]
        if policy.preset == "workspace-write":
            entries += [_special(kind, "write") for kind in ("project_roots", "slash_tmp", "tmpdir")]
            writable.append(cwd)
        if any(posixpath.normpath(path).strip("/") == "" for path in writable):
            raise ValueError("a sandbox in which / may be written confines no files; use another cwd=, or name paths")
        for path in policy.write:
            entries.append({"path": {"type": "path", "path": _uri(self.absolute(path))}, "access": "write"})
        sandbox: Dict[str, Any] = {
            "permissions": {
                "type": "managed",
                "file_system": {"type": "restricted", "entries": entries},
                "network": "enabled" if policy.network else "restricted",
            },
            "cwd": _uri(cwd),
            "workspaceRoots": [_uri(cwd)],
            "windowsSandboxLevel": "disabled",
        }
        if policy.accept_weaker:
            sandbox["acceptWeaker"] = list(policy.accept_weaker)
        return sandbox


def native(path: str) -> str:
    """A path of the server as a native one."""
    if not path.startswith("file:"):
        return path
    return os.fsdecode(unquote_to_bytes(urlsplit(path).path))


def _uri(path: str) -> str:
    return "file://" + quote(os.fsencode(path))


def _special(kind: str, access: str) -> Dict[str, Any]:
    return {"path": {"type": "special", "value": {"kind": kind}}, "access": access}

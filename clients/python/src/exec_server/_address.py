"""Where a server is, and how it is reached."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import ssl
import struct
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Union
from urllib.parse import unquote, urlsplit

from ._framing import Framing, Lines, WebSocket
from .errors import ConnectError

# The variable with the token for a URL, as of `exec-server run -e URL`.
TOKEN = "EXEC_SERVER_TOKEN"
# How long `exec-server env` may take to read the environments.
LIST_TIMEOUT = 20.0


@dataclass(frozen=True)
class Program:
    """A program that speaks the protocol on its standard input and output."""

    label: str
    argv: Sequence[str]
    env: Optional[Mapping[str, str]] = None
    # Whether another run of it can take up a session.
    can_resume: bool = False

    def framing(self) -> Framing:
        return Lines()


@dataclass(frozen=True)
class Endpoint:
    """A websocket, on TCP or on a Unix socket."""

    label: str
    host: str = ""
    port: int = 0
    path: str = ""
    query: str = "/"
    token: Optional[str] = field(default=None, repr=False)
    is_encrypted: bool = False
    ca_file: Optional[str] = None
    pin: Optional[str] = None
    allow_local_users: bool = False
    can_resume: bool = True

    def framing(self) -> Framing:
        bare = f"[{self.host}]" if ":" in self.host else self.host
        return WebSocket("localhost" if self.path else f"{bare}:{self.port}", self.query, self.token)

    def tls(self) -> Optional[ssl.SSLContext]:
        """How the certificate is verified; nothing for clear text."""
        if not self.is_encrypted:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.pin is not None:
            # The certificate itself is compared, so it does not matter who vouches for it.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def check_certificate(self, certificate: Optional[bytes]) -> None:
        """Raises unless this is the one that is pinned."""
        if self.pin is None:
            return
        found = hashlib.sha256(certificate or b"").hexdigest()
        if found != self.pin:
            raise ConnectError(f"{self.label}: the server has another certificate than the pinned one: sha256:{found}")

    def check_owner(self, credentials: bytes) -> None:
        """Raises if a Unix socket is served by another user, who would learn all that is sent."""
        _, user, _ = struct.unpack("3i", credentials)
        if not self.allow_local_users and user not in (0, os.getuid()):
            raise ConnectError(
                f"{self.label}: user {user} listens there, neither you nor root; allow_local_users=True lets that be"
            )


Address = Union[Program, Endpoint]


def find_binary(binary: Optional[str] = None) -> str:
    """The program `exec-server`: the given one, that of EXEC_SERVER_BIN, of this package's wheel, or on PATH."""
    named = binary or os.environ.get("EXEC_SERVER_BIN")
    if named:
        return named
    beside = Path(sysconfig.get_path("scripts")) / "exec-server"
    if beside.exists():
        return str(beside)
    found = shutil.which("exec-server")
    if found is None:
        raise ConnectError("there is no exec-server on PATH; name it by binary= or EXEC_SERVER_BIN")
    return found


def local(binary: Optional[str] = None, options: Sequence[str] = (), env: Optional[Mapping[str, str]] = None) -> Program:
    """A server of our own on this machine."""
    return Program("this machine", [find_binary(binary), "--listen", "stdio", *options], env)


def resolve(
    where: Union[str, Sequence[str], None],
    *,
    token: Optional[str] = None,
    ca_file: Optional[str] = None,
    pin: Optional[str] = None,
    allow_local_users: bool = False,
    binary: Optional[str] = None,
) -> Address:
    """What a name, a URL or a command means."""
    if where is not None and not isinstance(where, str):
        argv = list(where)
        if not argv:
            raise ValueError("the command of a connection is empty")
        return Program(f"the command {argv[0]}", argv)
    scheme, separator, rest = (where or "").partition(":")
    if separator and scheme == "stdio":
        return resolve(shlex.split(rest.lstrip("/") if rest.startswith("//") else rest))
    if separator and scheme == "ssh":
        return _ssh(str(where))
    if separator and scheme in ("ws", "wss", "unix"):
        if token is None and TOKEN in os.environ:
            token = os.environ[TOKEN].strip()
            if not token:
                raise ConnectError(f"the variable {TOKEN} is set and empty; put the token there, or unset it")
        url = str(where)
        if scheme == "unix":
            return _unix(url, token, allow_local_users)
        return _websocket(url, token, ca_file, pin)
    if separator:
        raise ValueError(f"{scheme}: is no way to a server; use ws:, wss:, unix:, ssh:, stdio: or the name of an environment")
    return _environment(where, binary)


def _ssh(url: str) -> Program:
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    if not host or host.startswith("-") or parts.path not in ("", "/"):
        raise ValueError(f"{url}: use ssh://[USER@]HOST[:PORT]")
    port = ["-p", str(parts.port)] if parts.port else []
    # No terminal is at hand to answer a question.
    return Program(url, ["ssh", "-T", "-o", "BatchMode=yes", *port, host, "exec-server", "--listen", "stdio"])


def _unix(url: str, token: Optional[str], allow_local_users: bool) -> Endpoint:
    path = unquote(url[len("unix:") :])
    path = path[2:] if path.startswith("//") else path
    if not path.startswith("/"):
        raise ValueError(f"{url}: the path of the socket must be absolute: unix:///PATH")
    return Endpoint(url, path=path, token=token, allow_local_users=allow_local_users)


def _websocket(url: str, token: Optional[str], ca_file: Optional[str], pin: Optional[str]) -> Endpoint:
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        raise ValueError("a URL of a server is ws://HOST:PORT or wss://HOST:PORT, and has no user or password")
    is_encrypted = parts.scheme == "wss"
    if pin is not None:
        if not is_encrypted:
            raise ValueError("a pin goes with a URL of wss://")
        pin = pin.lower().replace(":", "").replace("sha256", "", 1).strip()
    is_here = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
    if token is not None and not is_encrypted and not is_here:
        raise ConnectError(f"{parts.hostname}: the token would go there in clear text; use wss://, or a tunnel by ssh -L")
    return Endpoint(
        f"{parts.scheme}://{parts.netloc}",
        host=parts.hostname,
        port=parts.port or (443 if is_encrypted else 80),
        query=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        token=token,
        is_encrypted=is_encrypted,
        ca_file=ca_file,
        pin=pin,
    )


def _environment(name: Optional[str], binary: Optional[str]) -> Program:
    """The environment of that name, or the default one, as the program itself reads its files."""
    program = find_binary(binary)
    try:
        listed = subprocess.run(
            [program, "env", "--json"], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIST_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConnectError(f"cannot ask {program} for the environments: {error}") from error
    if listed.returncode != 0:
        raise ConnectError(listed.stderr.decode("utf-8", "replace").strip())
    rows: List[Dict[str, object]] = json.loads(listed.stdout)
    for row in rows:
        if row["id"] == name or (name is None and row["default"]):
            if row["kind"] == "local":
                return local(program)
            label = f"environment `{row['id']}`"
            return Program(label, [program, "connect", str(row["id"])], can_resume=row["kind"] != "program")
    if name is None:
        raise ConnectError("no environment is the default; name one")
    known = ", ".join(str(row["id"]) for row in rows)
    raise ConnectError(f"environment `{name}` is not configured\nconfigured are: {known}")

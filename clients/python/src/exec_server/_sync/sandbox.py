# Made from _aio/sandbox.py by tools/generate.py.
"""The machine at the other end."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, TypeVar, Union

from .. import wire
from .._address import Address, Program, local, resolve
from ..types import Sandboxing
from .commands import Commands
from .files import Files
from .pty import Pty
from .session import Session

P = TypeVar("P")
R = TypeVar("R")
Self = TypeVar("Self", bound="Sandbox")

# How long connecting and the handshake may take together, in seconds.
CONNECT_TIMEOUT = 20.0
# How long an answer may take, in seconds.
REQUEST_TIMEOUT = 60.0


class Sandbox:
    """A machine with commands, files and terminals, for as long as the connection or the session lives.

    It is made by `connect` or `local`, and closed at the end of `with`, which kills all that it has started.
    """

    commands: Commands
    """Runs commands."""
    files: Files
    """Reads, writes and watches files."""
    pty: Pty
    """Runs commands on a terminal."""

    def __init__(
        self, session: Session, cwd: Optional[str], envs: Mapping[str, str], sandbox: Sandboxing, keep: bool
    ) -> None:
        self._session = session
        self._keeps = keep
        self.commands = Commands(session, cwd, envs, sandbox)
        self.files = Files(session, self.commands, sandbox)
        self.pty = Pty(session, self.commands)

    @classmethod
    def connect(
        cls,
        where: Union[str, Sequence[str], None] = None,
        *,
        token: Optional[str] = None,
        ca_file: Optional[str] = None,
        pin: Optional[str] = None,
        allow_local_users: bool = False,
        cwd: Optional[str] = None,
        envs: Optional[Mapping[str, str]] = None,
        sandbox: Sandboxing = None,
        session_id: Optional[str] = None,
        keep: bool = False,
        binary: Optional[str] = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> Sandbox:
        """Connects to a server.

        `where` is the name of an environment, as `exec-server env` lists them (none is the default one); or
        ``ws://HOST:PORT``, ``wss://HOST:PORT``, ``unix:///PATH``, ``ssh://[USER@]HOST[:PORT]``, ``stdio:COMMAND``; or a
        list: a command and its arguments that speaks the protocol on its standard input and output.

        * `token`: for a URL whose server asks for one; else that of the variable EXEC_SERVER_TOKEN. It is not sent to
          another machine in clear text.
        * `ca_file`, `pin`: with ``wss://``: the file of certificates to believe, or the SHA-256 of the only one.
        * `allow_local_users`: with ``unix://``: whether another user than you and root may be the server.
        * `cwd`, `envs`, `sandbox`: what commands and file operations have where they say nothing else.
        * `session_id`: the session to take up again, that of a Sandbox that was closed with `keep`.
        * `keep`: closing leaves running what was started; the server kills it after 90 s without a client.
        * `binary`: the program ``exec-server``, for names of environments.
        * `connect_timeout`, `request_timeout`: seconds for connecting, and for any answer.

        `ConnectError` if it is not reached.
        """
        address = resolve(
            where, token=token, ca_file=ca_file, pin=pin, allow_local_users=allow_local_users, binary=binary
        )
        return cls._open(address, cwd, envs, sandbox, session_id, keep, connect_timeout, request_timeout)

    @classmethod
    def local(
        cls,
        *,
        cwd: Optional[str] = None,
        envs: Optional[Mapping[str, str]] = None,
        sandbox: Sandboxing = None,
        options: Sequence[str] = (),
        binary: Optional[str] = None,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> Sandbox:
        """Starts a server of its own on this machine, which ends with the Sandbox. `options` are further flags of it."""
        address = local(binary, options)
        return cls._open(address, cwd, envs, sandbox, None, False, CONNECT_TIMEOUT, request_timeout)

    @classmethod
    def _open(
        cls,
        address: Address,
        cwd: Optional[str],
        envs: Optional[Mapping[str, str]],
        sandbox: Sandboxing,
        session_id: Optional[str],
        keep: bool,
        connect_timeout: float,
        request_timeout: float,
    ) -> Sandbox:
        if keep and isinstance(address, Program) and not address.can_resume:
            raise ValueError(f"{address.label}: a session on standard input and output ends with it, so keep= cannot be")
        session = Session(
            address, name="exec-server-python", connect_timeout=connect_timeout, request_timeout=request_timeout
        )
        session.open(session_id)
        return cls(session, cwd, envs or {}, sandbox, keep)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def session_id(self) -> Optional[str]:
        """The key to the session, which is kept for 90 s after `close` with `keep`. Whoever knows it has the session."""
        return self._session.id

    @property
    def info(self) -> Dict[str, Any]:
        """What the server has told about its machine: `environmentInfo` in PROTOCOL.md."""
        return self._session.machine.info

    def call(self, method: wire.Method[P, R], params: P, *, timeout: Optional[float] = REQUEST_TIMEOUT) -> R:
        """Any request of PROTOCOL.md, by its name in `exec_server.wire`, such as `wire.HTTP_REQUEST`."""
        return self._session.call(method, params, timeout=timeout)

    def close(self) -> None:
        """Ends the session. What it has started is killed, unless `keep` was given. Safe to call twice."""
        self._session.close(kill=not self._keeps)

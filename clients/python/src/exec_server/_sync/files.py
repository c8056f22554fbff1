# Made from _aio/files.py by tools/generate.py.
"""Files and directories."""

from __future__ import annotations

import base64
import posixpath
from typing import Any, Iterator, Callable, Dict, List, Literal, Optional, TypeVar, Union, overload

from .. import wire
from .._machine import Machine, PathLike, native
from ..errors import ConnectionLost, NotFound, OperationFailed, TooLarge, UnknownMethod
from ..types import EntryInfo, Sandboxing, WatchEvent
from .commands import Commands
from .session import Changes, Session, fresh_name

T = TypeVar("T")

# A file up to this size goes in one message, a larger one in blocks.
ONE_MESSAGE = 4 * 1024 * 1024
# The largest block that a server takes.
BLOCK = 1024 * 1024


class WatchHandle:
    """A directory that is watched. Iteration gives its changes as they come, until `stop`."""

    def __init__(self, session: Session, changes: Changes) -> None:
        self._session = session
        self._changes = changes

    def __enter__(self) -> WatchHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[WatchEvent]:
        while True:
            event = self._changes.next(None)
            if event is None:
                return
            yield event

    def next_event(self, timeout: Optional[float] = None) -> Optional[WatchEvent]:
        """The next change; nothing when the watch was stopped. `RequestTimeout` if none comes in so many seconds."""
        return self._changes.next(timeout)

    def get_new_events(self) -> List[WatchEvent]:
        """The changes that have come since the last call, without waiting."""
        return self._changes.take()

    def stop(self) -> None:
        """Ends the watch, and every iteration."""
        self._session.watches.pop(self._changes.id, None)
        self._changes.is_stopped = True
        self._changes.wake.set()
        if self._changes.failure is None:
            try:
                params = wire.FsUnwatchParams(watchId=self._changes.id)
                self._session.call(wire.FS_UNWATCH, params, repeats=True)
            except ConnectionLost:
                # It has ended with the connection.
                pass


class Files:
    """The files of the machine.

    A path may be relative: it starts where commands do. `~/` is the user's home. Bytes of a name that are not UTF-8
    are lone surrogates, as `os.fsdecode` makes them.

    `sandbox` is a policy as of `commands.run`: a file operation is done behind the same walls as a command.
    """

    def __init__(self, session: Session, commands: Commands, sandbox: Sandboxing) -> None:
        self._session = session
        self._commands = commands
        self._sandbox = sandbox

    @property
    def _machine(self) -> Machine:
        return self._session.machine

    def _path(self, path: PathLike) -> str:
        return self._commands.directory(path) or self._machine.absolute(path)

    def _params(self, sandbox: Sandboxing, **members: Any) -> Any:
        """Parameters with the confinement of the request, if there is one."""
        confinement = self._machine.sandbox(
            sandbox if sandbox is not None else self._sandbox, self._commands.directory(None) or ""
        )
        if confinement is not None:
            members["sandbox"] = confinement
        return members

    @overload
    def read(
        self, path: PathLike, format: Literal["text"] = "text", *, sandbox: Sandboxing = None
    ) -> str: ...

    @overload
    def read(self, path: PathLike, format: Literal["bytes"], *, sandbox: Sandboxing = None) -> bytes: ...

    def read(
        self, path: PathLike, format: Literal["text", "bytes"] = "text", *, sandbox: Sandboxing = None
    ) -> Union[str, bytes]:
        """The whole content of a file: as text, of which all must be UTF-8, or as bytes."""
        data = self._read(path, sandbox)
        return data.decode("utf-8") if format == "text" else data

    def write(
        self, path: PathLike, data: Union[str, bytes], *, atomic: bool = False, sandbox: Sandboxing = None
    ) -> None:
        """Makes this the content of the file, text as UTF-8; the directory must be there.

        With `atomic` the file is replaced as a whole or not at all, and whoever reads it sees the old or the new one.
        """
        raw = data.encode("utf-8") if isinstance(data, str) else data
        if atomic and not self._machine.has("fs/writeFile.atomic"):
            raise UnknownMethod("the server cannot replace a file as a whole")
        if len(raw) > ONE_MESSAGE and not atomic and self._machine.info:
            self._write_blocks(self._path(path), raw, sandbox)
            return
        text = base64.b64encode(raw).decode("ascii")
        params = self._params(sandbox, path=self._wire(path), dataBase64=text)
        if atomic:
            params["atomic"] = True
        self._session.call(wire.FS_WRITE_FILE, params, repeats=True)

    def list(self, path: PathLike = ".", *, sandbox: Sandboxing = None) -> List[EntryInfo]:
        """What is in a directory, sorted by name."""
        directory = self._path(path)
        params = self._params(sandbox, path=self._machine.wire(directory))
        reply = self._session.call(wire.FS_READ_DIRECTORY, params, repeats=True)
        entries = []
        for it in reply["entries"]:
            raw = it.get("fileNameBase64")
            name = base64.b64decode(raw).decode("utf-8", "surrogateescape") if raw else it["fileName"]
            kind = "dir" if it["isDirectory"] else "file" if it["isFile"] else "other"
            entries.append(EntryInfo(name, posixpath.join(directory, name), kind, bool(it.get("isSymlink"))))
        return sorted(entries, key=lambda entry: entry.name)

    def exists(self, path: PathLike, *, sandbox: Sandboxing = None) -> bool:
        """Whether something is there; a link that leads nowhere is not."""
        try:
            self.get_info(path, sandbox=sandbox)
            return True
        except NotFound:
            return False

    def get_info(self, path: PathLike, *, sandbox: Sandboxing = None) -> EntryInfo:
        """What is there: its type, size, permission bits, and when it was changed."""
        full = self._path(path)
        params = self._params(sandbox, path=self._machine.wire(full))
        it = self._session.call(wire.FS_GET_METADATA, params, repeats=True)
        return EntryInfo(
            name=posixpath.basename(full.rstrip("/")) or "/",
            path=full,
            type="dir" if it["isDirectory"] else "file" if it["isFile"] else "other",
            is_symlink=bool(it.get("isSymlink")),
            size=it.get("size") or 0,
            mode=it.get("mode") or 0,
            modified_at=it.get("modifiedAtMs", 0) / 1000,
        )

    def remove(self, path: PathLike, *, sandbox: Sandboxing = None) -> None:
        """Removes a file, a link, or a directory with all that is in it. `NotFound` if nothing is there."""
        params = self._params(sandbox, path=self._wire(path), recursive=True, force=False)
        self._session.call(wire.FS_REMOVE, params)

    def rename(self, old: PathLike, new: PathLike, *, overwrite: bool = True, sandbox: Sandboxing = None) -> None:
        """Gives it another name in the same file system. What is there is replaced, unless `overwrite` is false."""
        members: Dict[str, Any] = {"sourcePath": self._wire(old), "destinationPath": self._wire(new)}
        if not overwrite:
            members["overwrite"] = False
        self._session.call(wire.FS_RENAME, self._params(sandbox, **members))

    def copy(self, source: PathLike, destination: PathLike, *, sandbox: Sandboxing = None) -> None:
        """Copies a file, a link, or a directory with all that is in it; `destination` is the new name."""
        params = self._params(
            sandbox, sourcePath=self._wire(source), destinationPath=self._wire(destination), recursive=True
        )
        self._session.call(wire.FS_COPY, params, timeout=None)

    def make_dir(self, path: PathLike, *, sandbox: Sandboxing = None) -> None:
        """Makes a directory and those above it. One that is there already is fine."""
        params = self._params(sandbox, path=self._wire(path), recursive=True)
        self._session.call(wire.FS_CREATE_DIRECTORY, params, repeats=True)

    def watch_dir(
        self, path: PathLike = ".", *, recursive: bool = False, sandbox: Sandboxing = None
    ) -> WatchHandle:
        """Watches a directory, with `recursive` also all below it. Every change from now on is told.

        When 4096 changes are not read, they are dropped, and an event of type `overflow` says so.
        """
        if not self._machine.has("fs/watch"):
            raise UnknownMethod("the server cannot watch a directory")
        params = self._params(sandbox, watchId=fresh_name(), path=self._wire(path), recursive=recursive)
        changes = Changes(self._session, params["watchId"], params)
        self._session.watches[changes.id] = changes
        try:
            self._session.call(wire.FS_WATCH, params, repeats=True)
        except BaseException:
            self._session.watches.pop(changes.id, None)
            raise
        return WatchHandle(self._session, changes)

    def _wire(self, path: PathLike) -> str:
        return self._machine.wire(self._path(path))

    def _read(self, path: PathLike, sandbox: Sandboxing) -> bytes:
        params = self._params(sandbox, path=self._wire(path))
        if self._machine.has("fs/readFile.maxMessageBytes"):
            params["maxMessageBytes"] = ONE_MESSAGE * 4 // 3
        try:
            reply = self._session.call(wire.FS_READ_FILE, params, repeats=True)
        except TooLarge:
            return self._read_blocks(self._wire(path), sandbox)
        incomplete = reply.get("incomplete")
        if incomplete:
            raise OperationFailed(incomplete["message"])
        return base64.b64decode(reply["dataBase64"])

    def _read_blocks(self, path: str, sandbox: Sandboxing) -> bytes:
        """A large file. If the connection is lost in between, it goes on where it was, unless the file has changed."""
        version = None
        if self._machine.has("fs/getMetadata.version"):
            params = self._params(sandbox, path=path, version=True)
            version = (self._session.call(wire.FS_GET_METADATA, params, repeats=True)).get("version")
        members = {"path": path, "mode": "read", **({"version": version} if version else {})}
        content = bytearray()

        def go_on(handle: str) -> bool:
            block: wire.FsReadBlockParams = {"handleId": handle, "offset": len(content), "len": BLOCK}
            reply = self._session.call(wire.FS_READ_BLOCK, block)
            content.extend(base64.b64decode(reply.get("chunk") or ""))
            return reply["eof"]

        self._in_blocks(self._params(sandbox, **members), "read" if version else None, go_on)
        return bytes(content)

    def _write_blocks(self, path: str, data: bytes, sandbox: Sandboxing) -> None:
        """A large file, block by block, which can be repeated since each says where it belongs."""
        offset = 0

        def go_on(handle: str) -> bool:
            nonlocal offset
            chunk = base64.b64encode(data[offset : offset + BLOCK]).decode("ascii")
            block: wire.FsWriteBlockParams = {"handleId": handle, "offset": offset, "chunk": chunk}
            self._session.call(wire.FS_WRITE_BLOCK, block)
            offset += BLOCK
            return offset >= len(data)

        params = self._params(sandbox, path=self._machine.wire(path), mode="replace")
        self._in_blocks(params, "update" if self._machine.has("fs/open.update") else None, go_on)

    def _in_blocks(self, params: Any, resumes_by: Optional[str], go_on: Callable[[str], bool]) -> None:
        """Opens a file and works on it until `go_on` says that it is done.

        An open file belongs to its connection. When that is lost, the file is opened on the next one in the mode
        `resumes_by`, if there is one.
        """
        while True:
            handle = fresh_name()
            connection = self._session.connection
            try:
                params = {**params, "handleId": handle}
                self._session.call(wire.FS_OPEN, params)
                if resumes_by is not None:
                    params = {**params, "mode": resumes_by}
                while not go_on(handle):
                    pass
                return
            except (ConnectionLost, NotFound):
                if resumes_by is None or not self._session.has_another_connection(connection):
                    raise
            finally:
                self._session.tell("fs/close", {"handleId": handle})

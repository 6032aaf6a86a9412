"""The SFTP subsystem: scp of OpenSSH 9, kdumptool, lftp, `ssh-copy-id -s`.

asyncssh speaks the protocol, versions 3 to 6; here is what its requests may do. The
status of CLOSE goes out only when the file is durable. asyncssh handles one request
after the other, so a request that waits holds the client back.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import asyncssh

from receiver.events import CommandRefused
from receiver.hosts.identity import Identity
from receiver.ssh import enrol
from receiver.ssh.door import Door, Reception, banner
from receiver.wire.families import SftpFile
from receiver.wire.paths import ClientPath, parse_untrusted
from receiver.wire.refused import Refused, printable

T = TypeVar("T")

OPEN_FILES: Final = 8  # at once in one session; clients have one
WINDOW: Final = 4 << 20  # bytes that may arrive ahead of a gap; clients keep at most 2 MB under way
AUTHORIZED_KEYS: Final = (".ssh", "authorized_keys")


class Incoming:
    """A file that is being written, at whatever offsets the requests arrive."""

    def __init__(self, files: Files, path: ClientPath) -> None:
        self._files = files
        self._path = path
        self._reception: Reception | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ahead: dict[int, bytes] = {}
        self._held = 0
        self.position = 0

    async def begin(self, version: int, size: int) -> None:
        """Start to receive by SFTP's `version`; 0 where the client did not say the size. Raises OSError."""
        heard = (self._files.banner, SftpFile(self._path, version))
        self._reception = await Reception.begin(
            self._files.door,
            self._files.door.view(self._files.identity, heard),
            self._path,
            "sftp",
            pause=self._flowing.clear,
            resume=self._flowing.set,
            expected_bytes=size,
        )

    async def write(self, offset: int, data: bytes) -> int:
        """Take bytes that lie at `offset`; those ahead of a gap are held until it closes."""
        reception = self._reception
        if reception is None:
            raise asyncssh.SFTPInvalidHandle("the file is closed")
        if reception.broken.done():
            broken = reception.broken.result()
            _fail(OSError(broken.errno or errno.EIO, str(broken)))
        if offset != self.position:
            self._hold(offset, data)
        else:
            reception.push(data)
            self.position += len(data)
            while self._ahead and (held := self._ahead.pop(self.position, None)) is not None:
                reception.push(held)
                self._held -= len(held)
                self.position += len(held)
        await self._flowing.wait()
        return len(data)

    def _hold(self, offset: int, data: bytes) -> None:
        if offset < self.position or offset in self._ahead or self._held + len(data) > WINDOW:
            raise asyncssh.SFTPOpUnsupported(
                f"a dump is sent from its first byte to its last, not from {offset} after {self.position}"
            )
        self._ahead[offset] = data
        self._held += len(data)

    async def close(self, *, cut: bool) -> None:
        """The client closed the file, or (`cut`) its connection went away before. Raises OSError."""
        reception, self._reception = self._reception, None
        if reception is None:
            return
        broken = "connection lost before the file was closed" if cut else None
        if self._ahead:
            broken = f"bytes are missing at {self.position}"
        await reception.finish(broken)
        if reception.broken.done():
            why = reception.broken.result()
            raise OSError(why.errno or errno.EIO, str(why))
        if broken and not cut:
            raise OSError(errno.EIO, broken)


class Answer:
    """A small file that may be read."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class Keys:
    """`.ssh/authorized_keys` of a client that logged in with a token."""

    def __init__(self) -> None:
        self.content = bytearray()


class Files(asyncssh.SFTPServer):
    """What one identity may do by SFTP: what kdump's clients do, and nothing else."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], door: Door, identity: Identity) -> None:
        super().__init__(channel)
        self.door = door
        self.identity = identity
        self.banner = banner(channel)
        self.view = door.view(identity)
        self._opened = 0
        self.input_over = False  # the session sets it: what is still open then was not closed by the client

    def exit(self) -> None:
        """Without a status, scp of OpenSSH 9 exits 1 after a perfect upload."""
        if not self.channel.is_closing():
            self.channel.exit(0)

    # What may be done with files.

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        writing = pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND)
        return await self._open(path, version=3, writing=bool(writing), size=attrs.size or 0)

    async def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
        writing = desired_access & (asyncssh.ACE4_WRITE_DATA | asyncssh.ACE4_APPEND_DATA)
        size = attrs.size or attrs.alloc_size or 0
        return await self._open(path, version=6, writing=bool(writing), size=size)

    async def _open(self, raw: bytes, *, version: int, writing: bool, size: int) -> object:
        path = self._path(raw, "open")
        if self._opened >= OPEN_FILES:
            _fail(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        opened = await self._file(path, version=version, writing=writing, size=size)
        self._opened += 1
        return opened

    async def _file(self, path: ClientPath, *, version: int, writing: bool, size: int) -> object:
        if self.identity.how == "token":
            if path.parts[-2:] != AUTHORIZED_KEYS:
                self._refuse("open", path, "a token only enrols a key; log in with that key to send dumps")
            return Keys() if writing else Answer(b"")
        if writing:
            incoming = Incoming(self, path)
            try:
                await incoming.begin(version, size)
            except OSError as error:
                _fail(error)
            return incoming
        return Answer(await self._work(lambda: self.view.read_status(path)))

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if isinstance(file_obj, Incoming):
            return await file_obj.write(offset, data)
        if isinstance(file_obj, Keys) and offset == len(file_obj.content) < enrol.KEYS_MAX:
            file_obj.content += data
            return len(data)
        raise asyncssh.SFTPPermissionDenied("this file is not written that way")

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        if isinstance(file_obj, Answer):
            return file_obj.content[offset : offset + size]
        raise asyncssh.SFTPPermissionDenied("dumps are not read back")

    async def close(self, file_obj: object) -> None:
        self._opened -= 1
        if isinstance(file_obj, Incoming):
            try:
                await file_obj.close(cut=self.input_over)
            except OSError as error:
                _fail(error)
        elif isinstance(file_obj, Keys) and not self.input_over:
            said: list[str] = []
            if await enrol.store(self.door, self.identity, bytes(file_obj.content), said.append):
                raise asyncssh.SFTPPermissionDenied("".join(said).strip())

    async def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        match file_obj:
            case Incoming():
                return _file(file_obj.position, 0)
            case Answer() | Keys():
                return _file(len(file_obj.content), 0)
        raise asyncssh.SFTPInvalidHandle("no such handle")

    async def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """Sizes, times and modes that clients set afterwards: a stored dump has its own."""

    async def fsync(self, file_obj: object) -> None:
        """Durability is the answer to CLOSE."""

    # What may be asked and done about names.

    async def realpath(self, path: bytes) -> bytes:
        return posixpath.normpath(b"/" + path.lstrip(b"/"))

    async def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        where = self._path(path, "stat")
        if self.identity.how == "token":
            if where.parts in {(), (".ssh",)}:
                return _directory()
            raise asyncssh.SFTPNoSuchFile("No such file")
        if await self._work(lambda: self.view.is_directory(where)):
            return _directory()
        found = await self._work(lambda: self.view.find(where))
        if found is None:
            raise asyncssh.SFTPNoSuchFile("No such file")
        return _file(found.size, found.mtime)

    async def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return await self.stat(path)

    async def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """`chmod 700 D`, `scp -p`: directories are 0700 and files 0600, whatever is asked."""

    async def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """As setstat."""

    async def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        where = self._path(path, "mkdir")
        if self.identity.how != "token":
            await self._work(lambda: self.view.make_directory(where, parents=False))

    async def rmdir(self, path: bytes) -> None:
        where = self._path(path, "rmdir")
        self._only_hosts("rmdir", where)
        await self._work(lambda: self.view.remove_directory(where))

    async def rename(self, oldpath: bytes, newpath: bytes, flags: int = 0) -> None:
        old, new = self._path(oldpath, "rename"), self._path(newpath, "rename")
        self._only_hosts("rename", old)
        self.door.recorded(await self._work(lambda: self.view.rename(old, new)))

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self.rename(oldpath, newpath)

    async def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
        space = await self._work(self.view.space)
        unit = 4096
        return asyncssh.SFTPVFSAttrs(
            bsize=unit,
            frsize=unit,
            blocks=space.total // unit,
            bfree=space.available // unit,
            bavail=space.available // unit,
            files=1 << 20,
            ffree=1 << 20,
            favail=1 << 20,
            fsid=0,
            flags=0,
            namemax=255,
        )

    async def fstatvfs(self, file_obj: object) -> asyncssh.SFTPVFSAttrs:
        return await self.statvfs(b"/")

    # What may not be done.

    def scandir(self, path: bytes) -> NoReturn:
        self._refuse("list", path, "dumps are not listed to clients")

    async def remove(self, path: bytes) -> None:
        self._refuse("remove", path, "what is stored stays")

    async def readlink(self, path: bytes) -> bytes:
        self._refuse("readlink", path, "there are no links here")

    async def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        self._refuse("symlink", newpath, "there are no links here")

    async def link(self, oldpath: bytes, newpath: bytes) -> None:
        self._refuse("link", newpath, "there are no links here")

    async def lock(self, file_obj: object, offset: int, length: int, flags: int) -> None:
        raise asyncssh.SFTPOpUnsupported("no locks here")

    async def unlock(self, file_obj: object, offset: int, length: int) -> None:
        raise asyncssh.SFTPOpUnsupported("no locks here")

    def _only_hosts(self, request: str, path: ClientPath) -> None:
        if self.identity.how == "token":
            self._refuse(request, path, "a token only enrols a key")

    def _path(self, raw: bytes, request: str) -> ClientPath:
        try:
            return parse_untrusted(raw.decode(errors="surrogateescape") or "/")
        except Refused as refused:
            self._refuse(request, raw, str(refused))

    def _refuse(self, request: str, path: object, reason: str) -> NoReturn:
        shown = path.decode(errors="backslashreplace") if isinstance(path, bytes) else str(path)
        asked = printable(f"sftp {request} {shown}", 200)
        self.door.bus.tell(CommandRefused(self.identity.name, self.identity.peer, asked, reason))
        raise asyncssh.SFTPPermissionDenied(reason)

    async def _work(self, work: Callable[[], T]) -> T:
        try:
            return await self.door.off_loop(work)
        except OSError as error:
            _fail(error)


_STATUS: Final[dict[int, Callable[[str], asyncssh.SFTPError]]] = {
    errno.ENOENT: asyncssh.SFTPNoSuchFile,
    errno.EEXIST: asyncssh.SFTPFileAlreadyExists,
    errno.EACCES: asyncssh.SFTPPermissionDenied,
    errno.ENOSPC: asyncssh.SFTPNoSpaceOnFilesystem,
    errno.EDQUOT: asyncssh.SFTPQuotaExceeded,
    errno.EISDIR: asyncssh.SFTPFileIsADirectory,
    errno.ENOTEMPTY: asyncssh.SFTPDirNotEmpty,
}


def _fail(error: OSError) -> NoReturn:
    """Say an OSError in SFTP's words; asyncssh turns those that a version lacks into plain failures."""
    kind = _STATUS.get(error.errno or 0, asyncssh.SFTPFailure)
    raise kind(error.strerror or str(error)) from None


def _directory() -> asyncssh.SFTPAttrs:
    return asyncssh.SFTPAttrs(
        type=asyncssh.FILEXFER_TYPE_DIRECTORY, size=0, permissions=0o40700, uid=0, gid=0
    )


def _file(size: int, mtime: float) -> asyncssh.SFTPAttrs:
    seconds = int(mtime)
    return asyncssh.SFTPAttrs(
        type=asyncssh.FILEXFER_TYPE_REGULAR,
        size=size,
        permissions=0o100600,
        uid=0,
        gid=0,
        atime=seconds,
        mtime=seconds,
    )

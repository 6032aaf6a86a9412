"""A file of the spool as an answer: whole or a range of it, off the event loop, holes not read.

Dumps are tens of gigabytes and downloads break off, so ranges, If-Range and a strong ETag matter.
RFC 9110, sections 8.8.3, 13 and 14. Several ranges at once are answered with the whole file,
which section 14.2 allows.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.web.problem import Refused

BLOCK: Final = 1 << 20  # bytes read at once
BLOCK_SECONDS: Final = 60.0  # that a client may take for one of them
DOWNLOADS_MAX: Final = 64  # at once
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_ZEROS: Final = bytes(BLOCK)


class Downloads:
    """How many run."""

    running = 0


def answer(request: Request, path: Path, filename: str, sha256: str | None = None) -> Response:
    """The file at `path`, as the request wants it. Blocks.

    `sha256` is its content's, where that is known; its name and size then tell versions apart.

    Raises:
        Refused: 404 it is gone, 416 it has no such range, 503 too many downloads run.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise Refused(404, f"{path.name} is not on the disk any more") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(404, f"{path.name} is no file")
        tag = sha256 or f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
        headers = {
            "accept-ranges": "bytes",
            "etag": f'"{tag}"',
            "last-modified": formatdate(int(status.st_mtime), usegmt=True),
            "content-type": "application/octet-stream",
            "content-disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        }
        if _is_known(request, headers["etag"], int(status.st_mtime)):
            return Response(status_code=304, headers=headers)
        first, last = _range(request, headers, status.st_size, int(status.st_mtime))
        if Downloads.running >= DOWNLOADS_MAX:
            raise Refused(503, "too many downloads run at once; try again", headers={"retry-after": "30"})
        whole = (first, last) == (0, status.st_size - 1) and "content-range" not in headers
        sending = Sending(fd, first, last + 1, headers, 200 if whole else 206)
        fd = -1
        return sending
    finally:
        if fd >= 0:
            os.close(fd)


class Sending(Response):
    """Bytes `start` to `end` of `fd`, which it closes."""

    def __init__(self, fd: int, start: int, end: int, headers: dict[str, str], status: int) -> None:
        super().__init__(status_code=status, headers=headers | {"content-length": str(end - start)})
        self._fd, self._start, self._end = fd, start, end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Downloads.running += 1
        try:
            head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(head)
            if scope["method"] != "HEAD":
                async for block in self._blocks():
                    async with asyncio.timeout(BLOCK_SECONDS):
                        await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            Downloads.running -= 1
            os.close(self._fd)
            self._fd = -1

    async def _blocks(self) -> AsyncIterator[bytes]:
        at = self._start
        while at < self._end:
            block = await run_in_threadpool(_read, self._fd, at, min(BLOCK, self._end - at))
            if not block:
                raise OSError(errno.EIO, "the file became shorter while it was sent")
            yield block
            at += len(block)

    def __del__(self) -> None:
        if self._fd >= 0:  # never sent: the client was gone before
            os.close(self._fd)


def _read(fd: int, at: int, size: int) -> bytes:
    """At most `size` bytes; of a hole zeros, which need no disk."""
    with suppress(OSError):  # a file system that knows no holes, or the end of the file
        data = os.lseek(fd, at, os.SEEK_DATA)
        if data > at:
            return _ZEROS[: min(size, data - at)]
        return os.pread(fd, size, at)
    return os.pread(fd, size, at)


def _is_known(request: Request, tag: str, modified: int) -> bool:
    asked = request.headers.get("if-none-match")
    if asked is not None:
        tags = {one.strip().removeprefix("W/") for one in asked.split(",")}
        return tag in tags or asked.strip() == "*"
    since = _date(request.headers.get("if-modified-since", ""))
    return since is not None and modified <= since


def _range(request: Request, headers: dict[str, str], size: int, modified: int) -> tuple[int, int]:
    """First and last byte that are wanted; puts Content-Range into `headers` for a part. Raises Refused."""
    whole = 0, size - 1
    found = _RANGE.fullmatch(request.headers.get("range", "").strip().lower())
    condition = request.headers.get("if-range")
    if found is None or not (found[1] or found[2]):
        return whole
    if condition is not None and condition != headers["etag"] and _date(condition) != modified:
        return whole  # it is another file by now
    if found[1]:
        first, last = int(found[1]), min(int(found[2]) if found[2] else size - 1, size - 1)
        if found[2] and int(found[2]) < first:
            return whole  # no range at all, RFC 9110 14.1.1
    else:
        first, last = max(0, size - int(found[2])), size - 1
    if first >= size or last < first:
        detail = f"the file has {size} bytes; no byte of it is in that range"
        raise Refused(416, detail, headers={"content-range": f"bytes */{size}"})
    headers["content-range"] = f"bytes {first}-{last}/{size}"
    return first, last


def _date(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

"""Where the vmlinux of a crashed kernel is, by its build-id.

Source of the layouts: GDB's ".build-id" directories, Debian's linux-image-*-dbg, Fedora's
kernel-debuginfo; of the URLs: debuginfod(8), "/buildid/BUILDID/debuginfo".
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receiver.durable import make_directory

if TYPE_CHECKING:
    from http.client import HTTPResponse

LARGEST: Final = 4 << 30  # bytes of a vmlinux that a debuginfod may send
FETCH_SECONDS: Final = 60.0  # between two pieces of it
_BUILD_ID = re.compile(r"[0-9a-f]{16,64}", re.ASCII)
_RELEASE = re.compile(r"[\w.+~-]{1,128}", re.ASCII)


def find(build_id: str | None, release: str | None, directories: Sequence[Path]) -> Path | None:
    """The vmlinux below `directories`. A dump says both names, so neither is trusted as a path."""
    names: list[str] = []
    if build_id and _BUILD_ID.fullmatch(build_id):
        names.append(f".build-id/{build_id[:2]}/{build_id[2:]}.debug")
    if release and _RELEASE.fullmatch(release) and ".." not in release:
        names += [
            f"boot/vmlinux-{release}",
            f"lib/modules/{release}/vmlinux",
            f"vmlinux-{release}",
        ]
    for directory in directories:
        for name in names:
            if (directory / name).is_file():
                return directory / name
    return None


def fetch(build_id: str | None, urls: Sequence[str], cache: Path) -> Path | None:
    """The vmlinux from the first debuginfod of `urls` that has it, kept in `cache`; None if none has."""
    if not build_id or not _BUILD_ID.fullmatch(build_id):
        return None
    kept = cache / f"{build_id}.debug"
    if kept.is_file():
        return kept
    for url in urls:
        with contextlib.suppress(OSError):  # no such server, no such kernel, broken off: ask the next one
            make_directory(cache)
            _download(f"{url.rstrip('/')}/buildid/{build_id}/debuginfo", kept)
            return kept
    return None


def _download(url: str, to: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise OSError(f"{url}: no http address")
    aside = to.with_suffix(f".{os.getpid()}")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer, aside.open("wb") as file:  # noqa: S310
            if int(answer.headers.get("Content-Length") or 0) > LARGEST:
                raise OSError(f"{url}: larger than {LARGEST} bytes")
            shutil.copyfileobj(_Bounded(answer), file, 1 << 20)
        aside.rename(to)
    finally:
        aside.unlink(missing_ok=True)


class _Bounded:
    """A download that ends in an error, not in a full disk."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        self._left = LARGEST

    def read(self, size: int = -1, /) -> bytes:
        piece = self._answer.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise OSError(f"larger than {LARGEST} bytes")
        return piece

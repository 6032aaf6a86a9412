"""A core that came in parts: kdumptool with KDUMPTOOL_FLAGS=SPLIT sends vmcore1 … vmcoreN.

Each part is judged as it comes; here they are judged together: a set with a part
missing is as good as a file that broke off.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from receiver.dump import diskdump
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread
from receiver.dump.verdict import tiling_untrusted
from receiver.dump.worth import Verdict
from receiver.spool import attempts
from receiver.spool.disk import reader
from receiver.spool.manifest import Manifest, StoredFile


def together(directory: Path, dump: Manifest) -> Manifest:
    """`dump` with the verdict of its whole set of parts, or as it is where one file holds everything.

    Raises OSError when a part cannot be read.
    """
    parts = _best_of_each([file for file in dump.files if file.core])
    whole = [part for part in parts if part.verdict is Verdict.COMPLETE]
    if not whole:
        return dump
    with ExitStack() as stack:
        preads = [_opened(directory / part.name, stack) for part in whole]
        if not all(map(_is_split_untrusted, preads)):
            return dump
        verdict, reason = tiling_untrusted(preads)
    for part in parts:
        if part not in whole:
            verdict, reason = part.verdict, f"{part.name}: {part.reason}"
    return replace(dump, verdict=verdict, reason=reason)


def _best_of_each(cores: Sequence[StoredFile]) -> list[StoredFile]:
    """Of several attempts at one part, the one that counts."""
    names = dict.fromkeys(core.requested[-1] for core in cores)
    best = (attempts.best([core for core in cores if core.requested[-1] == name]) for name in names)
    return [core for core in best if core]


def _opened(path: Path, stack: ExitStack) -> Pread:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    stack.callback(os.close, fd)
    return reader(fd)


def _is_split_untrusted(pread: Pread) -> bool:
    try:
        header = diskdump.parse_untrusted(pread)
    except Malformed:
        return False  # another format, which has no parts
    return header.sub is not None and header.sub.split

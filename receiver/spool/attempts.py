"""What a stored file is called, when a dump's core may have been sent more than once.

kdump-tools sends /proc/vmcore again after a failed upload, kdump-save overwrites
its README.txt at the end, and two crashes in one minute share a directory
(facts: kdump-tools 1.8.1 stamps by the minute). Nothing stored is ever replaced:
the best attempt takes the plain name, the others are set aside beside it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from receiver.dump.stream import DUMPS
from receiver.dump.worth import Verdict
from receiver.spool import manifest
from receiver.spool.manifest import StoredFile

CORE: Final = "vmcore"
INCOMPLETE: Final = ".incomplete"
FILES_MAX: Final = 64  # files that one dump keeps, attempts included
NAME_MAX: Final = 230  # bytes of a stored file's name without what we append

# How the clients call the core (facts: every family's final and intermediate names).
_CORE_NAME = re.compile(r"(vmcore|dump)([-.](?!dmesg)\S*)?|vmcore\d{1,4}", re.ASCII)
_PART = re.compile(r"vmcore(\d{1,4})", re.ASCII)  # kdumptool's split sets: vmcore1 ... vmcoreN
_OTHER_CORES = re.compile(r"opalcore", re.ASCII)  # PowerNV firmware's ELF core, beside the kernel's

_RANK = {Verdict.COMPLETE: 0, Verdict.DAMAGED: 1, Verdict.UNKNOWN: 2, Verdict.TRUNCATED: 3}


def is_core(requested: str, kind: str) -> bool:
    """Whether a file is the dump's core: by its bytes; by its name where the bytes say nothing."""
    if _OTHER_CORES.match(requested):
        return False
    return kind in DUMPS or (kind != "text" and _CORE_NAME.fullmatch(requested) is not None)


def is_part(file: StoredFile) -> bool:
    """Whether a core is one part of a split set."""
    return file.core and _PART.fullmatch(file.requested[-1]) is not None


def best(cores: Sequence[StoredFile]) -> StoredFile | None:
    """The core that stands for the dump: the best verdict, then the most bytes, then the first that came."""
    return min(cores, key=lambda core: (_RANK[core.verdict], -core.bytes, core.finished), default=None)


def plain_name(file: StoredFile) -> str:
    """The name a file has when no other attempt wants it."""
    name = file.requested[-1]
    if file.core:
        part = _PART.fullmatch(name)
        name = part.group() if part else CORE
    elif name in manifest.OURS or name.startswith("."):
        name = f"_{name}"  # ours
    name = _cut(name)
    return name + INCOMPLETE if file.verdict is Verdict.TRUNCATED else name


def _cut(name: str) -> str:
    """Short enough for the suffixes that we may put to it: Linux takes 255 bytes."""
    return name.encode()[:NAME_MAX].decode(errors="ignore")


def arranged(
    files: Sequence[StoredFile], newest: StoredFile, strangers: Collection[str] = ()
) -> list[StoredFile]:
    """`files` and `newest` under the names they shall have; the order of `files` is kept.

    Of several files that want one name, the best core, or the newest of the rest,
    gets it; the others become `NAME.1`, `NAME.2`, ... and keep those. `strangers`
    are names that others put into the directory: nobody gets them.
    """
    wanted = plain_name(newest)
    rivals = [file for file in files if file.name == wanted]
    taken = {file.name for file in files} | manifest.OURS | {newest.name} | set(strangers)
    if not rivals:
        name = _aside(wanted, taken) if wanted in strangers else wanted
        return [*files, replace(newest, name=name)]
    (rival,) = rivals
    aside = _aside(wanted, taken)
    if newest.core and best([rival, newest]) is rival:
        return [*files, replace(newest, name=aside)]
    moved = [replace(file, name=aside) if file is rival else file for file in files]
    return [*moved, replace(newest, name=wanted)]


def _aside(name: str, taken: Collection[str]) -> str:
    return next(free for n in range(1, len(taken) + 2) if (free := f"{name}.{n}") not in taken)

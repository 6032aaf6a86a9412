"""The kernel's image in an ELF core whose program headers never came.

makedumpfile sends a flattened ELF core's program headers last, so one that broke off
does not say where its memory lies, and no other reader gets anything out of it. But
VMCOREINFO came first and names the kernel's utsname by address, whose text is easily
found in the file; the image around it is one stretch of memory, and of the file. What
is found is believed when the pointer to the log's ring leads into the same stretch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from receiver.dump.elf import PT_LOAD, Elf, Segment
from receiver.dump.pread import Pread, chunks, claimed
from receiver.dump.vmcoreinfo import Vmcoreinfo

SEARCHED = 4 << 30  # bytes of the file
_REACH = 256 << 20  # bytes of image believed on each side of what was found
_FIELD = 65  # bytes of each field of new_utsname
_SYSNAME = b"Linux".ljust(_FIELD, b"\0")
_STEP = 8 << 20
_MOST_TRIES = 1 << 16  # "Linux" and zeros, looked at
_MOST_PLACES = 64  # where the name is found, all over a file; one is right


def anchored_untrusted(pread: Pread, core: Elf, info: Vmcoreinfo) -> Elf | None:
    """The core with one segment for the kernel's image, whose physical addresses are its virtual ones
    cut to 48 bits; None where the image is not in the file. Raises nothing.
    """
    namespace, offset = info.symbol("init_uts_ns"), info.offset("uts_namespace.name")
    if namespace is None or offset is None or info.osrelease is None:
        return None
    name = namespace + offset
    for place in islice(_places(pread, info.osrelease.encode()), _MOST_PLACES):
        if _leads_to_the_log(pread, core, info, place - name):
            before = min(place, _REACH)
            start = name - before
            segment = Segment(PT_LOAD, place - before, start, paddr(start), before + _REACH, before + _REACH)
            return replace(core, segments=(segment,))
    return None


def paddr(vaddr: int) -> int:
    """The made-up physical address of an image address."""
    return vaddr & (1 << 48) - 1


def _places(pread: Pread, release: bytes) -> Iterator[int]:
    """Where in the file a new_utsname of this release lies."""
    base, kept, tries = 0, b"", 0
    wanted = release.ljust(_FIELD, b"\0")
    for piece in chunks(pread, 0, SEARCHED, _STEP):
        window = kept + piece
        found = window.find(_SYSNAME)
        while found >= 0 and tries < _MOST_TRIES:
            tries += 1
            place = base - len(kept) + found
            if pread(place + 2 * _FIELD, _FIELD) == wanted:
                yield place
            found = window.find(_SYSNAME, found + 1)
        base += len(piece)
        kept = window[1 - _FIELD :]


def _leads_to_the_log(pread: Pread, core: Elf, info: Vmcoreinfo, shift: int) -> bool:
    """Whether a pointer that VMCOREINFO names holds an address nearby, as the log's always does."""
    for symbol in ("prb", "log_buf"):
        variable = info.symbol(symbol)
        if variable is not None:
            value = int.from_bytes(claimed(pread, variable + shift, core.word_size), core.order)
            return abs(value - variable) < _REACH
    return False

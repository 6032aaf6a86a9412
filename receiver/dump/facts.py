"""What a dump says of itself: VMCOREINFO first, headers second.

utsname and time stamp of a kdump header may be blank or corrupt (hypervisors leave
them so), and the sub header's phys_base may be wrong: the note written by the
crashed kernel is believed before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.dump import bitmap, diskdump, elf, notes
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread
from receiver.dump.virtual import open_untrusted
from receiver.dump.vmcoreinfo import Vmcoreinfo

_UTSNAME_FIELD = 65  # bytes of each field of new_utsname; nodename is the second


@dataclass(frozen=True, slots=True)
class Facts:
    """None where the dump does not say, or not yet."""

    kernel_release: str | None = None
    build_id: str | None = None  # lower-case hexadecimal
    crash_time: int | None = None  # seconds since the epoch
    architecture: str | None = None  # as `uname -m` says it
    nodename: str | None = None
    page_size: int | None = None  # bytes
    pages_total: int | None = None  # pages of RAM
    pages_present: int | None = None  # of them are in the dump
    dump_level: int | None = None  # makedumpfile -d
    compression: str | None = None  # zlib, lzo, snappy, zstd, none
    cpus: int | None = None
    split: tuple[int, int] | None = None  # page frames of this part: first, one past the last
    vmcoreinfo: Vmcoreinfo | None = None


def facts_untrusted(pread: Pread, kind: Kind) -> Facts:
    """Everything that the bytes say, also of a file that is still arriving. Raises nothing."""
    try:
        if kind is Kind.KDUMP:
            return of_kdump(pread, diskdump.parse_untrusted(pread))
        if kind is Kind.ELF:
            return of_elf(pread, elf.parse_untrusted(pread))
        if kind is Kind.TEXT or kind is Kind.EMPTY:
            return Facts()
    except Malformed:
        pass
    return _of_vmcoreinfo(notes.search_untrusted(pread, 0, notes.SEARCHED))


def of_kdump(pread: Pread, header: diskdump.Header) -> Facts:
    """Of a kdump-compressed file with this header. Raises nothing."""
    info = diskdump.vmcoreinfo_untrusted(pread, header)
    said = _of_vmcoreinfo(info)
    name, sub = header.utsname, header.sub
    first, end = header.pfn_range
    return Facts(
        kernel_release=said.kernel_release or name.release or None,
        build_id=said.build_id,
        crash_time=said.crash_time or (header.timestamp if header.timestamp > 0 else None),
        architecture=name.machine or said.architecture,
        nodename=name.nodename or _nodename(pread, Kind.KDUMP),
        page_size=header.block_size,
        pages_total=_count(pread, header.bitmap1, 0, header.max_mapnr),
        pages_present=_count(pread, header.bitmap2, first, end),
        dump_level=sub.dump_level if sub else None,
        compression=header.compression,
        cpus=header.nr_cpus if 0 < header.nr_cpus < 1 << 16 else None,
        split=(first, end) if sub and sub.split else None,
        vmcoreinfo=info,
    )


def of_elf(pread: Pread, core: elf.Elf) -> Facts:
    """Of an ELF core with these headers. Raises nothing."""
    info = elf.vmcoreinfo_untrusted(pread, core)
    said = _of_vmcoreinfo(info)
    size = said.page_size or 4096
    cpus = sum(
        note.type == notes.NT_PRSTATUS and note.name == b"CORE" for note in elf.notes_untrusted(pread, core)
    )
    return Facts(
        kernel_release=said.kernel_release,
        build_id=said.build_id,
        crash_time=said.crash_time,
        architecture=core.architecture or said.architecture,
        nodename=_nodename(pread, Kind.ELF) if core.segments else None,
        page_size=said.page_size,
        pages_total=sum(load.memsz for load in core.loads) // size or None,
        pages_present=sum(load.filesz for load in core.loads) // size or None,
        compression="none",
        cpus=cpus or None,
        vmcoreinfo=info,
    )


def _of_vmcoreinfo(info: Vmcoreinfo | None) -> Facts:
    if info is None:
        return Facts()
    return Facts(
        kernel_release=info.osrelease,
        build_id=info.build_id,
        crash_time=info.crash_time,
        architecture=info.architecture,
        page_size=info.page_size,
        vmcoreinfo=info,
    )


def _nodename(pread: Pread, kind: Kind) -> str | None:
    """From the crashed kernel's own utsname, where the headers do not hold it."""
    try:
        virtual, info = open_untrusted(pread, kind)
        namespace, offset = info.symbol("init_uts_ns"), info.offset("uts_namespace.name")
        if namespace is None or offset is None:
            return None
        text = virtual.read(namespace + offset + _UTSNAME_FIELD, _UTSNAME_FIELD).split(b"\0", 1)[0]
    except Malformed:
        return None
    return text.decode() if text.isascii() and text.decode().isprintable() and text else None


def _count(pread: Pread, region: diskdump.Region, first: int, end: int) -> int | None:
    """Bits set; None where the bitmap is missing, cut short or not yet written."""
    if not region.size:
        return None
    try:
        return bitmap.popcount(pread, region.offset, first, end) or None
    except Malformed:
        return None

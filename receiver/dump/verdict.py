"""Whether a dump is whole, decided by its bytes alone.

Structure: for kdump-compressed files the second bitmap, the table of descriptors
and the file's size must tell the same story; for ELF every segment must lie inside
the file. Neither the incomplete flag (absent from flattened streams that broke off)
nor the client's exit status is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from receiver.dump import bitmap, descriptors, diskdump, elf, facts
from receiver.dump.deep import OnProgress
from receiver.dump.deep import check as check_pages
from receiver.dump.descriptors import LEGAL_FLAGS, Table
from receiver.dump.diskdump import DESCRIPTOR_SIZE, Header
from receiver.dump.facts import Facts
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Pread
from receiver.dump.worth import Verdict

NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, and one sentence that says why."""

    verdict: Verdict
    reason: str
    facts: Facts = NO_FACTS
    pages_total: int | None = None  # pages that the file promises
    pages_present: int | None = None  # of them lie inside the file


def judge_untrusted(
    pread: Pread,
    size: int,
    kind: Kind,
    *,
    ended: bool | None,
    stream_bytes: int | None = None,
    deep: bool = False,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Judgement:
    """Judge a file of `size` bytes. Raises nothing, whatever the bytes say.

    `ended`: whether the end record of the stream it came in was seen, None where it
    had none; `stream_bytes` is that stream's length, for the sentence. `deep`
    decompresses every page, on `workers` cores (default: all).
    """
    try:
        judgement = _judge(pread, size, kind, broke_off=ended is False)
    except Malformed as error:
        # A header that has not arrived reads as zeros or ends early; only a stream that ended cannot say so.
        verdict = Verdict.TRUNCATED if ended is False else Verdict.DAMAGED
        judgement = Judgement(verdict, str(error), facts.facts_untrusted(pread, kind))
    if deep and kind is Kind.KDUMP and judgement.verdict is not Verdict.DAMAGED:
        judgement = _deepened(judgement, pread, size, workers, on_progress)
    if ended is False:
        judgement = _unended(judgement, stream_bytes)
    return judgement


def judge_set(parts: Sequence[tuple[Pread, int]]) -> Judgement:
    """Judge the parts of one split dump (``makedumpfile --split``) together. Raises nothing."""
    judged = [judge_untrusted(pread, size, Kind.KDUMP, ended=None) for pread, size in parts]
    if not judged:
        return Judgement(Verdict.TRUNCATED, "no part of the split dump is there")
    for number, judgement in enumerate(judged, 1):
        if judgement.verdict is not Verdict.COMPLETE:
            return replace(judgement, reason=f"part {number} of {len(judged)}: {judgement.reason}")
    verdict, reason = tiling_untrusted([pread for pread, _ in parts])
    total = sum(judgement.pages_total or 0 for judgement in judged)
    return Judgement(verdict, reason, replace(judged[0].facts, split=None, pages_present=total), total, total)


def _judge(pread: Pread, size: int, kind: Kind, *, broke_off: bool) -> Judgement:
    match kind:
        case Kind.KDUMP:
            return _judge_kdump(pread, size, broke_off=broke_off)
        case Kind.ELF:
            return _judge_elf(pread, size)
        case Kind.TEXT:
            return Judgement(Verdict.COMPLETE, f"a text of {size:,} bytes")
        case Kind.EMPTY:
            return Judgement(Verdict.TRUNCATED, "not a byte arrived")
        case Kind.FLATTENED:
            return Judgement(Verdict.UNKNOWN, "a flattened stream that was not rearranged")
    return Judgement(Verdict.UNKNOWN, f"{size:,} bytes of no dump format that is known here")


def _judge_kdump(pread: Pread, size: int, *, broke_off: bool) -> Judgement:
    header = diskdump.parse_untrusted(pread)
    said = facts.of_kdump(pread, header)
    if header.version and header.sub is None:
        return Judgement(Verdict.TRUNCATED, "the sub header is missing", said)
    table_at = header.descriptors_offset
    if size < table_at:
        return Judgement(Verdict.TRUNCATED, f"the file ends at byte {size:,}, inside its page bitmaps", said)
    first, end = header.pfn_range
    promised = said.pages_present or bitmap.popcount(pread, header.bitmap2.offset, first, end)
    table = descriptors.scan_untrusted(pread, table_at, promised, header.order)
    if broke_off and table.written and _contradiction(pread, header, promised, table):
        # They are written in order, and the stream may have ended inside the last one.
        zero = table.zero + 1
        table = descriptors.scan_untrusted(pread, table_at, table.written - 1, header.order)
        table.read, table.zero = promised, zero
    verdict, reason = _agreement(pread, size, header, promised, table)
    present = min(table.written, promised)
    if table.end > size:
        present = _inside(pread, size, header, promised)
    return Judgement(verdict, reason, said, promised, present)


def _agreement(pread: Pread, size: int, header: Header, promised: int, table: Table) -> tuple[Verdict, str]:
    """Whether bitmap, descriptors and size tell the same story: contradictions first, then gaps."""
    contradiction = _contradiction(pread, header, promised, table)
    if contradiction:
        return Verdict.DAMAGED, contradiction
    if not promised:
        if header.sub and header.sub.split and not table.written:
            first, end = header.pfn_range  # makedumpfile 1.7.2 --split of a small dump: all pages in one part
            return Verdict.COMPLETE, f"page frames {first:,} to {end:,} of a split dump, without a page"
        if size <= header.descriptors_offset and not header.incomplete:
            return Verdict.TRUNCATED, "the bitmap of dumped pages is empty and nothing follows it"
        return Verdict.TRUNCATED, "the bitmap of dumped pages is empty"
    if table.read < promised:
        return (
            Verdict.TRUNCATED,
            f"the file ends at byte {size:,}, with {table.read:,} of {promised:,} page descriptors in it",
        )
    if table.zero:
        full = "; the incomplete flag is set" if header.incomplete else ""
        return Verdict.TRUNCATED, f"{table.zero:,} of {promised:,} page descriptors are missing{full}"
    end = max(table.end, header.sub.eraseinfo.end if header.sub else 0)
    if size < end:
        return Verdict.TRUNCATED, f"the file ends at byte {size:,}, its pages at byte {end:,}"
    if header.incomplete:
        return Verdict.TRUNCATED, "the incomplete flag is set: makedumpfile could not write everything"
    if size > end and (size - end >= header.block_size or any(pread(end, size - end))):
        return Verdict.DAMAGED, f"{size - end:,} bytes follow the last page, which ends at byte {end:,}"
    part = f", page frames {header.pfn_range[0]:,} to {header.pfn_range[1]:,} of a split dump"
    split = part if header.sub and header.sub.split else ""
    return Verdict.COMPLETE, f"all {promised:,} pages are in the file{split}"


def _contradiction(pread: Pread, header: Header, promised: int, table: Table) -> str:
    """What cannot come from a broken connection; empty where nothing contradicts."""
    block = header.block_size
    for (length, flags), pages in sorted(table.forms.items()):
        if flags not in LEGAL_FLAGS:
            return f"{pages:,} page descriptors have flags {flags:#x}, which name no compression"
        if length > block or length == 0:
            return f"{pages:,} page descriptors speak of {length:,} bytes in a page of {block:,}"
        if flags == 0 and length != block:
            return f"{pages:,} raw pages have {length:,} bytes instead of {block:,}"
    data = header.descriptors_offset + promised * DESCRIPTOR_SIZE
    if table.written and table.first < data:
        return f"page data begin at byte {table.first:,}, inside the headers, which end at byte {data:,}"
    gap = table.first - data if table.written else 0
    if gap and gap % DESCRIPTOR_SIZE == 0 and table.zero == 0:
        beyond = descriptors.scan_untrusted(pread, data, min(gap // DESCRIPTOR_SIZE, 4096), header.order)
        if beyond.written and all(flags in LEGAL_FLAGS and 0 < n <= block for n, flags in beyond.forms):
            more = gap // DESCRIPTOR_SIZE
            return f"the bitmap counts {promised:,} pages, but {more:,} more descriptors follow"
    return ""


def _inside(pread: Pread, size: int, header: Header, promised: int) -> int:
    """Pages whose data lie before the file's end."""
    return descriptors.inside_untrusted(pread, header.descriptors_offset, promised, header.order, size)


def _judge_elf(pread: Pread, size: int) -> Judgement:
    core = elf.parse_untrusted(pread)
    said = facts.of_elf(pread, core)
    expected = core.expected_size
    if expected is None:
        if core.promised == 0:
            return Judgement(Verdict.DAMAGED, "the ELF header speaks of no segments", said)
        return Judgement(Verdict.TRUNCATED, f"the {core.promised:,} program headers are missing", said)
    page = said.page_size or 4096
    total = sum(load.filesz for load in core.loads) // page
    present = sum(max(0, min(load.filesz, size - load.offset)) for load in core.loads) // page
    counts = {"pages_total": total, "pages_present": present}
    if size < expected:
        reason = f"the file ends at byte {size:,}, its segments at byte {expected:,}"
        return Judgement(Verdict.TRUNCATED, reason, said, **counts)
    if core.incomplete:
        lost = sum(segment.type == elf.PT_NULL for segment in core.segments)
        reason = f"the incomplete flag is set and {lost:,} of {len(core.segments):,} segments are empty"
        return Judgement(Verdict.TRUNCATED, reason, said, **counts)
    if not core.loads:
        return Judgement(Verdict.DAMAGED, "no segment of memory is in the file", said, **counts)
    if any(load.filesz > load.memsz for load in core.loads):
        return Judgement(
            Verdict.DAMAGED, "a segment has more bytes in the file than in memory", said, **counts
        )
    reason = f"all {len(core.loads):,} segments of memory, {total:,} pages, are in the file"
    return Judgement(Verdict.COMPLETE, reason, said, **counts)


def _deepened(
    judgement: Judgement, pread: Pread, size: int, workers: int | None, on_progress: OnProgress | None
) -> Judgement:
    try:
        header = diskdump.parse_untrusted(pread)
    except Malformed:
        return judgement
    total = judgement.pages_total or 0
    # Of a file that ends early only what is surely there is checked.
    count = total if judgement.verdict is Verdict.COMPLETE else min(total, judgement.pages_present or 0)
    bad = check_pages(pread, size, header, count, workers=workers, on_progress=on_progress)
    if bad.count:
        reason = f"{bad.count:,} of {total:,} pages do not decompress; page {bad.first}: {bad.reason}"
        return replace(judgement, verdict=Verdict.DAMAGED, reason=reason)
    if judgement.verdict is Verdict.COMPLETE:
        return replace(judgement, reason=f"{judgement.reason}; every one decompresses")
    return judgement


def _unended(judgement: Judgement, stream_bytes: int | None) -> Judgement:
    """The stream's end record never came."""
    where = f" after {stream_bytes:,} bytes of stream" if stream_bytes is not None else ""
    if judgement.verdict is Verdict.DAMAGED:
        return replace(judgement, reason=f"{judgement.reason}; end record missing{where}")
    reason = f"end record missing{where}; {judgement.reason}"
    return replace(judgement, verdict=Verdict.TRUNCATED, reason=reason)


def tiling_untrusted(parts: Sequence[Pread]) -> tuple[Verdict, str]:
    """Whether the parts' page frames follow one another without gap or overlap. Raises nothing."""
    try:
        headers = [diskdump.parse_untrusted(pread) for pread in parts]
    except Malformed as error:
        return Verdict.DAMAGED, f"a part of a split dump: {error}"
    if len({(header.max_mapnr, header.timestamp, header.block_size) for header in headers}) > 1:
        return Verdict.DAMAGED, "the parts are of different dumps"
    at = 0
    for first, end in sorted(header.pfn_range for header in headers):
        if first > at:
            return Verdict.TRUNCATED, f"page frames {at:,} to {first:,} are in no part"
        if first < at:
            return Verdict.DAMAGED, f"page frames {first:,} to {at:,} are in more than one part"
        at = end
    if at < headers[0].max_mapnr:
        return Verdict.TRUNCATED, f"page frames {at:,} to {headers[0].max_mapnr:,} are in no part"
    return Verdict.COMPLETE, f"all {len(headers)} parts are there"

"""The deep check: every page of a kdump-compressed file decompresses to a page.

The decompressors hold the interpreter's lock on inputs as small as a page, so
other cores are reached by processes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from receiver.dump import decompress
from receiver.dump.descriptors import LEGAL_FLAGS
from receiver.dump.diskdump import DESCRIPTOR_SIZE, Header
from receiver.dump.malformed import Malformed
from receiver.dump.pread import Order, Pread, chunks

OnProgress = Callable[[int, int], None]  # pages checked, pages in all

WORTH_A_PROCESS = 32 << 20  # bytes of page data; below this one core is done before another has started
_TABLE_STEP = DESCRIPTOR_SIZE << 13  # bytes of descriptors a batch: 8,192 pages
_NEEDED = LEGAL_FLAGS - {0}  # flags of pages that a decompressor must open
_SPAN = 8 << 20  # bytes read at once for pages that lie together


@dataclass(frozen=True, slots=True)
class Bad:
    """Pages that gave no page."""

    count: int = 0
    first: int | None = None  # index of the first of them in the table of descriptors
    reason: str = ""

    def __add__(self, other: Bad) -> Bad:
        if self.first is None:
            return other
        return Bad(self.count + other.count, self.first, self.reason)


@dataclass(frozen=True, slots=True)
class Batch:
    """Compressed pages that lie together in the file, and where each begins in `data`."""

    data: bytes
    entries: tuple[tuple[int, int, int, int], ...]  # index, offset in data, size, flags
    block_size: int


def check(
    pread: Pread,
    file_size: int,
    header: Header,
    count: int,
    *,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Bad:
    """Decompress all `count` pages, on `workers` cores (all that this process may use). Raises nothing.

    Raw pages, pages beyond the file's end and descriptors never written are the
    structural check's business.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    batches = _batches(pread, file_size, header, count)
    if workers < 2:
        return _one_by_one(batches, count, on_progress)
    first: list[tuple[int, Batch]] = []
    held = 0
    for done, batch in batches:
        first.append((done, batch))
        held += len(batch.data)
        if held > WORTH_A_PROCESS:
            break
    else:
        return _one_by_one(iter(first), count, on_progress)
    return _on_all_cores(first, batches, count, workers, on_progress)


def check_batch(batch: Batch) -> Bad:
    """Decompress one batch; runs in a process of the pool."""
    count, first, reason = 0, None, ""
    data, size = batch.data, batch.block_size
    for index, start, length, flags in batch.entries:
        try:
            decompress.page(data[start : start + length], flags, size)
        except Malformed as error:
            count += 1
            if first is None:
                first, reason = index, str(error)
    return Bad(count, first, reason)


def _one_by_one(batches: Iterator[tuple[int, Batch]], count: int, on_progress: OnProgress | None) -> Bad:
    bad = Bad()
    for done, batch in batches:
        bad += check_batch(batch)
        if on_progress:
            on_progress(done, count)
    return bad


def _on_all_cores(
    first: list[tuple[int, Batch]],
    rest: Iterator[tuple[int, Batch]],
    count: int,
    workers: int,
    on_progress: OnProgress | None,
) -> Bad:
    bad = Bad()
    waiting: deque[tuple[int, Future[Bad]]] = deque()

    def collect() -> Bad:
        done, future = waiting.popleft()
        result = future.result()
        if on_progress:
            on_progress(done, count)
        return result

    # "spawn": a fork would copy the locks of whatever threads the caller has.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for source in (iter(first), rest):
            for done, batch in source:
                waiting.append((done, pool.submit(check_batch, batch)))
                if len(waiting) > 2 * workers:
                    bad += collect()
        first.clear()
        while waiting:
            bad += collect()
    return bad


def _batches(pread: Pread, file_size: int, header: Header, count: int) -> Iterator[tuple[int, Batch]]:
    """Batches of compressed pages, each with the number of descriptors behind it or in it."""
    index = 0
    size = count * DESCRIPTOR_SIZE
    for piece in chunks(pread, header.descriptors_offset, size, _TABLE_STEP):
        pages = _compressed(piece, header.order, index, file_size)
        index += len(piece) // DESCRIPTOR_SIZE
        for batch in _together(pread, pages, header.block_size):
            yield index, batch


def _compressed(piece: bytes, order: Order, index: int, limit: int) -> list[tuple[int, int, int, int]]:
    """(offset, index, size, flags) of the pages in these descriptors that need a decompressor."""
    words, halves = array("Q", piece[: len(piece) // 8 * 8]), array("I", piece[: len(piece) // 4 * 4])
    if order != sys.byteorder:
        words.byteswap()
        halves.byteswap()
    rows = zip(words[0::3], halves[2::6], halves[3::6], strict=False)
    return [
        (offset, number, size, flags)
        for number, (offset, size, flags) in enumerate(rows, index)
        if offset and flags in _NEEDED and offset + size <= limit
    ]


def _together(pread: Pread, pages: list[tuple[int, int, int, int]], block_size: int) -> Iterator[Batch]:
    """Group pages into stretches of the file; makedumpfile writes them in order, without gaps."""
    start, end = 0, -1
    entries: list[tuple[int, int, int, int]] = []
    for offset, index, size, flags in sorted(pages):
        if size > block_size:
            continue  # the structural check says so
        if entries and (offset > end + block_size or offset + size > start + _SPAN):
            yield Batch(pread(start, end - start), tuple(entries), block_size)
            entries = []
        if not entries:
            start = end = offset
        entries.append((index, offset - start, size, flags))
        end = max(end, offset + size)
    if entries:
        yield Batch(pread(start, end - start), tuple(entries), block_size)

"""Reading dumps beside the field's own tools: open, log, structural and deep check.

    python -m tests.bench.bench_dump [--dump FILE] [--rounds 9] [--json FILE]

FILE is a flattened stream; without it, the one that the checkout carries. Ours are timed
as calls, as the receiver makes them, and as whole processes, as the peers can only be.
Every figure is a median over the rounds, ours and theirs in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from receiver.dump import diskdump
from receiver.dump.decompress import page as decompressed
from receiver.dump.facts import facts_untrusted
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.pread import Pread, of_bytes
from receiver.dump.printk import log_untrusted
from receiver.dump.verdict import judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders import flattened
from tests.builders.kdump import Compression, Kdump

HERE = Path(__file__).parent
CARRIED = HERE.parent / "data" / "vmcore.flat"
STRUCTURAL_PAGES = 131_072
DEEP_BYTES = 96 << 20  # of pages, for the run on all cores

OPEN = "from receiver.dump.facts import *; from receiver.dump.kind import *; import os, sys; "
OPEN += "fd = os.open(sys.argv[1], 0); pread = lambda offset, size: os.pread(fd, size, offset); "
OPEN += "print(facts_untrusted(pread, Kind.KDUMP).kernel_release)"
LOG = "from receiver.dump.printk import *; from receiver.dump.kind import *; import os, sys; "
LOG += "fd = os.open(sys.argv[1], 0); "
LOG += "open(sys.argv[2], 'wb').write(log_untrusted(lambda o, n: os.pread(fd, n, o), Kind.KDUMP).data)"


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    than: str = ""  # the peer, and how many times faster we are
    ratio: float | None = None


def seconds(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def medians(rounds: int, *what: Callable[[], object]) -> list[float]:
    """Each in turn, round after round."""
    taken = [[seconds(each) for each in what] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def process(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, check=True, capture_output=True, timeout=120)


def opened(path: Path) -> Pread:
    fd = os.open(path, os.O_RDONLY)
    return lambda offset, size: os.pread(fd, size, offset)


def beside_the_peers(path: Path, folder: Path, rounds: int) -> list[Figure]:
    """Open, and the log, of one real dump."""
    pread = opened(path)

    def facts() -> object:
        return facts_untrusted(pread, sniff_untrusted(pread(0, 4096)))

    def log() -> object:
        return log_untrusted(pread, Kind.KDUMP)

    found: list[Figure] = []
    ours, theirs = str(folder / "ours"), str(folder / "theirs")
    if shutil.which("crash"):
        whole_open = process(sys.executable, "-c", OPEN, str(path))
        call, whole, crash = medians(rounds, facts, whole_open, process("crash", "--osrelease", str(path)))
        found += [
            Figure("open, call", call * 1000, "ms", "crash --osrelease", crash / call),
            Figure("open, process", whole * 1000, "ms", "crash --osrelease", crash / whole),
        ]
    if shutil.which("makedumpfile"):
        call, whole, peer = medians(
            rounds,
            log,
            process(sys.executable, "-c", LOG, str(path), ours),
            process("makedumpfile", "-f", "--dump-dmesg", str(path), theirs),
        )
        if Path(ours).read_bytes() != Path(theirs).read_bytes():
            raise SystemExit("the logs differ")
        found += [
            Figure("log, call", call * 1000, "ms", "makedumpfile --dump-dmesg", peer / call),
            Figure("log, process", whole * 1000, "ms", "makedumpfile --dump-dmesg", peer / whole),
        ]
    return found


def structural(rounds: int) -> Figure:
    """A dump of 131,072 pages; the pages themselves are never read."""
    header = Kdump(dict.fromkeys((0, STRUCTURAL_PAGES - 1), b"x" * 4096), compression="none").build()
    parsed = diskdump.parse_untrusted(of_bytes(header))
    start = parsed.descriptors_offset + 24 * STRUCTURAL_PAGES
    at, rows = start, []
    for number in range(STRUCTURAL_PAGES):
        size = 300 + number * 7919 % 3500  # as many sizes as compressed pages have
        rows.append(struct.pack("<QIIQ", at, size, 1, 0))
        at += size
    head = header[: parsed.bitmap2.offset] + b"\xff" * (STRUCTURAL_PAGES // 8)
    pread = of_bytes(head.ljust(parsed.descriptors_offset, b"\0") + b"".join(rows))

    def judge() -> None:
        verdict = judge_untrusted(pread, at, Kind.KDUMP, ended=None).verdict
        if verdict is not Verdict.COMPLETE:
            raise SystemExit(f"the structural check says {verdict}")

    (taken,) = medians(rounds, judge)
    return Figure(f"structural check of {STRUCTURAL_PAGES:,} pages", taken * 1000, "ms")


def deep(image: bytes, rounds: int) -> list[Figure]:
    """MB of file checked a second: one core for each algorithm, then all cores."""
    pages = _pages(image)
    found = []
    algorithms: list[Compression] = ["zlib", "lzo", "snappy", "zstd"]
    for algorithm in algorithms:
        data = Kdump(pages, compression=algorithm).build()
        rate, out = _rate(data, len(pages), rounds, workers=1)
        found.append(Figure(f"deep check, {algorithm}, one core: file", rate, "MB/s"))
        found.append(Figure(f"deep check, {algorithm}, one core: pages", out, "MB/s"))
    many = dict(enumerate(list(pages.values()) * (DEEP_BYTES // len(image) + 1)))
    cores = len(os.sched_getaffinity(0))
    data = Kdump(many).build()
    rate, out = _rate(data, len(many), max(1, rounds // 3), workers=cores)
    return [*found, Figure(f"deep check, zlib, {cores} cores: file", rate, "MB/s")]


def _rate(data: bytes, count: int, rounds: int, workers: int) -> tuple[float, float]:
    def check() -> None:
        judged = judge_untrusted(
            of_bytes(data), len(data), Kind.KDUMP, ended=None, deep=True, workers=workers
        )
        if judged.verdict is not Verdict.COMPLETE:
            raise SystemExit(judged.reason)

    (taken,) = medians(rounds, check)
    return len(data) / taken / 1e6, count * 4096 / taken / 1e6


def _pages(image: bytes) -> dict[int, bytes]:
    """The real pages of a real dump, in order, zero pages left out."""
    header = diskdump.parse_untrusted(of_bytes(image))
    at, found = header.descriptors_offset, {}
    for number in range(facts_untrusted(of_bytes(image), Kind.KDUMP).pages_present or 0):
        offset, size, flags = struct.unpack_from("<QII", image, at + 24 * number)
        page = decompressed(image[offset : offset + size], flags, header.block_size)
        if any(page):
            found[number] = page
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dump", type=Path, default=CARRIED)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    image = flattened.image(options.dump.read_bytes())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "vmcore"
        path.write_bytes(image)
        figures = beside_the_peers(path, Path(name), options.rounds)
    figures.append(structural(options.rounds))
    figures += deep(image, options.rounds)
    for figure in figures:
        beside = f"{figure.ratio:8.1f} x {figure.than}" if figure.ratio is not None else ""
        print(f"{figure.what:46} {figure.value:10.1f} {figure.unit:5} {beside}")
    text = json.dumps([asdict(figure) for figure in figures], indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()

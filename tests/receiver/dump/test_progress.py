"""How far a dump has come while it arrives."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.dump.pread import Pread, of_bytes
from receiver.dump.progress import Estimate, Progress
from tests.builders import flattened
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump

PAGES = {pfn: (b"%d " % pfn * 1400)[:4096] for pfn in range(100, 900)}


class Growing:
    """A file that is being written."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.progress = Progress()

    def write(self, offset: int, piece: bytes) -> None:
        if len(self.data) < offset + len(piece):
            self.data.extend(bytes(offset + len(piece) - len(self.data)))
        self.data[offset : offset + len(piece)] = piece
        self.progress.observe(offset, len(piece))

    @property
    def pread(self) -> Pread:
        return lambda offset, size: bytes(self.data[offset : offset + size])

    def estimate(self) -> Estimate:
        return self.progress.estimate(self.pread)


def test_a_real_stream_counts_its_own_pages(data: Path) -> None:
    """The total is exact as soon as the bitmap is in, here in the first 4 % of the stream; the end is 1."""
    file = Growing()
    seen: list[Estimate] = []
    for offset, piece in flattened.records((data / "vmcore.flat").read_bytes()):
        file.write(offset, piece)
        seen.append(file.estimate())
    assert seen[10] == Estimate(517, 6141, 517 / 6141, exact=True)
    assert seen[-1] == Estimate(6141, 6141, 1.0, exact=True)
    fractions = [estimate.fraction for estimate in seen if estimate.fraction is not None]
    assert fractions == sorted(fractions)


@settings(max_examples=30)
@given(st.integers(1, 5000), st.integers(0, 40))
def test_packet_cuts_and_rare_looks_do_not_change_the_count(step: int, looks: int) -> None:
    """Pieces of records, seen in batches, with estimates taken at any time."""
    file = Growing()
    for number, (offset, piece) in enumerate(Kdump(PAGES).writes()):
        for at in range(0, len(piece), step):
            file.write(offset + at, piece[at : at + step])
        if looks and number % looks == 0:
            file.estimate()
    assert file.estimate() == Estimate(800, 800, 1.0, exact=True)


def test_a_bitmap_in_pieces_still_gives_the_total() -> None:
    """In cyclic mode the layout tells: page data begin right behind the whole table. So it is not exact."""
    writes = Kdump(PAGES, max_mapnr=4096 * 16).writes()  # two blocks a bitmap
    file = Growing()
    bitmap2 = writes.pop(4)
    assert len(bitmap2[1]) == 8192
    writes.insert(4, (bitmap2[0], bitmap2[1][:4096]))
    for offset, piece in writes[:7]:
        file.write(offset, piece)
    estimate = file.estimate()
    assert (estimate.total_pages, estimate.exact) == (800, False)
    assert 0 < estimate.done_pages < 800


def test_a_file_that_comes_from_its_start_counts_by_bytes() -> None:
    """A file sent as it lies has its whole table first: descriptors would say done at once."""
    data = Kdump(PAGES, compression="none").build()
    file = Growing()
    seen = []
    for at in range(0, len(data), 100_000):
        file.write(at, data[at : at + 100_000])
        seen.append(file.estimate())
    middle = seen[len(seen) // 2]
    assert middle.exact
    assert middle.fraction is not None
    assert 0.3 < middle.fraction < 0.6
    assert seen[-1] == Estimate(800, 800, 1.0, exact=True)


def test_an_elf_core_counts_its_bytes() -> None:
    """/proc/vmcore has its headers first: the size that will come is known."""
    data = ElfCore([Load(0, bytes(range(256)) * 160)]).build()
    file = Growing()
    file.write(0, data[: len(data) // 2])
    estimate = file.estimate()
    assert (estimate.total_pages, estimate.exact) == (10, True)
    assert estimate.fraction == (len(data) // 2) / len(data)
    file.write(len(data) // 2, data[len(data) // 2 :])
    assert file.estimate().fraction == 1.0


def test_a_flattened_elf_core_has_no_total_until_its_end() -> None:
    """Its program headers are the last record."""
    file = Growing()
    writes = ElfCore([Load(0, bytes(range(256)) * 160)], vmcoreinfo=b"OSRELEASE=6\n").writes()
    for offset, piece in writes[:-1]:
        file.write(offset, piece)
    assert file.estimate().total_pages is None
    file.write(*writes[-1])
    assert file.estimate().fraction == 1.0


def test_a_text_has_no_progress() -> None:
    """Nothing in it says how long it will be."""
    file = Growing()
    file.write(0, b"[    0.0] Linux version 6.1\n" * 100)
    assert file.estimate() == Estimate()


@given(
    st.binary(max_size=3000),
    st.lists(st.tuples(st.integers(0, 1 << 62), st.integers(0, 1 << 30)), max_size=20),
)
def test_garbage_raises_nothing(data: bytes, writes: list[tuple[int, int]]) -> None:
    """Whatever was written wherever."""
    progress = Progress()
    progress.observe_many(writes)
    assert progress.estimate(of_bytes(b"KDUMP   \6\0\0\0" + data)).done_pages >= 0

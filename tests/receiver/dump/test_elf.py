"""The headers of ELF cores."""

from __future__ import annotations

import pytest

from receiver.dump import elf
from receiver.dump.facts import facts_untrusted
from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import of_bytes
from receiver.dump.verdict import judge_untrusted
from receiver.dump.worth import Verdict
from tests.builders import flattened
from tests.builders.elf_core import PT_NULL, ElfCore, Load
from tests.builders.kdump import Order

PAGE = b"kernel\0!" * 512
LOADS = [Load(0x1000, PAGE * 3, 0xFFFF888000001000), Load(0x100000, PAGE, memsz=0x5000)]
INFO = b"OSRELEASE=4.18.0\nPAGESIZE=4096\n"


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("word_size", [4, 8])
@pytest.mark.parametrize("order", ["little", "big"])
def test_both_classes_and_orders_and_counts_beyond_16_bits(
    order: Order, word_size: int, extended: bool
) -> None:
    """PN_XNUM: machines with many memory ranges have more program headers than e_phnum can count."""
    loads = [Load(load.paddr, load.data, load.vaddr & 0xFFFFFFFF, load.memsz) for load in LOADS]
    data = ElfCore(loads, order, word_size, vmcoreinfo=INFO, prstatus=3, extended=extended).build()
    core = elf.parse_untrusted(of_bytes(data))
    assert [(load.paddr, load.filesz, load.memsz) for load in core.loads] == [
        (0x1000, 0x3000, 0x3000),
        (0x100000, 0x1000, 0x5000),
    ]
    assert core.expected_size == len(data)
    facts = facts_untrusted(of_bytes(data), Kind.ELF)
    assert (facts.kernel_release, facts.cpus, facts.pages_present, facts.pages_total) == ("4.18.0", 3, 4, 8)


def test_qemus_wrong_ehsize_does_no_harm() -> None:
    """QEMU 7.2 writes e_ehsize = 8, on which makedumpfile gives up."""
    data = ElfCore(LOADS, ehsize=8).build()
    assert judge_untrusted(of_bytes(data), len(data), Kind.ELF, ended=None).verdict is Verdict.COMPLETE


def test_a_flattened_core_tells_its_kernel_before_its_headers_come() -> None:
    """The program headers are the last record of the stream; VMCOREINFO is one of the first."""
    writes = ElfCore(LOADS, vmcoreinfo=INFO).writes()
    early = flattened.image(flattened.stream(writes[:2], end=False))
    assert elf.parse_untrusted(of_bytes(early)).segments == ()
    assert facts_untrusted(of_bytes(early), Kind.ELF).kernel_release == "4.18.0"
    judged = judge_untrusted(of_bytes(early), len(early), Kind.ELF, ended=False)
    assert judged.verdict is Verdict.TRUNCATED
    assert "program headers are missing" in judged.reason


def test_a_core_that_ends_early_is_truncated() -> None:
    """`cat /proc/vmcore` writes the headers first, so the size that must come is known."""
    data = ElfCore(LOADS).build()
    judged = judge_untrusted(of_bytes(data[:-5000]), len(data) - 5000, Kind.ELF, ended=None)
    assert (judged.verdict, judged.pages_total, judged.pages_present) == (Verdict.TRUNCATED, 4, 2)
    assert judged.reason == f"the file ends at byte {len(data) - 5000:,}, its segments at byte {len(data):,}"


def test_makedumpfiles_incomplete_flag_is_believed() -> None:
    """On a full disk it sets bit 0 of e_flags and leaves PT_NULL behind."""
    loads = [*LOADS, Load(0, b"", type=PT_NULL)]
    data = ElfCore(loads, flags=1).build()
    judged = judge_untrusted(of_bytes(data), len(data), Kind.ELF, ended=None)
    assert judged.verdict is Verdict.TRUNCATED
    assert "incomplete flag" in judged.reason


@pytest.mark.parametrize(
    ("offset", "value"),
    [(4, b"\7"), (5, b"\0"), (16, b"\2\0"), (54, b"\1\0")],  # class, order, type, size of a program header
)
def test_impossible_headers_are_malformed(offset: int, value: bytes) -> None:
    """One error type."""
    data = bytearray(ElfCore(LOADS).build())
    data[offset : offset + len(value)] = value
    with pytest.raises(Malformed):
        elf.parse_untrusted(of_bytes(bytes(data)))


def test_a_million_claimed_segments_are_not_read() -> None:
    """Four bytes of a hostile section header must not cost memory."""
    data = bytearray(ElfCore(LOADS, extended=True).build())
    count_at = 64 + 3 * 56 + 44
    data[count_at : count_at + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(Malformed, match="program headers are claimed"):
        elf.parse_untrusted(of_bytes(bytes(data)))

"""VMCOREINFO as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump.malformed import Malformed
from receiver.dump.vmcoreinfo import LARGEST, parse_untrusted

TEXT = b"""OSRELEASE=6.1.0-56-cloud-amd64
BUILD-ID=3B43FAD5034874490492495D552c0af6a5fab235
PAGESIZE=4096
SYMBOL(prb)=ffffffffabc36e50
OFFSET(prb_desc.state_var)=0
SIZE(printk_info)=88
LENGTH(zone.free_area)=11
NUMBER(phys_base)=-559939584
NUMBER(kimage_voffset)=0xffff800008000000
NUMBER(VA_BITS)=48
KERNELOFFSET=2a200000
CONFIG_LOCALVERSION=a=b=c
CRASHTIME=1795388489"""


def test_every_line_has_its_type() -> None:
    """Symbols are hexadecimal, numbers decimal or 0x, sizes decimal; the last line needs no newline."""
    info = parse_untrusted(TEXT)
    assert info.osrelease == "6.1.0-56-cloud-amd64"
    assert info.build_id == "3b43fad5034874490492495d552c0af6a5fab235"
    assert info.page_size == 4096
    assert info.symbol("prb") == 0xFFFFFFFFABC36E50
    assert info.offset("prb_desc.state_var") == 0
    assert info.size("printk_info") == 88
    assert info.length("zone.free_area") == 11
    assert info.number("phys_base") == -559939584
    assert info.number("kimage_voffset") == 0xFFFF800008000000
    assert info.kernel_offset == 0x2A200000
    assert info.crash_time == 1795388489
    assert info.values["CONFIG_LOCALVERSION"] == "a=b=c"


def test_what_is_missing_or_senseless_is_none() -> None:
    """A corrupt number must not stop the reading of the others."""
    info = parse_untrusted(b"CRASHTIME=yesterday\nPAGESIZE=4097\nBUILD-ID=xyz\nSYMBOL(prb)=-1\nOSRELEASE=\n")
    assert (info.crash_time, info.page_size, info.build_id, info.symbol("prb"), info.osrelease) == (None,) * 5
    assert info.number("phys_base") is None


@pytest.mark.parametrize(
    ("line", "machine"),
    [
        (b"NUMBER(phys_base)=0", "x86_64"),
        (b"NUMBER(kimage_voffset)=0xffff000008000000", "aarch64"),
        (b"SYMBOL(lowcore_ptr)=0", "s390x"),
        (b"SYMBOL(vmemmap_list)=0", "ppc64"),
        (b"NUMBER(satp)=0", "riscv64"),
        (b"OSRELEASE=6.1", None),
    ],
)
def test_the_architecture_shows_in_lines_that_only_it_writes(line: bytes, machine: str | None) -> None:
    """A hypervisor's dump has a blank utsname; the note still tells."""
    assert parse_untrusted(line).architecture == machine


def test_text_that_ends_in_padding_is_read_up_to_it() -> None:
    """The note is copied by the page."""
    assert parse_untrusted(b"OSRELEASE=5.10\n" + bytes(100) + b"JUNK=1\n").values == {"OSRELEASE": "5.10"}


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"no equals sign", b"x" * (LARGEST + 1)])
def test_what_is_no_vmcoreinfo_is_malformed(data: bytes) -> None:
    """One error type."""
    with pytest.raises(Malformed):
        parse_untrusted(data)


@given(st.binary(max_size=2000))
def test_garbage_raises_only_malformed(data: bytes) -> None:
    """Whatever the note holds."""
    try:
        info = parse_untrusted(data)
    except Malformed:
        return
    assert info.crash_time is None or info.crash_time != 0

"""What a file is, by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from receiver.dump.kind import Kind, sniff_untrusted
from tests.builders import flattened
from tests.builders.elf_core import ElfCore, Load
from tests.builders.kdump import Kdump

PAGE = bytes(range(256)) * 16

HEADS = [
    (flattened.stream([(0, PAGE)]), Kind.FLATTENED),
    (Kdump({1: PAGE}).build(), Kind.KDUMP),
    (Kdump({1: PAGE}, signature=b"DISKDUMP", version=1).build(), Kind.KDUMP),
    (ElfCore([Load(0, PAGE)]).build(), Kind.ELF),
    (ElfCore([Load(0, PAGE)], order="big", word_size=4).build(), Kind.ELF),
    (gzip.compress(PAGE), Kind.GZIP),
    (bz2.compress(PAGE), Kind.BZIP2),
    (bz2.compress(b""), Kind.BZIP2),
    (lzma.compress(PAGE), Kind.XZ),
    (lz4.frame.compress(PAGE), Kind.LZ4),
    (zstandard.compress(PAGE), Kind.ZSTD),
    (b"", Kind.EMPTY),
    (b"\0" * 4096, Kind.UNKNOWN),
    (bytes(range(1, 256)) * 16, Kind.UNKNOWN),
    (b"makedumpfile is a program, this is a text about it", Kind.TEXT),
    (b"BZh9 is how bzip2 begins, said the text", Kind.TEXT),
    (b"[    0.000000] Linux version 6.1.0 \x1b[31mred\x1b[0m\n" * 200, Kind.TEXT),
    ("[    1.0] Gerät über Ö€\n".encode() * 300, Kind.TEXT),
    (b"[    1.0] a driver's own bytes: \xe9\xe8 and so on, and text follows them\n", Kind.TEXT),
]


@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_the_first_bytes_tell_the_kind(head: bytes, kind: Kind) -> None:
    """Names prove nothing: a dump called dmesg.txt is a dump."""
    assert sniff_untrusted(head[:4096]) is kind


@pytest.mark.parametrize("type_", [1, 2, 3])
def test_an_elf_program_is_no_dump(type_: int) -> None:
    """/bin/sh is ELF, too; only ET_CORE is memory."""
    head = bytearray(ElfCore([Load(0, PAGE)]).build()[:64])
    head[16] = type_
    assert sniff_untrusted(bytes(head)) is Kind.UNKNOWN


def test_a_character_cut_by_the_window_does_not_make_a_text_binary() -> None:
    """4096 bytes may end inside a character."""
    assert sniff_untrusted(b"a" + "ö".encode() * 2048) is Kind.TEXT


@given(st.binary(max_size=5000))
def test_anything_has_a_kind(head: bytes) -> None:
    """No byte sequence raises."""
    assert sniff_untrusted(head) in Kind

"""What a file is, by its first bytes: names prove nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from receiver.dump.pread import Order


class Kind(StrEnum):
    """What the first bytes say."""

    FLATTENED = "flattened"  # makedumpfile -F
    KDUMP = "kdump"  # kdump-compressed, and its ancestor diskdump
    ELF = "elf"  # ET_CORE
    TEXT = "text"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZ4 = "lz4"
    ZSTD = "zstd"
    UNKNOWN = "unknown"
    EMPTY = "empty"


SIGNATURES = (
    (b"makedumpfile\0\0\0\0", Kind.FLATTENED),
    (b"KDUMP   ", Kind.KDUMP),
    (b"DISKDUMP", Kind.KDUMP),
    (b"\x1f\x8b\x08", Kind.GZIP),
    (b"BZh", Kind.BZIP2),
    (b"\xfd7zXZ\0", Kind.XZ),
    (b"\x04\x22\x4d\x18", Kind.LZ4),
    (b"\x28\xb5\x2f\xfd", Kind.ZSTD),
)

ET_CORE = 4
ELF_ORDERS: Final[dict[int, Order]] = {1: "little", 2: "big"}  # e_ident[EI_DATA]

ODD_PERCENT = 5  # of a text may be unprintable: kernel logs hold what drivers put there
_BLOCK_MAGIC = (b"1AY&SY", b"\x17rE8P\x90")  # of bzip2's first block, or of an empty stream


def sniff_untrusted(head: bytes) -> Kind:
    """The kind of a file that begins with `head`; 64 bytes do, up to 4096 are used. Raises nothing."""
    head = head[:4096]
    if not head:
        return Kind.EMPTY
    if head.startswith(b"\x7fELF"):
        return Kind.ELF if _is_core(head) else Kind.UNKNOWN
    for signature, kind in SIGNATURES:
        if head.startswith(signature) and (kind is not Kind.BZIP2 or head[4:10] in _BLOCK_MAGIC):
            return kind
    return Kind.TEXT if _is_text(head) else Kind.UNKNOWN


def _is_core(head: bytes) -> bool:
    if len(head) < 20 or head[4] not in (1, 2):
        return False
    match ELF_ORDERS.get(head[5]):
        case "little":
            return head[16] | head[17] << 8 == ET_CORE
        case "big":
            return head[16] << 8 | head[17] == ET_CORE
    return False


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    text = head.decode("utf-8", "replace")
    if len(head) == 4096:
        text = text[:-1]  # the cut may lie inside a character
    odd = sum(not (c.isprintable() or c in "\t\n\r\f\v\b\x1b\x07") or c == "�" for c in text)
    return odd * 100 <= len(text) * ODD_PERCENT

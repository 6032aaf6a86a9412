"""Compressed streams around a dump, as kdump-tools pipes them through gzip, bzip2, xz, lz4 or zstd.

Source of the choice: kdump-tools 1.8.1, kdump-config (KDUMP_COMPRESSION).
Each opener gives bounded pieces, whatever a hostile stream expands to, and reads
streams of several members, as pigz and `cat a.gz b.gz` make them.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.frame
import zstandard

from receiver.dump.malformed import Malformed

PIECE = 1 << 20  # bytes of one decompressed piece, about
WINDOW = 128 << 20  # bytes of memory that a zstd or xz stream may ask for
ZSTD_SLICE = 1024  # bytes of zstd fed at once: a 4-byte RLE block gives 128 KiB, so at most 32 MiB of output


class Unwrapper(Protocol):
    """One compressed stream, opened while it arrives."""

    @property
    def ended(self) -> bool:
        """Whether the last member is complete."""

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give the bytes inside. Raises Malformed where the stream is broken."""


class _GzipMember:
    """zlib's decompressor with the interface that bz2, lzma and lz4 share."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(piece) < max_length
        return piece

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


class _Members:
    """gzip, bzip2, xz, lz4: decompressors that stop at the end of each member."""

    def __init__(self, name: str, open_member: Callable[[], Any], error: type[Exception]) -> None:
        self._name = name
        self._open = open_member
        self._error = error
        self._member: Any = None
        self.ended = False

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[bytes]:
        rest = bytes(data)
        while rest:
            if self._member is None:
                self._member, self.ended = self._open(), False
            yield from self._pieces(rest)
            rest = b""
            if self._member.eof:
                rest, self._member, self.ended = self._member.unused_data, None, True

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        try:
            yield self._member.decompress(data, PIECE)
            while not self._member.eof and not self._member.needs_input:
                yield self._member.decompress(b"", PIECE)
        except self._error as error:
            raise Malformed(f"the {self._name} stream around the dump is broken: {error}") from None


class _Zstd:
    """zstd, whose Python binding has no bound on the output of one call: bounded by its input."""

    def __init__(self) -> None:
        self._frame: Any = None
        self.ended = False

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[bytes]:
        rest = bytes(data)
        while rest:
            if self._frame is None:
                self._frame, self.ended = (
                    zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(),
                    False,
                )
            slice_, rest = rest[:ZSTD_SLICE], rest[ZSTD_SLICE:]
            try:
                piece = self._frame.decompress(slice_)
            except zstandard.ZstdError as error:
                raise Malformed(f"the zstd stream around the dump is broken: {error}") from None
            if piece:
                yield piece
            if self._frame.eof:
                rest, self._frame, self.ended = self._frame.unused_data + rest, None, True


def unwrapper(kind: str) -> Unwrapper:
    """An opener for `kind`: gzip, bzip2, xz, lz4 or zstd."""
    match kind:
        case "gzip":
            return _Members(kind, _GzipMember, zlib.error)
        case "bzip2":
            return _Members(kind, bz2.BZ2Decompressor, OSError)
        case "xz":
            return _Members(kind, lambda: lzma.LZMADecompressor(memlimit=WINDOW), lzma.LZMAError)
        case "lz4":
            return _Members(kind, lz4.frame.LZ4FrameDecompressor, RuntimeError)
        case "zstd":
            return _Zstd()
    raise ValueError(kind)

"""One page of a kdump-compressed file, made whole again; never more than one page comes out.

Source of the algorithms: makedumpfile 1.7.x, diskdump_mod.h: zlib, raw LZO1X,
raw snappy, zstd frames.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cramjam
import lzallright
import zstandard

from receiver.dump.diskdump import Flag
from receiver.dump.malformed import Malformed

try:
    # libdeflate: 1.8 times as fast as zlib on pages, faster than isal and zlib-ng, 6 % slower than from C
    import deflate
except ImportError:  # no wheel for this machine
    deflate = None  # type: ignore[assignment]  # the module is optional

_ZSTD_UNKNOWN = -1  # of frame_content_size(): the frame does not say

_zstd = zstandard.ZstdDecompressor()


def page(data: bytes, flags: int, size: int) -> bytes:
    """The page of `size` bytes that a descriptor with these `flags` describes.

    Raises:
        Malformed: the flags are unknown, or the data give no page of this size.
    """
    opener = OPENERS.get(flags)
    if opener is None:
        raise Malformed(f"page flags {flags:#x} name no known compression")
    try:
        whole = opener(data, size)
    except _ERRORS as error:
        raise Malformed(f"the page does not decompress: {error}") from None
    if len(whole) != size:
        raise Malformed(f"the page decompresses to {len(whole)} bytes, not {size}")
    return whole


def _raw(data: bytes, size: int) -> bytes:
    return data


def _of_zlib(data: bytes, size: int) -> bytes:
    if deflate is not None:
        return bytes(deflate.zlib_decompress(data, size))
    return zlib.decompressobj().decompress(data, size + 1)


def _of_lzo(data: bytes, size: int) -> bytes:
    return bytes(lzallright.LZOCompressor.decompress(data, size))


def _of_snappy(data: bytes, size: int) -> bytes:
    buffer = bytearray(size)
    written = cramjam.snappy.decompress_raw_into(data, buffer)  # refuses what does not fit
    return bytes(buffer[:written])


def _of_zstd(data: bytes, size: int) -> bytes:
    # max_output_size bounds only frames that do not say their size
    said = zstandard.frame_content_size(data)
    if said not in (size, _ZSTD_UNKNOWN):
        raise Malformed(f"the zstd frame holds {said} bytes, not {size}")
    return _zstd.decompress(data, max_output_size=size)


OPENERS: dict[int, Callable[[bytes, int], bytes]] = {
    0: _raw,
    Flag.ZLIB: _of_zlib,
    Flag.LZO: _of_lzo,
    Flag.SNAPPY: _of_snappy,
    Flag.ZSTD: _of_zstd,
}

_ERRORS: tuple[type[Exception], ...] = (
    zlib.error,
    zstandard.ZstdError,
    cramjam.DecompressionError,
    lzallright.LZOError,
    lzallright.InputNotConsumed,
    *((deflate.DeflateError,) if deflate else ()),
)

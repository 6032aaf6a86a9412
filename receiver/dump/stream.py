"""From the wire's bytes to positioned writes, whatever the client sends.

Flattened streams are rearranged, also inside a compressor's stream; everything
else is written as it comes. The first bytes decide, never the file's name.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.dump.flattened import Rearranger, WriteAt
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.malformed import Malformed, TooLarge
from receiver.dump.wrappers import Unwrapper, unwrapper

DECIDING = 64  # bytes that tell a dump from anything else: signatures, and e_type of an ELF header
# Bytes of a compressed stream held until it shows what is inside: lz4(1) makes blocks of 4 MiB that
# hardly shrink around compressed pages, and nothing of a block can be read before its end.
HELD = (4 << 20) + (64 << 10)

WRAPPERS = frozenset({Kind.GZIP, Kind.BZIP2, Kind.XZ, Kind.LZ4, Kind.ZSTD})
DUMPS = frozenset({Kind.FLATTENED, Kind.KDUMP, Kind.ELF})


class Intake:
    """One file on its way in. `limit_bytes` bounds the file that it describes."""

    def __init__(self, limit_bytes: int, *, opens_wrappers: bool = True) -> None:
        self._limit = limit_bytes
        self._opens_wrappers = opens_wrappers
        self._held = bytearray()
        self._looked = 0  # bytes of `_held` that the trial has seen
        self._trial: Unwrapper | None = None
        self._head = bytearray()  # what the trial gave
        self._decided = False
        self._rearranger: Rearranger | None = None
        self._unwrapper: Unwrapper | None = None
        self._inner: Intake | None = None
        self._raw_size = 0
        self.kind = Kind.EMPTY  # of the bytes as they were sent, inside any wrapper
        self.wrapper: Kind | None = None

    @property
    def size(self) -> int:
        """Logical size of the file so far, bytes."""
        inner = self._inner or self._rearranger
        return inner.size if inner else self._raw_size

    @property
    def flattened(self) -> Rearranger | None:
        """The rearranger, when the stream is a flattened one."""
        return self._inner.flattened if self._inner else self._rearranger

    @property
    def ended(self) -> bool | None:
        """Whether the stream said that it is whole; None where its format has no such word."""
        flattened = self.flattened
        if flattened is not None:
            return flattened.ended
        return self._unwrapper.ended if self._unwrapper else None

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[WriteAt]:
        """Take the next bytes; the writes may hold views of `data`.

        Raises:
            Malformed: the stream breaks its own format. All writes before the fault were given.
            TooLarge: the file would grow beyond the limit.
        """
        if self._decided:
            yield from self._write(data)
            return
        self._held += data
        if len(self._held) >= DECIDING and self._decide():
            yield from self._release()

    def finish(self) -> Iterator[WriteAt]:
        """No more bytes come: give what was held for a decision."""
        if self._inner:
            yield from self._inner.finish()
        if not self._decided and self._held:
            self._decide(last=True)
            yield from self._release()

    def _release(self) -> Iterator[WriteAt]:
        held, self._held, self._trial = bytes(self._held), bytearray(), None
        yield from self._write(held)

    def _decide(self, *, last: bool = False) -> bool:
        self.kind = sniff_untrusted(bytes(self._held[:4096]))
        if self.kind in WRAPPERS and self._opens_wrappers:
            inside = self._look_inside()
            if inside is None and not last and len(self._held) < HELD:
                return False
            if inside in DUMPS:
                self.wrapper, self.kind = self.kind, inside
                self._unwrapper = unwrapper(self.wrapper)
                self._inner = Intake(self._limit, opens_wrappers=False)
        elif self.kind is Kind.FLATTENED:
            self._rearranger = Rearranger(self._limit)
        self._decided = True
        return True

    def _look_inside(self) -> Kind | None:
        """What the held compressed bytes hold; None while they do not show it. Opens each byte once."""
        self._trial = self._trial or unwrapper(self.kind)
        fresh, self._looked = bytes(self._held[self._looked :]), len(self._held)
        try:
            for piece in self._trial.feed_untrusted(fresh):
                self._head += piece[:DECIDING]
                if len(self._head) >= DECIDING:
                    return sniff_untrusted(bytes(self._head))
        except Malformed:
            return Kind.UNKNOWN
        return None

    def _write(self, data: bytes | memoryview) -> Iterator[WriteAt]:
        if self._unwrapper and self._inner:
            for piece in self._unwrapper.feed_untrusted(data):
                yield from self._inner.feed_untrusted(piece)
        elif self._rearranger:
            yield from self._rearranger.feed_untrusted(data)
        else:
            view = memoryview(data)
            if self._raw_size + len(view) > self._limit:
                raise TooLarge(f"the file grows beyond {self._limit} bytes, the largest that is taken")
            yield WriteAt(self._raw_size, view)
            self._raw_size += len(view)

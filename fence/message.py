"""The fence_kdump datagram: a node says that its capture kernel is running.

Source of the header: fence-agents 4.12.1, agents/kdump/message.h. The C struct is sent as it lies in memory,
so both byte orders are met on the wire. The extension behind it is ours: docs/fence-protocol.md.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

LITTLE = bytes.fromhex("402a301b01000000")  # the whole v1 header: magic 0x1B302A40, version 1
BIG = bytes.fromhex("1b302a4000000001")
DRILL = bytes.fromhex("4b444e5400000001")  # `--test`: no other receiver takes it for a message
HEADERS = frozenset((LITTLE, BIG, DRILL))
HEADER_SIZE = 8  # bytes
EXTENSION = b"KDN\x01"
SIZE_MAX = 1400  # bytes; larger ones may have been cut and lose their extension
HMAC_SIZE = 32  # bytes
KEY_ID_SIZE = 4  # bytes
KEY_SIZES = range(16, 65)  # bytes; 64 is the block of SHA-256

NODE_NAME = re.compile(rb"[A-Za-z0-9._:-]{1,64}", re.ASCII)


class Phase(IntEnum):
    """What the capture kernel is at, by its own word."""

    STARTED = 1
    DUMPING = 2
    SAVED = 3
    FAILED = 4


class Junk(Exception):
    """Not a fence_kdump datagram at all."""


class Flaw(Exception):
    """The extension breaks its layout; the text says how. The header before it stands."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the dump is; ``total_bytes`` is 0 where the sender does not know."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Signature:
    """An HMAC that was not compared yet, and the bytes it covers."""

    key_id: bytes
    code: bytes
    covered: bytes

    def made_with(self, key: bytes) -> bool:
        """Whether ``key`` made it; takes the same time whatever the answer."""
        return hmac.compare_digest(hmac.digest(key, self.covered, "sha256"), self.code)


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram. ``flaw`` tells why an extension was not taken; the fields are None then, as without one.

    ``sequence``: milliseconds of a monotonic clock of the capture kernel.
    ``time``: milliseconds since 1970 by its wall clock.
    """

    drill: bool = False
    node: str | None = None
    session: bytes | None = None
    sequence: int | None = None
    phase: Phase | None = None
    progress: Progress | None = None
    time: int | None = None
    signature: Signature | None = None
    flaw: str | None = None


PLAIN = Message()


def key_id(key: bytes) -> bytes:
    """By what a signature names its key."""
    return sha256(key).digest()[:KEY_ID_SIZE]


def decode_untrusted(data: bytes) -> Message:
    """Read one datagram from the network.

    Raises:
        Junk: it does not begin with a fence_kdump v1 header (nor a drill's). Raises nothing else.
    """
    if data in (LITTLE, BIG):
        return PLAIN
    header = data[:HEADER_SIZE]
    if header not in HEADERS:
        raise Junk
    drill = header == DRILL
    if not data.startswith(EXTENSION, HEADER_SIZE):
        return Message(drill=drill)
    try:
        return _extended(data, drill)
    except Flaw as flaw:
        return Message(drill=drill, flaw=str(flaw))


def _extended(data: bytes, drill: bool) -> Message:
    if len(data) > SIZE_MAX:
        raise Flaw(f"longer than {SIZE_MAX} bytes")
    values: dict[int, bytes] = {}
    signature = None
    for kind, value, end in _fields(data):
        field = FIELDS.get(kind)
        if field is None:
            continue
        name, sizes = field
        if len(value) not in sizes:
            raise Flaw(f"{name} has {len(value)} bytes")
        if kind in values:
            raise Flaw(f"two {name} fields")
        values[kind] = value
        if kind == SIGNATURE:
            signature = Signature(value[:KEY_ID_SIZE], value[KEY_ID_SIZE:], data[: end - HMAC_SIZE])
            break
    if signature and not values.keys() >= SIGNED_FIELDS:
        raise Flaw("signed, but without NODE, SESSION, SEQUENCE and TIME")
    return Message(
        drill=drill,
        node=_node(values.get(NODE)),
        session=values.get(SESSION),
        sequence=_number(values.get(SEQUENCE)),
        phase=_phase(values.get(PHASE)),
        progress=_progress(values.get(PROGRESS)),
        time=_number(values.get(TIME)),
        signature=signature,
    )


def _fields(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Type, value and end offset of each field."""
    offset = HEADER_SIZE + len(EXTENSION)
    while offset < len(data):
        if offset + 2 > len(data):
            raise Flaw("a field without a length")
        end = offset + 2 + data[offset + 1]
        if end > len(data):
            raise Flaw("a field runs past the end")
        yield data[offset], data[offset + 2 : end], end
        offset = end


def _node(value: bytes | None) -> str | None:
    if value is None:
        return None
    if not NODE_NAME.fullmatch(value):
        raise Flaw("NODE has other characters than letters, digits and . _ : -")
    return value.decode("ascii")


def _phase(value: bytes | None) -> Phase | None:
    if value is None:
        return None
    try:
        return Phase(value[0])
    except ValueError:
        raise Flaw(f"no such PHASE: {value[0]}") from None


def _progress(value: bytes | None) -> Progress | None:
    if value is None:
        return None
    return Progress(int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big"))


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


NODE, SESSION, SEQUENCE, PHASE, PROGRESS, TIME, SIGNATURE = 1, 2, 3, 4, 5, 6, 0x7F
FIELDS = {
    NODE: ("NODE", range(1, 65)),
    SESSION: ("SESSION", (16,)),
    SEQUENCE: ("SEQUENCE", (8,)),
    PHASE: ("PHASE", (1,)),
    PROGRESS: ("PROGRESS", (16,)),
    TIME: ("TIME", (8,)),
    SIGNATURE: ("SIGNATURE", (KEY_ID_SIZE + HMAC_SIZE,)),
}
SIGNED_FIELDS = frozenset((NODE, SESSION, SEQUENCE, TIME))


def encode(message: Message, key: bytes | None = None) -> bytes:
    """The datagram of a message, signed where a key is given.

    ``signature`` and ``flaw`` of the message are not looked at.

    Raises:
        ValueError: a field does not fit its layout; a key is given, but not node, session, sequence and time.
    """
    values = _values(message)
    if key is not None and not values.keys() >= SIGNED_FIELDS:
        raise ValueError("a signed message needs node, session, sequence and time")
    header = DRILL if message.drill else LITTLE
    if not values:
        return header
    body = header + EXTENSION + b"".join(bytes((kind, len(value))) + value for kind, value in values.items())
    if key is None:
        return body
    covered = body + bytes((SIGNATURE, KEY_ID_SIZE + HMAC_SIZE)) + key_id(key)
    return covered + hmac.digest(key, covered, "sha256")


def _values(message: Message) -> dict[int, bytes]:
    values = {}
    if message.node is not None:
        values[NODE] = message.node.encode("ascii")
        if not NODE_NAME.fullmatch(values[NODE]):
            raise ValueError(f"not a node's name: {message.node!r}")
    if message.session is not None:
        values[SESSION] = message.session
        if len(message.session) != 16:
            raise ValueError("a session has 16 bytes")
    if message.sequence is not None:
        values[SEQUENCE] = _eight(message.sequence)
    if message.phase is not None:
        values[PHASE] = bytes((message.phase,))
    if message.progress is not None:
        values[PROGRESS] = _eight(message.progress.done_bytes) + _eight(message.progress.total_bytes)
    if message.time is not None:
        values[TIME] = _eight(message.time)
    return values


def _eight(number: int) -> bytes:
    try:
        return number.to_bytes(8, "big")
    except OverflowError:
        raise ValueError(f"does not fit 8 bytes: {number}") from None

"""fence.message: what a datagram says, and that no datagram hurts."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.message import (
    BIG,
    DRILL,
    LITTLE,
    PLAIN,
    Junk,
    Message,
    Phase,
    Progress,
    decode_untrusted,
    encode,
    key_id,
)

KEY = bytes(range(32))
SESSION = bytes.fromhex("00112233445566778899aabbccddeeff")
SIGNED = Message(node="n1", session=SESSION, sequence=12340, phase=Phase.DUMPING, time=1_700_000_000_000)
PROTOCOL = Path(__file__).parents[2] / "docs" / "fence-protocol.md"

NUMBERS = st.integers(0, 2**64 - 1)
MESSAGES = st.builds(
    Message,
    drill=st.booleans(),
    node=st.none() | st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True),
    session=st.none() | st.binary(min_size=16, max_size=16),
    sequence=st.none() | NUMBERS,
    phase=st.none() | st.sampled_from(Phase),
    progress=st.none() | st.builds(Progress, NUMBERS, NUMBERS),
    time=st.none() | NUMBERS,
)
KEYS = st.binary(min_size=16, max_size=64)


def field(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value))) + value


def extended(*fields: bytes, header: bytes = LITTLE) -> bytes:
    return header + b"KDN\x01" + b"".join(fields)


@pytest.mark.parametrize("header", [LITTLE, BIG])
@pytest.mark.parametrize(
    "rest", [b"", b"\0", b"KDN", b"KDN\x02\x01", b"x" * 200, b"\0" * 1392, b"\0" * 60_000]
)
def test_a_v1_header_is_a_message_whatever_follows(header: bytes, rest: bytes) -> None:
    """Both byte orders, any length; what is not our extension is ignored without a word."""
    assert decode_untrusted(header + rest) == PLAIN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        LITTLE[:4],
        LITTLE[:7],
        BIG[:7],
        LITTLE[:4] + bytes.fromhex("00000000"),  # version 0
        LITTLE[:4] + bytes.fromhex("02000000"),
        LITTLE[:4] + BIG[4:],  # the byte orders mixed
        BIG[:4] + LITTLE[4:],
        b"x" + LITTLE,
        b"KDN\x01" + LITTLE,
        b"\0" * 8,
    ],
)
def test_anything_else_is_junk(data: bytes) -> None:
    """A length too short, another magic, another version: the C agent took some of these for a beat."""
    with pytest.raises(Junk):
        decode_untrusted(data)


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    """The sender and the daemon mean the same."""
    assert decode_untrusted(encode(message)) == message


@given(MESSAGES, KEYS)
def test_a_signature_is_right_with_its_key_and_wrong_with_every_other(message: Message, key: bytes) -> None:
    """And encoding refuses to sign what could be replayed."""
    if None in (message.node, message.session, message.sequence, message.time):
        with pytest.raises(ValueError, match="a signed message needs"):
            encode(message, key)
        return
    decoded = decode_untrusted(encode(message, key))
    assert decoded.signature is not None
    assert decoded.signature.key_id == key_id(key)
    assert decoded.signature.made_with(key)
    assert not decoded.signature.made_with(key + b"\x01")


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_anywhere_spoils_the_signature(place: int, change: int) -> None:
    """The HMAC covers the header, the fields, and the signature's own head."""
    data = bytearray(encode(SIGNED, KEY))
    data[place % len(data)] ^= change
    try:
        message = decode_untrusted(bytes(data))
    except Junk:
        return
    assert (
        message.signature is None
        or not message.signature.made_with(KEY)
        or message.signature.key_id != key_id(KEY)
    )


def test_the_example_of_the_protocol_page_is_what_we_send() -> None:
    """Who writes another sender from docs/fence-protocol.md gets the same bytes."""
    example = PROTOCOL.read_text().partition("## 6. Example")[2]
    lines = re.findall(r"^    ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$", example, re.MULTILINE)
    data = bytes.fromhex("".join(lines))
    assert data == encode(SIGNED, KEY)
    assert data[-32:] == hmac.new(KEY, data[:-32], sha256).digest()


def test_bytes_behind_the_signature_are_ignored() -> None:
    """They are not under the HMAC, so they must not count: not even a whole field."""
    data = encode(SIGNED, KEY)
    assert decode_untrusted(data + field(4, b"\x03")) == decode_untrusted(data)


def test_unknown_fields_are_skipped() -> None:
    """An old daemon understands a newer sender, and the unknown field is under the signature."""
    assert decode_untrusted(extended(field(0x40, b"new"), field(1, b"n1"))) == Message(node="n1")


@pytest.mark.parametrize(
    ("fields", "flaw"),
    [
        (b"\x01", "a field without a length"),
        (b"\x01\x05n1", "a field runs past the end"),
        (field(1, b""), "NODE has 0 bytes"),
        (field(1, b"n" * 65), "NODE has 65 bytes"),
        (field(1, b"a/b"), "NODE has other characters"),
        (field(1, b"n1\n"), "NODE has other characters"),
        (field(1, b"\xffn"), "NODE has other characters"),
        (field(2, b"x" * 15), "SESSION has 15 bytes"),
        (field(3, b"x" * 4), "SEQUENCE has 4 bytes"),
        (field(4, b"\0"), "no such PHASE: 0"),
        (field(4, b"\x05"), "no such PHASE: 5"),
        (field(5, b"x" * 8), "PROGRESS has 8 bytes"),
        (field(6, b""), "TIME has 0 bytes"),
        (field(1, b"n1") + field(1, b"n1"), "two NODE fields"),
        (field(0x7F, b"x" * 36), "signed, but without NODE, SESSION, SEQUENCE and TIME"),
        (field(0x7F, b"x" * 32), "SIGNATURE has 32 bytes"),
        (field(0x40, b"x" * 255) * 6, "longer than 1400 bytes"),
    ],
)
@pytest.mark.parametrize("header", [LITTLE, BIG, DRILL])
def test_a_flaw_costs_the_extension_and_not_the_beat(header: bytes, fields: bytes, flaw: str) -> None:
    """Nobody can spoil a real beat by adding bytes to it, and the daemon says what was wrong."""
    message = decode_untrusted(extended(fields, header=header))
    assert message.flaw is not None
    assert flaw in message.flaw
    assert message == Message(drill=header == DRILL, flaw=message.flaw)


@given(
    st.sampled_from((b"", LITTLE, BIG, DRILL)), st.sampled_from((b"", b"KDN\x01")), st.binary(max_size=1500)
)
def test_no_datagram_raises_anything_but_junk(header: bytes, extension: bytes, rest: bytes) -> None:
    """The daemon's first line of defence."""
    try:
        message = decode_untrusted(header + extension + rest)
    except Junk:
        assert header == b""
    else:
        assert message.flaw is None or message == Message(drill=message.drill, flaw=message.flaw)


@given(MESSAGES, st.data())
def test_a_cut_datagram_is_never_more_than_its_header(message: Message, data: st.DataObject) -> None:
    """What is missing is never guessed: each field that is there is the one that was sent."""
    whole = encode(message)
    cut = data.draw(st.integers(8, len(whole)))
    decoded = decode_untrusted(whole[:cut])
    for name in ("node", "session", "sequence", "phase", "progress", "time"):
        assert getattr(decoded, name) in (None, getattr(message, name))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(node="a b"), "not a node's name"),
        (Message(node=""), "not a node's name"),
        (Message(node="n" * 65), "not a node's name"),
        (Message(session=b"x"), "16 bytes"),
        (Message(sequence=-1), "does not fit 8 bytes"),
        (Message(time=2**64), "does not fit 8 bytes"),
    ],
)
def test_encoding_refuses_what_the_layout_does_not_hold(message: Message, reason: str) -> None:
    """A wrong call fails at the sender, not as a flaw at the daemon."""
    with pytest.raises(ValueError, match=reason):
        encode(message)


def test_a_drill_is_no_message_to_anybody_else() -> None:
    """Its magic is neither byte order of fence_kdump's, in any receiver."""
    data = encode(Message(drill=True, node="n1"))
    assert data[:4] not in (LITTLE[:4], BIG[:4])
    assert decode_untrusted(data).drill

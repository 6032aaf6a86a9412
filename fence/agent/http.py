"""One HTTP/1.1 question and its answer (RFC 9112), sans-IO.

http.client would cost the agent 20 ms of its start, and cannot speak over a Unix socket. One request a
connection: ``Connection: close`` keeps the framing simple, and every server and proxy understands it.
"""

from __future__ import annotations

from typing import NamedTuple

HEAD_LIMIT = 64 * 1024  # bytes
BODY_LIMIT = 32 * 1024 * 1024  # bytes; 10,000 nodes as JSON are a quarter of it
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3


class BadReply(Exception):
    """What the peer sent is not an HTTP/1.1 answer that we take."""


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


def quoted(segment: str) -> str:
    """A name as one segment of a path."""
    data = segment.encode(errors="surrogateescape")
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in data)


def request(target: str, host: str, token: str = "") -> bytes:
    """A GET of ``target``; ``token`` is the bearer's (RFC 6750). No argument has line ends in it."""
    fields = [f"GET {target} HTTP/1.1", f"Host: {host}", "Accept: application/json", "Connection: close"]
    if token:
        fields.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(fields) + "\r\n\r\n").encode("ascii")


def reply_untrusted(data: bytes, *, ended: bool) -> Reply | None:
    """The answer in all bytes got so far; None while more are to come. ``ended``: the peer closed.

    Raises:
        BadReply: it is malformed, larger than we take, or cut short.
    """
    while True:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            if ended:
                raise BadReply(
                    "the connection ended before an answer" if not data else "the answer is cut short"
                )
            if len(data) > HEAD_LIMIT:
                raise BadReply("the answer has too long a header")
            return None
        status, fields = _head(head)
        if status >= 200:
            return _framed(status, fields, rest, ended=ended)
        data = rest  # 1xx: interim, the real one follows


def _head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or words[0] not in (b"HTTP/1.1", b"HTTP/1.0") or len(words[1]) != 3:
        raise BadReply("the answer is not HTTP/1.1")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    status = _number(words[1], b"0123456789", 10)
    if not 100 <= status <= 599:
        raise BadReply("the answer has no status that exists")
    return status, fields


def _framed(status: int, fields: dict[bytes, bytes], rest: bytes, *, ended: bool) -> Reply | None:
    """Where the body ends: RFC 9112, 6.3."""
    if b"transfer-encoding" in fields:
        if fields[b"transfer-encoding"].lower() != b"chunked":
            raise BadReply("the answer has an encoding we did not ask for")
        # Undone in one go: the peer closes after its answer, and the last chunk ends in an empty line.
        body = _unchunked(rest) if ended or rest.endswith(b"\r\n\r\n") else None
    elif b"content-length" in fields:
        length = _number(fields[b"content-length"], b"0123456789", 10)
        if length > BODY_LIMIT:
            raise BadReply("the answer is too large")
        body = rest[:length] if len(rest) >= length else None
    else:
        body = rest if ended or status in (204, 304) else None
    if body is not None:
        return Reply(status, body)
    if ended:
        raise BadReply("the answer is cut short")
    if len(rest) > 2 * BODY_LIMIT:
        raise BadReply("the answer is too large")
    return None


def _unchunked(data: bytes) -> bytes | None:
    """The body out of its chunks (RFC 9112, 7.1); None where the last one is not there."""
    body = bytearray()
    position = 0
    while True:
        end = data.find(b"\r\n", position)
        if end < 0:
            return None
        size = _number(data[position:end].partition(b";")[0].strip(), b"0123456789abcdefABCDEF", 16)
        if size == 0:
            return bytes(body)
        position = end + 2 + size + 2
        if len(data) < position:
            return None
        if data[position - 2 : position] != b"\r\n":
            raise BadReply("a chunk of the answer is longer than it says")
        body += data[end + 2 : position - 2]
        if len(body) > BODY_LIMIT:
            raise BadReply("the answer is too large")


def _number(text: bytes, digits: bytes, base: int) -> int:
    if not 0 < len(text) <= 12 or any(byte not in digits for byte in text):
        raise BadReply("the answer has a number that is none")
    return int(text, base)

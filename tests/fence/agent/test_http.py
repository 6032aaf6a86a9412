"""The agent's HTTP/1.1: one question, one answer, whatever the packets and whoever answers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.agent.http import BODY_LIMIT, HEAD_LIMIT, BadReply, Reply, quoted, reply_untrusted, request

LENGTH = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 11\r\n\r\n{"off":true}'[:-1]
CHUNKED = (
    b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\r\n\r\r\n8;x=y\r\n\n123456}\r\n0\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nno such node"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
ANSWERS = {
    LENGTH: Reply(200, b'{"off":true'),
    CHUNKED: Reply(200, b"{\r\n\r\n123456}"),
    UNTIL_CLOSE: Reply(404, b"no such node"),
    INTERIM: Reply(200, b'{"off":true'),
    EMPTY: Reply(204, b""),
}


@pytest.mark.parametrize(("data", "reply"), ANSWERS.items())
def test_each_framing_is_understood(data: bytes, reply: Reply) -> None:
    """Content-Length, chunks, until the connection ends, none, and interim answers before it."""
    assert reply_untrusted(data, ended=True) == reply


@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_any_cut_of_the_answer_gives_the_same(data: bytes, draw: st.DataObject) -> None:
    """A beginning is nothing yet, or already the whole answer; cut off for good it is refused or the same."""
    cut = data[: draw.draw(st.integers(min_value=0, max_value=len(data)))]
    early = reply_untrusted(cut, ended=False)
    assert early is None or early == ANSWERS[data]
    try:
        late = reply_untrusted(cut, ended=True)
    except BadReply:
        return
    assert late == ANSWERS[data] or data == UNTIL_CLOSE


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ended before an answer"),
        (b"HTTP/1.1 200 OK\r\nA: b", "cut short"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "a number that is none"),
        (b"HTTP/1.1 999 OK\r\n\r\n", "no status that exists"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a number that is none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", "cut short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "encoding"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n0\r\n\r\n",
            "longer than it says",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", "a number that is none"),
    ],
)
def test_a_bad_answer_is_refused_with_its_reason(data: bytes, why: str) -> None:
    """Never taken for a yes, never a traceback."""
    with pytest.raises(BadReply, match=why):
        reply_untrusted(data, ended=True)


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_refused_or_waited_for(data: bytes, ended: bool) -> None:
    """Nothing but BadReply is ever raised."""
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        with suppress(BadReply):
            reply_untrusted(start + data, ended=ended)


def test_an_endless_answer_is_refused() -> None:
    """Memory is bounded in the header, in a body of unknown length, and in chunks."""
    with pytest.raises(BadReply, match="too long a header"):
        reply_untrusted(b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_LIMIT, ended=False)
    with pytest.raises(BadReply, match="too large"):
        reply_untrusted(b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * (2 * BODY_LIMIT + 1), ended=False)
    chunk = b"%x\r\n" % BODY_LIMIT + b"y" * BODY_LIMIT + b"\r\n"
    with pytest.raises(BadReply, match="too large"):
        reply_untrusted(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"1\r\ny\r\n", ended=True
        )


@given(st.text())
def test_a_name_stays_one_segment_of_the_path(name: str) -> None:
    """A node called ``../x?y`` or ``a b`` asks for nothing else, and no line end gets into the header."""
    text = quoted(name)
    assert text.isascii()
    assert not set(text) & set("/?# \r\n")


def test_the_request_says_what_servers_need() -> None:
    """Host is mandatory; the token only where there is one."""
    plain = request("/v1/nodes", "localhost")
    assert plain.startswith(b"GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\n")
    assert b"Authorization" not in plain
    assert b"\r\nAuthorization: Bearer t0k\r\n" in request("/", "h", "t0k")

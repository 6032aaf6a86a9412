"""What the cluster writes on stdin and people on the command line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.agent.options import OPTIONS, Request, from_lines, from_words, usage
from fence.pair.flags import BadFlag, BadValue


@pytest.mark.parametrize(
    ("lines", "request_"),
    [
        ([], Request()),
        (["nodename=n1", "action=off", "port=192.0.2.1", "timeout=4", "verbose=1"],
         Request(nodename="n1", port="192.0.2.1", timeout=4, verbose=1)),
        (["# comment", "", "no equals sign", "=x", "agent=fence_kdump", "nodeid=2"], Request()),
        (["  NodeName = n1  ", "TIMEOUT=5"], Request(nodename="n1", timeout=5)),
        (['nodename="n1"', "ipport='80'"], Request(nodename="n1", ipport=80)),
        (['nodename="n1', "plug='", 'port=""'], Request(nodename='"n1', plug="'")),
        (["nodename=a=b"], Request(nodename="a=b")),
        (["nodename=a", "nodename=b", "socket=/a", "socket=/b,/c"],
         Request(nodename="b", socket=("/b", "/c"))),
        (["token-file=/t", "ca_file=/c"], Request(token_file="/t", ca_file="/c")),
        (["url=https://a, https://b,"], Request(url=("https://a", "https://b"))),
        (["action=METADATA"], Request(action="metadata")),
        (["action=meta-data"], Request(action="metadata")),
        (["family=IPv6", "delay=3s"], Request(family=10, delay=3)),
        (["verbose=yes"], Request(verbose=1)),
        (["verbose=maybe"], Request(verbose=1, complaints=("invalid value 'm' for verbose",))),
        (["grade=Signed"], Request(grade="signed")),
        (["usage=1", "version=1"], Request()),
    ],
)  # fmt: skip
def test_what_stands_on_stdin(lines: list[str], request_: Request) -> None:
    """FenceAgentAPI.md: comments, unknown keys, blanks are nothing, the last value wins, quotes come off."""
    assert from_lines(lines) == request_


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("action=reboot", "unsupported action 'reboot'"),
        ("action=on", "unsupported action 'on'"),
        ("action=", "unsupported action ''"),
        ("timeout=0", "invalid timeout '0'"),
        ("timeout=", "invalid timeout ''"),
        ("delay=-1", "invalid delay '-1'"),
        ("ipport=65536", "invalid ipport '65536'"),
        ("family=inet", "unsupported family 'inet'"),
        ("grade=best", "invalid grade 'best'"),
    ],
)
def test_a_value_out_of_range_is_said(line: str, text: str) -> None:
    """The C agent's own words where it has them."""
    with pytest.raises(BadValue) as caught:
        from_lines([line])
    assert str(caught.value) == text


def test_repeated_flags_add_up() -> None:
    """--socket A --socket B asks both."""
    words = ["--socket", "/a", "--socket=/b,/c", "--url", "https://d", "-v", "-vv"]
    request = from_words("agent", words)
    assert request == Request(socket=("/a", "/b", "/c"), url=("https://d",), verbose=3)


def test_every_abbreviation_of_the_c_agent_keeps_its_meaning() -> None:
    """Our --timeout's neighbours --token-file and --plug take no abbreviation away."""
    request = from_words("agent", ["--t", "5", "--n=a", "--i", "7411", "--fam", "ipv4", "--act", "monitor"])
    assert request == Request(action="monitor", nodename="a", ipport=7411, family=2, timeout=5)
    with pytest.raises(BadFlag):
        from_words("agent", ["--tok", "x"])


def test_help_and_version_end_the_reading() -> None:
    """What stands behind them is not looked at, what stands before is."""
    assert from_words("agent", ["-V", "-t", "0"]).action == "version"
    assert from_words("agent", ["-h"]).action == "usage"
    with pytest.raises(BadValue):
        from_words("agent", ["-t", "0", "-V"])


def test_the_node_is_called_by_its_mapped_name_first() -> None:
    """plug, then port, then nodename; the last also as a second try."""
    assert Request(nodename="n", port="p", plug="q").wanted == ("q", "n")
    assert Request(nodename="n", port="p").wanted == ("p", "n")
    assert Request(nodename="n", port="n").wanted == ("n",)
    assert Request(nodename=" , ", port="").wanted == ()


@given(st.lists(st.text()))
def test_any_lines_are_read_or_refused(lines: list[str]) -> None:
    """Nothing but BadValue is raised."""
    with suppress(BadValue):
        from_lines(lines)


def test_the_usage_shows_every_flag_and_choice() -> None:
    """Nothing can be told to the agent that --help does not show."""
    text = usage("fence_x")
    assert text.startswith("Usage: fence_x [options]\n")
    for option in OPTIONS:
        assert f"--{option.flag}" in text
        assert all(choice in text for choice in option.choices)

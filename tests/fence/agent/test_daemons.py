"""Where a daemon is: what is written, and what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.agent.daemons import Daemon, at_socket, at_url
from fence.pair.flags import BadValue


@pytest.mark.parametrize(
    ("url", "daemon"),
    [
        ("https://a", Daemon("https://a", host="a", port=443, tls=True)),
        ("HTTPS://a:7443/", Daemon("HTTPS://a:7443/", host="a", port=7443, tls=True)),
        ("http://192.0.2.1", Daemon("http://192.0.2.1", host="192.0.2.1", port=80)),
        ("https://[2001:db8::1]", Daemon("https://[2001:db8::1]", host="2001:db8::1", port=443, tls=True)),
        (
            "https://[::1]:7443/k/",
            Daemon("https://[::1]:7443/k/", host="::1", port=7443, tls=True, prefix="/k"),
        ),
    ],
)
def test_a_url_names_a_daemon(url: str, daemon: Daemon) -> None:
    """Host, port, IPv6 in brackets, and a prefix for those behind a proxy."""
    assert at_url(url) == daemon


@pytest.mark.parametrize(
    "url",
    ["", "collector", "ftp://a", "https://", "https://:7443", "https://a:0", "https://a:99999", "https://a:b",
     "https://user@a", "https://[::1", "https://[::1]x", "https://a b", "https://a\r\nX: y", "https://a/?q"],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    """Before anything is sent, and with an example."""
    with pytest.raises(BadValue, match="it has to be like https://"):
        at_url(url)


@given(st.text(max_size=30))
def test_any_text_is_a_daemon_or_refused(text: str) -> None:
    """BadValue and nothing else; a host and a port, or a path, where it is taken."""
    for make in (at_url, at_socket):
        try:
            daemon = make(f"https://{text}" if make is at_url else f"/{text}")
        except BadValue:
            continue
        assert daemon.path or (daemon.host and 0 < daemon.port < 65536)


def test_a_token_stays_on_this_host_or_goes_by_tls() -> None:
    """http to loopback is no wire."""
    assert at_url("http://127.0.0.1:1", token="t").token == "t"
    assert at_url("https://a", token="t").token == "t"
    with pytest.raises(BadValue, match="everybody"):
        at_url("http://a", token="t")

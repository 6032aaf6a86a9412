"""A client's path is a name below its own root, or it is refused."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.wire.paths import MAX_PART, MAX_PARTS, MAX_PATH, ROOT, ClientPath, parse_untrusted
from receiver.wire.refused import Refused


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/", ()),
        (".", ()),
        ("./", ()),
        ("/var/crash", ("var", "crash")),
        ("/var/crash/", ("var", "crash")),
        ("var/./crash//x", ("var", "crash", "x")),
        ("//d//vmcore-dmesg-incomplete.txt", ("d", "vmcore-dmesg-incomplete.txt")),
        ("/c/10.0.0.7-2024-01-02-03:04:05/v", ("c", "10.0.0.7-2024-01-02-03:04:05", "v")),
        ("/c/fe80::1%eth0-2024-01-02-03:04:05", ("c", "fe80::1%eth0-2024-01-02-03:04:05")),
        ("/grüße/ a b ", ("grüße", " a b ")),
        ("/...", ("...",)),
        ("~/x", ("~", "x")),
    ],
)
def test_paths_are_parts(text: str, parts: tuple[str, ...]) -> None:
    """Double slashes and dots collapse; a relative path starts at the root, the virtual home."""
    path = parse_untrusted(text)
    assert path.parts == parts
    assert str(path) == path.text == "/" + "/".join(parts)


def test_what_a_path_tells() -> None:
    """Name, parent, and whether a directory was meant; two spellings are one path."""
    path = parse_untrusted("/var/crash/")
    assert (path.name, path.parent, path.trailing_slash) == ("crash", parse_untrusted("/var"), True)
    assert path == parse_untrusted("var//crash")
    assert hash(path) == hash(parse_untrusted("var/crash"))
    assert parse_untrusted("/var/crash/.").trailing_slash
    assert parse_untrusted(".").trailing_slash
    assert not parse_untrusted("/var/crash").trailing_slash
    assert (ROOT.name, ROOT.parent, ROOT.text) == ("", ROOT, "/")
    assert parse_untrusted("/a").child_untrusted("b") == parse_untrusted("/a/b")
    assert ROOT.child_untrusted("b") == parse_untrusted("/b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty path"),
        ("..", "'..' leads out"),
        ("/a/../b", "'..' leads out"),
        ("/a\0b", "printable UTF-8 only"),
        ("/a\nb", "printable UTF-8 only"),
        ("/a\x7f", "printable UTF-8 only"),
        ("/a\x85", "printable UTF-8 only"),
        ("/a\udcff", "printable UTF-8 only"),
        ("/a\u202eb", "printable UTF-8 only"),
        ("/" + "a" * (MAX_PART + 1), "at most 255 bytes"),
        ("/" + "é" * 128, "at most 255 bytes"),
        ("/a" * (MAX_PARTS + 1), "at most 32 parts"),
        ("/" * (MAX_PATH + 1), "at most 1024 bytes"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(text: str, reason: str) -> None:
    """One reason each, safe to print."""
    with pytest.raises(Refused, match=reason) as refused:
        parse_untrusted(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", "\udc80", "a" * 256])
def test_a_child_is_one_entry(name: str) -> None:
    """scp's file names, and anything else that is to be one name, cannot walk."""
    with pytest.raises(Refused):
        parse_untrusted("/d").child_untrusted(name)


def test_the_bounds_are_reached() -> None:
    """The longest path, part and depth are still accepted."""
    assert len(parse_untrusted("/a" * MAX_PARTS).parts) == MAX_PARTS
    assert parse_untrusted("/" + "a" * MAX_PART).name == "a" * MAX_PART
    assert parse_untrusted("/" * MAX_PATH) == ROOT


@given(st.text(alphabet="ab./~\\ \0é\udc80\n", max_size=60) | st.text())
def test_no_accepted_path_escapes(text: str) -> None:
    """Below any directory, an accepted path stays below it; and it names what POSIX says it names."""
    try:
        path = parse_untrusted(text)
    except Refused:
        return
    below = posixpath.normpath(f"/spool/host/{'/'.join(path.parts)}")
    assert below == "/spool/host" or below.startswith("/spool/host/")
    assert path.text == posixpath.normpath("/" + text).replace("//", "/")
    assert parse_untrusted(path.text) == path
    assert ClientPath(path.parts).parent.text == posixpath.dirname(path.text)

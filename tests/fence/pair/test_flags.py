"""The flags are read as the C programs read them: glibc's getopt_long, C's atoi."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence.pair import flags
from fence.pair.flags import BadFlag, BadValue, Flag, Given, Operand

FLAGS = (
    Flag("nodename", "n", "required"),
    Flag("timeout", "t", "required"),
    Flag("verbose", "v", "optional"),
    Flag("version", "V", "no"),
    Flag("help", "h", "no"),
    Flag("token-file", "", "required", ours=True),
)
LIBC = ctypes.CDLL(None)


def read(*words: str) -> list[Given | Operand]:
    return list(flags.walk("agent", words, FLAGS))


@pytest.mark.parametrize(
    ("words", "met"),
    [
        (["-n", "a"], [Given("nodename", "a")]),
        (["-na"], [Given("nodename", "a")]),
        (["--nodename=a"], [Given("nodename", "a")]),
        (["--nodename", "a"], [Given("nodename", "a")]),
        (["--node=a"], [Given("nodename", "a")]),
        (["--t", "5"], [Given("timeout", "5")]),
        (["--token-file", "f"], [Given("token-file", "f")]),
        (["--nodename="], [Given("nodename", "")]),
        (["-v"], [Given("verbose", None)]),
        (["-v", "3"], [Given("verbose", None), Operand("3")]),
        (["-v3"], [Given("verbose", "3")]),
        (["-vv"], [Given("verbose", "v")]),
        (["--verbose=vv"], [Given("verbose", "vv")]),
        (["-Vhn", "a"], [Given("version", None), Given("help", None), Given("nodename", "a")]),
        (["a", "-V", "b"], [Operand("a"), Given("version", None), Operand("b")]),
        (["-V", "--", "-V", "--"], [Given("version", None), Operand("-V"), Operand("--")]),
        (["-"], [Operand("-")]),
        (["-n", "--"], [Given("nodename", "--")]),
        ([], []),
    ],
)
def test_words_mean_what_they_mean_to_getopt_long(words: list[str], met: list[Given | Operand]) -> None:
    """Joined, abbreviated, optional and permuted forms are all in use in the field."""
    assert read(*words) == met


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-x"], "agent: invalid option -- 'x'"),
        (["-vx", "-x"], "agent: invalid option -- 'x'"),
        (["-n"], "agent: option requires an argument -- 'n'"),
        (["--nodename"], "agent: option '--nodename' requires an argument"),
        (["--bogus=1"], "agent: unrecognized option '--bogus'"),
        (["--token"], "agent: unrecognized option '--token'"),
        (["--help=1"], "agent: option '--help' doesn't allow an argument"),
        (["--ver"], "agent: option '--ver' is ambiguous; possibilities: '--verbose' '--version'"),
    ],
)
def test_a_wrong_word_is_said_as_glibc_says_it(words: list[str], line: str) -> None:
    """Scripts and people grep for these lines."""
    with pytest.raises(BadFlag) as caught:
        read(*words)
    assert str(caught.value) == line


def test_flags_before_the_wrong_word_are_met_first() -> None:
    """``-V -x`` prints the version and exits 0: the reader sees -V before the error is raised."""
    words = flags.walk("agent", ["-V", "-x"], FLAGS)
    assert next(words) == Given("version", None)
    with pytest.raises(BadFlag):
        next(words)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_are_met_or_refused(words: list[str]) -> None:
    """Whatever stands on the command line, nothing but BadFlag is raised."""
    with suppress(BadFlag):
        read(*words)


@given(st.text(alphabet=" \t+-0123456789abx", max_size=8))
def test_atoi_is_that_of_c(text: str) -> None:
    """``-t 30s`` is 30 and ``-p 0x50`` is 0, by the C library itself."""
    assert flags.atoi(text) == LIBC.atoi(text.encode())


@pytest.mark.parametrize("text", ["99999999999", "0" * 30 + "4294967297", "9" * 9000])
def test_a_huge_number_stays_huge(text: str) -> None:
    """C wraps around: ``-t 4294967297`` would wait one second."""
    assert flags.atoi(text) == flags.INT_MAX
    assert flags.atoi("-" + text) == -flags.INT_MAX


@pytest.mark.parametrize("text", ["0", "65536", "-1", "", "x", "99999999999"])
def test_a_port_that_does_not_exist_is_refused(text: str) -> None:
    """The text of the C programs, the value as it was given."""
    with pytest.raises(BadValue, match=f"^invalid ipport '{text}'$"):
        flags.ipport(text)


def test_families_are_told_without_case() -> None:
    """auto, IPv4, IPV6; nothing else."""
    assert [flags.family(name) for name in ("auto", "IPv4", "IPV6")] == [0, 2, 10]
    with pytest.raises(BadValue, match=r"^unsupported family 'ipx'$"):
        flags.family("ipx")


@pytest.mark.parametrize(
    ("before", "text", "after", "wrong"),
    [
        (0, None, 1, None),
        (1, None, 2, None),
        (0, "v", 2, None),
        (0, "vv", 3, None),
        (1, "3", 4, None),
        (0, "12a", 12, None),
        (0, "0", 0, None),
        (0, "", 1, None),
        (0, "x9", 1, "invalid value 'x' for verbose"),
        (0, "vp9", 2, "invalid value 'p' for verbose"),
        (0, "yes", 1, None),
        (0, "True", 1, None),
        (0, "on", 1, None),
        (0, "no", 0, None),
        (0, "OFF", 0, None),
        (0, "false", 0, None),
    ],
)
def test_verbosity(before: int, text: str | None, after: int, wrong: str | None) -> None:
    """As measured with 4.12.1, and the booleans its metadata promises."""
    assert flags.verbosity(before, text) == (after, wrong)

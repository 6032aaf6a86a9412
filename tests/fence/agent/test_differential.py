"""Side by side with the C agent of the system: same flags, same messages, same exit status.

Where we differ on purpose both sides are written down, so that a new C agent that
changes its mind is noticed as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rig.c_pair import C_AGENT, WHY_NOT

if TYPE_CHECKING:
    from tests.fence.agent.conftest import Agent

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
Start = Callable[..., "Agent"]

OURS = str(Path(sys.executable).with_name("fence_kdump"))

SAME = [
    (["-x"], None),
    (["-n"], None),
    (["--bogus"], None),
    (["--nodename"], None),
    (["--ver"], None),
    (["--help=1"], None),
    (["-o", "off"], None),
    (["-o", "reboot"], None),
    (["-o", "on"], None),
    (["-o", ""], None),
    (["-t", "0"], None),
    (["-t", "-5"], None),
    (["-p", "0"], None),
    (["-p", "70000"], None),
    (["-p", "0x50"], None),
    (["-f", "ipx"], None),
    (["-h"], None),
    (["-V"], None),
    (["-V", "-x"], None),
    (["-t", "0", "-V"], None),
    (["-o", "metadata"], None),
    (["-o", "METADATA", "operand"], None),
    (["-o", "validate-all"], None),
    (["-o", "validate-all", "-t", "30s", "-p", "+80"], None),
    (["--act=validate-all", "--time", "5"], None),
    (["-o", "validate-all", "-vx"], None),
    (["-n", "no-such-host.invalid", "-t", "1"], None),
    (["-n", "no-such-host.invalid", "-t", "1", "-v2"], None),
    (["-f", "ipv6", "-n", "127.0.0.1", "-t", "1"], None),
    ([], ""),
    ([], "# comment\n\nnonsense\naction=metadata\n"),
    ([], "ACTION=validate-all\noption=reboot\nagent=fence_kdump\n"),
    ([], "action=\n"),
    ([], "action=reboot\nnodename=a\n"),
    ([], "action=validate-all\ntimeout=0\n"),
    ([], "action=validate-all\ntimeout=5\ntimeout=0\n"),
    ([], "nodename=no-such-host.invalid\ntimeout=1\n"),
]


@pytest.mark.parametrize(("words", "stdin"), SAME)
def test_same_exit_status_and_same_errors(start: Start, words: list[str], stdin: str | None) -> None:
    """What Pacemaker and its log see; standard output differs where it is prose."""
    runs = [start(*words, stdin=stdin, program=C_AGENT), start(*words, stdin=stdin)]
    theirs, ours = (run.end() for run in runs)
    assert theirs[2].replace(C_AGENT, "") == ours[2].replace(OURS, "")
    assert theirs[0] == ours[0]


@pytest.mark.parametrize("node", ["127.0.0.1", "localhost"])
def test_same_words_of_a_timeout(start: Start, free_port: int, other_port: int, node: str) -> None:
    """All that is printed at the default verbosity."""
    runs = [
        start("-n", node, "-t1", "-p", free_port, program=C_AGENT),
        start("-n", node, "-t1", "-p", other_port),
    ]
    theirs, ours = (run.end() for run in runs)
    assert theirs == ours
    assert ours[1].endswith("[debug]: timeout after 1 seconds\n")


# what is given: C's exit status and error, ours
DIFFERENT = {
    "verbose=yes": (
        "action=validate-all\nverbose=yes\n",
        (0, "[error]: invalid value 'y' for verbose\n"),
        (0, ""),
    ),
    "quotes": (
        'action=validate-all\nfamily="ipv4"\n',
        (1, "[error]: unsupported family '\"ipv4\"'\n"),
        (0, ""),
    ),
    "blanks round the equals sign": (
        "action = reboot\n",
        (1, "[error]: action 'off' requires nodename\n"),
        (1, "[error]: unsupported action 'reboot'\n"),
    ),
    "an empty nodename": (
        "nodename=\n",
        (1, ""),
        (1, "[error]: action 'off' requires nodename\n"),
    ),
    "meta-data": ("action=meta-data\n", (1, "[error]: unsupported action 'meta-data'\n"), (0, "")),
    "status": (
        "action=status\nnodename=127.0.0.1\n",
        (1, "[error]: unsupported action 'status'\n"),
        (0, ""),
    ),
    "list": (
        "action=list\n",
        (1, "[error]: unsupported action 'list'\n"),
        (1, "[error]: action 'list' needs a daemon: give socket or url\n"),
    ),
    "validate-all that validates": (
        "action=validate-all\nnodename=no-such-host.invalid\n",
        (0, ""),
        (1, "[error]: failed to get node 'no-such-host.invalid'\n"),
    ),
    "port alone": (
        "port=no-such-host.invalid\n",
        (1, "[error]: action 'off' requires nodename\n"),
        (1, "[error]: failed to get node 'no-such-host.invalid'\n"),
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_different_on_purpose(start: Start, what: str) -> None:
    """The list of all differences in what is printed and returned for the same lines on stdin."""
    stdin, theirs, ours = DIFFERENT[what]
    status, _, errors = start(stdin=stdin, program=C_AGENT).end()
    assert (status, errors) == theirs
    status, _, errors = start(stdin=stdin).end()
    assert (status, errors) == ours


def test_a_taken_port_aborts_the_c_agent_and_not_ours(start: Start, free_port: int) -> None:
    """Exit status 134 never happens."""
    holder = start("-n", "127.0.0.3", "-p", free_port, "-t", 20)
    holder.heard("waiting")
    assert start("-n", "127.0.0.4", "-p", free_port, "-t", 1, program=C_AGENT).end()[0] == -6
    assert start("-n", "127.0.0.4", "-p", free_port, "-t", 1).end()[0] == 1


def test_mixed_families_are_no_error(start: Start, free_port: int) -> None:
    """The C agent gives up at once."""
    words = ["-n", "127.0.0.1,::1", "-p", free_port, "-t", 1]
    status, _, errors = start(*words, program=C_AGENT).end()
    assert (status, errors) == (1, "[error]: mixing IPv4 and IPv6 nodes is not supported\n")
    assert start(*words).end()[2] == ""


def test_monitor_does_not_ask_for_crashkernel(start: Start, free_port: int) -> None:
    """C's answer depends on this host's own command line, which says nothing of the node."""
    with open("/proc/cmdline") as file:
        reserved = "crashkernel=" in file.read()
    assert start("-o", "monitor", program=C_AGENT).end()[0] == (0 if reserved else 1)
    assert start("-o", "monitor", "-p", free_port).end() == (0, "", "")

"""`kdump set`, `unset` and `import` change one thing and keep the rest."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.conf.edit import set_word, unset_word
from sender.conf.foreign import assignments, family, from_debian, from_suse
from sender.conf.model import read_text

FILE = """\
# where dumps go
#ssh user@my.server.com
#path /var/crash
nfs old:/x   # the old filer
blacklist a
"""


def test_a_target_takes_the_place_of_the_old_one_and_keeps_its_comment() -> None:
    """One target a file: setting ssh removes nfs."""
    assert set_word(FILE, "ssh", "kdump@new").splitlines()[3] == "ssh kdump@new # the old filer"


def test_a_new_word_comes_under_its_commented_example() -> None:
    """There a reader looks for it."""
    assert set_word(FILE, "path", "/srv").splitlines()[2:4] == ["#path /var/crash", "path /srv"]


def test_a_word_without_example_comes_last() -> None:
    """And the file still ends with a newline."""
    assert set_word(FILE, "link_delay", "30").endswith("blacklist a\nlink_delay 30\n")


def test_add_keeps_the_lines_that_are_there() -> None:
    """For words that may stand many times; for others it replaces."""
    assert "blacklist a\nblacklist b\n" in set_word(FILE, "blacklist", "b", add=True)
    assert set_word("path /a\n", "path", "/b", add=True) == "path /b\n"


def test_setting_failure_action_replaces_default() -> None:
    """They are one word in two generations."""
    assert set_word("default halt\n", "failure_action", "shell") == "failure_action shell\n"


def test_unset_leaves_the_old_line_as_a_comment() -> None:
    """What was there can be seen and put back."""
    assert "#blacklist a\n" in unset_word(FILE, "blacklist")


@given(st.sampled_from(["path /a", "link_delay 3", "default halt", "blacklist q"]), st.text(max_size=200))
def test_what_was_set_is_what_is_read(said: str, before: str) -> None:
    """Whatever stood in the file before, after `set` the word has its value there exactly once."""
    name, value = said.split()
    new = set_word(before, name, value)
    lines = [line for line in new.split("\n") if line.split("#")[0].split() == [name, value]]
    assert lines


def test_debians_settings_are_told_in_our_words() -> None:
    """The documented example of kdump-tools."""
    text = """
# comment
USE_KDUMP=1
SSH="kdump@server"
SSH_KEY=/root/.ssh/kdump_id
MAKEDUMP_ARGS="-c -d 31"   # level
KDUMP_CMDLINE_APPEND="reset_devices nr_cpus=1"
NFS_TIMEO="600"
KDUMP_FAIL_CMD="poweroff -f"
"""
    values = assignments(text)
    assert family(values) == "debian"
    imported = from_debian(values)
    assert imported.lines == (
        "ssh kdump@server",
        "sshkey /root/.ssh/kdump_id",
        "path /var/crash",
        "core_collector makedumpfile -c -d 31",
        "cmdline_append reset_devices nr_cpus=1",
        "failure_action poweroff",
    )
    assert imported.notes == ("NFS_TIMEO=600: use net_timeout",)
    assert read_text("\n".join(imported.lines)).config is not None


@pytest.mark.parametrize(
    ("savedir", "lines"),
    [
        ("file:///var/crash", ("path /var/crash",)),
        ("/var/crash", ("path /var/crash",)),
        ("ssh://kdump@server:2222/dumps", ("ssh kdump@server:2222", "path /dumps")),
        ("sftp://kdump:pw@server/dumps", ("ssh kdump@server", "path /dumps")),
        ("nfs://server/export/dump", ("nfs server:/export/dump", "path /")),
        ("ssh://a@b/x ssh://c@d/x", ("ssh a@b", "fallback ssh c@d", "path /x")),
    ],
)
def test_suses_urls_become_targets(savedir: str, lines: tuple[str, ...]) -> None:
    """A password of a URL is never taken over."""
    imported = from_suse({"KDUMP_SAVEDIR": savedir, "KDUMP_DUMPLEVEL": "31", "KDUMP_DUMPFORMAT": "lzo"})
    assert imported.lines[: len(lines)] == lines
    assert "core_collector makedumpfile -l -d 31" in imported.lines
    assert not any("pw" in line for line in imported.lines)
    assert read_text("\n".join(imported.lines)).config is not None


def test_suses_fence_postscript_becomes_fence_words() -> None:
    """The line of SUSE's own documentation."""
    script = "/usr/lib/fence_kdump_send -i 10 -p 7410 -c 5 node1 node2"
    lines = from_suse({"KDUMP_POSTSCRIPT": script}).lines
    assert "fence_kdump_nodes node1 node2" in lines
    assert "fence_kdump_args -i 10 -p 7410 -c 5" in lines


@given(
    st.dictionaries(
        st.sampled_from(["KDUMP_SAVEDIR", "SSH", "KDUMP_POSTSCRIPT", "KDUMP_CPUS"]), st.text(max_size=60)
    )
)
def test_any_settings_give_lines_or_a_clear_no(values: dict[str, str]) -> None:
    """What cannot be said here shows when the lines are read, never as a traceback."""
    for reader in (from_debian, from_suse):
        with contextlib.suppress(ValueError):  # told by `kdump import` as an error of their file
            read_text("\n".join(reader(values).lines))

"""Our words are the shell's words, for every line that we accept."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from receiver.wire.refused import Refused
from receiver.wire.words import Operator, Token, Word, split_untrusted

CASES: dict[str, tuple[Token, ...]] = {
    "": (),
    " \t ": (),
    "a  b\tc": (Word("a"), Word("b"), Word("c")),
    "''": (Word("", quoted=True),),
    "a'b c'\"d e\"\\ f": (Word("ab cd e f", quoted=True),),
    r'"\\ \" \$ \a"': (Word(r"\ " + '" $ ' + r"\a", quoted=True),),
    "'\\'": (Word("\\", quoted=True),),
    "a&&b;c>d\ne": (
        *(Word("a"), Operator.AND, Word("b"), Operator.THEN, Word("c")),
        *(Operator.INTO, Word("d"), Operator.THEN, Word("e")),
    ),
    "a#b a~b !": (Word("a#b"), Word("a~b"), Word("!")),
    "1'' > a": (Word("1", quoted=True), Operator.INTO, Word("a")),
    "kdump_test_id=1>a": (Word("kdump_test_id=1"), Operator.INTO, Word("a")),
}


@pytest.mark.parametrize("line", CASES)
def test_words_and_operators(line: str) -> None:
    """Blanks part words, quotes join them, operators need no blanks."""
    assert split_untrusted(line) == CASES[line]


def _shell_words(shell: str, line: str) -> list[str]:
    """What a real shell hands to a program; `line` follows the name of one that prints its arguments."""
    script = f"said() {{ for word; do printf '%s\\0' \"$word\"; done; printf '\\1\\0'; }}\nsaid {line}"
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, timeout=30, cwd="/proc/self")
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\0")[:-1]


ALPHABET = "aB0/.=:-_,%+@]^! \t'\"\\~#é"
LINES = st.text(alphabet=ALPHABET + "$`*?[{}", max_size=30) | st.text(alphabet="ab /'\"\\", max_size=30)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@settings(max_examples=250, deadline=None)
@given(line=LINES)
def test_a_shell_reads_the_same_words(shell: str, line: str) -> None:
    """A line never means one thing here and another to dash (Debian's sh) or bash (Red Hat's)."""
    try:
        tokens = split_untrusted(line)
    except Refused:
        assume(False)
    assert [token.text for token in tokens if isinstance(token, Word)] == _shell_words(shell, line)[:-1]


COMMANDS = st.lists(st.tuples(st.sampled_from(["&&", ";", "\n"]), LINES), min_size=1, max_size=4)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
@settings(max_examples=150, deadline=None)
@given(commands=COMMANDS)
def test_a_shell_parts_commands_at_the_same_places(shell: str, commands: list[tuple[str, str]]) -> None:
    """Operators inside quotes are text, outside they part commands."""
    line = "".join(f" {operator} said {words}" for operator, words in commands).lstrip(" &;\n")[
        len("said ") :
    ]
    try:
        tokens = split_untrusted(line)
    except Refused:
        assume(False)
    ours = [token.text if isinstance(token, Word) else "\1" for token in tokens]
    theirs = _shell_words(shell, line)
    # After each operator our line names the function again; the shell consumed that word.
    ended = [word for index, word in enumerate(ours) if not (word == "said" and ours[index - 1] == "\1")]
    assert [*ended, "\1"] == theirs


NAMES = st.text(alphabet=st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=40).filter(
    str.isprintable
)


@settings(max_examples=100, deadline=None)
@given(name=NAMES, style=st.sampled_from(["single", "double", "backslash", "shlex"]))
def test_any_name_survives_quoting(name: str, style: str) -> None:
    """Whatever a directory is called, each way to quote it gives back the name, here and in a shell."""
    quoted = {
        "single": "'" + name.replace("'", "'\\''") + "'",
        "double": '"' + "".join(f"\\{char}" if char in '$`"\\' else char for char in name) + '"',
        "backslash": "".join(f"\\{char}" for char in name) or "''",
        "shlex": shlex.quote(name),
    }[style]
    # `said` runs in the C locale or any other: names are bytes to a shell.
    assert [token.text for token in split_untrusted(quoted) if isinstance(token, Word)] == [name]
    assert _shell_words("/bin/sh", quoted) == [name, "\1"]


@given(st.text(max_size=60) | st.text(alphabet=ALPHABET + "$`*?[{}()<>|&;\n", max_size=60))
def test_garbage_raises_one_error_only(line: str) -> None:
    """No line makes the splitter fail in another way."""
    try:
        split_untrusted(line)
    except Refused:
        return

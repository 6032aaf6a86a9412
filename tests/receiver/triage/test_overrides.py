"""The operator's table renames and merges; its mistakes are told with file, key and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.triage import overrides
from receiver.triage.answer import triage_untrusted
from receiver.triage.overrides import OverridesError
from receiver.triage.report import explained
from tests.builders.kernel_logs import SYSCALL, log, x86

ONE = log(*x86("divide error: 0000 [#1] SMP", "acme_rate [acme]", "by_ioctl", *SYSCALL))
OTHER = log(*x86("general protection fault: 0000 [#1] SMP", "acme_ring [acme]", "by_timer", *SYSCALL))
NAMED = """
[[override]]
module = "ac*"
name = "acme firmware 1.2"
note = "ticket 4711"
"""


def test_an_override_names_every_crash_of_a_known_cause() -> None:
    """Different titles and stacks, one name, one group; the hash of the stack stays."""
    table = overrides.parse(NAMED, "t.toml")
    one, other = triage_untrusted(ONE, table), triage_untrusted(OTHER, table)
    assert one.title == other.title == "acme firmware 1.2"
    assert one.signature == other.signature != one.stack_hash != other.stack_hash
    assert "acme firmware 1.2 (ticket 4711)" in explained(one)


def test_what_does_not_match_keeps_its_name() -> None:
    """All patterns have to fit."""
    table = overrides.parse('[[override]]\nmodule = "acme"\nclass = "gpf"\nname = "x"\n', "t.toml")
    assert triage_untrusted(ONE, table) == triage_untrusted(ONE)
    assert triage_untrusted(OTHER, table).title == "x"
    assert triage_untrusted(ONE, overrides.parse('[[override]]\nname = "x"\n', "t")) == triage_untrusted(ONE)


def test_a_merge_makes_one_group_of_two() -> None:
    """The titles stay."""
    one, other = triage_untrusted(ONE), triage_untrusted(OTHER)
    table = overrides.parse(f'[[merge]]\ninto = "{one.signature}"\nof = ["{other.signature}"]\n', "t.toml")
    merged = triage_untrusted(OTHER, table)
    assert (merged.signature, merged.title) == (one.signature, other.title)
    assert "merged into" in (merged.explanation.override or "")


def merges(*pairs: tuple[str, str]) -> str:
    return "".join(f'[[merge]]\ninto = "{into * 40}"\nof = ["{of * 40}"]\n' for into, of in pairs)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[override", "not TOML"),
        ('[[override]]\nname = "x"\nfuncton = "y"\n', "override.0.functon: no such key"),
        ('[[override]]\nfunction = "y"\n', "override.0.name: Field required"),
        ('[[merge]]\ninto = "12"\nof = []\n', "merge.0.into"),
        (merges(("a", "b"), ("c", "b")), "two groups"),
        (merges(("a", "b"), ("c", "a")), "merged itself"),
    ],
)
def test_a_mistake_in_the_table_is_told(text: str, reason: str) -> None:
    """Where and what, and the status of a configuration error."""
    with pytest.raises(OverridesError, match=r"^t\.toml: ") as caught:
        overrides.parse(text, "t.toml")
    assert reason in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """No traceback for a missing or binary file."""
    with pytest.raises(OverridesError, match="No such file"):
        overrides.load(tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(OverridesError, match="not UTF-8"):
        overrides.load(tmp_path / "binary")
    (tmp_path / "good.toml").write_text(NAMED)
    assert overrides.load(tmp_path / "good.toml") == overrides.parse(NAMED, "x")

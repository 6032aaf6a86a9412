"""A verb loads what it needs, so it answers at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"alembic", "asyncssh", "cryptography", "pydantic", "rich", "sqlalchemy", "receiver.triage.oops"}
SHOW = """
import sys
from receiver.cli import main
try:
    main()
except SystemExit:
    print(*(name for name in sys.modules), file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    """Which of the heavy modules a run has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("list", "--help"), ("groups", "--help"), ("token", "-h")]
)
def test_help_waits_for_no_library(arguments: tuple[str, ...]) -> None:
    """Not for the settings either: a wrong file must not keep anybody from reading the help."""
    assert loaded(*arguments) == set()


def test_a_listing_loads_the_settings_and_the_catalogue_alone(tmp_path: Path) -> None:
    """Neither the SSH server, nor the readers of dumps, nor (in a pipe) what draws on terminals."""
    root = ("--root", str(tmp_path))
    loaded(*root, "list")  # makes the tables
    assert loaded(*root, "list") == {"pydantic", "sqlalchemy"}
    assert loaded(*root, "token", "list") == {"pydantic"}
    assert loaded(*root, "host", "list") == {"pydantic"}

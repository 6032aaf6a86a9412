"""docs/man: what is committed is what the programs say, and every reader of man pages takes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fence.cli import main as fence
from receiver.cli.main import group as receiver
from receiver.settings import Settings
from sender.cli import main as sender

MAN = Path(__file__).parent.parent.parent / "docs" / "man"
PAGES = sorted(MAN.glob("*.[1-9]"))


def shown(page: Path) -> str:
    """The page as people read it."""
    command = ["mandoc", "-T", "utf8", "-O", "width=200", str(page)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return subprocess.run(["col", "-bx"], input=text, capture_output=True, text=True, check=True).stdout


def test_the_pages_are_what_the_programs_say() -> None:
    """After a change of an option or a text: `make man`."""
    command = [sys.executable, str(MAN / "make.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_there_is_a_page_for_every_program() -> None:
    names = {"kdump-receiver.1", "kdump-fence.1", "kdump.8", "fence_kdump.8", "fence_kdump_send.8"}
    assert {page.name for page in PAGES} == names | {"kdump-receiver.toml.5"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_reader_has_anything_to_say(page: Path) -> None:
    """mandoc's lint and groff's warnings."""
    for command in (["mandoc", "-T", "lint", "-W", "warning"], ["man", "--warnings", "-l"]):
        if not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed here")
        done = subprocess.run([*command, str(page)], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        assert done.returncode == 0
        assert command[0] == "man" or done.stdout == ""


def verbs(group: click.Group, context: click.Context) -> list[str]:
    """All that can be called; each has a help of its own."""
    found = []
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        if isinstance(verb, click.Group):
            found += [f"{name} {inner}" for inner in verbs(verb, click.Context(verb, parent=context))]
        elif verb is not None and not verb.hidden:
            assert verb.get_short_help_str(), name
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("page", "group"), [("kdump-receiver.1", receiver), ("kdump-fence.1", fence), ("kdump.8", sender)]
)
def test_every_verb_is_explained(page: str, group: click.Group) -> None:
    text = shown(MAN / page)
    for verb in verbs(group, click.Context(group)):
        assert f"\n   {verb} " in text or f"\n   {verb}\n" in text, verb


def test_every_setting_is_explained() -> None:
    """With its default; the meaning is the sample file's."""
    text = shown(MAN / "kdump-receiver.toml.5")
    for key in Settings.model_fields:
        assert any(f"       {form}" in text for form in (key, f"[{key}]", f"[[{key}]]")), key

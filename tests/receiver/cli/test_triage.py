"""`triage` and `explain` answer a log file or standard input, and say what they cannot read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from receiver.cli.triage import LogText, NoFile, NoLog, commands, text_file
from receiver.triage.log import MAX_BYTES
from tests.builders.kernel_logs import SYSCALL, log, x86

triage, explain = commands(text_file)
LOG = log(*x86("divide error: 0000 [#1] SMP", "acme_rate [acme]", *SYSCALL))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vmcore-dmesg.txt"
    path.write_bytes(LOG)
    return path


def test_a_log_file_is_answered_for_people_and_for_programs(file: Path) -> None:
    """The reason first; the same as JSON."""
    runner = CliRunner()
    text = runner.invoke(triage, [str(file)])
    assert (text.exit_code, text.output.splitlines()[0]) == (0, "crash      divide error in acme_rate")
    table = json.loads(runner.invoke(triage, [str(file), "--json"]).output)
    assert (table["class"], table["function"], table["module"]) == ("divide", "acme_rate", "acme")
    assert table["signature"] in (table["stack_hash"],)


def test_standard_input_is_a_log_too() -> None:
    """dmesg | kdump-receiver triage -"""
    result = CliRunner().invoke(triage, ["-"], input=LOG)
    assert "divide error in acme_rate" in result.output


def test_explain_tells_lines_rule_and_what_was_skipped(file: Path) -> None:
    """Why this name."""
    output = CliRunner().invoke(explain, [str(file)]).output
    assert "Headline read by rule divide#" in output
    assert "blamed" in output


def test_the_override_table_is_obeyed(file: Path, tmp_path: Path) -> None:
    """A name of the operator's."""
    table = tmp_path / "overrides.toml"
    table.write_text('[[override]]\nfunction = "acme_*"\nname = "acme firmware 1.2"\n')
    result = CliRunner().invoke(triage, [str(file), "--overrides", str(table)])
    assert result.output.startswith("crash      acme firmware 1.2\n")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No such file, a dump, a directory: one sentence and its exit status."""
    with pytest.raises(NoFile, match="No such file") as missing:
        text_file(tmp_path / "none")
    assert missing.value.exit_code == 66
    with pytest.raises(NoFile, match="directory"):
        text_file(tmp_path)
    (tmp_path / "vmcore").write_bytes(b"KDUMP   " + bytes(100))
    with pytest.raises(NoLog, match="a dump, not a log") as dump:
        text_file(tmp_path / "vmcore")
    assert dump.value.exit_code == 65


def test_of_a_huge_file_the_end_is_read_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    """A console log of weeks."""
    path = tmp_path / "console.log"
    path.write_bytes(b"x" * 99 + b"\n")
    os.truncate(path, 2 * MAX_BYTES + 12345)
    with path.open("ab") as file:
        file.write(b"\n" + LOG)
    report = json.loads(CliRunner().invoke(triage, [str(path), "--json"]).output)
    assert report["title"] == "divide error in acme_rate"
    assert report["lines"][0]["number"] == 3


def test_the_log_may_come_from_elsewhere() -> None:
    """A dump's own log, say: the verbs take any provider."""
    verb, _ = commands(lambda path: LogText(LOG, dropped=1000))
    table = json.loads(CliRunner().invoke(verb, ["anything", "--json"]).output)
    assert (table["title"], table["lines"][0]["number"]) == ("divide error in acme_rate", 1001)

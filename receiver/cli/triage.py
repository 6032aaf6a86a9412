"""`triage` and `explain`: what a log says, without catalogue, spool or debuginfo.

Where the log text comes from is a `LogProvider`; `commands` makes the two verbs for one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from receiver.cli import complete
from receiver.cli.progress import reading
from receiver.cli.shown import plain_lines
from receiver.failure import Failure

if TYPE_CHECKING:
    from receiver.triage.report import Report

_BLOCK: Final = 1 << 20
_DUMPS: Final = (b"KDUMP   ", b"DISKDUMP", b"makedumpfile", b"\x7fELF")


class NoLog(Failure):
    """The file holds no log we can read."""

    exit_code = 65  # EX_DATAERR


class NoFile(Failure):
    """There is no such file, or we may not read it."""

    exit_code = 66  # EX_NOINPUT


@dataclass(frozen=True, slots=True)
class LogText:
    """The end of a log, and how many lines stand before it."""

    data: bytes
    dropped: int = 0


LogProvider = Callable[[Path], LogText]


def text_file(path: Path) -> LogText:
    """The log in a text file; ``-`` is standard input.

    Raises:
        NoFile: it cannot be opened or read.
        NoLog: it is a dump, not a text.
    """
    if str(path) == "-":
        return _end(sys.stdin.buffer, "standard input")
    try:
        with path.open("rb") as file:
            return _end(file, str(path))
    except OSError as error:
        raise NoFile(f"{path}: {error.strerror}") from None


def _end(file: BinaryIO, name: str) -> LogText:
    """At least the last MAX_BYTES; lines before them are only counted."""
    from receiver.triage.log import MAX_BYTES

    kept, dropped = bytearray(file.read(_BLOCK)), 0
    if kept.startswith(_DUMPS):
        raise NoLog(f"{name}: a dump, not a log; give the vmcore-dmesg.txt beside it")
    while block := file.read(_BLOCK):
        kept += block
        if len(kept) > 2 * MAX_BYTES:
            dropped += kept.count(b"\n", 0, MAX_BYTES)
            del kept[:MAX_BYTES]
    return LogText(bytes(kept), dropped)


def commands(log_of: LogProvider) -> tuple[click.Command, click.Command]:
    """The verbs ``triage`` and ``explain`` over one provider of log text."""
    table = click.option(
        "--overrides", "table", type=click.Path(path_type=Path), help="Table of overrides and merges (TOML)."
    )
    argument = click.argument(
        "file", type=click.Path(path_type=Path, allow_dash=True), shell_complete=complete.dump_or_file
    )

    def answer(file: Path, table: Path | None) -> Report:
        from receiver.triage import overrides
        from receiver.triage.answer import triage_untrusted

        known = overrides.load(table) if table else overrides.NONE
        with reading(file):
            text = log_of(file)
            return triage_untrusted(text.data, known, dropped=text.dropped)

    @click.command()
    @argument
    @table
    @click.option("--json", "as_json", is_flag=True, help="For programs.")
    def triage(file: Path, table: Path | None, as_json: bool) -> None:
        """Say why a kernel crashed: class, function, module, kernel, signature, and the lines that tell.

        FILE is a kernel log, a vmcore of any kind, the ID of a stored dump, or - for a log on standard input.
        """
        from receiver.triage import report

        told = answer(file, table)
        if as_json:
            click.echo(json.dumps(report.as_json(told), indent=2))
        else:
            click.echo(plain_lines(report.as_text(told)), nl=False)

    @click.command()
    @argument
    @table
    def explain(file: Path, table: Path | None) -> None:
        """Say how a crash came by its name: which lines, which rule, which functions were skipped and why."""
        from receiver.triage import report

        click.echo(plain_lines(report.explained(answer(file, table))), nl=False)

    return triage, explain

"""`kdump-receiver log`: the crashed kernel's log, out of a stored dump or any file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from receiver import reports
from receiver.cli import dumps
from receiver.cli.triage import LogText, NoFile, NoLog, commands, text_file

NO_MATCH: Final = 1


def log_of_file(path: Path) -> LogText:
    """The log in a text or in a vmcore of any kind; ``-`` is a text on standard input.

    Raises:
        NoFile: it cannot be read.
        NoLog: it is neither a text nor a dump whose log has arrived.
    """
    if str(path) == "-":
        return text_file(path)
    try:
        found = reports.log_in(path)
    except OSError as error:
        raise NoFile(f"{path}: {error.strerror}") from None
    if not found.data:
        raise NoLog(f"{path}: no kernel log in it: {found.why or 'the file is empty'}")
    return LogText(found.data)


triage, explain = commands(log_of_file)


@click.command()
@click.argument("dump", metavar="FILE|ID")
@click.pass_context
def log(ctx: click.Context, dump: str) -> int:
    """Print the crashed kernel's log: of a vmcore, whole, truncated or flattened, or of a stored dump.

    Of a dump that is just being received, too, as far as its pages are in.
    """
    path = Path(dump)
    if path.exists():
        found = reports.Found(log_of_file(path).data, path.name)
    else:
        settings = ctx.obj.settings
        stored = dumps.one(settings, dump)
        if stored is None:
            return NO_MATCH
        chosen, _ = reports.choose(reports.logs_of(settings.root / stored.directory, stored))
        if chosen is None:
            raise NoLog(f"{stored.directory}: no kernel log in it, neither in a core nor as a text")
        found = chosen
    sys.stdout.buffer.write(_plain(found.data) if sys.stdout.isatty() else found.data)
    sys.stdout.flush()
    if found.why:
        click.echo(f"({found.source}: not whole: {found.why})", err=True)
    return 0


def _plain(data: bytes) -> bytes:
    """The log without what a terminal would obey: a log says what the crashed machine liked it to say."""
    text = data.decode("utf-8", "replace")
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    ).encode()

"""`kdump-receiver log`: the crashed kernel's log, out of a stored dump or any file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from receiver.cli import complete, dumps
from receiver.cli.progress import reading
from receiver.cli.shown import plain, plain_lines
from receiver.cli.triage import LogText, NoFile, NoLog, commands, text_file

if TYPE_CHECKING:
    from receiver.reports import Found


def log_of(name: Path) -> LogText:
    """The log in a text, in a vmcore of any kind, or in the stored dump of that ID; ``-`` is standard input.

    Raises:
        NoFile: there is no such file and no such dump, or it cannot be read.
        NoLog: it is neither a text nor a dump whose log has arrived.
    """
    if str(name) == "-":
        return text_file(name)
    return LogText(found_in(name).data)


def found_in(name: Path) -> Found:
    """As `log_of`, with where the log was found."""
    from receiver import reports

    try:
        found = reports.log_in(name)
    except FileNotFoundError:
        found = _of_dump(str(name))
    except OSError as error:
        raise NoFile(f"{name}: {error.strerror}") from None
    if not found.data:
        raise NoLog(f"{name}: no kernel log in it: {found.why or 'the file is empty'}")
    return found


def _of_dump(name: str) -> Found:
    from receiver import reports

    settings = click.get_current_context().obj.settings
    stored = dumps.one(settings, name)
    if stored is None:
        raise NoFile(f"{name}: neither a file nor the ID of a dump")
    chosen, _ = reports.choose(reports.logs_of(settings.root / stored.directory, stored))
    return chosen or reports.Found(b"", stored.directory, "neither its core nor a text shows one")


triage, explain = commands(log_of)


@click.command()
@click.argument("dump", metavar="FILE|ID", shell_complete=complete.dump_or_file)
def log(dump: str) -> None:
    """Print the crashed kernel's log: of a vmcore, whole, truncated or flattened, or of a stored dump.

    Of a dump that is just being received, too, as far as its pages are in.
    """
    with reading(Path(dump)):
        found = found_in(Path(dump))
    # A log says what the crashed machine liked it to say; a pipe gets it byte for byte.
    shown = plain_lines(found.data.decode(errors="replace")).encode() if sys.stdout.isatty() else found.data
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    if found.why:
        click.echo(plain(f"({found.source}: not whole: {found.why})"), err=True)

"""How `top` looks: on a terminal of any size, and once in a pipe."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import click

from receiver.cli import columns
from receiver.cli.shown import duration, human, local, plain
from receiver.spool.live import SILENT_SECONDS

if TYPE_CHECKING:
    from rich.console import ConsoleDimensions, RenderableType
    from rich.table import Table

    from receiver.catalogue.journal import Entry
    from receiver.cli.snapshot import Snapshot
    from receiver.spool.live import Moving
    from receiver.spool.manifest import Manifest

BAR: Final = 20  # columns of a progress bar
LEAST_LATEST: Final = 3  # rows that stored dumps have, however many uploads there are
SCARCE: Final = 0.05  # of the disk: less than that free is red
COLOURS: Final = {"complete": "green", "truncated": "yellow", "damaged": "red", "unknown": "dim"}

_Justify = Literal["left", "right"]

# What an upload's row shows, and how wide a terminal must be for it.
_UPLOAD: Final[tuple[tuple[str, _Justify, int], ...]] = (
    ("HOST", "left", 0),
    ("FILE", "left", 60),
    ("CLIENT", "left", 90),
    ("FROM", "left", 90),
    ("RECEIVED", "right", 75),
    ("RATE", "right", 0),
    ("DONE", "right", 0),
    ("LEFT", "left", 0),
)
_HAPPENED: Final = ("TIME", "EVENT", "HOST", "WHAT")
_WITH_BAR: Final = 110
_STORED: Final[tuple[tuple[str, _Justify], ...]] = (
    ("STORED", "left"),
    ("HOST", "left"),
    ("VERDICT", "left"),
    ("SIZE", "right"),
    ("ID", "left"),
    ("CRASH", "left"),
)


def once(snapshot: Snapshot) -> None:
    """Print one look, for a pipe."""
    for line in _head(snapshot):
        click.echo(plain(line))
    click.echo()
    if snapshot.uploads:
        headings = [heading for heading, _, _ in _UPLOAD]
        right = {heading for heading, justify, _ in _UPLOAD if justify == "right"}
        columns.show(headings, [_upload(one) for one in snapshot.uploads], right=right)
    else:
        click.echo("No uploads.")
    if snapshot.latest:
        click.echo()
        headings = [heading for heading, _ in _STORED]
        columns.show(headings, [_stored(dump) for dump in snapshot.latest], right={"SIZE"})
    if snapshot.events:
        click.echo()
        columns.show(_HAPPENED, [_happened(entry) for entry in snapshot.events])


def drawn(snapshot: Snapshot, size: ConsoleDimensions) -> RenderableType:
    """One look, for a screen of `size`; what does not fit is counted."""
    from rich.console import Group
    from rich.text import Text

    head = [Text(plain(line), no_wrap=True, overflow="ellipsis") for line in _head(snapshot)]
    head[0].stylize("bold")
    if snapshot.space.available < SCARCE * snapshot.space.total:
        head[1].stylize("red")
    room = max(1, size.height - len(head) - 5)  # two blank lines, two headings, and one that tells of more
    shown = min(len(snapshot.uploads), max(1, room - LEAST_LATEST))
    parts: list[RenderableType] = [*head, Text()]
    if snapshot.uploads:
        parts.append(_uploads(snapshot.uploads[:shown], size.width))
    else:
        parts.append(Text("No uploads just now.", style="dim"))
    parts.append(Text(f"and {more} more" if (more := len(snapshot.uploads) - shown) else "", style="dim"))
    left = room - max(1, shown)
    if latest := snapshot.latest[: max(0, left)]:
        parts.append(_latest(latest))
    if events := snapshot.events[: max(0, left - len(latest) - 2)]:  # a blank line and its heading
        happened = _table([(heading, "left") for heading in _HAPPENED], wide="WHAT")
        for entry in events:
            happened.add_row(*(Text(plain(cell)) for cell in _happened(entry)))
        parts += [Text(), happened]
    return Group(*parts)


def _head(snapshot: Snapshot) -> list[str]:
    clock = dt.datetime.fromtimestamp(snapshot.now).astimezone().strftime("%H:%M:%S")
    rate = sum(one.bytes_per_second for one in snapshot.uploads)
    count = len(snapshot.uploads)
    uploads = f"{count} upload{'' if count == 1 else 's'}" + (f", {human(round(rate))}/s" if count else "")
    if snapshot.serving is None:
        server = "no server runs here"
    else:
        where = " ".join(f"{door} {address}" for door, address in sorted(snapshot.serving.addresses.items()))
        server = f"server {snapshot.serving.pid} on {where}" if where else "the server is starting"
    space = snapshot.space
    lines = [
        f"kdump-receiver  {clock}  {uploads}  {server}",
        f"{snapshot.root}: {human(space.available)} free for dumps, "
        f"{human(space.used)} used of {human(space.total)}",
    ]
    return [*lines, snapshot.trouble] if snapshot.trouble else lines


def _upload(one: Moving) -> tuple[str, ...]:
    note = one.note
    return (
        note.host,
        note.requested[-1] if note.requested else "-",
        note.tool,
        note.peer,
        human(note.wire_bytes),
        "still" if one.silent_seconds >= SILENT_SECONDS else f"{human(round(one.bytes_per_second))}/s",
        _percent(one),
        _left(one),
    )


def _percent(one: Moving) -> str:
    """Cut, never rounded up: 100 % is what a stored dump has. ``~``: the total is guessed from the layout."""
    fraction = one.note.fraction
    if fraction is None:
        return "-"
    return f"{'' if one.note.exact else '~'}{int(min(1.0, fraction) * 1000) / 10:.1f}%"


def _left(one: Moving) -> str:
    if one.silent_seconds >= SILENT_SECONDS:
        return f"no byte for {duration(one.silent_seconds)}"
    return "-" if one.eta_seconds is None else duration(max(1.0, one.eta_seconds))


def _uploads(uploads: Sequence[Moving], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    fitting = [place for place, (_, _, least) in enumerate(_UPLOAD) if width >= least]
    table = _table([_UPLOAD[place][:2] for place in fitting], wide="FILE" if width >= 60 else "HOST")
    if width >= _WITH_BAR:
        table.add_column(width=BAR)
    for one in uploads:
        cells = [Text(plain(cell)) for cell in _upload(one)]
        if one.silent_seconds >= SILENT_SECONDS:
            cells[5].stylize("yellow")
            cells[7].stylize("yellow")
        fraction = one.note.fraction
        bar = "" if fraction is None else ProgressBar(total=1.0, completed=min(1.0, fraction), width=BAR)
        table.add_row(*(cells[place] for place in fitting), *([bar] if width >= _WITH_BAR else []))
    return table


def _stored(dump: Manifest) -> tuple[str, ...]:
    return (
        local(max(file.finished for file in dump.files)),
        dump.host,
        str(dump.verdict),
        human(sum(file.bytes for file in dump.files)),
        dump.id,
        dump.title or "-",
    )


def _happened(entry: Entry) -> tuple[str, ...]:
    told = " ".join(f"{key}={value}" for key, value in entry.fields.items() if value and key != "host")
    return local(entry.time), entry.name, entry.host or "-", told


def _latest(found: Sequence[Manifest]) -> Table:
    from rich.text import Text

    table = _table(_STORED, wide="CRASH")
    for dump in found:
        cells = [Text(plain(cell)) for cell in _stored(dump)]
        cells[2].stylize(COLOURS.get(str(dump.verdict), ""))
        table.add_row(*cells)
    return table


def _table(headings: Sequence[tuple[str, _Justify]], *, wide: str) -> Table:
    """A line a row; the column `wide` gives way first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, justify in headings:
        table.add_column(
            heading, justify=justify, no_wrap=True, overflow="ellipsis", ratio=1 if heading == wide else None
        )
    return table

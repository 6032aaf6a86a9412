"""Rows for people: a table on a terminal, plain columns in a pipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import click

from receiver.cli.shown import on_terminal, plain


def show(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    whole: Collection[str] = (),
    colours: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Print `rows` below `headings`. In a pipe nothing is cut, folded or coloured.

    Columns of `right` are numbers; those of `whole` stay on one line on a narrow terminal, too;
    `colours` says for a column which first word of a cell has which colour.
    """
    rows = [[plain(cell) for cell in row] for row in rows]
    if on_terminal():
        _table(headings, rows, right, whole, colours or {})
        return
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for heading, cell, width in zip(headings, row, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str],
    whole: Collection[str],
    colours: Mapping[str, Mapping[str, str]],
) -> None:
    from rich.console import Console  # takes a while to load
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=heading in whole, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            *(
                Text(cell, style=colours.get(heading, {}).get(cell.partition(" ")[0], ""))
                for heading, cell in zip(headings, row, strict=True)
            )
        )
    Console().print(table)

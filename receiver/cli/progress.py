"""How far a verb is, on standard error where that is a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.cli.shown import plain

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar() -> Progress:
    """A bar for work that can be counted; gone when it is done."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[what]}", markup=False))
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Show that `file` is being read: of a large or broken dump, finding the log takes seconds."""
    if not sys.stderr.isatty() or str(file) == "-":
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(f"reading {plain(str(file))}")):
        yield

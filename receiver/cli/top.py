"""`kdump-receiver top`: what arrives just now, what has just arrived, and how much room there is."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from receiver.cli.snapshot import Looking, Snapshot

LEAVE: Final = frozenset({b"q", b"Q", b"\x1b"})  # alone: an arrow key begins with an escape, too
SHARE: Final = 10  # one part of so many of a processor, at most, is spent on looking


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a screen.")
@click.option("--follow", is_flag=True, help="With --json: a document a line, until interrupted.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, metavar="SECONDS",
    help="Between two looks.",
)  # fmt: skip
@click.pass_context
def top(ctx: click.Context, as_json: bool, follow: bool, interval: float) -> None:
    """Watch the uploads: rate, progress, time left; what has just arrived; how much room there is.

    On a terminal until q or Ctrl-C; in a pipe, once. It reads the files, so it needs no server.
    """
    from receiver.cli import screen
    from receiver.cli.snapshot import Looking

    if follow and not as_json:
        raise click.UsageError("--follow goes with --json; on a terminal `top` follows by itself")
    looking = Looking(ctx.obj.settings)
    try:
        if as_json:
            for snapshot in _looks(looking, interval) if follow else [looking.look()]:
                click.echo(json.dumps(document(snapshot)))
        elif sys.stdin.isatty() and sys.stdout.isatty():
            _watch(looking, interval)
        else:
            screen.once(looking.look())
    except KeyboardInterrupt:  # that is how one leaves
        pass
    finally:
        looking.close()


def document(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON shows it."""
    from receiver.spool.clock import iso

    return {
        "time": iso(snapshot.now),
        "root": str(snapshot.root),
        "server": snapshot.serving and {"pid": snapshot.serving.pid, **snapshot.serving.addresses},
        "space": asdict(snapshot.space),
        "uploads": [
            asdict(one.note)
            | {
                "bytes_per_second": round(one.bytes_per_second),
                "eta_seconds": None if one.eta_seconds is None else round(one.eta_seconds, 1),
                "silent_seconds": round(one.silent_seconds, 1),
            }
            for one in snapshot.uploads
        ],
        "latest": [asdict(dump) for dump in snapshot.latest],
        "events": [asdict(entry) for entry in snapshot.events],
        "trouble": snapshot.trouble or None,
    }


def _looks(looking: Looking, interval: float) -> Iterator[Snapshot]:
    while True:
        begun = time.monotonic()
        yield looking.look()
        time.sleep(_pause(interval, time.monotonic() - begun))


def _pause(interval: float, spent: float) -> float:
    """Seconds until the next look: a spool of very many dumps is looked at less often."""
    return max(interval - spent, spent * (SHARE - 1))


def _watch(looking: Looking, interval: float) -> None:
    """The screen, until a key says enough."""
    from rich.console import Console
    from rich.live import Live

    from receiver.cli import screen

    console = Console()
    with (
        _keys(sys.stdin.fileno()) as keys,
        Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live,
    ):
        while True:
            begun = time.monotonic()
            snapshot = looking.look()
            until = time.monotonic() + _pause(interval, time.monotonic() - begun)
            while True:
                live.update(screen.drawn(snapshot, console.size), refresh=True)
                if keys.wait(until - time.monotonic()) in LEAVE:
                    return
                if time.monotonic() >= until:
                    break


class _Keys:
    """What is typed, and a wake-up when the terminal's size changes."""

    def __init__(self, terminal: int, resized: int) -> None:
        self._terminal = terminal
        self._resized = resized

    def wait(self, seconds: float) -> bytes:
        """The keys typed; empty after `seconds`, or when the terminal has another size."""
        ready, _, _ = select.select([self._terminal, self._resized], [], [], max(0.0, seconds))
        if self._resized in ready:
            os.read(self._resized, 4096)
        if self._terminal not in ready:
            return b""
        return os.read(self._terminal, 64) or b"q"  # hung up


@contextlib.contextmanager
def _keys(terminal: int) -> Iterator[_Keys]:
    """Keys come one by one and are not shown, until this ends."""
    before = termios.tcgetattr(terminal)
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    known = signal.signal(signal.SIGWINCH, lambda *_: None)  # only to be woken
    waker = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    try:
        tty.setcbreak(terminal)
        yield _Keys(terminal, ours)
    finally:
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGWINCH, known)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        os.close(ours)
        os.close(theirs)

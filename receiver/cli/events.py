"""`events` and `notify`: what happened, and whether people are told of it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import columns
from receiver.cli.shown import plain
from receiver.failure import Failure

if TYPE_CHECKING:
    from receiver.catalogue.journal import Entry
    from receiver.targets import Target

LOOK_SECONDS: Final = 1.0
NO_MATCH: Final = 1
UNDELIVERED: Final = 75  # EX_TEMPFAIL


class NoTarget(Failure):
    """`notify` is asked about a target that the settings do not have."""

    exit_code = 64  # EX_USAGE


@click.command(name="events")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens.")
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Only events after this one.")
@click.option(
    "-n",
    "most",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="At most this many, the newest.",
)
@click.option("--host", help="Only this host's.")
@click.option("--name", "names", multiple=True, help="Only events of this name; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def list_events(
    ctx: click.Context,
    follow: bool,
    since: int | None,
    most: int,
    host: str | None,
    names: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show what happened, oldest first: uploads, reports, refused logins, trouble. None: exit status 1."""
    from receiver.stores import catalogue_of

    chosen: dict[str, Any] = {"names": names or None, "host": host}
    with catalogue_of(ctx.obj.settings) as catalogue:
        journal = catalogue.journal
        last = journal.last_id()
        found = journal.newest(most, **chosen) if since is None else journal.after(since, most, **chosen)
        _print(found, as_json)
        if not follow:
            return 0 if found else NO_MATCH
        last = found[-1].id if found and since is not None else last
        while True:
            fresh = journal.after(last, **chosen)
            _print(fresh, as_json)
            if fresh:
                last = fresh[-1].id
            else:
                time.sleep(LOOK_SECONDS)


def _print(entries: list[Entry], as_json: bool) -> None:
    from receiver.events import line  # its models take a while to load; --help need not wait

    for entry in entries:
        if as_json:
            click.echo(json.dumps(asdict(entry)))
        else:
            click.echo(f"{entry.id:>6}  {_local(entry.time)}  {plain(line(entry.event))}")
    sys.stdout.flush()


@click.group(name="notify")
def notify_group() -> None:
    """Look after the targets of notifications (`[[notify]]` in the settings)."""


@notify_group.command()
@click.argument("name", required=False)
@click.pass_context
def test(ctx: click.Context, name: str | None) -> int:
    """Send a sample to each target, or to NAME, and say what came of it.

    A fence is told nothing of any node: it is asked whether it would take evidence from us.
    Exit status 75 when one did not take it.
    """
    targets = [target for target in ctx.obj.settings.notify if name in {None, target.name}]
    if not targets:
        raise NoTarget(f"no [[notify]] block{f' named {name!r}' if name else ''} in the settings")
    results = asyncio.run(_try_all(targets))
    columns.show(
        ("NAME", "KIND", "RESULT"),
        [
            (target.name, target.kind, plain(result or "ok"))
            for target, result in zip(targets, results, strict=True)
        ],
    )
    return UNDELIVERED if any(results) else 0


async def _try_all(targets: list[Target]) -> list[str | None]:
    return await asyncio.gather(*map(_try, targets))


async def _try(target: Target) -> str | None:
    from receiver.notify.deliver import Failed
    from receiver.notify.sample import send_sample

    try:
        await send_sample(target, time.time())
    except Failed as error:
        return str(error)
    return None


@notify_group.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Show for each target what waits, what was delivered, and why it does not go on.

    Exit status 75 when a target fails.
    """
    from receiver.notify.outbox import Outbox
    from receiver.stores import open_catalogue

    settings = ctx.obj.settings
    with contextlib.closing(open_catalogue(settings)) as catalogue:
        states = Outbox(catalogue).states()
    configured = {target.name: target.kind for target in settings.notify}
    if as_json:
        click.echo(json.dumps([asdict(one) | {"kind": configured.get(one.name)} for one in states]))
    else:
        rows = []
        for one in states:
            again = _local_seconds(one.down_until) if one.failures else "-"
            when = _local_seconds(one.delivered_at)
            counts = (str(one.waiting), str(one.delivered), str(one.given_up))
            kind = configured.get(one.name, "not in the settings")
            rows.append((one.name, kind, *counts, when, again, plain(one.error or "-")))
        columns.show(
            ("NAME", "KIND", "WAITING", "DELIVERED", "GIVEN UP", "LAST", "NEXT TRY", "LAST ERROR"), rows
        )
    return UNDELIVERED if any(one.error for one in states if one.name in configured) else 0


def _local(stamp: str) -> str:
    return dt.datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _local_seconds(seconds: float | None) -> str:
    return dt.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else "-"

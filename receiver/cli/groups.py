"""`groups`, `group`, `diff`, `regroup`: which dumps crashed alike."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import complete, dumps
from receiver.cli.progress import progress_bar
from receiver.cli.shown import plain, plain_lines
from receiver.failure import Failure

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.triage.groups import Group, Occurrence, Repetition
    from receiver.triage.report import Report

NO_MATCH: Final = 1
BARS: Final = " ▁▂▃▄▅▆▇█"


class NoReport(Failure):
    """A dump whose log has not been read, or holds no crash."""

    exit_code = 65  # EX_DATAERR


def _all(settings: Settings, signature: str | None = None) -> list[Occurrence]:
    from receiver.catalogue.brief import occurrences
    from receiver.catalogue.store import Query
    from receiver.stores import catalogue_of

    with catalogue_of(settings) as catalogue:
        return list(occurrences(catalogue.briefs(Query(signature=signature))))


@click.command(name="groups")
@click.option(
    "--by", type=click.Choice(["reason", "host", "model"]), help="What repeats: reasons, hosts, models."
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def list_groups(ctx: click.Context, by: str | None, as_json: bool) -> int:
    """List the crashes by what they have in common, the most frequent first. None: exit status 1.

    The trend shows the last eight weeks. --by host finds machines that crash again and again,
    whatever the reason (hardware); --by model, hardware models.
    """
    from receiver.triage.groups import groups, repetitions

    crashes, now = _all(ctx.obj.settings), time.time()
    if by is not None:
        repeated = [one for one in repetitions(crashes, now) if one.view == by]
        _print(repeated, as_json, _repetition_line)
        return 0 if repeated else NO_MATCH
    found = groups(crashes, now)
    _print(found, as_json, _group_line)
    return 0 if found else NO_MATCH


def _print(found: Sequence[Group] | Sequence[Repetition], as_json: bool, line: Any) -> None:
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
    elif not found:
        click.echo("No crashes.", err=True)
    for one in [] if as_json else found:
        click.echo(line(one))


def _group_line(group: Group) -> str:
    from receiver.triage.report import SHORT

    return (
        f"{group.signature[:SHORT]}  {group.count:>4}x  {_trend(group.trend)}  {group.course:<8} "
        f"{len(group.hosts):>3} host(s)  last {_day(group.last_seen)}  {plain(group.title)}"
    )


def _repetition_line(one: Repetition) -> str:
    return (
        f"{one.count:>4}x  {plain(one.name):<32}  {len(one.hosts):>3} host(s)  "
        f"{len(one.signatures):>3} kind(s)  {_day(one.first_seen)} to {_day(one.last_seen)}"
    )


def _trend(counts: Sequence[int]) -> str:
    most = max(counts, default=0)
    return "".join(BARS[-(-count * (len(BARS) - 1) // most) if most else 0] for count in counts)


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")


@click.command(name="group")
@click.argument("signature", shell_complete=complete.group)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def show_group(ctx: click.Context, signature: str, as_json: bool) -> int:
    """Show one group: its dumps, hosts and kernels. SIGNATURE may be cut short."""
    from receiver.triage.groups import groups

    found = groups(_all(ctx.obj.settings, signature), time.time())
    if len(found) > 1:
        raise Failure(f"{signature}: {len(found)} groups begin so; say more of it")
    if not found:
        click.echo(f"No group {signature!r}.", err=True)
        return NO_MATCH
    (group,) = found
    if as_json:
        click.echo(json.dumps(asdict(group)))
        return 0
    for label, value in (
        ("Crash", group.title),
        ("Class", group.crash_class),
        ("Signature", group.signature),
        ("Count", f"{group.count}, {group.course}; what repeats: {group.spread}"),
        ("Seen", f"{_day(group.first_seen)} to {_day(group.last_seen)}"),
        ("Hosts", ", ".join(group.hosts)),
        ("Kernels", ", ".join(group.kernels)),
        ("Models", ", ".join(group.models)),
        ("Dumps", " ".join(group.dumps)),
    ):
        if value:
            click.echo(f"{label:>12}: {plain(value)}")
    return 0


@click.command(name="diff")
@click.argument("left", shell_complete=complete.dump)
@click.argument("right", shell_complete=complete.dump)
@click.pass_context
def compare(ctx: click.Context, left: str, right: str) -> int:
    """Show what differs between the reports of two dumps."""
    from receiver.triage import diff

    settings = ctx.obj.settings
    found = []
    for name in (left, right):
        dump = dumps.one(settings, name)
        if dump is None:
            return NO_MATCH
        found.append(_report(settings.root / dump.directory))
    click.echo(plain_lines(diff.as_text(diff.diff(*found))), nl=False)
    return 0


def _report(directory: Path) -> Report:
    from receiver.reports import REPORT_JSON
    from receiver.triage import report

    try:
        return report.from_json_untrusted((directory / REPORT_JSON).read_bytes())
    except FileNotFoundError:
        raise NoReport(f"{directory.name}: no report: no kernel log was found in it") from None
    except report.ReportError as error:
        raise NoReport(f"{directory.name}: {error}; `kdump-receiver regroup` writes it anew") from None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def regroup(ctx: click.Context, as_json: bool) -> None:
    """Read every dump's log again by the rules of today, and the table of overrides.

    Nothing else ever moves a stored dump into another group.
    """
    from receiver import reports, stores
    from receiver.catalogue.store import Query
    from receiver.spool.clock import iso
    from receiver.triage import overrides

    settings = ctx.obj.settings
    table = overrides.load(settings.overrides) if settings.overrides else overrides.NONE
    spool, moved, count = stores.open_spool(settings), 0, 0
    with stores.catalogue_of(settings) as catalogue, progress_bar() as progress:
        found = list(catalogue.find(Query()))
        task = progress.add_task("regroup", total=len(found), what="")
        for before in found:
            after = reports.write(spool, before.directory, iso(time.time()), table)
            catalogue.record(after)
            count += 1
            moved += after.signature != before.signature
            progress.update(task, completed=count)
    if as_json:
        json.dump({"dumps": count, "moved": moved}, sys.stdout)
    else:
        click.echo(f"{count} dumps read again; {moved} are in another group now.")

"""`space`, `prune`, `pin`, `unpin`: where the space went, what goes, and what shall stay."""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import complete, dumps
from receiver.cli.columns import show
from receiver.cli.dumps import NO_MATCH
from receiver.cli.progress import progress_bar
from receiver.cli.shown import human, plain

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.spool.retention import Choice, Need

STILL_SHORT: Final = 1  # `prune`: a limit is exceeded, and nothing that may go is left


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("-n", "most", type=click.IntRange(min=0), default=10, help="So many of each. [10]")
@click.pass_context
def space(ctx: click.Context, as_json: bool, most: int) -> None:
    """Show what the dumps take, by host and by crash group, and which cores go next."""
    from receiver.spool.summary import summary
    from receiver.stores import limits_of, open_spool, policy_of

    settings = ctx.obj.settings
    found = summary(open_spool(settings), limits_of(settings), policy_of(settings), time.time(), most=most)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    use = f"{human(found.bytes)} of {found.dumps} dumps, {found.cores} with a core, {found.pinned} pinned"
    for label, value in (
        ("Used", use if found.max_use is None else f"{use}; max_use is {human(found.max_use)}"),
        ("Promised", f"{human(found.reserved)} to uploads under way" if found.reserved else ""),
        ("Free", f"{human(found.free)} of {human(found.total)}; {human(found.keep_free)} stay free"),
        ("May go", f"{human(found.evictable)} of cores, when space is short"),
    ):
        if value:
            click.echo(f"{label:>12}: {value}")
    if found.hosts:
        click.echo()
        show(
            ("HOST", "USED", "QUOTA", "DUMPS", "CORES"),
            [
                (
                    plain(of.host),
                    human(of.bytes),
                    "-" if of.quota is None else f"{human(of.quota)} ({_part(of.bytes, of.quota)})",
                    str(of.dumps),
                    str(of.cores),
                )
                for of in found.hosts[:most]
            ],
        )
    if found.groups:
        click.echo()
        show(
            ("GROUP", "USED", "DUMPS", "CORES"),
            [
                (plain(of.signature[:12]), human(of.bytes), str(of.dumps), str(of.cores))
                for of in found.groups[:most]
            ],
        )
    if found.next:
        click.echo()
        show(
            ("GOES NEXT", "FREES", "HOST", "DIRECTORY"),
            [(of.id, human(of.bytes), plain(of.host), plain(of.directory)) for of in found.next],
        )


@click.command()
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would go and what would stay, and why.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def prune(ctx: click.Context, dry_run: bool, as_json: bool) -> int:
    """Do now what retention does by itself every few minutes: the rules, then the limits.

    What goes is the core; log, report and manifest stay until `dump_age`. Never what is pinned
    or being received. Exit status 1 when a limit is still exceeded.
    """
    choices, lacking = (_would if dry_run else _do)(ctx.obj.settings)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "dry_run": dry_run,
                    "choices": [_document(choice) for choice in choices],
                    "frees": sum(choice.frees for choice in choices),
                    "lacking": [asdict(need) for need in lacking],
                }
            )
        )
    else:
        _explain(choices, lacking, dry_run=dry_run)
    return STILL_SHORT if lacking else 0


def _would(settings: Settings) -> tuple[Sequence[Choice], Sequence[Need]]:
    from receiver.spool.admission import Admission
    from receiver.spool.summary import choices
    from receiver.stores import limits_of, open_spool, policy_of

    spool, policy = open_spool(settings), policy_of(settings)
    needs = Admission(spool, limits_of(settings), policy).overruns()
    done = choices(spool, policy, time.time(), needs)
    return done.choices, done.unmet


def _do(settings: Settings) -> tuple[Sequence[Choice], Sequence[Need]]:
    from receiver import stores
    from receiver.events import Bus, Event, Pruned, Trouble
    from receiver.pruner import Pruner
    from receiver.spool.summary import choices

    spool, bus = stores.open_spool(settings), Bus()
    went: dict[str, str] = {}  # directory: why

    def tell(event: Event) -> None:
        if isinstance(event, Trouble):
            click.echo(plain(f"kdump-receiver: {event.where}: {event.reason}"), err=True)
        elif isinstance(event, Pruned):
            went[event.directory] = event.reason

    bus.subscribe(tell)
    with stores.catalogue_of(settings) as catalogue, progress_bar() as progress:
        pruner = Pruner(settings, spool, catalogue, bus)
        planned = choices(spool, pruner.admission.policy, time.time(), pruner.admission.overruns())
        task = progress.add_task("prune", total=len(planned.drops), what="")

        def done(choice: Choice) -> None:
            progress.update(task, advance=1, what=choice.dump.directory)

        lacking = pruner.run(by=who(), done=done, most=None)
    return [choice for choice in planned.drops if choice.dump.directory in went], lacking


def _explain(choices: Sequence[Choice], lacking: Sequence[Need], *, dry_run: bool) -> None:
    if choices:
        show(
            ("CHOICE", "FREES", "ID", "HOST", "DIRECTORY", "WHY"),
            [
                (
                    choice.act,
                    human(choice.frees) if choice.act != "keep" else "-",
                    choice.dump.id,
                    plain(choice.dump.host),
                    plain(choice.dump.directory),
                    plain(choice.reason),
                )
                for choice in choices
            ],
        )
    cores = sum(choice.act == "drop core" for choice in choices)
    whole = sum(choice.act == "drop dump" for choice in choices)
    freed = human(sum(choice.frees for choice in choices))
    kept = f"; {len(choices) - cores - whole} dumps stay as they are" if dry_run else ""
    verb = "would give" if dry_run else "gave"
    click.echo(f"{cores} cores and {whole} whole dumps {verb} {freed}{kept}.")
    for need in lacking:
        click.echo(f"kdump-receiver: {human(need.bytes)} too much: {need.why}", err=True)


def _document(choice: Choice) -> dict[str, Any]:
    return {
        "choice": choice.act,
        "reason": choice.reason,
        "frees": choice.frees,
        **{key: value for key, value in asdict(choice.dump).items() if key != "receiving"},
    }


@click.command()
@click.argument("id", shell_complete=complete.dump)
@click.option("--note", default="", help="Why: shown by `list` and `info`.")
@click.pass_context
def pin(ctx: click.Context, id: str, note: str) -> int:  # noqa: A002  # the user's word
    """Keep a dump: no rule and no lack of space takes its core, until `unpin`."""
    from receiver.spool import pins

    return _change(
        ctx.obj.settings, id, lambda spool, directory, at: pins.pin(spool, directory, at, who(), note)
    )


@click.command()
@click.argument("id", shell_complete=complete.dump)
@click.pass_context
def unpin(ctx: click.Context, id: str) -> int:  # noqa: A002
    """Leave a pinned dump to the rules again."""
    from receiver.spool import pins

    return _change(ctx.obj.settings, id, lambda spool, directory, at: pins.unpin(spool, directory, at, who()))


def _change(settings: Settings, id_: str, change: Any) -> int:
    from receiver import stores
    from receiver.spool.clock import iso

    dump = dumps.one(settings, id_)
    if dump is None:
        return NO_MATCH
    spool = stores.open_spool(settings)
    dump = change(spool, dump.directory, iso(time.time()))
    with stores.catalogue_of(settings) as catalogue:
        stores.enlist(spool, catalogue, dump.directory)
    return 0


def who() -> str:
    """The person at the terminal, sudo or not."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _part(used: int, quota: int) -> str:
    return f"{100 * used // quota}%" if quota else "full"

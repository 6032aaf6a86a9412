"""`list`, `info`, `verify`, `rebuild`: the dumps, as coredumpctl shows core dumps."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import columns, complete
from receiver.cli.progress import progress_bar
from receiver.cli.shown import human, local, plain
from receiver.failure import Failure

if TYPE_CHECKING:
    from rich.progress import Progress

    from receiver.spool.incoming import Incoming
    from receiver.spool.manifest import Manifest, StoredFile

NO_MATCH: Final = 1
DAMAGED: Final = 2  # `verify` found a dump that is not whole
COLOURS: Final = {
    "complete": "green",
    "receiving": "cyan",
    "truncated": "yellow",
    "damaged": "red",
    "unknown": "dim",
}


def since(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """``2h``, ``3 days ago``, ``today``, ``2026-11-23`` or a whole time stamp: as the catalogue sorts it."""
    from receiver.catalogue import when

    try:
        return None if text is None else when.since(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.option("--host", help="Only this host's.", shell_complete=complete.sender)
@click.option(
    "--since", callback=since, metavar="TIME", help="Not older than: 2h, 3d, today, 2026-11-23T10:00."
)
@click.option("--verdict", type=click.Choice(list(COLOURS)), help="Only dumps of this verdict.")
@click.option("-n", "most", type=click.IntRange(min=1), help="At most this many, the newest.")
@click.pass_context
def list_dumps(
    ctx: click.Context,
    as_json: bool = False,
    host: str | None = None,
    since: str | None = None,
    verdict: str | None = None,
    most: int | None = None,
) -> int:
    """List the dumps, newest first. No match: exit status 1."""
    from receiver.catalogue.store import Query
    from receiver.spool import live
    from receiver.stores import catalogue_of

    settings = ctx.obj.settings
    query = Query(host=host, since=since, verdict=verdict, most=most)
    with catalogue_of(settings) as catalogue:
        found = list(catalogue.find(query))
    coming = {}
    if found:
        notes = live.uploads(settings.root, time.time(), settings.silence_seconds)
        coming = {note.dump: note for note in notes}
    if as_json:
        click.echo(json.dumps([document(settings.root, dump, coming.get(dump.id)) for dump in found]))
    elif found:
        _table([(dump, coming.get(dump.id)) for dump in found])
    else:
        click.echo("No dumps found.", err=True)
    return 0 if found else NO_MATCH


def _table(found: list[tuple[Manifest, Incoming | None]]) -> None:
    columns.show(
        ("TIME", "HOST", "VERDICT", "KERNEL", "SIZE", "ID", "CRASH", "DIRECTORY"),
        [_row(dump, coming) for dump, coming in found],
        right={"SIZE"},
        whole={"TIME", "HOST", "VERDICT", "SIZE", "ID"},
        colours={"VERDICT": COLOURS},
    )


def _row(dump: Manifest, coming: Incoming | None) -> tuple[str, ...]:
    verdict = str(dump.verdict)
    if coming is not None:
        verdict = "receiving" if coming.fraction is None else f"receiving {coming.fraction:.0%}"
    verdict += "".join(f", {mark}" for mark in _marks(dump))
    return (
        local(dump.date),
        dump.host,
        verdict,
        dump.kernel_release or (coming and coming.kernel_release) or "-",
        human(sum(file.bytes for file in dump.files) + (coming.bytes if coming else 0)),
        dump.id,
        dump.title or "-",
        dump.directory,
    )


def _marks(dump: Manifest) -> Iterator[str]:
    if dump.pinned:
        yield "pinned"
    if any(gone.file.core for gone in dump.removed) and not any(file.core for file in dump.files):
        yield "core removed"


@click.command()
@click.argument("id", shell_complete=complete.dump)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def info(ctx: click.Context, id: str, as_json: bool) -> int:  # noqa: A002  # the user's word
    """Show all that is known of one dump. ID may be cut short, or be the directory's name."""
    settings = ctx.obj.settings
    dump = one(settings, id)
    if dump is None:
        return NO_MATCH
    if as_json:
        click.echo(json.dumps(document(settings.root, dump, _coming(settings.root, dump))))
        return 0
    for label, value in (
        ("ID", dump.id),
        ("Host", f"{dump.host} ({dump.how}, from {dump.peer})"),
        ("Received", local(dump.date)),
        ("Directory", str(settings.root / dump.directory)),
        ("Client", dump.client),
        ("Sent as", dump.requested),
        ("Verdict", f"{dump.verdict}: {dump.reason}"),
        ("Pinned", dump.pinned and f"{local(dump.pinned.at)} by {dump.pinned.by} {dump.pinned.note}"),
        ("Crash", dump.title),
        ("Signature", dump.signature),
        ("Kernel", dump.kernel_release),
        ("Build ID", dump.build_id),
        ("Crashed", dump.crash_time and local(dump.crash_time)),
        ("Machine", " ".join(filter(None, (dump.architecture, dump.nodename, dump.hardware)))),
    ):
        if value:
            click.echo(f"{label:>12}: {plain(value)}")
    for file in dump.files:
        judged = f"{file.verdict}: {plain(file.reason)}"
        click.echo(f"{'File':>12}: {plain(file.name)}  {human(file.bytes)}  {file.kind}  {judged}")
        click.echo(f"{'':>14}sha256 {file.sha256 or 'being computed'}")
    for gone in dump.removed:
        removed = f"removed {local(gone.at)} by {gone.by}: {gone.why}"
        click.echo(f"{'Removed':>12}: {plain(gone.file.name)}  {human(gone.file.bytes)}  {plain(removed)}")
        click.echo(f"{'':>14}sha256 {gone.file.sha256 or 'never computed'}")
    for entry in dump.history:
        click.echo(f"{'History':>12}: {local(entry.at)}  {entry.what}  {plain(entry.detail)}")
    return 0


@click.command()
@click.argument("id", shell_complete=complete.dump)
@click.option("--deep", is_flag=True, help="Decompress every page of the vmcore.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def verify(ctx: click.Context, id: str, deep: bool, as_json: bool) -> int:  # noqa: A002
    """Judge a stored dump again from its bytes, and compare the hashes.

    Exit status 2 when a file is not complete or is not what was stored.
    """
    settings = ctx.obj.settings
    dump = one(settings, id)
    if dump is None:
        return NO_MATCH
    directory = settings.root / dump.directory
    with progress_bar() as progress:
        results = [_verify(directory, file, deep, progress) for file in dump.files]
    if as_json:
        removed = [{"name": gone.file.name, "at": gone.at, "why": gone.why} for gone in dump.removed]
        click.echo(
            json.dumps({"id": dump.id, "directory": dump.directory, "files": results, "removed": removed})
        )
    else:
        for gone in dump.removed:
            click.echo(plain(f"{gone.file.name}: removed {gone.at} by {gone.by}: {gone.why}"))
        for result in results:
            name, reason = plain(result["name"]), plain(result["reason"])
            click.echo(f"{name}: {result['verdict']}: {reason}; sha256 {result['sha256']}")
    good = all(
        result["verdict"] in {"complete", "unknown"} and result["sha256"] != "differs" for result in results
    )
    return 0 if good else DAMAGED


def _verify(directory: Path, file: StoredFile, deep: bool, progress: Progress) -> dict[str, Any]:
    from receiver.dump.kind import sniff_untrusted
    from receiver.dump.verdict import judge_untrusted
    from receiver.spool.disk import reader
    from receiver.spool.store import digest

    task = progress.add_task("verify", total=None, what=file.name)

    def tell(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    try:
        fd = os.open(directory / file.name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        return {
            "name": file.name,
            "verdict": "damaged",
            "reason": error.strerror or str(error),
            "sha256": "differs",
        }
    try:
        read = reader(fd)
        kind = sniff_untrusted(read(0, 4096))
        ended = False if file.core and file.verdict == "truncated" and file.kind == "flattened" else None
        judged = judge_untrusted(
            read, os.fstat(fd).st_size, kind, ended=ended, deep=deep and file.core, on_progress=tell
        )
        same = "unknown" if file.sha256 is None else "same" if digest(fd) == file.sha256 else "differs"
    finally:
        os.close(fd)
        progress.remove_task(task)
    return {"name": file.name, "verdict": judged.verdict, "reason": judged.reason, "sha256": same}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_context
def rebuild(ctx: click.Context, as_json: bool) -> None:
    """Make the catalogue anew from the dump directories alone."""
    from receiver import stores

    settings = ctx.obj.settings
    spool = stores.open_spool(settings)
    with (
        stores.catalogue_of(settings) as catalogue,
        progress_bar() as progress,
    ):
        task = progress.add_task("rebuild", total=None, what="")
        count = 0
        for _ in stores.mend(spool, catalogue, time.time(), _tell_trouble, every_row=True):
            count += 1
            progress.update(task, completed=count)
    click.echo(json.dumps({"dumps": count}) if as_json else f"{count} dumps in the catalogue.")


def _tell_trouble(path: Path, error: Exception) -> None:
    click.echo(plain(f"kdump-receiver: {path} is left as it is: {error}"), err=True)


def one(settings: Any, id: str) -> Manifest | None:  # noqa: A002
    """The dump that `id` names; None, said on standard error, when there is none.

    Raises:
        Failure: several match.
    """
    from receiver.catalogue.store import Query
    from receiver.stores import catalogue_of

    with catalogue_of(settings) as catalogue:
        found = list(catalogue.find(Query(id=id, most=2)))
    exact = [dump for dump in found if id in {dump.id, dump.directory}]
    if len(exact or found) > 1:
        raise Failure(f"{id}: more than one dump's ID begins so; say more of it")
    if not found:
        click.echo(f"No dump {id!r} found.", err=True)
        return None
    return (exact or found)[0]


def document(root: Path, dump: Manifest, coming: Incoming | None) -> dict[str, Any]:
    """One dump as JSON shows it: the manifest, where it lies, and what is on its way."""
    shown = asdict(dump)
    shown["path"] = str(root / dump.directory)
    if coming is not None:
        shown["verdict"] = "receiving"
        shown["receiving"] = asdict(coming)
        for fact in ("kernel_release", "build_id", "crash_time"):
            shown[fact] = shown[fact] or shown["receiving"][fact]
    return shown


def _coming(root: Path, dump: Manifest) -> Incoming | None:
    """The upload that is being received into `dump` just now."""
    from receiver.spool import incoming

    for path in incoming.growing(root / dump.directory):
        if incoming.is_live(path):
            return incoming.read(path)
    return None

"""What the shell offers for a name that is half typed: dumps, hosts, groups, tokens.

Read from the directories alone: the libraries of the catalogue would take longer to load than anybody
waits for a Tab. Bounded: the newest dumps are looked at, however many there are.
"""

from __future__ import annotations

import heapq
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from receiver.cli.context import Context
from receiver.cli.shown import plain

if TYPE_CHECKING:
    from receiver.settings import Settings

NEWEST: Final = 300  # dumps that are looked at
MOST: Final = 50  # that are offered
MANIFEST_MAX: Final = 4 << 20  # bytes; ours are far smaller

_SAFE = re.compile(r"[\w.:@%+-]+", re.ASCII)  # the shells' own scripts do not quote what they get

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Offer = tuple[str, str]  # what may be typed, and what helps to choose


def _completer(offers: Callable[[Settings], Iterable[_Offer]], *, files: bool = False) -> Completer:
    def complete(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        found: dict[str, str] = {}
        given = ctx.find_root().params
        try:
            for text, helps in offers(Context(given.get("file"), given.get("root")).settings):
                if text.startswith(typed) and _SAFE.fullmatch(text):
                    found.setdefault(text, helps)
                if len(found) == MOST:
                    break
        except Exception:  # there is no place to say it while somebody types; the verb itself will
            found.clear()
        items = [CompletionItem(text, help=plain(helps) or None) for text, helps in found.items()]
        return [CompletionItem(typed, type="file"), *items] if files else items

    return complete


def _manifests(settings: Settings) -> Iterator[dict[str, Any]]:
    """The newest dumps, by the time of their directories."""
    with os.scandir(settings.root) as entries:
        dated = (
            (entry.stat(follow_symlinks=False).st_mtime, entry.path)
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        )
        newest = heapq.nlargest(NEWEST, dated)
    for _, path in newest:
        try:
            with Path(path, "manifest.json").open("rb") as file:
                known = json.loads(file.read(MANIFEST_MAX))
        except (OSError, ValueError):
            continue
        if isinstance(known, dict):
            yield known


def _dumps(settings: Settings) -> Iterator[_Offer]:
    for known in _manifests(settings):
        yield str(known.get("id")), f"{known.get('host')} {known.get('title') or known.get('verdict')}"


def _groups(settings: Settings) -> Iterator[_Offer]:
    for known in _manifests(settings):
        if known.get("signature"):
            yield str(known["signature"])[:12], str(known.get("title"))


def _enrolled(settings: Settings) -> Iterator[_Offer]:
    for path in sorted((settings.state / "hosts" / "by-name").iterdir()):
        yield path.name, ""


def _senders(settings: Settings) -> Iterator[_Offer]:
    for known in _manifests(settings):
        yield str(known.get("host")), ""


def _blocked(settings: Settings) -> Iterator[_Offer]:
    for path in sorted((settings.state / "hosts" / "blocked").glob("*.json")):
        yield path.stem, ""


def _tokens(settings: Settings) -> Iterator[_Offer]:
    for path in sorted((settings.state / "tokens").glob("*.json")):
        known = json.loads(path.read_bytes())
        yield path.stem, f"{known.get('host') or 'whoever connects'} {known.get('note')}"


dump = _completer(_dumps)
dump_or_file = _completer(_dumps, files=True)
group = _completer(_groups)
host = _completer(_enrolled)
sender = _completer(_senders)
blocked = _completer(_blocked)
token = _completer(_tokens)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete verbs, options, and the names of dumps, hosts and groups.

    \b
    bash  kdump-receiver completion bash > /usr/share/bash-completion/completions/kdump-receiver
    zsh   kdump-receiver completion zsh  > /usr/local/share/zsh/site-functions/_kdump-receiver
    fish  kdump-receiver completion fish > /etc/fish/completions/kdump-receiver.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    made = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(made(ctx.find_root().command, {}, "kdump-receiver", "_KDUMP_RECEIVER_COMPLETE").source())

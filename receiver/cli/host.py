"""`kdump-receiver host`: the hosts that may send dumps."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from receiver.cli.context import Context
from receiver.failure import Failure
from receiver.hosts.keys import EnrolledKey, HostKeys

NO_MATCH: Final = 1


@click.group(name="host")
def group() -> None:
    """Enrol, list and remove hosts."""


@group.command()
@click.argument("name")
@click.option(
    "--key", required=True, metavar="FILE.pub", help="The host's public key; - reads standard input."
)
@click.option("--address", "addresses", multiple=True, metavar="IP|NET", help="Take the key only from there.")
@click.option("--shared", is_flag=True, help="Many hosts have this key; their addresses tell them apart.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def add(
    context: Context, name: str, key: str, addresses: tuple[str, ...], shared: bool, as_json: bool
) -> None:
    """Let the host NAME in with its public key."""
    try:
        text = sys.stdin.read() if key == "-" else Path(key).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise Failure(f"{key}: {reason}; give the host's .pub file") from None
    hosts = HostKeys(context.settings.state)
    others = [other.fingerprint for other in hosts.of(name)]
    new = hosts.add(name, text, addresses=addresses, shared=shared)
    if as_json:
        click.echo(json.dumps(asdict(new)))
        return
    click.echo(f"{new.host} may send dumps with {new.fingerprint}.")
    if others and new.fingerprint not in others:
        click.echo(f"It still has {len(others)} other key(s), too; `host list` shows them.")


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def list_hosts(context: Context, as_json: bool) -> int:
    """List the enrolled hosts. None: exit status 1."""
    keys = HostKeys(context.settings.state).all()
    if as_json:
        click.echo(json.dumps([asdict(key) for key in keys]))
    elif not keys:
        click.echo("No hosts. Enrol one with `host add`, or let it come with a `token create`.", err=True)
    for key in [] if as_json else keys:
        click.echo(_line(key))
    return 0 if keys else NO_MATCH


def _line(key: EnrolledKey) -> str:
    more = [f"from {', '.join(key.addresses)}"] if key.addresses else []
    more += ["shared"] if key.shared else []
    more += [f"by {key.how}"] if key.how != "cli" else []
    more += [key.comment] if key.comment else []
    return f"{key.host:<24} {key.fingerprint}  {key.added}  {'; '.join(more)}".rstrip()


@group.command()
@click.argument("name")
@click.pass_obj
def remove(context: Context, name: str) -> int:
    """Shut NAME out from its next login on. Its dumps stay."""
    gone = HostKeys(context.settings.state).remove(name)
    if not gone:
        click.echo(f"No host {name!r}.", err=True)
        return NO_MATCH
    click.echo(f"{name} is out: {len(gone)} key(s) removed. Its dumps stay.")
    return 0

"""`kdump-receiver host`: the hosts that may send dumps."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import columns, complete
from receiver.cli.shown import plain
from receiver.failure import Failure
from receiver.hosts.addresses import BadAddress, check_address
from receiver.hosts.blocks import Block, check_blockable
from receiver.hosts.identity import BadName, check_host_name

if TYPE_CHECKING:
    from receiver.cli.context import Context
    from receiver.hosts.enrolled import Added, EnrolledKey, Host
    from receiver.hosts.keys import HostKeys

NO_MATCH: Final = 1
KEY_FILE_MAX: Final = 64 << 10  # bytes


class KeyFileError(Failure):
    """The file that was named cannot be read."""

    exit_code = 66  # EX_NOINPUT


def host_name(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """A host's name, or a usage error."""
    try:
        return None if name is None else check_host_name(name)
    except BadName as error:
        raise click.BadParameter(str(error)) from None


def _blockable(_context: click.Context, _option: click.Parameter, name: str) -> str:
    try:
        return check_blockable(name)
    except BadName as error:
        raise click.BadParameter(str(error)) from None


def _addresses(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(check_address(text) for text in texts)
    except BadAddress as error:
        raise click.BadParameter(str(error)) from None


def _hosts(context: Context) -> HostKeys:
    from receiver.hosts.keys import HostKeys  # asyncssh takes a while to load, and `list` does without

    return HostKeys(context.settings.state)


@click.group(name="host")
def group() -> None:
    """Enrol, list, remove and block the hosts that may send dumps."""


@group.command()
@click.argument("name", callback=host_name)
@click.option("--key", required=True, metavar="FILE.pub", help="Its public key; - reads standard input.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="IP|NET",
    callback=_addresses,
    help="Take the key only from there. May be repeated.",
)
@click.option("--shared", is_flag=True, help="Many hosts have this key; their addresses tell them apart.")
@click.option("--weak-rsa", is_flag=True, help="Take an RSA key below 2048 bits, down to 1024.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def add(
    context: Context,
    name: str,
    key: str,
    addresses: tuple[str, ...],
    shared: bool,
    weak_rsa: bool,
    as_json: bool,
) -> None:
    """Let the host NAME in with its public key, from its next login on.

    Again with another key: the host may use both. Again with the same key: it is used by the
    new rules. A key that is none, or another host's, is refused with exit status 65.
    """
    added = _hosts(context).add(name, _read(key), addresses=addresses, shared=shared, weak_rsa=weak_rsa)
    if as_json:
        known = added.before is not None
        click.echo(json.dumps(asdict(added.key) | {"was_enrolled": known, "other_keys": added.others}))
    else:
        _tell(added)


def _tell(added: Added) -> None:
    key = added.key
    where = f" from {', '.join(key.addresses)}" if key.addresses else ""
    click.echo(f"{key.host} may send dumps{where} with {key.fingerprint}.")
    if key.shared:
        click.echo(f"Each address that uses the key is a host of its own: {key.host}@ADDRESS.")
    if added.before is not None:
        click.echo("It had this key before; what was said now holds.")
    if added.others:
        click.echo(
            f"It may still use {len(added.others)} other key(s): `kdump-receiver host list {key.host}`."
        )


def _read(source: str) -> str:
    """The text of a key file, or of standard input."""
    try:
        if source == "-":
            data = sys.stdin.buffer.read(KEY_FILE_MAX)
        else:
            with Path(source).open("rb") as file:
                data = file.read(KEY_FILE_MAX)
    except OSError as error:
        raise KeyFileError(f"{source}: {error.strerror}; give the host's .pub file") from None
    # Whatever is not text is no key; the reader says so, and shows what can be shown.
    return data.decode(errors="replace")


@group.command(name="list")
@click.argument("name", required=False, shell_complete=complete.host)
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_obj
def list_hosts(context: Context, name: str | None, as_json: bool) -> int:
    """List the enrolled hosts, or the host NAME, with their keys, and who is blocked. None: exit status 1."""
    from receiver.hosts.enrolled import Host

    store = _hosts(context)
    hosts = {host.name: host for host in store.hosts() if name in (None, host.name)}
    blocks = {block.name: block for block in store.blocks.all() if name in (None, block.name)}
    # A host that comes with a certificate has no keys here, but may be blocked.
    found = [(hosts.get(each, Host(each, ())), blocks.get(each)) for each in sorted(hosts | blocks)]
    for damage in (damage for host in hosts.values() for damage in host.damaged):
        click.echo(plain(f"kdump-receiver: {damage}"), err=True)
    if as_json:
        click.echo(json.dumps([_document(host, block) for host, block in found]))
    elif rows := [row for host, block in found for row in _rows(host, block)]:
        columns.show(("HOST", "STATE", "TYPE", "FINGERPRINT", "FROM", "SINCE", "BY", "COMMENT"), rows)
    elif name is not None:
        click.echo(f"No host {name!r}.", err=True)
    else:
        click.echo("No hosts. Enrol one: `host add`, or `token create` and the host's `propagate`.", err=True)
    return 0 if found else NO_MATCH


def _document(host: Host, block: Block | None) -> dict[str, Any]:
    keys = [{name: value for name, value in asdict(key).items() if name != "host"} for key in host.keys]
    return {"host": host.name, "blocked": asdict(block) if block else None, "keys": keys}


def _rows(host: Host, block: Block | None) -> list[tuple[str, ...]]:
    if block and not host.keys:
        return [(host.name, "blocked", "-", "-", "-", block.since, "cli", block.note)]
    return [_row(key, "blocked" if block else "valid") for key in host.keys]


def _row(key: EnrolledKey, state: str) -> tuple[str, ...]:
    name = f"{key.host}@ADDRESS" if key.shared else key.host
    kind = f"{key.algorithm}-{key.bits}" if key.algorithm == "ssh-rsa" else key.algorithm
    places = ", ".join(key.addresses) or "anywhere"
    return (name, state, kind, key.fingerprint, places, key.added, key.how, key.comment)


@group.command()
@click.argument("name", shell_complete=complete.host)
@click.option("--key", metavar="FINGERPRINT|FILE.pub", help="Only this one of its keys.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def remove(context: Context, name: str, key: str | None, as_json: bool) -> int:
    """Shut the host NAME out, from its next login on. Its dumps stay. No such host: exit status 1."""
    from receiver.hosts.public_key import parse_untrusted

    fingerprint = key
    if key is not None and not key.startswith("SHA256:"):
        fingerprint = parse_untrusted(_read(key)).fingerprint
    gone = _hosts(context).remove(name, fingerprint)
    if as_json:
        click.echo(json.dumps({"host": name, "removed": gone}))
    elif gone:
        click.echo(f"{name} may not use {', '.join(gone)} any more. Its dumps stay.")
    else:
        click.echo(f"No host {name!r}{' with that key' if key else ''}.", err=True)
    return 0 if gone else NO_MATCH


@group.command()
@click.argument("name", callback=_blockable, shell_complete=complete.sender)
@click.option("--note", default="", help="Why; for `host list` and the log.")
@click.pass_obj
def block(context: Context, name: str, note: str) -> None:
    """Shut NAME out, whatever it shows, from its next login on. `host unblock` lets it in again.

    For hosts that come with a certificate, which `host remove` cannot take away, and for one
    machine of many that share a key: HOST@ADDRESS.
    """
    blocked = _hosts(context).blocks.add(name, note)
    click.echo(f"{blocked.name} is blocked. Its dumps stay.")


@group.command()
@click.argument("name", shell_complete=complete.blocked)
@click.pass_obj
def unblock(context: Context, name: str) -> int:
    """Let the blocked NAME in again. Not blocked: exit status 1."""
    if not _hosts(context).blocks.remove(name):
        click.echo(f"{name!r} is not blocked.", err=True)
        return NO_MATCH
    click.echo(f"{name} is not blocked any more.")
    return 0

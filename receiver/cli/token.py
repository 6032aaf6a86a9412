"""`kdump-receiver token`: passwords for the clients' own `propagate`."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import columns, complete
from receiver.cli.host import host_name

if TYPE_CHECKING:
    from receiver.cli.context import Context
    from receiver.hosts.public_key import PublicKey
    from receiver.hosts.tokens import Token, Tokens
    from receiver.settings import Settings

NO_MATCH: Final = 1
SSH_PORT: Final = 22
_DURATION = re.compile(r"(\d{1,5})\s*([mhdw])", re.ASCII)
_UNIT_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """``30m``, ``12h``, ``7d``, ``4w``: seconds."""
    from receiver.hosts.tokens import LONGEST_SECONDS

    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise click.BadParameter(f"{text!r}: say 30m, 12h, 7d or 4w, ten years at most")
    return seconds


def _tokens(context: Context) -> Tokens:
    from receiver.hosts.tokens import Tokens  # asyncssh takes a while to load, and `list` does without

    return Tokens(context.settings.state)


@click.group(name="token")
def group() -> None:
    """Create, list and revoke tokens: passwords that let hosts enrol themselves."""


@group.command()
@click.option(
    "--host", callback=host_name, help="Enrol only this host. Without it: whoever connects, named by address."
)
@click.option("--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many times.")
@click.option("--expires", callback=duration, default="1d", show_default=True, help="30m, 12h, 7d, 4w.")
@click.option("--note", default="", help="For `token list`.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Of this server, for the lines to copy. [settings]"
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def create(
    context: Context, host: str | None, uses: int, expires: int, note: str, port: int | None, as_json: bool
) -> None:
    """Make a token and show it, this once. On the host it is the password that `propagate` asks for."""
    from receiver.hosts.hostkeys import fingerprints

    token, text = _tokens(context).create(
        host=host, uses=uses, expires_in_seconds=expires, now=time.time(), note=note
    )
    if as_json:
        click.echo(json.dumps(_document(token) | {"token": text}))
        return
    click.echo(text)
    click.echo(_how_to_use(token, port or _port(context.settings)))
    keys = fingerprints(context.settings.state)
    if keys:
        click.echo(_how_to_trust(keys))


def _how_to_use(token: Token, port: int) -> str:
    who = f"{token.host} enrol its key" if token.host else "a host enrol its key, and be named by its address"
    times = "once" if token.uses == 1 else f"{token.uses} times"
    option = "" if port == SSH_PORT else f" -p {port}"
    collector = socket.gethostname()
    note = ""
    if port != SSH_PORT:
        note = (
            f"\nThe first three name no port: they want this server on {SSH_PORT} (`listen` in the settings)."
        )
    return f"""
This password lets {who}: {times}, until {token.expires}.
It is not shown again. With this server in kdump's configuration (`ssh kdump@{collector}`;
any user name does), run there as root, and type it where ssh asks for a password:

  RHEL 7 and later, Fedora    kdumpctl propagate
  RHEL 5 and 6                service kdump propagate
  Debian, Ubuntu              kdump-config propagate
  SUSE, anything else         ssh-copy-id -i /root/.ssh/kdump_id_rsa{option} kdump@{collector}
{note}"""


def _how_to_trust(keys: list[PublicKey]) -> str:
    shown = "\n".join(f"  {key.algorithm:<20} {key.fingerprint}" for key in keys)
    return f"Before that, ssh asks whether this is the right server. It is, if it shows one of\n\n{shown}"


def _port(settings: Settings) -> int:
    ports = [int(address.rpartition(":")[2]) for address in settings.listen]
    return SSH_PORT if SSH_PORT in ports or not ports else ports[0]


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_obj
def list_tokens(context: Context, as_json: bool) -> int:
    """List the tokens, the oldest first; never their secrets. None: exit status 1."""
    tokens = _tokens(context).all()
    if as_json:
        click.echo(json.dumps([_document(token) for token in tokens]))
    elif tokens:
        headings = ("ID", "HOST", "STATE", "LEFT", "EXPIRES", "CREATED", "NOTE")
        columns.show(headings, [_row(token) for token in tokens])
    else:
        click.echo("No tokens.", err=True)
    return 0 if tokens else NO_MATCH


def _row(token: Token) -> tuple[str, ...]:
    left = f"{token.uses_left} of {token.uses}"
    who = token.host or "whoever connects"
    return (token.id, who, token.state(time.time()), left, token.expires, token.created, token.note)


def _document(token: Token) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(token).items() if name not in ("salt", "sha256")}
    return shown | {"state": token.state(time.time())}


@group.command()
@click.argument("id", shell_complete=complete.token)
@click.pass_obj
def revoke(context: Context, id: str) -> int:  # noqa: A002  # the user's word
    """Make a token worthless. Keys that it enrolled stay; `host remove` takes them."""
    from receiver.hosts import token_text

    whole = token_text.parse_untrusted(id)  # somebody pastes all of it
    identifier = whole[0] if whole else id
    if not _tokens(context).revoke(identifier):
        click.echo(f"No token {identifier!r}.", err=True)
        return NO_MATCH
    click.echo(f"Token {identifier} is revoked. Keys that it enrolled stay valid.")
    return 0

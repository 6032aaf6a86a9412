"""`kdump-receiver token`: passwords for the clients' own `propagate`."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict
from typing import Final

import click

from receiver.cli.context import Context
from receiver.hosts.tokens import Token, Tokens

NO_MATCH: Final = 1
_DURATION = re.compile(r"(\d+)\s*([mhdw])")
_UNIT_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """``30m``, ``12h``, ``7d``, ``4w``: seconds."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r}: say 30m, 12h, 7d or 4w")
    return int(found[1]) * _UNIT_SECONDS[found[2]]


@click.group(name="token")
def group() -> None:
    """Create, list and revoke enrolment tokens."""


@group.command()
@click.option("--host", help="Enrol only this host. Without it: whoever connects, named by its address.")
@click.option("--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many times.")
@click.option("--expires", callback=duration, default="1d", show_default=True, help="30m, 12h, 7d, 4w.")
@click.option("--note", default="", help="For `token list`.")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def create(context: Context, host: str | None, uses: int, expires: int, note: str, as_json: bool) -> None:
    """Make a token. It is shown once; on the host, it is the password that `propagate` asks for."""
    tokens = Tokens(context.settings.state)
    token, text = tokens.create(host=host, uses=uses, expires_in_seconds=expires, now=time.time(), note=note)
    if as_json:
        click.echo(json.dumps(_shown(token) | {"token": text}))
        return
    click.echo(
        f"{text}\n\n"
        f"Good for {uses} use(s) until {token.expires}, for {host or 'whoever connects'}; not shown again.\n"
        "On the host, with this server in kdump's configuration, give it as the password to\n"
        "  RHEL, Fedora, EL7 and later:  kdumpctl propagate\n"
        "  RHEL 5 and 6:                 service kdump propagate\n"
        "  Debian, Ubuntu:               kdump-config propagate\n"
        "  SUSE, and everywhere else:    ssh-copy-id -i /root/.ssh/kdump_id_rsa.pub kdump@COLLECTOR"
    )


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def list_tokens(context: Context, as_json: bool) -> int:
    """List the tokens. None: exit status 1."""
    tokens = Tokens(context.settings.state).all()
    if as_json:
        click.echo(json.dumps([_shown(token) for token in tokens]))
    elif not tokens:
        click.echo("No tokens.", err=True)
    for token in [] if as_json else tokens:
        who = token.host or "anybody"
        click.echo(f"{token.id}  {token.uses_left} left  until {token.expires}  {who}  {token.note}".rstrip())
    return 0 if tokens else NO_MATCH


@group.command()
@click.argument("id")
@click.pass_obj
def revoke(context: Context, id: str) -> int:  # noqa: A002  # the user's word
    """Make a token worthless. Keys that it enrolled stay; `host remove` takes them."""
    if not Tokens(context.settings.state).revoke(id):
        click.echo(f"No token {id!r}.", err=True)
        return NO_MATCH
    click.echo(f"Token {id} is revoked.")
    return 0


def _shown(token: Token) -> dict[str, object]:
    hidden = {"salt", "sha256"}
    return {key: value for key, value in asdict(token).items() if key not in hidden}

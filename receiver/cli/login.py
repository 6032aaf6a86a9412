"""`kdump-receiver login`: who may come to the page and the API from beyond this machine."""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from receiver.cli import columns
from receiver.cli.token import duration

if TYPE_CHECKING:
    from receiver.cli.context import Context
    from receiver.web.access.logins import Login, Logins

NO_MATCH: Final = 1


def _expires(context: click.Context, option: click.Parameter, text: str) -> int | None:
    return None if text == "never" else duration(context, option, text)


def _logins(context: Context) -> Logins:
    from receiver.web.access.logins import Logins

    return Logins(context.settings.state)


@click.group(name="login")
def group() -> None:
    """Create, list and revoke login tokens for the page and the API."""


@group.command()
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator"]),
    required=True,
    help="A viewer reads everything; an operator enrols, removes and blocks, too.",
)
@click.option("--name", help="Whose it is, for the audit trail. [the user's name]")
@click.option(
    "--expires", callback=_expires, default="52w", show_default=True, help="30m, 12h, 7d, 4w, or never."
)
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.pass_obj
def create(context: Context, role: Any, name: str | None, expires: int | None, as_json: bool) -> None:
    """Make a login token and show it, this once.

    People type it on the page; programs send it: Authorization: Bearer TOKEN.
    """
    login, text = _logins(context).create(
        name=name or getpass.getuser(), role=role, expires_in_seconds=expires, now=time.time()
    )
    if as_json:
        click.echo(json.dumps(_document(login) | {"token": text}))
        return
    click.echo(text)
    until = f"until {login.expires}" if login.expires else "until it is revoked"
    click.echo(f"\n{login.name} may come with it as {login.role}, {until}. It is not shown again.", err=True)


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@click.pass_obj
def list_logins(context: Context, as_json: bool) -> int:
    """List the logins, the oldest first; never their secrets. None: exit status 1."""
    found = _logins(context).all()
    if as_json:
        click.echo(json.dumps([_document(login) for login in found]))
    elif found:
        now = time.time()
        rows = [
            (
                login.id,
                login.name,
                login.role,
                "valid" if login.is_valid(now) else "expired",
                login.expires or "never",
                login.created,
            )
            for login in found
        ]
        columns.show(("ID", "NAME", "ROLE", "STATE", "EXPIRES", "CREATED"), rows)
    else:
        click.echo("No logins.", err=True)
    return 0 if found else NO_MATCH


def _document(login: Login) -> dict[str, Any]:
    return {name: value for name, value in asdict(login).items() if name not in ("salt", "sha256")}


@group.command()
@click.argument("id")
@click.pass_obj
def revoke(context: Context, id: str) -> int:  # noqa: A002  # the user's word
    """Make a login worthless, at once; its sessions end. ID as in `login list`, or the whole token."""
    from receiver.hosts import token_text
    from receiver.web.access.logins import PREFIX

    whole = token_text.parse_untrusted(id, prefix=PREFIX)  # somebody pastes all of it
    identifier = whole[0] if whole else id
    if not _logins(context).revoke(identifier):
        click.echo(f"No login {identifier!r}.", err=True)
        return NO_MATCH
    click.echo(f"Login {identifier} is revoked.")
    return 0

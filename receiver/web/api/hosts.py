"""Hosts, their keys and blocks; enrolment tokens."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from receiver.hosts.blocks import Block, check_blockable
from receiver.hosts.contacts import Contact, Contacts
from receiver.hosts.enrolled import EnrolledKey, Host
from receiver.hosts.identity import BadName, check_host_name
from receiver.hosts.tokens import Token
from receiver.web.api import models
from receiver.web.api.endpoint import Ask
from receiver.web.pages.state import state_of
from receiver.web.problem import Refused


def list_hosts(ask: Ask) -> models.Hosts:
    """Enrolled, blocked, or seen; by name."""
    asked: models.HostQuery = ask.query
    hosts = {host.name: host for host in ask.desk.keys.hosts()}
    blocks = {block.name: block for block in ask.desk.keys.blocks.all()}
    contacts = Contacts(ask.desk.settings.state).all()
    names = sorted(name for name in {*hosts, *blocks, *contacts} if asked.after is None or name > asked.after)
    page = names[: asked.limit]
    views = [_view(hosts.get(name, Host(name, ())), blocks.get(name), contacts.get(name)) for name in page]
    return models.Hosts(hosts=views, next=page[-1] if len(names) > len(page) else None)


def show(ask: Ask) -> models.HostView:
    """One host."""
    name = _blockable(ask)
    host = ask.desk.keys.host(name)
    block = ask.desk.keys.blocks.of(name)
    contact = Contacts(ask.desk.settings.state).of(name)
    if not (host.keys or host.damaged or block or contact):
        raise Refused(404, f"no host {name!r}")
    return _view(host, block, contact)


def add_key(ask: Ask) -> models.Key:
    """`host add`."""
    body: models.KeyInput = ask.body
    added = ask.desk.keys.add(
        _host(ask),
        body.key,
        addresses=body.addresses,
        shared=body.shared,
        weak_rsa=body.weak_rsa,
        how=f"api, by {ask.request.state.viewer.name}",
    )
    _changed(ask)
    return _key(added.key)


def remove_keys(ask: Ask) -> models.Removed:
    """`host remove`."""
    asked: models.KeyQuery = ask.query
    name = _host(ask)
    gone = ask.desk.keys.remove(name, asked.fingerprint)
    if not gone:
        raise Refused(404, f"no host {name!r}{' with that key' if asked.fingerprint else ''}")
    _changed(ask)
    return models.Removed(removed=gone)


def block(ask: Ask) -> Block:
    """`host block`."""
    body: models.BlockInput = ask.body
    blocked = ask.desk.keys.blocks.add(_blockable(ask), body.note)
    _changed(ask)
    return blocked


def unblock(ask: Ask) -> None:
    """`host unblock`."""
    name = _blockable(ask)
    if not ask.desk.keys.blocks.remove(name):
        raise Refused(404, f"{name!r} is not blocked")
    _changed(ask)


def list_tokens(ask: Ask) -> models.Tokens:
    """`token list`."""
    now = time.time()
    return models.Tokens(tokens=[models.TokenView(**_token(one, now)) for one in ask.desk.tokens.all()])


def create_token(ask: Ask) -> models.TokenMade:
    """`token create`."""
    body: models.TokenInput = ask.body
    now = time.time()
    token, text = ask.desk.tokens.create(
        host=body.host,
        uses=body.uses,
        expires_in_seconds=body.expires_in_seconds,
        now=now,
        note=body.note,
    )
    _changed(ask)
    return models.TokenMade(**_token(token, now), token=text)


def revoke_token(ask: Ask) -> None:
    """`token revoke`."""
    identifier = ask.path("id")
    if not ask.desk.tokens.revoke(identifier):
        raise Refused(404, f"no token {identifier!r}")
    _changed(ask)


def _host(ask: Ask) -> str:
    try:
        return check_host_name(ask.path("name"))
    except BadName as error:
        raise Refused(404, str(error)) from None


def _blockable(ask: Ask) -> str:
    try:
        return check_blockable(ask.path("name"))
    except BadName as error:
        raise Refused(404, str(error)) from None


def _changed(ask: Ask) -> None:
    state_of(ask.request).shelf.forget()  # the pages show it at once


def _view(host: Host, blocked: Block | None, contact: Contact | None) -> models.HostView:
    return models.HostView(
        name=host.name,
        keys=[_key(key) for key in host.keys],
        damaged=list(host.damaged),
        block=blocked,
        contact=contact,
    )


def _key(key: EnrolledKey) -> models.Key:
    names = set(models.Key.model_fields)
    return models.Key(**{name: value for name, value in asdict(key).items() if name in names})


def _token(token: Token, now: float) -> dict[str, Any]:
    names = set(models.TokenView.model_fields)
    shown = {name: value for name, value in asdict(token).items() if name in names}
    return shown | {"state": token.state(now)}

"""The list of nodes: ``[node.NAME]`` of the settings and the drop-in directory, ``--node``, questions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from fence.addresses import Network, canonical
from fence.listed import ASKED, Listed
from fence.message import KEY_SIZES, NODE_NAME
from fence.node import Rules
from fence.settings import Block, NodeBlock, Policy, Settings, SettingsError, checked, read_toml

HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?", re.ASCII)


class DropIn(Block):
    """A file of the drop-in directory: nodes and nothing else."""

    node: dict[str, NodeBlock] = {}  # noqa: RUF012 -- pydantic copies it


def roster(settings: Settings, settings_file: object, options: Iterable[str]) -> list[Listed]:
    """Every node there is. ``options``: ``NAME=ADDR[,ADDR…]`` or ``NAME``, of the command line.

    Raises:
        SettingsError: a block does not fit, or two nodes share a name, an id or a key.
    """
    found: dict[str, tuple[object, Listed]] = {}
    calls: dict[str, str] = {}
    keys: dict[bytes, str] = {}
    for where, name, block in _blocks(settings, settings_file):
        listed = _listed(where, name, block, settings.policy)
        for called in {listed.name.lower(), (listed.id or listed.name).lower()}:
            if calls.setdefault(called, name) != name or name in found:
                other = found[calls[called]][0]
                raise SettingsError(f"{where}: node.{name}: {called!r} is a node of {other} already")
        for key in listed.keys:
            if keys.setdefault(key, name) != name:
                raise SettingsError(
                    f"{where}: node.{name}: has a key of node {keys[key]}; each node needs its own"
                )
        found[name] = (where, listed)
    for option in options:
        name, _, addresses = option.partition("=")
        block = NodeBlock(addresses=tuple(filter(None, addresses.split(","))))
        found[name] = ("--node", _listed("--node", name, block, settings.policy, "cli"))
    return [listed for _, listed in found.values()]


def asked(name: str, settings: Settings) -> Listed | None:
    """A node that is only asked for, as the C agent takes it; None where the text can be no name."""
    address = canonical(name)
    if address is None and not HOST_NAME.fullmatch(name):
        return None
    return Listed(
        name=name,
        source=ASKED,
        addresses=(address,) if address else (),
        names=() if address else (name,),
        rules=_rules(NodeBlock(), settings.policy),
    )


def _blocks(settings: Settings, settings_file: object) -> Iterator[tuple[object, str, NodeBlock]]:
    for name, block in settings.node.items():
        yield settings_file, name, block
    directory = settings.nodes.drop_in
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".toml")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"{directory}: {error.strerror}") from None
    for path in files:
        for name, block in checked(DropIn, read_toml(path), path).node.items():
            yield path, name, block


def _listed(where: object, name: str, block: NodeBlock, policy: Policy, source: str = "config") -> Listed:
    if not NODE_NAME.fullmatch(name.encode()):
        raise SettingsError(f"{where}: node.{name}: a name has 1 to 64 letters, digits, . _ : or -")
    literal, names = [], []
    for text in block.addresses or (() if block.networks else (name,)):
        address = canonical(text)
        if address:
            literal.append(address)
        elif HOST_NAME.fullmatch(text):
            names.append(text)
        else:
            raise SettingsError(f"{where}: node.{name}.addresses: neither an address nor a name: {text!r}")
    return Listed(
        name=name,
        source=source,
        id=block.id,
        addresses=tuple(literal),
        names=tuple(names),
        networks=tuple(_network(where, name, text) for text in block.networks),
        keys=tuple(_keys(where, name, block)),
        interfaces=block.interfaces,
        ttl_min=block.ttl_min,
        rules=_rules(block, policy),
    )


def _rules(block: NodeBlock, policy: Policy) -> Rules:
    own = block.model_dump(include=set(Policy.model_fields), exclude_none=True)
    effective = policy.model_copy(update=own)
    return Rules(
        off_grade=effective.off_grade,
        window=effective.window_seconds,
        silent_after=effective.silent_seconds,
        forget_after=effective.forget_seconds,
        max_skew=effective.max_skew_hours * 3600,
    )


def _network(where: object, name: str, text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingsError(f"{where}: node.{name}.networks: {error}") from None


def _keys(where: object, name: str, block: NodeBlock) -> Iterator[bytes]:
    for number, text in enumerate(block.keys, 1):
        yield _key(f"{where}: node.{name}.keys: number {number}", text)
    if block.key_file is None:
        return
    try:
        lines = block.key_file.read_text().splitlines()
        mode = block.key_file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SettingsError(f"{where}: node.{name}.key_file: {block.key_file}: {reason}") from None
    if mode & 0o007:
        raise SettingsError(
            f"{where}: node.{name}.key_file: {block.key_file} is open to all; chmod 0640 or less"
        )
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            yield _key(f"{block.key_file}:{number}", text)


def _key(where: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) not in KEY_SIZES:
        # The text is not repeated: it may be most of a key.
        raise SettingsError(
            f"{where}: a key is 32 to 128 hexadecimal digits, as `openssl rand -hex 32` makes them"
        )
    return key

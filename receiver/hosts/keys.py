"""The enrolled hosts, as files: the command line and every worker process see the same ones at once.

    hosts/by-name/NAME/HEX.json     a key of the host NAME; HEX is the key's SHA-256
    hosts/by-key/HEX.json           a symbolic link to it, which makes the key valid
    hosts/blocked/NAME.json         nobody of that name comes in, see receiver.hosts.blocks

A login follows one link, however many hosts there are. A key belongs to one host because its
link has one target. The link is made last and goes first: a crash in between leaves a key that
does not work and that `host add` or `host remove` tidies, never one that nobody sees.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receiver.durable import locked, sync_directory
from receiver.hosts.addresses import check_address, comes_from
from receiver.hosts.blocks import Blocks
from receiver.hosts.enrolled import Added, EnrolledKey, Host, entry, file_name, fingerprint_of, load
from receiver.hosts.identity import UNKNOWN_PEER, BadName, Denied, Identity, check_host_name
from receiver.hosts.public_key import KeyRefused, PublicKey, check_strength, parse_untrusted
from receiver.hosts.records import Damaged, open_directory, unusable, write

if TYPE_CHECKING:
    import asyncssh

KEYS_OF_HOST: Final = 32
ADDRESSES_OF_KEY: Final = 256


class HostKeys:
    """All enrolled keys, below `state`.

    Raises:
        StateError: (every method) the directory cannot be used.
    """

    def __init__(self, state: Path) -> None:
        self._directory = state / "hosts"
        self._by_name = open_directory(self._directory / "by-name")
        self._by_key = open_directory(self._directory / "by-key")
        self.blocks = Blocks(self._directory / "blocked")

    def find(self, key: asyncssh.SSHKey | str, peer: str) -> Identity | Denied:
        """Whose key (or fingerprint) it is, when it comes from `peer`.

        Reads one file, however many hosts there are, and looks for a block by name.
        """
        fingerprint = key if isinstance(key, str) else key.get_fingerprint()
        host = self.owner(fingerprint)
        if host is None:
            return Denied(f"no host has the key {fingerprint}")
        try:
            enrolled = load(self._by_key / file_name(fingerprint), host)
        except Damaged as damaged:
            return Denied(f"{damaged}; `host add {host}` mends it")
        if enrolled.addresses and not comes_from(peer, enrolled.addresses):
            return Denied(f"{host}'s key {fingerprint} may not come from {peer}")
        if not enrolled.shared:
            return self.unless_blocked(Identity(host, host, "key", peer, fingerprint))
        if peer == UNKNOWN_PEER:
            return Denied(f"{host}'s key {fingerprint} is shared, and the peer's address is not known")
        return self.unless_blocked(Identity(f"{host}@{peer}", host, "key", peer, fingerprint))

    def unless_blocked(self, identity: Identity) -> Identity | Denied:
        """`identity`, if neither its host nor its own name is blocked."""
        block = self.blocks.of(identity.host, identity.name)
        if block is None:
            return identity
        return Denied(f"{block.name} is blocked since {block.since}: {block.note}".rstrip(": "))

    def owner(self, fingerprint: str) -> str | None:
        """The host that has this key, if any."""
        name = file_name(fingerprint)
        return _target(self._by_key / name) if name else None

    def add(
        self,
        host: str,
        text: str,
        *,
        addresses: Sequence[str] = (),
        shared: bool = False,
        weak_rsa: bool = False,
        how: str = "cli",
    ) -> Added:
        """Let `host` in with the public key of `text`; a key it has already, by these rules from now on.

        `weak_rsa` takes RSA keys from 1024 bits on.

        Raises:
            KeyRefused: no public key, a weak one, another host's, or one too many.
            BadName, BadAddress: not a host's name, not an address.
        """
        key = check_strength(parse_untrusted(text), weak_rsa=weak_rsa)
        if len(addresses) > ADDRESSES_OF_KEY:
            raise KeyRefused(f"a key has {ADDRESSES_OF_KEY} addresses at most; say a network")
        places = tuple(dict.fromkeys(check_address(address) for address in addresses))
        new = entry(check_host_name(host), key, how, places, shared)
        with self._locked():
            before = self._had(new)
            others = self._others(new.host, [new])
            self._store([new])
        return Added(new, before, others)

    def enrol(self, host: str, keys: Sequence[PublicKey], *, how: str) -> list[Added]:
        """Let `host` in with all of `keys`, or with none of them.

        A key that the host has already stays as it is: whoever may enrol a key may not lift
        the addresses that the operator bound it to.

        Raises:
            KeyRefused: a key is weak, another host's, or one too many.
        """
        host = check_host_name(host)
        wanted = [entry(host, check_strength(key), how) for key in dict.fromkeys(keys)]
        with self._locked():
            had = [self._had(new) for new in wanted]
            others = self._others(host, wanted)
            self._store([new for new, before in zip(wanted, had, strict=True) if before is None])
        return [Added(before or new, before, others) for new, before in zip(wanted, had, strict=True)]

    def remove(self, host: str, fingerprint: str | None = None) -> list[str]:
        """Shut `host` out, or only one of its keys, from the next login on.

        Gives the fingerprints that are gone; none where there was no such host or key.
        """
        try:
            host = check_host_name(host)
        except BadName:
            return []
        directory = self._by_name / host
        with self._locked():
            there = self._files(host)
            gone = [path for path in there if fingerprint is None or path.name == file_name(fingerprint)]
            for path in gone:
                link = self._by_key / path.name
                if _target(link) == host:
                    link.unlink()
            sync_directory(self._by_key)
            for path in gone:
                path.unlink()
            if directory.is_dir() and len(gone) == len(there):
                shutil.rmtree(directory)  # with what a crash may have left in it
            sync_directory(self._by_name)
        return [fingerprint_of(path) for path in gone]

    def exists(self, host: str) -> bool:
        """Whether the host has any key, valid or damaged."""
        return bool(self._files(host))

    def host(self, name: str) -> Host:
        """One host; without keys where there is none of that name."""
        keys: list[EnrolledKey] = []
        damaged: list[str] = []
        for path in self._files(name):
            try:
                key = load(path, name)
            except Damaged as error:
                damaged.append(str(error))
                continue
            if _target(self._by_key / path.name) == name:
                keys.append(key)
            else:
                damaged.append(f"{path}: its link is missing, so it lets nobody in; add the key again")
        keys.sort(key=lambda key: (key.added, key.fingerprint))
        return Host(name, tuple(keys), tuple(damaged))

    def is_empty(self) -> bool:
        """Whether no host is enrolled."""
        try:
            return next(self._by_key.iterdir(), None) is None
        except OSError as error:
            raise unusable(error, self._by_key) from None

    def hosts(self) -> list[Host]:
        """Every host, by name. Reads every file."""
        try:
            names = sorted(path.name for path in self._by_name.iterdir() if path.is_dir())
        except OSError as error:
            raise unusable(error, self._by_name) from None
        return [host for host in map(self.host, names) if host.keys or host.damaged]

    def _had(self, new: EnrolledKey) -> EnrolledKey | None:
        """What its host has of this key already. Raises KeyRefused where it may not have it."""
        link = self._by_key / file_name(new.fingerprint)
        owner = _target(link)
        if owner is not None and owner != new.host:
            raise KeyRefused(
                f"{new.fingerprint} is already the key of {owner}; a key that many hosts have is added once, "
                f"with --shared, and `host remove {owner}` frees it"
            )
        with contextlib.suppress(Damaged):
            return load(link, new.host)
        return None

    def _others(self, host: str, wanted: Sequence[EnrolledKey]) -> tuple[str, ...]:
        these = {file_name(key.fingerprint) for key in wanted}
        others = [path for path in self._files(host) if path.name not in these]
        if len(others) + len(these) > KEYS_OF_HOST:
            raise KeyRefused(
                f"{host} would have more than {KEYS_OF_HOST} keys; `host list` shows them, "
                f"`host remove {host} --key FINGERPRINT` takes one away"
            )
        return tuple(map(fingerprint_of, others))

    def _store(self, keys: Sequence[EnrolledKey]) -> None:
        """Write all of `keys`, then make them valid; after an error none of the new ones is."""
        linked: list[Path] = []
        try:
            for key in keys:
                directory = open_directory(self._by_name / key.host)
                write(directory / file_name(key.fingerprint), asdict(key))
            sync_directory(self._by_name)
            for key in keys:
                link = self._by_key / file_name(key.fingerprint)
                if not link.is_symlink():
                    link.symlink_to(Path("..", "by-name", key.host, link.name))
                    linked.append(link)
            sync_directory(self._by_key)
        except BaseException:
            for link in linked:
                link.unlink(missing_ok=True)
            raise

    def _files(self, host: str) -> list[Path]:
        try:
            return sorted(path for path in (self._by_name / host).glob("*.json") if fingerprint_of(path))
        except OSError as error:
            raise unusable(error, self._by_name / host) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with locked(self._directory):
                yield
        except OSError as error:
            raise unusable(error, self._directory) from None


def _target(link: Path) -> str | None:
    """The host that a link of by-key points to."""
    try:
        return link.readlink().parent.name
    except OSError:
        return None

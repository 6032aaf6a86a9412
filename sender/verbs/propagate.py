"""`kdump propagate`: the operator's side of it, for every ssh target of kdump.conf."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from sender.failure import NotPossible
from sender.image.facts import ED25519_KEY, PINNED, key_path, known_host_lines
from sender.verbs.session import Session

PASSWORD_VARIABLE = "KDUMP_PASSWORD"  # noqa: S105  # a variable's name, no password


@dataclass(frozen=True, slots=True)
class Options:
    """Of the command line; a password never stands there, where every user could read it."""

    rsa: bool = False
    accept_new: bool = False
    fingerprint: str = ""
    password_file: str = ""
    seconds: float = 30


def propagate(session: Session, options: Options) -> int:
    """Bring the key to every ssh target and try its path. The first failure ends it."""
    from sender.remote.hostkey import (
        sshfp_records,
    )  # paramiko costs a third of a second: only where it is used
    from sender.remote.propagate import Trust, make_key
    from sender.remote.propagate import propagate as to_server

    config = session.config()
    host = session.host
    if not config.ssh_targets:
        raise NotPossible(f"No ssh config specified in {session.conf}.  Can't propagate")
    path = config.sshkey or key_path(host, config)
    if not host.path(path).exists() and not config.sshkey and not options.rsa:
        path = ED25519_KEY
    public = make_key(
        host, path, "rsa" if options.rsa or "rsa" in Path(path).name else "ed25519", session.say
    )
    trust = Trust(_confirm, options.accept_new, options.fingerprint)
    memory_kib = _memory_kib(host.read("/proc/meminfo") or "")
    for target in config.ssh_targets:
        room = to_server(
            target,
            str(host.path(path)),
            public,
            config.path,
            known=known_host_lines(host, target),
            records=sshfp_records(host, target.host),
            trust=trust,
            pin=lambda line: _pin(session, line),
            password=_password_source(options),
            say=session.say,
            seconds=options.seconds,
        )
        free = "unknown" if room.free_kib is None else f"{room.free_kib >> 10} MiB free"
        session.say(f"{target}:{room.path} can be written to ({free})")
        if room.free_kib is not None and room.free_kib < memory_kib:
            session.warn("Warning: There might not be enough space to save a vmcore.")
            session.warn(
                f"         The size of {target}:{room.path} should be greater than {memory_kib} kilo bytes."
            )
        host.log(f"propagated ssh key (ssh server: {target})")
    return 0


def _pin(session: Session, line: str) -> None:
    old = session.host.read(PINNED) or ""
    session.host.write(PINNED, (old + line + "\n").encode(), 0o644)


def _confirm(question: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    return sys.stdin.isatty() and click.confirm(question, default=False)


def _password_source(options: Options) -> Callable[[str], str]:
    """File, then environment, then prompt; read only once a server wants it."""

    def source(target: str) -> str:
        if options.password_file:
            try:
                return Path(options.password_file).read_text().split("\n", 1)[0]
            except OSError as error:
                raise NotPossible(f"{options.password_file}: {error.strerror}") from error
        if os.environ.get(PASSWORD_VARIABLE):
            return os.environ[PASSWORD_VARIABLE]
        if not sys.stdin.isatty():
            raise NotPossible(
                f"{target} wants a password or token:"
                f" give --password-file or {PASSWORD_VARIABLE}, or use a terminal"
            )
        return str(click.prompt(f"Password or token of {target}", hide_input=True))

    return source


def _memory_kib(meminfo: str) -> int:
    rows = [line.split() for line in meminfo.splitlines() if line.startswith("MemTotal:")]
    return int(rows[0][1]) if rows and rows[0][1].isdigit() else 0

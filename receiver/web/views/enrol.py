"""What to type on a host so that it sends its dumps here: lines to copy for each distribution.

Sources: kdump-utils (kdump.conf.5, kdumpctl), kexec-tools 2.0.0 of RHEL 6 (kdump.init), kdump-tools 1.8.1
(kdump-config, /etc/default/kdump-tools), openSUSE kdump (sysconfig.kdump), docs/sender.md for our own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from receiver.hosts.public_key import PublicKey

SSH_PORT: Final = 22
KEY: Final = "~/.ssh/kdump_id_rsa"
ROOT_KEY: Final = "/root/.ssh/kdump_id_rsa"
MAKE_KEY: Final = f"[ -f {KEY} ] || ssh-keygen -q -t rsa -b 3072 -N '' -f {KEY}"
BRING: Final = "Bring the key here; the token is the password"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9a-fA-F:.]{2,45}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: what it is for, and the line. `secret`: it asks for a password, which is the token."""

    what: str
    code: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it goes on one distribution; `id` is its anchor in the page."""

    id: str
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Collector:
    """This server as the hosts reach it."""

    name: str
    port: int
    keys: tuple[PublicKey, ...]

    @property
    def target(self) -> str:
        """For ssh; any user name does."""
        return f"kdump@{self.name}"

    @property
    def option(self) -> str:
        """The port, for ssh and ssh-copy-id."""
        return "" if self.port == SSH_PORT else f" -p {self.port}"

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """Lines of known_hosts, so that nobody has to say yes."""
        where = self.name if self.port == SSH_PORT else f"[{self.name}]:{self.port}"
        return tuple(f"{where} {key.line}" for key in self.keys)


def is_name(text: str) -> bool:
    """Whether `text` can be a server's name or address: it goes into lines of shell."""
    return _NAME.fullmatch(text) is not None


def recipes(collector: Collector) -> tuple[Recipe, ...]:
    """All of them, the most common first."""
    return tuple(make(collector) for make in (_rhel, _debian, _suse, _rhel6, _kdump, _ssh))


def _rhel(collector: Collector) -> Recipe:
    lines = (
        f"ssh {collector.target}",
        f"sshkey {ROOT_KEY}",
        "core_collector makedumpfile -F -l --message-level 1 -d 31",
    )
    return Recipe(
        "rhel",
        "RHEL 7 to 10, Fedora, CentOS, Rocky, Alma",
        (
            *_prepared(collector),
            Step("Name it in /etc/kdump.conf", _settled("/etc/kdump.conf", lines)),
            Step(BRING, "kdumpctl propagate", secret=True),
            Step("Build the capture image with it", "kdumpctl restart"),
            Step("Prove it, where kdumpctl knows how: it crashes and reboots the machine", "kdumpctl test"),
        ),
    )


def _debian(collector: Collector) -> Recipe:
    path, lines = "/etc/default/kdump-tools", (f'SSH="{collector.target}"', f"SSH_KEY={ROOT_KEY}")
    return Recipe(
        "debian",
        "Debian, Ubuntu",
        (
            *_prepared(collector),
            Step(f"Name it in {path}", _settled(path, lines)),
            Step(BRING, "kdump-config propagate", secret=True),
            Step("Load it again", "kdump-config reload"),
        ),
    )


def _suse(collector: Collector) -> Recipe:
    path, port = "/etc/sysconfig/kdump", "" if collector.port == SSH_PORT else f":{collector.port}"
    lines = (
        f'KDUMP_SAVEDIR="ssh://{collector.target}{port}/var/crash"',
        f'KDUMP_SSH_IDENTITY="{ROOT_KEY}"',
    )
    return Recipe(
        "suse",
        "SUSE Linux Enterprise, openSUSE",
        (
            *_trust(collector),
            *_copied(collector),
            Step(f"Name it in {path}", _settled(path, lines)),
            Step("Build the capture image with it", "mkdumprd -f && systemctl restart kdump"),
        ),
    )


def _rhel6(collector: Collector) -> Recipe:
    return Recipe(
        "rhel6",
        "RHEL 5 and 6",
        (
            *_prepared(collector),
            Step("Name it in /etc/kdump.conf", _settled("/etc/kdump.conf", (f"net {collector.target}",))),
            Step(BRING, "service kdump propagate", secret=True),
            Step("Build the capture image with it", "service kdump restart"),
        ),
    )


def _kdump(collector: Collector) -> Recipe:
    port = "" if collector.port == SSH_PORT else f":{collector.port}"
    vouched = "".join(f" --fingerprint {key.fingerprint}" for key in collector.keys[:1])
    return Recipe(
        "kdump",
        "kdump-net's own client",
        (
            Step("Name this server", f"kdump set ssh {collector.target}{port}"),
            Step(BRING, f"kdump propagate{vouched}", secret=True),
            Step("Build the capture image and load it", "kdump start"),
            Step("Prove it: a small dump, end to end", "kdump test"),
        ),
    )


def _ssh(collector: Collector) -> Recipe:
    tried = f"ssh -i {KEY}{collector.option} {collector.target} df -P /var/crash"
    return Recipe(
        "ssh",
        "Anything with ssh-copy-id",
        (*_trust(collector), *_copied(collector), Step("Try it: it answers with the free space", tried)),
    )


def _prepared(collector: Collector) -> tuple[Step, ...]:
    """Host keys, and the port for clients that cannot name one: kdump.conf and kdump-tools."""
    if collector.port == SSH_PORT:
        return _trust(collector)
    lines = (f"Host {collector.name}", f"    Port {collector.port}")
    port = Step(f"Say that it listens on port {collector.port}", _appended("~/.ssh/config", lines))
    return *_trust(collector), port


def _trust(collector: Collector) -> tuple[Step, ...]:
    if not collector.keys:
        return ()
    line = f"install -d -m 700 ~/.ssh && {_appended('~/.ssh/known_hosts', collector.known_hosts)}"
    return (Step("Trust this server: its host keys, so that nothing asks later", line),)


def _copied(collector: Collector) -> tuple[Step, Step]:
    line = f"ssh-copy-id -i {KEY}.pub{collector.option} {collector.target}"
    return Step("Make a key, if there is none", MAKE_KEY), Step(BRING, line, secret=True)


def _settled(path: str, lines: Sequence[str]) -> str:
    """One line of shell: `lines` at the end of `path`; what said the same before becomes a comment."""
    words = "|".join(re.split(r"[ =]", line)[0] for line in lines)
    return f"sed -i -E 's/^({words})([[:blank:]=])/#&/' {path} && {_appended(path, lines)}"


def _appended(path: str, lines: Sequence[str]) -> str:
    return f"printf '%s\\n' {' '.join(shlex.quote(line) for line in lines)} >> {path}"

"""The hosts: who may come, who came last and when, and whether their kdump has proved itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from receiver.catalogue.brief import Brief
from receiver.hosts.blocks import Block
from receiver.hosts.contacts import Contact
from receiver.hosts.enrolled import EnrolledKey, Host
from receiver.hosts.tokens import Token
from receiver.spool.manifest import Manifest, StoredFile
from receiver.spool.view import STATUS
from receiver.web.views import words
from receiver.web.views.fence import Fence, Node
from receiver.web.views.words import Moment

QUIET_SECONDS: Final = 30 * 86_400.0  # without contact: worth a look
NONE: Final = Fence()
_RESULT = re.compile(rb"\s*(success|fail)\b")

State = Literal["enrolled", "blocked", "by certificate", "removed"]
Concern = Literal["", "blocked", "test failed", "never tested", "quiet", "never seen"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One `kdumpctl test` (or `kdump test`) of a host, as its status file says."""

    host: str
    dump: str
    at: str  # UTC, ISO 8601
    success: bool


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host in the list."""

    name: str
    state: State
    contact: Moment | None
    peer: str
    last_trial: Moment | None
    trial_succeeded: bool
    last_success: Moment | None
    dumps: int
    last_dump: Brief | None
    last_crash: Moment | None
    receiving: int
    fence: Node | None
    concern: Concern


@dataclass(frozen=True, slots=True)
class HostPage:
    """One host, all of it."""

    row: HostRow
    keys: tuple[EnrolledKey, ...]
    damaged: tuple[str, ...]
    block: Block | None
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the stores say, gathered by the shell."""

    enrolled: Sequence[Host]
    blocks: Mapping[str, Block]
    contacts: Mapping[str, Contact]
    trials: Sequence[Trial]  # newest first
    dumps: Sequence[Brief]  # newest first
    receiving: Sequence[str] = ()  # a host a live upload
    fence: Fence = NONE


def status_file(dump: Manifest) -> StoredFile | None:
    """The file that tells how the host's own test ended: the newest of that name."""
    return next((file for file in reversed(dump.files) if file.requested[-1] == STATUS), None)


def trial_untrusted(dump: Manifest, file: StoredFile, content: bytes) -> Trial | None:
    """What the status file says; None where it says neither success nor fail.

    Source: kdump-utils 1.0.51, dracut/99kdumpbase/kdump.sh: ``echo success kdump_test_id=ID``.
    """
    found = _RESULT.match(content)
    return Trial(dump.host, dump.id, file.finished, found[1] == b"success") if found else None


def rows(known: Known, now: float) -> tuple[HostRow, ...]:
    """Every host that anything is known of, by name; those behind a shared key one for each address."""
    facts = _Facts(known)
    return tuple(_row(name, facts, now) for name in sorted(facts.names, key=str.casefold))


def page(name: str, known: Known, tokens: Iterable[Token], now: float) -> HostPage | None:
    """One host; None where nothing is known of it."""
    facts = _Facts(known)
    its = tuple(token for token in tokens if token.host == name)
    if name not in facts.names and not its:
        return None
    host = facts.enrolled.get(name)
    return HostPage(
        _row(name, facts, now),
        host.keys if host else (),
        host.damaged if host else (),
        known.blocks.get(name),
        its,
    )


class _Facts:
    def __init__(self, known: Known) -> None:
        self.known = known
        self.enrolled = {host.name: host for host in known.enrolled}
        self.counts = Counter(dump.host for dump in known.dumps)
        self.newest = {dump.host: dump for dump in reversed(known.dumps)}
        self.trials: dict[str, Trial] = {}
        self.successes: dict[str, Trial] = {}
        for trial in known.trials:
            self.trials.setdefault(trial.host, trial)
            if trial.success:
                self.successes.setdefault(trial.host, trial)
        self.receiving = Counter(known.receiving)
        # A shared key's hosts are NAME@ADDRESS; the bare name is only where the key lies.
        self.names = {*self.enrolled, *known.blocks, *known.contacts, *self.counts, *self.receiving}


def _row(name: str, facts: _Facts, now: float) -> HostRow:
    contact, trial, success = (
        facts.known.contacts.get(name),
        facts.trials.get(name),
        facts.successes.get(name),
    )
    newest = facts.newest.get(name)
    state = _state(name, facts)
    addresses = [contact.peer] if contact else []
    seen = words.moment(contact.at, now) if contact else words.moment(newest.date, now) if newest else None
    return HostRow(
        name=name,
        state=state,
        contact=seen,
        peer=contact.peer if contact else "",
        last_trial=words.moment(trial.at, now) if trial else None,
        trial_succeeded=bool(trial and trial.success),
        last_success=words.moment(success.at, now) if success else None,
        dumps=facts.counts[name],
        last_dump=newest,
        last_crash=words.moment(newest.crash_time or newest.date, now) if newest else None,
        receiving=facts.receiving[name],
        fence=facts.known.fence.of(name, addresses),
        concern=_concern(state, seen, trial, now),
    )


def _state(name: str, facts: _Facts) -> State:
    if name in facts.known.blocks:
        return "blocked"
    owner = name.partition("@")[0]  # of a shared key
    if name in facts.enrolled or owner in facts.enrolled:
        return "enrolled"
    contact = facts.known.contacts.get(name)
    return "by certificate" if contact is not None and contact.how == "certificate" else "removed"


def _concern(state: State, seen: Moment | None, trial: Trial | None, now: float) -> Concern:
    """The one thing to look at first."""
    if state == "blocked":
        return "blocked"
    if trial is not None and not trial.success:
        return "test failed"
    if seen is None:
        return "never seen"
    if now - seen.seconds > QUIET_SECONDS:
        return "quiet"
    return "" if trial else "never tested"

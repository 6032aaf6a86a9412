"""How often a password may be tried. Sans-IO: `now` is given, in monotonic seconds.

A token has 99 random bits, so nobody guesses one; the limits keep strangers from costing us
work and log lines. A try is counted when it begins, or a thousand connections at once would
all begin before the first one is found wrong.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

FREE: Final = 10  # wrong passwords of one source without a wait between them
LONGEST_SECONDS: Final = 3600.0  # that one source waits
FORGOTTEN_SECONDS: Final = 2 * LONGEST_SECONDS  # of quiet, after which a source starts anew
SOURCES: Final = 4096  # that are remembered; the longest quiet ones are forgotten first
WINDOW_SECONDS: Final = 60.0
TRIES_IN_WINDOW: Final = 600  # of all sources together


@dataclass(slots=True)
class _Source:
    wrong: int
    last: float


class PasswordLimits:
    """Each source waits twice as long after every wrong password beyond the free ones: 1 s, 2 s, 4 s, …

    One process's memory: `workers` processes let through as many times more.
    """

    def __init__(self) -> None:
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._tries: deque[float] = deque()  # wrong or under way, of all sources, within the window

    def attempt(self, peer: str, now: float) -> float:
        """Begin a try of `peer`: 0, or how many seconds it must wait before it may; then it has not begun.

        A try counts as wrong until `right` says otherwise.
        """
        wait = self.wait(peer, now)
        if wait > 0:
            return wait
        self._tries.append(now)
        name = source_of(peer)
        source = self._sources.pop(name, None)
        if source is None or now - source.last > FORGOTTEN_SECONDS:
            source = _Source(0, now)
        source.wrong += 1
        source.last = now
        self._sources[name] = source
        while len(self._sources) > SOURCES:
            self._sources.popitem(last=False)
        return 0.0

    def wait(self, peer: str, now: float) -> float:
        """How many seconds `peer` must wait before it may try; begins nothing."""
        return max(self._wait_for_all(now), self._wait_for(peer, now))

    def right(self, peer: str, began: float) -> None:
        """The try that `peer` began then was right and does not count; its earlier wrong ones still do."""
        with contextlib.suppress(ValueError):
            self._tries.remove(began)
        source = self._sources.get(source_of(peer))
        if source is not None:
            source.wrong -= 1
            if source.wrong <= 0:
                del self._sources[source_of(peer)]

    def _wait_for_all(self, now: float) -> float:
        while self._tries and now - self._tries[0] >= WINDOW_SECONDS:
            self._tries.popleft()
        if len(self._tries) < TRIES_IN_WINDOW:
            return 0.0
        return WINDOW_SECONDS - (now - self._tries[0])

    def _wait_for(self, peer: str, now: float) -> float:
        source = self._sources.get(source_of(peer))
        if source is None or source.wrong < FREE:
            return 0.0
        # The exponent is bounded by what the longest wait needs: 2.0 ** 2000 overflows.
        wait = min(LONGEST_SECONDS, 2.0 ** min(source.wrong - FREE, 20))
        return max(0.0, source.last + wait - now)

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)


def source_of(peer: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 host has for itself."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)

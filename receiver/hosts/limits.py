"""How often a wrong password may be tried. Sans-IO: `now` is given, in monotonic seconds."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FREE: Final = 5  # wrong passwords of one source that cost nothing
LONGEST_SECONDS: Final = 3600.0
FORGOTTEN_SECONDS: Final = 2 * 3600.0  # after which a source starts anew
SOURCES: Final = 4096  # that are remembered; the longest quiet ones go first
ALL_PER_MINUTE: Final = 120  # wrong passwords of all sources together


@dataclass(slots=True)
class _Source:
    failures: int
    last: float


class PasswordLimits:
    """Counts wrong passwords: each source waits twice as long after every one beyond the free ones."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._minute = float("-inf")
        self._in_minute = 0

    def retry_after_seconds(self, peer: str, now: float) -> float:
        """How long `peer` must wait before it may try; 0 when it may now."""
        if now - self._minute < 60 and self._in_minute >= ALL_PER_MINUTE:
            return 60 - (now - self._minute)
        source = self._sources.get(source_of(peer))
        if source is None or source.failures < FREE:
            return 0.0
        wait = min(LONGEST_SECONDS, 2.0 ** (source.failures - FREE))
        return max(0.0, source.last + wait - now)

    def failed(self, peer: str, now: float) -> None:
        """`peer` gave a wrong password."""
        if now - self._minute >= 60:
            self._minute, self._in_minute = now, 0
        self._in_minute += 1
        name = source_of(peer)
        source = self._sources.pop(name, None)
        if source is None or now - source.last > FORGOTTEN_SECONDS:
            source = _Source(0, now)
        source.failures = min(source.failures + 1, 64)
        source.last = now
        self._sources[name] = source
        while len(self._sources) > SOURCES:
            self._sources.popitem(last=False)

    def __len__(self) -> int:
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

"""Names to addresses, again and again: a node that gets another address must not become a stranger."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import trio

from fence.addresses import canonical

AT_ONCE = 16  # lookups
TIMEOUT_SECONDS = 10.0  # of one lookup
RETRY_SECONDS = 5.0  # after a failed one


async def lookup(name: str) -> tuple[str, ...]:
    """All addresses of a name, of both families; none where it does not resolve in time."""
    with trio.move_on_after(TIMEOUT_SECONDS):
        try:
            found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            return ()
        addresses = (canonical(str(entry[4][0])) for entry in found)
        return tuple(dict.fromkeys(address for address in addresses if address))
    return ()


class Resolver:
    """Keeps addresses up to date. A name that stops resolving keeps its last ones."""

    def __init__(
        self,
        names: Callable[[], Mapping[str, tuple[str, ...]]],
        tell: Callable[[str, list[str]], None],
        every_seconds: float,
    ) -> None:
        """``names()``: what to resolve for each node; ``tell(node, addresses)``: what that gives."""
        self._names = names
        self._tell = tell
        self._every = every_seconds
        self._known: dict[str, tuple[str, ...]] = {}
        self._again = trio.Event()
        self.unresolved: dict[str, tuple[str, ...]] = {}  # by node: names without an address

    def refresh(self) -> None:
        """The nodes have changed: look now."""
        self._again.set()

    async def run(self) -> None:
        """Resolve for ever."""
        while True:
            self._again = trio.Event()
            await self.once()
            with trio.move_on_after(min(RETRY_SECONDS, self._every) if self.unresolved else self._every):
                await self._again.wait()

    async def once(self) -> None:
        """Try every name."""
        wanted = dict(self._names())
        names = {name for parts in wanted.values() for name in parts}
        self._known = {name: self._known[name] for name in names if name in self._known}
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._one, name, limiter)
        self.unresolved = {}
        for node, parts in wanted.items():
            missing = tuple(name for name in parts if name not in self._known)
            if missing:
                self.unresolved[node] = missing
            addresses = [address for name in parts for address in self._known.get(name, ())]
            if addresses:
                self._tell(node, addresses)

    async def _one(self, name: str, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            addresses = await lookup(name)
        if addresses:
            self._known[name] = addresses

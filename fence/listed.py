"""A node as somebody listed it, and how its datagrams should arrive. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, field

from fence.addresses import Network
from fence.node import Rules

ASKED = "asked"  # the source of nodes that are not configured, only asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A node of the settings, of the command line, or of a question.

    ``addresses`` are canonical; ``names`` are to be resolved, again and again. ``ttl_min`` and
    ``interfaces`` are hints on how its datagrams arrive.
    """

    name: str
    source: str = "config"
    id: str | None = None
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    interfaces: tuple[str, ...] = ()
    ttl_min: int | None = None
    rules: Rules = field(default_factory=Rules)

    def hinted(self) -> bool:
        """Whether there are hints at all."""
        return bool(self.interfaces) or self.ttl_min is not None

    def misfits(self, interface: str | None, ttl: int | None) -> list[tuple[str, str]]:
        """The hints that a datagram breaks: the alarm's kind and its reason."""
        found = []
        if self.interfaces and interface not in self.interfaces:
            found.append(("interface", f"came in by {interface}, not by {', '.join(self.interfaces)}"))
        if self.ttl_min is not None and (ttl is None or ttl < self.ttl_min):
            found.append(("ttl", f"TTL {ttl}, less than {self.ttl_min}"))
        return found

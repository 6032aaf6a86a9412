"""To whom: names are resolved beside the sending, again and again, and every address of a name is served."""

from __future__ import annotations

import socket
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fence.pair import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fence.pair.addresses import Address
    from fence.pair.say import Voice

RETRY_SECONDS = 1.0  # for a name that does not resolve, and while nothing could be sent at all
PATIENCE_SECONDS = (
    15.0  # for names still being resolved when the last beat is due; glibc's default is 5 s, twice
)


class Delivery:
    """The addresses we send to. ``make`` gives the bytes of a beat made now."""

    def __init__(
        self, nodes: Sequence[str], port: int, family: int, make: Callable[[], bytes], voice: Voice
    ) -> None:
        self.port = port
        self.family = family
        self.make = make
        self.voice = voice
        self.found: dict[str, tuple[Address, ...]] = dict.fromkeys(nodes, ())
        self.undecided = set(nodes)
        self.sent = False
        self.sockets: dict[int, socket.socket] = {}
        self.results: SimpleQueue[tuple[str, tuple[Address, ...] | OSError]] = SimpleQueue()

    def start(self, again_seconds: float) -> None:
        """Begin to resolve; names that are resolved are asked for again after ``again_seconds``."""
        for node in self.found:
            threading.Thread(target=self._resolve, args=(node, again_seconds), daemon=True).start()

    def _resolve(self, node: str, again_seconds: float) -> None:
        while True:
            try:
                found = addresses.resolve(node, self.family)
            except OSError as error:
                self.results.put((node, error))
                time.sleep(RETRY_SECONDS)
            else:
                self.results.put((node, found))
                time.sleep(again_seconds)

    @property
    def resolved(self) -> bool:
        """Whether any node was ever found."""
        return any(self.found.values())

    def beat(self) -> None:
        """Send one beat to every address known."""
        self._send([address for found in self.found.values() for address in found])

    def run_until(self, deadline: float) -> None:
        """Take in what was resolved, serve new addresses at once, until ``deadline`` (monotonic seconds)."""
        while (left := deadline - time.monotonic()) > 0:
            unheard = self.resolved and not self.sent
            try:
                node, outcome = self.results.get(timeout=min(left, RETRY_SECONDS) if unheard else left)
            except Empty:
                if unheard:
                    self.beat()  # the network is not up yet; the next beat may be a long time off
                continue
            self._take(node, outcome)

    def finish(self) -> None:
        """Wait for the first word on names that are still being resolved: the last beat is theirs, too."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.undecided and (left := deadline - time.monotonic()) > 0:
            try:
                self._take(*self.results.get(timeout=left))
            except Empty:
                return

    def _take(self, node: str, outcome: tuple[Address, ...] | OSError) -> None:
        self.undecided.discard(node)
        if isinstance(outcome, OSError):
            if not self.found[node]:  # else the old addresses are better than none
                self.voice.error(f"getaddrinfo ({outcome.strerror or outcome})", 2)
                self.voice.error(f"failed to get node '{node}'", 1)
            return
        new = [address for address in outcome if address not in self.found[node]]
        self.found[node] = outcome
        self._send(new)

    def _send(self, receivers: Iterable[Address]) -> None:
        message = self.make()
        for address in receivers:
            try:
                self._socket(address.family).sendto(message, address.sockaddr(self.port))
            except OSError as error:
                self.voice.error(f"sendto ({error.strerror})", 2)
            else:
                self.sent = True
                self.voice.debug(f"message sent to node '{address}'", 1)

    def _socket(self, family: int) -> socket.socket:
        if family not in self.sockets:
            self.sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
        return self.sockets[family]

"""Several daemons are asked at once, and none waits for another."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fence.agent import daemons
from fence.agent.http import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fence.agent.daemons import Daemon
    from fence.pair.say import Voice

T = TypeVar("T")

MARGIN_SECONDS = 0.25  # a daemon's own no, with its reason, should come before our time is over
RETRY_SECONDS = 0.5


class Proof(NamedTuple):
    """A daemon's yes."""

    daemon: Daemon
    node: str
    reason: str


def each(
    asked: Sequence[Daemon], work: Callable[[Daemon], T], deadline: float
) -> Iterator[tuple[Daemon, T | Exception]]:
    """Run ``work`` for every daemon at once; give out what each returned or raised, until ``deadline``.

    Works that are still running then are left behind: they end with the process.
    """
    results: SimpleQueue[tuple[Daemon, T | Exception]] = SimpleQueue()

    def run(daemon: Daemon) -> None:
        try:
            results.put((daemon, work(daemon)))
        except Exception as error:  # given to the reader, who judges it
            results.put((daemon, error))

    for daemon in asked:
        threading.Thread(target=run, args=(daemon,), daemon=True).start()
    for _ in asked:
        try:
            yield results.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return


def is_off(
    asked: Sequence[Daemon], names: Sequence[str], grade: str, voice: Voice, deadline: float
) -> Proof | None:
    """Wait until one daemon says that the node is off; None when none did so before ``deadline``.

    ``names``: what the node is called, in the order of preference; the next one is asked for only where a
    daemon does not know the one before.
    """
    for daemon, outcome in each(asked, lambda one: _ask(one, names, grade, voice, deadline), deadline):
        match outcome:
            case Proof():
                return outcome
            case str():
                voice.debug(f"{daemon.label}: {outcome}")
            case daemons.Refused():
                voice.error(f"{daemon.label}: {outcome}")
            case Exception():
                raise outcome
    return None


def _ask(daemon: Daemon, names: Sequence[str], grade: str, voice: Voice, deadline: float) -> Proof | str:
    """Ask one daemon until it says yes or the time is over: the proof, or the reason of the last no."""
    last, said = "no answer in time", False
    names = list(names)
    while (left := deadline - MARGIN_SECONDS - time.monotonic()) > 0 or not said:
        wait = f"timeout={max(left, 0.0):.2f}" + (f"&grade={grade}" if grade else "")
        try:
            answer = daemons.get(daemon, f"/v1/nodes/{quoted(names[0])}/off?{wait}", deadline)
        except daemons.Missing:
            if len(names) == 1:
                raise
            del names[0]
            continue
        except daemons.Unreachable as error:
            last = str(error)
            if not said:
                voice.error(f"kdump-fence does not answer on {daemon.label} ({error}): is it running?")
            said = True
        else:
            said = True
            reason = str(answer.get("reason", "no reason given"))
            if answer.get("off") is True:
                return Proof(daemon, str(answer.get("node", names[0])), reason)
            last = reason
        time.sleep(max(0.0, min(RETRY_SECONDS, deadline - MARGIN_SECONDS - time.monotonic())))
    return last


def complain(daemon: Daemon, error: Exception, voice: Voice) -> None:
    """Say why a daemon was of no use; what is not of its making is raised."""
    if isinstance(error, daemons.Unreachable):
        voice.error(f"kdump-fence does not answer on {daemon.label} ({error}): is it running?")
    elif isinstance(error, daemons.Refused):
        voice.error(f"{daemon.label}: {error}")
    else:
        raise error

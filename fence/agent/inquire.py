"""The actions that ask and change nothing: ``status``, ``list``, ``list-status`` and ``monitor``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fence.agent import ask, daemons, listen
from fence.agent.http import quoted
from fence.agent.options import FAILED, IS_OFF, OK, names
from fence.pair.flags import BadValue
from fence.pair.say import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from fence.agent.daemons import Daemon
    from fence.agent.options import Request
    from fence.pair.say import Voice

    Answer = dict[str, Any]
    T = TypeVar("T")

ANSWER_SECONDS = 5  # a daemon that is well answers these at once; a dead one must not use up Pacemaker's time


def status(request: Request, voice: Voice) -> int:
    """2 where a daemon holds the node for off, 0 where it is known, 1 where it is not.

    Without a daemon every node that has an address is on as far as we know. Pacemaker asks this where
    ``list`` gave nothing, to learn whether the device may fence the node at all.
    """
    if not request.wanted:
        raise BadValue("action 'status' requires nodename")
    asked = daemons.configured(request) or daemons.at_default_socket()
    if not asked:
        return _said("ON" if listen.addresses_of(request, voice) else None)
    word = None
    for _, node in _answers(asked, lambda daemon, until: _node(daemon, request, until), request, voice):
        word = "OFF" if node.get("off") is True or word == "OFF" else "ON"
    return _said(word)


def _said(word: str | None) -> int:
    if word:
        put(1, f"Status: {word}\n")
    return {"ON": OK, "OFF": IS_OFF, None: FAILED}[word]


def list_nodes(request: Request, voice: Voice) -> int:
    """``NAME,ID`` of every node that any daemon is configured with; ``list-status`` adds ON or OFF.

    No node at all is a failure: Pacemaker would take an empty list for "can fence nobody", while after
    a failed one it asks for the status of each node.
    """
    asked = daemons.configured(request) or daemons.at_default_socket()
    if not asked:
        raise BadValue(f"action '{request.action}' needs a daemon: give socket or url")
    aliases: dict[str, str] = {}
    off = set()
    for _, answer in _answers(
        asked, lambda daemon, until: daemons.get(daemon, "/v1/nodes", until), request, voice
    ):
        for node in _configured_nodes(answer):
            name, alias = node["name"], str(node.get("id") or "")
            aliases[name] = "" if alias == name else alias
            if node.get("off") is True:
                off.add(name)
    for name, alias in sorted(aliases.items()):
        state = f",{'OFF' if name in off else 'ON'}" if request.action == "list-status" else ""
        put(1, f"{name},{alias}{state}\n")
    if not aliases:
        voice.error("no daemon that answered is configured with a node")
    return OK if aliases else FAILED


def _configured_nodes(answer: Answer) -> Iterator[Answer]:
    nodes = answer.get("nodes")
    for node in nodes if isinstance(nodes, list) else ():
        # Names that were only ever asked for would let the device claim nodes that nobody gave it.
        if isinstance(node, dict) and isinstance(node.get("name"), str) and node.get("source") != "asked":
            yield node


def monitor(request: Request, voice: Voice) -> int:
    """Success where ``off`` could be answered: a healthy daemon knows the node, or the port is free."""
    asked = daemons.configured(request)
    if not asked:
        known = listen.addresses_of(request, voice) if request.wanted else ()
        if request.wanted and not known:
            return FAILED
        try:
            families = {address.family for address in known} or {listen.IPV4}
            listen.close_all(listen.open_sockets(families, request.ipport))
            return OK
        except listen.PortTaken as holder:
            asked = daemons.at_default_socket()
            if not asked:
                (voice.debug if holder.by_agent else voice.error)(str(holder))
                return OK if holder.by_agent else FAILED
    healthy = False
    for daemon, problems in _answers(
        asked, lambda daemon, until: _problems(daemon, request, until), request, voice
    ):
        for problem in problems:
            voice.error(f"{daemon.label}: {problem}")
        healthy = healthy or not problems
    return OK if healthy else FAILED


def _problems(daemon: Daemon, request: Request, until: float) -> Sequence[str]:
    """What keeps the daemon from answering for the node; nothing where all is well."""
    answer = daemons.get(daemon, "/healthz", until)
    said = answer.get("problems")
    problems = [str(problem) for problem in said] if isinstance(said, list) else []
    if not answer.get("listening"):
        problems.append("it listens on no UDP port")
    if not problems and answer.get("ok") is not True:
        problems.append("it is not well, and does not say why")
    if request.wanted:
        try:
            _node(daemon, request, until)
        except daemons.Missing as error:
            problems.append(str(error))
    return problems


def _node(daemon: Daemon, request: Request, until: float) -> Answer:
    """The node by the first of its names that the daemon knows."""
    *others, last = (name for wanted in request.wanted for name in names(wanted))
    for name in others:
        try:
            return daemons.get(daemon, f"/v1/nodes/{quoted(name)}", until)
        except daemons.Missing:
            continue
    return daemons.get(daemon, f"/v1/nodes/{quoted(last)}", until)


def _answers(
    asked: Sequence[Daemon], question: Callable[[Daemon, float], T], request: Request, voice: Voice
) -> Iterator[tuple[Daemon, T]]:
    """Put one question to all; what goes wrong with a daemon is said, and that one left out."""
    until = time.monotonic() + min(request.timeout, ANSWER_SECONDS)
    for daemon, outcome in ask.each(asked, lambda one: question(one, until), until):
        if isinstance(outcome, Exception):
            ask.complain(daemon, outcome, voice)
        else:
            yield daemon, outcome

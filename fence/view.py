"""Nodes, senders and health as the API shows them (docs/fence-api.md)."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fence.cloud import iso
from fence.daemon import Daemon
from fence.events import Decision, Grade, data_of
from fence.listen import Ear
from fence.node import Liveness
from fence.table import Member
from fence.udp import bound, buffer_bytes


def our_version() -> str:
    """The distribution's version."""
    try:
        return version("kdump-net")
    except PackageNotFoundError:
        return "unknown"


def node_view(daemon: Daemon, member: Member) -> dict[str, Any]:
    """One node, all of it."""
    node, listed = member.node, member.listed
    now, wall = daemon.now(), daemon.wall()
    crash = node.crash
    decision = node.decide(now, asked=Grade.NONE, asked_by="", began=now)
    return {
        "name": node.name,
        "id": listed.id,
        "source": listed.source,
        "addresses": daemon.table.addresses(node.name),
        "unresolved": daemon.resolver.unresolved.get(node.name, ()),
        "networks": [str(network) for network in listed.networks],
        "state": node.state,
        "since": iso(wall - (now - node.since)),
        "off": decision.off,
        "grade": str(decision.grade),
        "policy": str(decision.policy),
        "reason": decision.reason,
        "evidence": {
            str(grade): {"age_seconds": round(now - at, 3), "fresh": now - at <= node.rules.window}
            for grade, at in sorted(node.seen.items())
        },
        "beats": crash.beats,
        "age_seconds": None if decision.age_seconds is None else round(decision.age_seconds, 3),
        "heard_from": node.heard_from,
        "session": node.session_text(),
        "phase": crash.phase and crash.phase.name.lower(),
        "progress": crash.progress and asdict(crash.progress),
        "alive": {
            "known": node.liveness is Liveness.ALIVE,
            "liveness": node.liveness.value,
            "age_seconds": None if node.alive_at is None else round(now - node.alive_at, 3),
            "by": node.alive_by,
        },
        "signed_with": node.signed_with,
        "keys": [key_id.hex() for key_id in member.keys],
        "drill": None
        if node.drill_at is None
        else {"at": iso(wall - (now - node.drill_at)), "grade": str(node.drill_grade)},
        "alarms": member.alarms,
    }


def decision_view(decision: Decision) -> dict[str, Any]:
    """An answer."""
    answer = data_of(decision)
    del answer["asked_by"]
    return answer | {"age_seconds": answer.get("age_seconds")}


def unknown_view(daemon: Daemon) -> dict[str, Any]:
    """Who sends without being known, the last one first."""
    now = daemon.now()
    senders = [
        {
            "address": sender.address,
            "messages": sender.messages,
            "age_seconds": round(now - sender.at, 3),
            "claims": sender.claims,
        }
        for sender in reversed(daemon.table.unknown.values())
    ]
    return {"senders": senders, "forgotten": daemon.table.forgotten}


def health_view(daemon: Daemon, ears: list[Ear], problems: list[str]) -> dict[str, Any]:
    """What a monitor wants to know."""
    listening = [
        {
            "address": bound(ear.sock).host,
            "port": bound(ear.sock).port,
            "buffer_bytes": buffer_bytes(ear.sock),
        }
        for ear in ears
    ]
    return {
        "ok": not problems,
        "version": our_version(),
        "uptime_seconds": round(daemon.now() - daemon.started, 3),
        "problems": problems,
        "listening": listening,
        "nodes": len(daemon.table.members),
        "unresolved": len(daemon.resolver.unresolved),
        "waits": daemon.waits.open,
        "datagrams": sum(ear.received for ear in ears),
        "dropped": sum(ear.dropped for ear in ears),
        "junk": sum(ear.junk for ear in ears) + daemon.table.counts["junk"],
    }

"""What must be remembered of a node across a restart of the daemon. Sans-IO.

Times are written down in the daemon's own clock, with the clock's identity beside them: after a restart the
evidence is exactly as old as it is, after a reboot of the daemon's host it is no evidence at all.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fence.events import Grade, State
from fence.message import Phase, Progress
from fence.node import Crash, Liveness, Node
from fence.session import Session, Sessions


def written(node: Node, now: float, wall: float) -> str:
    """The node as one line of JSON."""
    crash, sessions = node.crash, node.sessions
    return json.dumps(
        {
            "state": node.state,
            "since": node.since,
            "seen": {str(int(grade)): at for grade, at in node.seen.items()},
            "heard_from": node.heard_from,
            "signed_with": node.signed_with,
            "liveness": node.liveness.value,
            "alive_at": node.alive_at,
            "alive_by": node.alive_by,
            "drill_wall": None if node.drill_at is None else wall - (now - node.drill_at),
            "drill_grade": int(node.drill_grade),
            "crash": {
                "beats": crash.beats,
                "since": crash.since,
                "session": _hex(crash.session),
                "session_grade": int(crash.session_grade),
                "best": int(crash.best),
                "phase": crash.phase,
                "phase_grade": int(crash.phase_grade),
                "progress": crash.progress and [crash.progress.done_bytes, crash.progress.total_bytes],
                "upload": crash.upload,
            },
            "sessions": {
                "current": sessions.current and _session_row(sessions.current),
                "past": [session.hex() for session in sessions.past],
                "doubted": [_session_row(session) for session in sessions.doubted],
            },
        },
        separators=(",", ":"),
    )


def recall(node: Node, text: str, now: float, wall: float, *, same_clock: bool) -> None:
    """Put back what was written; ``same_clock``: it was written with the clock of ``now``.

    Raises:
        ValueError, KeyError, TypeError: the text is not what `written` writes; the node is as before.
    """
    row = json.loads(text)
    seen = {Grade(int(grade)): float(at) for grade, at in row["seen"].items()}
    crash, sessions = _crash(row["crash"]), _sessions(row["sessions"])
    state, liveness = State(row["state"]), Liveness(row["liveness"])
    drill_wall, drill_grade = row["drill_wall"], Grade(row["drill_grade"])
    since, alive_at, alive_by = float(row["since"]), row["alive_at"], row["alive_by"]
    heard_from, signed_with = row["heard_from"], row["signed_with"]
    if not same_clock:
        sessions.clock_gone(alive_at)
        since, seen = now, {}
        alive_at, alive_by, liveness = None, None, Liveness.UNKNOWN
        crash.since = None if crash.since is None else now
        state = State.SILENT if state is State.DUMPING else state
    node.state, node.since, node.seen = state, since, seen
    node.heard_from, node.signed_with = heard_from, signed_with
    node.liveness, node.alive_at, node.alive_by = liveness, alive_at, alive_by
    node.drill_at = None if drill_wall is None else now - (wall - drill_wall)
    node.drill_grade, node.crash, node.sessions, node.changed = drill_grade, crash, sessions, False


def _crash(row: dict[str, Any]) -> Crash:
    return Crash(
        beats=row["beats"],
        since=row["since"],
        session=_bytes(row["session"]),
        session_grade=Grade(row["session_grade"]),
        best=Grade(row["best"]),
        phase=row["phase"] and Phase(row["phase"]),
        phase_grade=Grade(row["phase_grade"]),
        progress=row["progress"] and Progress(*row["progress"]),
        upload=row["upload"],
    )


def _sessions(row: dict[str, Any]) -> Sessions:
    return Sessions(
        current=row["current"] and _session(row["current"]),
        past=[bytes.fromhex(session) for session in row["past"]],
        doubted=[_session(session) for session in row["doubted"]],
    )


def _session_row(session: Session) -> dict[str, Any]:
    return asdict(session) | {"id": session.id.hex()}


def _session(row: dict[str, Any]) -> Session:
    return Session(**row | {"id": bytes.fromhex(row["id"])})


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)

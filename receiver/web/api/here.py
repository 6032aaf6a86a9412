"""The receiver itself: space, who asks, health, metrics, the API's own description."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from receiver import stores
from receiver.durable import write_file
from receiver.spool.summary import Summary, summary
from receiver.web.api import models
from receiver.web.api.endpoint import Ask
from receiver.web.metrics import Metrics
from receiver.web.problem import Refused, problem

WORKER_SILENT_SECONDS: Final = 15.0  # without a beat: it hangs, or is gone
TRIAL: Final = ".ready-trial"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so."""

    name: str
    ok: bool
    detail: str = ""


def space(ask: Ask) -> Summary:
    """Where the space went."""
    desk = ask.desk
    limits, policy = stores.limits_of(desk.settings), stores.policy_of(desk.settings)
    return summary(desk.spool, limits, policy, time.time())


def me(ask: Ask) -> models.Me:
    """Who asks."""
    viewer = ask.request.state.viewer
    return models.Me(name=viewer.name, role=viewer.role, how=viewer.how, csrf=viewer.csrf)


def health(ask: Ask) -> Response:
    """This process answers."""
    return JSONResponse({"ok": True})


def ready(ask: Ask) -> Response:
    """Whether dumps can be received and listed: 200, or 503 and why not."""
    checks = [_disk(ask), _catalogue(ask), *_workers(ask)]
    content: dict[str, Any] = {check.name: "ok" if check.ok else check.detail or "not ok" for check in checks}
    bad = [check for check in checks if not check.ok]
    if not bad:
        return JSONResponse({"ok": True, "checks": content})
    detail = "; ".join(f"{check.name}: {check.detail}" for check in bad)
    return problem(503, detail, "/readyz", {"retry-after": "5"}, checks=content)


def _disk(ask: Ask) -> Check:
    desk = ask.desk
    try:
        trial = desk.spool.state / TRIAL
        write_file(trial, b"written by /readyz\n")
        trial.unlink(missing_ok=True)
        if not os.access(desk.spool.root, os.W_OK | os.X_OK):
            return Check("disk", False, f"{desk.spool.root} cannot be written")
    except OSError as error:
        return Check("disk", False, error.strerror or str(error))
    return Check("disk", True)


def _catalogue(ask: Ask) -> Check:
    try:
        ask.desk.journal.last_id()
    except sa.exc.SQLAlchemyError as error:
        return Check("catalogue", False, str(error).splitlines()[0][:200])
    return Check("catalogue", True)


def _workers(ask: Ask) -> list[Check]:
    now, vitals = time.monotonic(), ask.desk.vitals
    found = []
    for place in range(vitals.places - 1):
        silent = now - vitals.read(place).beaten
        ok = silent < WORKER_SILENT_SECONDS
        found.append(Check(f"worker {place}", ok, "" if ok else "it gives no sign of life"))
    return found


def metrics(ask: Ask) -> Response:
    """For Prometheus."""
    kept: Metrics = ask.request.app.state.metrics
    try:
        text, media = kept.text()
    except sa.exc.SQLAlchemyError as error:
        raise Refused(503, f"the catalogue cannot be read: {str(error).splitlines()[0][:200]}") from error
    return Response(text, headers={"content-type": media})

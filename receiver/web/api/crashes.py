"""Groups of crashes, and what repeats."""

from __future__ import annotations

import time

from receiver.catalogue.brief import occurrences
from receiver.catalogue.store import Query
from receiver.triage.groups import Group, Occurrence, groups, repetitions
from receiver.web.api import models
from receiver.web.api.dumps import since
from receiver.web.api.endpoint import Ask
from receiver.web.problem import Refused


def list_groups(ask: Ask) -> models.Groups:
    """The most frequent first."""
    asked: models.GroupQuery = ask.query
    found = groups(_crashes(ask, Query(host=asked.host, since=since(asked.since))), time.time())
    return models.Groups(groups=found[: asked.limit])


def show(ask: Ask) -> Group:
    """One group; its signature may be cut short."""
    signature = ask.path("signature")
    found = groups(_crashes(ask, Query(signature=signature)), time.time())
    exact = [group for group in found if group.signature == signature]
    if len(exact or found) != 1:
        many = f"{len(found)} groups begin with {signature!r}; say more of it"
        raise Refused(404, many if found else f"no group {signature!r}")
    return (exact or found)[0]


def list_repetitions(ask: Ask) -> models.Repetitions:
    """Hosts again and again, hardware models, reasons."""
    asked: models.RepetitionQuery = ask.query
    found = repetitions(_crashes(ask, Query()), time.time())
    wanted = [one for one in found if asked.by in (None, one.view)]
    return models.Repetitions(repetitions=wanted)


def _crashes(ask: Ask, query: Query) -> list[Occurrence]:
    return list(occurrences(ask.desk.catalogue.briefs(query)))

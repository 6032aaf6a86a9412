"""What is still to be told, in the catalogue's database: nothing is lost on a restart or a dead endpoint.

An entry is put in for a target in the transaction that moves the target's place in the journal
on, and is taken out after it was delivered: told at least once, under the same id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from receiver.catalogue import journal as journals
from receiver.catalogue.journal import Entry, Journal
from receiver.catalogue.schema import outbox, targets
from receiver.catalogue.store import Catalogue
from receiver.events import GaveUp
from receiver.notify import pace as paces
from receiver.notify.choice import wants
from receiver.notify.pace import Pace, Row
from receiver.targets import Target

READ: Final = 500  # entries of the journal at once
LOOK: Final = 1000  # rows that wait, of which the pace decides


@dataclass(frozen=True, slots=True)
class State:
    """One target, as `notify status` shows it. Times in seconds of the epoch."""

    name: str
    waiting: int
    delivered: int
    given_up: int
    delivered_at: float | None
    down_until: float | None
    failures: int
    error: str | None
    oldest: str | None  # time of the oldest entry that waits


class Outbox:
    """Every method blocks and may be called from any thread. Raises SQLAlchemyError."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._engine = catalogue.engine
        self._journal: Journal = catalogue.journal

    def begin(self, name: str) -> None:
        """A target that is new here is told of what happens from now on."""
        last = self._journal.last_id()
        with self._engine.begin() as connection:
            known = connection.execute(sa.select(targets.c.after).where(targets.c.name == name)).scalar()
            if known is None:
                connection.execute(
                    sa.insert(targets).values(
                        name=name, after=last, pace=paces.as_json(Pace()), delivered=0, given_up=0
                    )
                )

    def collect(self, target: Target, now: float) -> int:
        """Put in what the journal has for `target` since the last time; how many entries were read."""
        after = self._of(target.name).after
        entries = self._journal.after(after, READ)
        if not entries:
            return 0
        wanted = [entry for entry in entries if wants(target, entry)]
        with self._engine.begin() as connection:
            moved = connection.execute(
                sa.update(targets)
                .where(targets.c.name == target.name, targets.c.after == after)
                .values(after=entries[-1].id)
            )
            if moved.rowcount == 1 and wanted:
                connection.execute(sa.insert(outbox), [_row(target.name, one, now) for one in wanted])
        return len(entries)

    def bound(self, target: Target, now: float) -> None:
        """Give up what is too old or too much; the journal tells how many."""
        mine = outbox.c.target == target.name
        oldest = now - target.give_up_hours * 3600
        beyond = sa.select(outbox.c.id).where(mine).order_by(outbox.c.id.desc()).offset(target.keep).limit(1)
        with self._engine.connect() as connection:
            last = connection.execute(beyond).scalar() or 0
            first = connection.execute(sa.select(sa.func.min(outbox.c.put_at)).where(mine)).scalar()
        if not last and (first is None or first >= oldest):
            return
        with self._engine.begin() as connection:
            too_many = connection.execute(sa.delete(outbox).where(mine, outbox.c.id <= last)).rowcount
            too_old = connection.execute(sa.delete(outbox).where(mine, outbox.c.put_at < oldest)).rowcount
            reasons = (too_many, f"more than {target.keep} waited"), (too_old, "waited too long")
            self._gave_up(connection, target.name, reasons, now)

    def pace(self, name: str) -> Pace:
        """Where the target stands."""
        return paces.from_json(self._of(name).pace)

    def waiting(self, name: str) -> list[Row]:
        """The oldest rows of a target."""
        statement = sa.select(outbox.c.id, outbox.c.attempts, outbox.c.next_at).where(outbox.c.target == name)
        with self._engine.connect() as connection:
            rows = connection.execute(statement.order_by(outbox.c.id).limit(LOOK)).all()
        return [Row(row.id, row.attempts, row.next_at) for row in rows]

    def entries(self, rows: Sequence[int]) -> list[Entry]:
        """What these rows tell."""
        statement = sa.select(outbox.c.entry).where(outbox.c.id.in_(rows)).order_by(outbox.c.id)
        with self._engine.connect() as connection:
            return [Entry(**json.loads(text)) for text in connection.execute(statement).scalars()]

    def delivered(self, name: str, rows: Sequence[int], pace: Pace, now: float) -> None:
        """They arrived."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(outbox).where(outbox.c.id.in_(rows)))
            self._update(
                connection, name, pace=paces.as_json(pace), delivered=targets.c.delivered + len(rows),
                delivered_at=now, error=None,
            )  # fmt: skip

    def down(self, name: str, pace: Pace, error: str) -> None:
        """The target could not be reached; everything waits."""
        with self._engine.begin() as connection:
            self._update(connection, name, pace=paces.as_json(pace), error=error)

    def refused(self, name: str, rows: Sequence[int], next_at: float, error: str, now: float) -> None:
        """The target is there and does not want these: they wait alone, and not for ever."""
        with self._engine.begin() as connection:
            these = outbox.c.id.in_(rows)
            connection.execute(
                sa.update(outbox).where(these).values(attempts=outbox.c.attempts + 1, next_at=next_at)
            )
            gone = connection.execute(
                sa.delete(outbox).where(these, outbox.c.attempts >= paces.REFUSALS)
            ).rowcount
            self._update(connection, name, error=error)
            self._gave_up(connection, name, [(gone, error)], now)

    def states(self) -> list[State]:
        """Every target that ever was, by name."""
        counts = sa.select(
            outbox.c.target, sa.func.count().label("n"), sa.func.min(outbox.c.id).label("first")
        )
        with self._engine.connect() as connection:
            waiting = {
                row.target: (row.n, row.first) for row in connection.execute(counts.group_by(outbox.c.target))
            }
            rows = connection.execute(sa.select(targets).order_by(targets.c.name)).all()
        return [self._state(row, *waiting.get(row.name, (0, None))) for row in rows]

    def _state(self, row: Any, waiting: int, first: int | None) -> State:
        pace = paces.from_json(row.pace)
        entries = self.entries([first]) if first is not None else []
        return State(
            row.name,
            waiting,
            row.delivered,
            row.given_up,
            row.delivered_at,
            pace.down_until or None,
            pace.failures,
            row.error,
            entries[0].time if entries else None,
        )

    def _of(self, name: str) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(sa.select(targets).where(targets.c.name == name)).one()

    def _update(self, connection: sa.Connection, name: str, **values: Any) -> None:
        connection.execute(sa.update(targets).where(targets.c.name == name).values(**values))

    def _gave_up(
        self, connection: sa.Connection, name: str, reasons: Iterable[tuple[int, str]], now: float
    ) -> None:
        told = [GaveUp(name, count, reason) for count, reason in reasons if count]
        if told:
            lost = sum(event.count for event in told)
            self._update(connection, name, given_up=targets.c.given_up + lost)
            journals.take_turn(connection)
            journals.write(connection, told, now)


def _row(target: str, entry: Entry, now: float) -> dict[str, Any]:
    return {
        "target": target,
        "event": entry.id,
        "entry": json.dumps(asdict(entry)),
        "put_at": now,
        "attempts": 0,
        "next_at": 0.0,
    }

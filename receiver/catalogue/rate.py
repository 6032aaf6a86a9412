"""How much of what strangers can cause goes into the journal. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from receiver.events import Event, Keep, Withheld

BURST: Final = 60.0  # events of one name at once …
PER_SECOND: Final = 1.0  # … and for long
TELL_SECONDS: Final = 60.0  # between two sums of what was withheld


@dataclass(slots=True)
class _Name:
    credit: float
    seen: float
    withheld: int = 0
    told: float = 0.0


@dataclass(slots=True)
class Rate:
    """A bucket of credit for each name of events; `now` in monotonic seconds."""

    names: dict[str, _Name] = field(default_factory=dict)

    def passes(self, event: Event, now: float) -> bool:
        """Whether the journal shall have this one."""
        if event.keep in {Keep.NEVER, Keep.WITH_ITS_ROW}:
            return False
        if event.keep is Keep.ALWAYS:
            return True
        name = self.names.setdefault(event.name, _Name(BURST, now, told=now))
        name.credit = min(BURST, name.credit + (now - name.seen) * PER_SECOND)
        name.seen = now
        if name.credit < 1:
            name.withheld += 1
            return False
        name.credit -= 1
        return True

    def withheld(self, now: float, *, all_of_it: bool = False) -> list[Withheld]:
        """What did not pass since it was last told, a sum for each name, now and then."""
        told = []
        for what, name in self.names.items():
            if name.withheld and (all_of_it or now - name.told >= TELL_SECONDS):
                told.append(Withheld(what, name.withheld, "too many at once; the log has them all"))
                name.withheld, name.told = 0, now
        return told

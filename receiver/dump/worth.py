"""What a dump is worth: apart from how that is found out, which takes all the readers."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a file is worth."""

    COMPLETE = "complete"  # everything that it promises is in it
    TRUNCATED = "truncated"  # it broke off: what is there is good, something is missing
    DAMAGED = "damaged"  # it contradicts itself
    UNKNOWN = "unknown"  # no dump format: nothing can be said

from dataclasses import dataclass
from enum import StrEnum

from receiver.dump.facts import Facts


class Verdict(StrEnum):
    COMPLETE = "complete"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reason: str
    facts: Facts


def judge_untrusted(p, size, kind, *, ended=None, deep=False, on_progress=None):
    return Judgement(Verdict.TRUNCATED if ended is False else Verdict.COMPLETE, "shim", Facts())

"""Which of the things a kernel log reports is the crash: headlines, bursts, and the lines that belong to one.

A log may hold warnings of weeks ago, the oops, what the oops did to others, and the panic's last words. The
crash is the first report of the last burst; words such as "Fatal exception" only say that there was one.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.triage.frames import frames_of
from receiver.triage.log import Line, Log
from receiver.triage.rules import Rank, Rule, Rules

MAX_HITS = 300  # lines looked at for each literal, from the end of the log
MAX_REPORT = 3000  # lines of one report
MATCHED = 1024  # characters of a line a headline is looked for in

_HANGS = ("soft-lockup", "hard-lockup", "rcu-stall", "hung-task", "workqueue-lockup")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A headline in the log: where it stands, which rule knows it, and what the rule read from it."""

    index: int
    line: Line
    rule: Rule
    words: dict[str, str]


@dataclass(frozen=True, slots=True)
class Crash:
    """The crash of a log: its headline, its lines, and how the choice was made.

    ``last_words`` is the panic line the log ends with, where it is not the headline itself. ``earlier`` are
    the reports above that were not chosen. ``why`` tells people the reason for the choice.
    """

    headline: Sighting
    lines: tuple[Line, ...]
    last_words: Sighting | None
    earlier: tuple[Sighting, ...]
    why: str


def sightings(log: Log, rules: Rules) -> list[Sighting]:
    """Every headline of the log, in order; of each kind the last MAX_HITS."""
    wanted: dict[str, list[int]] = {}
    for number, rule in enumerate(rules.rules):
        for literal in rule.find:
            wanted.setdefault(literal, []).append(number)
    lines: dict[int, set[int]] = {}
    for literal, numbers in wanted.items():
        end = len(log.text)
        for _ in range(MAX_HITS):
            at = log.text.rfind(literal, 0, end)
            if at < 0:
                break
            index = log.index_at(at)
            lines.setdefault(index, set()).update(numbers)
            end = log.start_of(index)
    found = []
    for index in sorted(lines):
        line = log.line(index)
        if (seen := _read(line, index, sorted(lines[index]), log, rules)) is not None:
            found.append(seen)
    return found


def _read(line: Line, index: int, numbers: list[int], log: Log, rules: Rules) -> Sighting | None:
    text = line.text[:MATCHED]
    if "---[ end Kernel panic" in text:
        return None
    for number in numbers:
        rule = rules.rules[number]
        match = rule.match.search(text)
        if match is None:
            continue
        words = {name: value.strip() for name, value in match.groupdict().items() if value is not None}
        if rule.soon is not None:
            for below in range(index, min(index + 8, len(log))):
                if more := rule.soon.search(log.line(below).text[:MATCHED]):
                    words |= {name: value for name, value in more.groupdict().items() if value is not None}
                    break
        if "what" in words:
            words["what"] = rule.rename.get(words["what"], words["what"])
        return Sighting(index, line, rule, words)
    return None


def crash_of(log: Log, rules: Rules) -> Crash | None:
    """The crash the log ends with; None where it reports none."""
    seen = sightings(log, rules)
    events = [sighting for sighting in seen if sighting.rule.rank != "reboot"]
    if not events:
        return _reboot(log, [sighting for sighting in seen if sighting.rule.rank == "reboot"])
    last = _last(events, "panic", "end")
    if last is None:
        last = _last(events, "die")
    if last is None:
        last = len(events) - 1
    burst = _burst(events, last, rules)
    chosen, why = _choose(events, burst, last)
    words = events[last] if last != chosen and events[last].rule.rank in ("panic", "end") else None
    lines = _lines(log, events, chosen)
    return Crash(events[chosen], lines, words, tuple(events[:chosen]), why)


def _last(events: list[Sighting], *ranks: Rank) -> int | None:
    return next((n for n in range(len(events) - 1, -1, -1) if events[n].rule.rank in ranks), None)


def _burst(events: list[Sighting], last: int, rules: Rules) -> list[int]:
    """The events up to ``last`` that follow each other closely, in order."""
    burst = [last]
    cause = _cause(events, last, rules)
    for n in range(last - 1, -1, -1):
        before, after = events[n], events[burst[0]]
        if n == cause:
            near = True
        elif before.line.seconds is None or after.line.seconds is None:
            near = after.index - before.index <= rules.nearby_lines
        else:
            near = abs(after.line.seconds - before.line.seconds) <= _allowed(before, after, rules)
        if not near and _out_of_order(before, after):
            continue  # another clock's or another boot's line between two of ours
        if not near:
            break
        burst.insert(0, n)
    return burst


def _cause(events: list[Sighting], last: int, rules: Rules) -> int | None:
    """What a consequence follows, even on a slow console: the report above it, of the same caller."""
    if events[last].rule.rank != "end":
        return None
    line = events[last].line
    for n in range(last - 1, -1, -1):
        if events[n].line.caller in (line.caller, None):
            ago = (line.seconds or 0.0) - (events[n].line.seconds or 0.0)
            return n if 0 <= ago <= rules.nearby_cause_seconds else None
    return None


def _allowed(before: Sighting, after: Sighting, rules: Rules) -> float:
    """How many seconds may lie between two reports of one crash."""
    if before.rule.crash.name in _HANGS and (after.rule.crash.name in _HANGS or after.rule.rank == "end"):
        return rules.nearby_hang_seconds
    if before.rule.crash.mild and after.rule.rank == "die":
        return rules.nearby_mild_seconds
    return rules.nearby_seconds


def _out_of_order(before: Sighting, after: Sighting) -> bool:
    return (before.line.seconds or 0.0) > (after.line.seconds or 0.0)


def _choose(events: list[Sighting], burst: list[int], last: int) -> tuple[int, str]:
    """The event that names the crash, and why."""
    end = events[last]
    causes = [n for n in burst if n != last and events[n].rule.rank in ("report", "die")]
    match end.rule.rank:
        case "panic" if not end.rule.yields:
            return last, "the panic says itself why"
        case "panic":
            causes = [n for n in causes if events[n].rule.rank == "die"]
            if not causes:
                return last, "the panic is the only reason given"
        case "end" if end.rule.of:
            named = [n for n in causes if events[n].rule.crash.name in end.rule.of]
            causes = named or causes
    if causes:
        first = causes[0]
        if end.rule.rank in ("panic", "end"):
            return first, f"the first report of the burst that ends in {end.line.text.strip()[:100]!r}"
        return first, "the first report of the last burst; no panic line, as where an oops starts kexec"
    return last, "the only report of the last burst"


def _lines(log: Log, events: list[Sighting], chosen: int) -> tuple[Line, ...]:
    """The lines of the report, up to the next one once a stack was seen.

    Where the log tells callers apart only the headline's count, but for stalls, which several CPUs tell.
    """
    event = events[chosen]
    others = {other.index: other for other in events[chosen + 1 :]}
    caller = None if event.rule.crash.name in _HANGS else event.line.caller
    lines: list[Line] = []
    stack = 0
    for index in range(event.index, min(len(log), event.index + MAX_REPORT)):
        line = log.line(index)
        if caller is not None and line.caller not in (caller, None):
            continue
        if index in others and (stack > 1 or not _goes_on(event, others[index])):
            break
        stack += bool(frames_of(line.text, line.number))
        lines.append(line)
    return tuple(lines)


def _goes_on(event: Sighting, other: Sighting) -> bool:
    """Is the next headline, met before any stack, about the same crash: "kernel BUG at", "invalid opcode"?"""
    if event.line.caller is not None:
        return True  # all these lines are of one caller
    both_die = event.rule.rank == other.rule.rank == "die"
    return both_die or other.rule.rank in ("panic", "end") or event.rule.rank in ("panic", "end")


def _reboot(log: Log, boots: list[Sighting]) -> Crash | None:
    """A kernel that starts in the middle of another's log: somebody saw it go without a word."""
    for boot in reversed(boots):
        above = [log.line(index) for index in range(max(0, boot.index - 60), boot.index)]
        if any(line.seconds is not None and line.seconds > 1 for line in above):
            why = "a kernel starts where another was running, and nothing says why"
            return Crash(boot, (boot.line,), None, (), why)
    return None

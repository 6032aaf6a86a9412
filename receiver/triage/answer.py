"""From log text to answer: which kernel, why, where, and what it is called.

`triage_untrusted` is the whole of it.
"""

from __future__ import annotations

from receiver.triage import culprit, facts, oops, signature
from receiver.triage.culprit import Culprit
from receiver.triage.frames import Frame, Trace, frames_of, traces_of
from receiver.triage.log import Line, Log, read_untrusted
from receiver.triage.overrides import NONE, Overrides
from receiver.triage.report import Explanation, LogLine, Report, Weighed
from receiver.triage.rules import Rules, builtin

MAX_TRACE = 60  # frames a report lists; all of them are in the log
MAX_WEIGHED = 80
MAX_EARLIER = 20

_FREE_TEXT = {"what", "bad"}
# Before 4.20 sysrq-c crashed through a NULL pointer of its own (drivers/tty/sysrq.c).
_ASKED_FOR = ("sysrq_handle_crash",)
_TELLING = ("Oops", "Internal error", "CPU: ", "Pid: ", "Workqueue: ", "Kernel panic", "invalid opcode")


def triage_untrusted(data: bytes, overrides: Overrides = NONE, *, dropped: int = 0) -> Report:
    """Answer one log. Any bytes get an answer and nothing is raised; time and memory are linear and bounded.

    ``dropped`` counts the lines of the log before ``data``, where only its end is handed in.
    """
    rules = builtin()
    log = read_untrusted(data, dropped)
    crash = oops.crash_of(log, rules)
    if crash is None:
        known = facts.read(log, (), {})
        why = Explanation(why="No line of this log is the headline of a crash.", dropped_lines=log.dropped)
        return Report(
            "none",
            "",
            rules_version=rules.version,
            kernel=known.kernel,
            hardware=known.hardware,
            explanation=why,
        )
    return overrides.apply(_answer(log, crash, rules), rules)


def _answer(log: Log, crash: oops.Crash, rules: Rules) -> Report:
    event = crash.headline
    traces = _own(traces_of(crash.lines), event, crash)
    found = culprit.find(event.rule.look, _told(event), traces, crash.lines, rules.functions)
    kind, words, name, module = event.rule.crash, _words(event, rules), found.name, found.module
    if name in _ASKED_FOR:
        kind, name, module = rules.classes["sysrq"], None, None
        words = kind.title
    title = signature.title_of(words, None if event.rule.closed else name, rules.longest_title)
    stack = (title,) if event.rule.closed or not found.stack else found.stack
    digest = signature.stack_hash(rules.version, kind.name, stack, rules.frames)
    known = facts.read(log, crash.lines, event.words)
    reliable = any(frame.reliable for trace in traces for frame in trace.frames)
    return Report(
        crash_class=kind.name,
        title=title,
        function=name,
        module=module,
        signature=digest,
        stack_hash=digest,
        rules_version=rules.version,
        means=kind.means,
        kernel=known.kernel,
        hardware=known.hardware,
        comm=known.comm,
        pid=known.pid,
        cpu=known.cpu,
        taint=known.taint,
        complete=reliable or event.rule.look == "none",
        lines=_quotes(crash),
        trace=tuple(str(frame) for frame in _stack(traces)[:MAX_TRACE]),
        earlier=tuple(_quote(seen.line) for seen in crash.earlier[-MAX_EARLIER:]),
        modules=known.modules,
        # A hung task's registers are not in the log; what is there is the watchdog's CPU.
        registers=() if event.rule.look == "wait" else known.registers,
        explanation=_explanation(log, crash, found),
    )


def _told(event: oops.Sighting) -> Frame | None:
    """The function the headline names."""
    if function := event.words.get("function"):
        offset = int(event.words.get("offset", "0"), 16)
        return Frame(function, offset, event.words.get("module"), True, True, event.line.number)
    if function := event.words.get("plain"):
        return Frame(function, 0, None, True, True, event.line.number)
    return None


def _own(traces: list[Trace], event: oops.Sighting, crash: oops.Crash) -> list[Trace]:
    """The stacks of the task the report is about: others' get between the lines."""
    whose = (
        facts.reporter(crash.lines, event.words) if event.rule.look in ("fault", "lock", "locking") else None
    )
    return [trace for trace in traces if whose is None or trace.pid in (whose, None)]


def _words(event: oops.Sighting, rules: Rules) -> str:
    """The title's words with what the rule read from the line, its varying details gone."""
    told = dict.fromkeys(event.rule.match.groupindex, "")
    if event.rule.soon is not None:
        told |= dict.fromkeys(event.rule.soon.groupindex, "")
    told |= event.words
    for name in _FREE_TEXT & event.words.keys():
        told[name] = signature.without_details(event.words[name], rules.longest_title)
    return event.rule.title.format_map(told).strip()


def _stack(traces: list[Trace]) -> tuple[Frame, ...]:
    own = [trace for trace in traces if trace.about in ("main", "cpu", "task")] or traces
    return own[0].frames if own else ()


def _quote(line: Line) -> LogLine:
    return LogLine(line.number, line.text.strip()[:400])


def _quotes(crash: oops.Crash) -> tuple[LogLine, ...]:
    """The lines to read first: headline, oops and CPU lines, the program counter, the last words."""
    quotes = [_quote(crash.headline.line)]
    for line in crash.lines[1:80]:
        text = line.text.strip()
        if text.startswith(_TELLING) or any(frame.counter for frame in frames_of(text, line.number)):
            quotes.append(_quote(line))
        if len(quotes) >= 8:
            break
    if crash.last_words and all(quote.number != crash.last_words.line.number for quote in quotes):
        quotes.append(_quote(crash.last_words.line))
    return tuple(quotes)


def _explanation(log: Log, crash: oops.Crash, found: Culprit) -> Explanation:
    weighed = tuple(Weighed(step.frame.number, step.name, step.verdict) for step in found.steps[:MAX_WEIGHED])
    return Explanation(crash.headline.rule.name, crash.why, found.how, None, log.dropped, weighed)

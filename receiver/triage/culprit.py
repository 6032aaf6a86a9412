"""Which function is to blame: the program counter, or the first on the stack that is not everybody's.

A "first frame" rule names no stall and no hung task: it finds the interrupt that took the picture, or
schedule(). Each kind of report is looked at in its own way; see `find`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from receiver.triage.frames import SYMBOL, Frame, Trace
from receiver.triage.log import Line
from receiver.triage.rules import Functions, Look

_SYSCALL = re.compile(r"__(?:x64|ia32|arm64|riscv|s390x?|loongarch|powerpc|mips|se|do)_((?:compat_)?sys_\w+)")
_PART = re.compile(r"([1-9]\d{0,2})")
_RUST_HASH = re.compile(r"h[0-9a-f]{16}")
_HELD_AT = re.compile(r"(?:^|[ ,])at: (?:\[<[^>\]]{1,40}>\])? *" + SYMBOL)

_SKIPPED = ("machinery", "instruments", "generic", "scheduler", "entry")
_SKIPPED_TOO: dict[Look, tuple[str, ...]] = {
    "wait": ("waits",),
    "leak": ("askers",),
    "lock": ("lockers",),
    "locking": ("lockers",),
}
_GUESSED = "no reliable function: the first of the unreliable ones"
_RECURSIONS = 3  # a function that many times on a stack that ran over is the one that ran it over


@dataclass(frozen=True, slots=True)
class Step:
    """One function that was considered: ``blamed``, ``counted``, or why it was skipped."""

    frame: Frame
    name: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """The answer: ``name`` is None where nothing on the stack can be blamed.

    ``stack`` holds the names that count for the stack hash, innermost first. ``how`` says in words who chose.
    """

    name: str | None
    module: str | None
    stack: tuple[str, ...]
    steps: tuple[Step, ...]
    how: str


def plain_name(function: str) -> str:
    """The function as people know it: compiler suffixes and system call wrappers gone.

    >>> plain_name("tabledist.part.0"), plain_name("__x64_sys_rmdir"), plain_name("vzalloc_noprof")
    ('tabledist', 'sys_rmdir', 'vzalloc')
    >>> plain_name("_ZN4core9panicking5panic17h0123456789abcdefE")
    'core::panicking::panic'
    """
    if function.startswith("_Z"):
        function = _demangled(function)
    name = function.lstrip(".").split(".", 1)[0].split("@", 1)[0]
    if match := _SYSCALL.fullmatch(name):
        return match[1]
    # __pi_: the position-independent alias (arm64, riscv); _noprof: of the allocation profiling of 6.10
    return name.removeprefix("__pi_").removesuffix("_noprof")


def _demangled(symbol: str) -> str:
    """The path of an Itanium C++ or legacy Rust symbol, its types and hash left out; others as they are."""
    path, at = list[str](), 3 if symbol.startswith("_ZN") else 2
    while match := _PART.match(symbol, at):
        at = match.end() + int(match[1])
        path.append(symbol[match.end() : at])
    if len(path) > 1 and _RUST_HASH.fullmatch(path[-1]):
        path.pop()
    return "::".join(path) or symbol


def find(
    look: Look, told: Frame | None, traces: Sequence[Trace], lines: Iterable[Line], functions: Functions
) -> Culprit:
    """Find the culprit of one report.

    ``told`` is the function the headline itself names. How it is looked for:

    * fault: the headline, the program counter, then the stack, up to the first function that is not
      machinery, a helper, the scheduler or an entry.
    * lockup: the function a dispatcher (system call, work queue, timer, packet handler, …) called last.
    * stall: the same, below the interrupt that took the picture.
    * wait: past the scheduler and the locks, who is waiting.
    * locking: as fault, past who takes locks for others.
    * leak: as fault, past everything that allocates.
    * lock: where the lock validator says the lock is taken, else the stack.
    * owner: who allocated the page, where the kernel tracks it, else as fault.
    * inversion: where the lock was taken in an interrupt.
    * overflow: the function that recurses, else as lockup.
    * none: only what the headline says.
    """
    looking = _Look(look, functions)
    if look == "none":
        return looking.only(told)
    mains = [trace for trace in traces if trace.about == "main"]
    match look:
        case "stall":
            seen = [trace for trace in traces if trace.about in ("main", "cpu", "task")]
            return looking.stall(seen or list(traces), below_interrupt=True)
        case "lockup":
            return looking.stall(mains or list(traces), below_interrupt=False)
        case "overflow":
            return looking.overflow(mains)
        case "wait":
            return looking.fault(None, [trace for trace in traces if trace.about in ("main", "task")][:1])
        case "lock":
            return looking.lock(mains, traces, list(lines))
        case "inversion":
            safe = [trace for trace in traces if trace.about == "safe"]
            return looking.fault(told, [*safe, *mains])
        case "owner":
            owners = [trace for trace in traces if trace.about == "owner"]
            return looking.fault(told, owners or mains)
        case _:
            # Bare frames below the headline are another's where the report's own stack follows.
            mains = [trace for trace in mains if trace.headed] or mains
            return looking.fault(told, mains[:1] or [trace for trace in traces if trace.about == "task"][:1])


class _Look:
    """One search: the tables, and what was considered so far."""

    def __init__(self, look: Look, functions: Functions) -> None:
        self.look = look
        self.functions = functions
        self.steps: list[Step] = []

    def skipped(self, name: str) -> str | None:
        """Why a function cannot be blamed."""
        for table in (*_SKIPPED, *_SKIPPED_TOO.get(self.look, ())):
            if (words := self.functions.why(table, name)) is not None:
                return words
        return None

    def bucket(self, name: str) -> str | None:
        for bucket in self.functions.buckets:
            if self.look in bucket.look and bucket.members.fullmatch(name):
                return bucket.name
        return None

    def only(self, told: Frame | None) -> Culprit:
        if told is None:
            return Culprit(None, None, (), (), "this kind of report blames no function")
        name = plain_name(told.function)
        return Culprit(
            name, told.module, (name,), (Step(told, name, "blamed"),), "the headline names the function"
        )

    def fault(self, told: Frame | None, traces: Sequence[Trace]) -> Culprit:
        frames = [told] if told else []
        for trace in traces:
            frames += trace.frames
        return self.first(frames, "the first function that is not everybody's")

    def first(self, frames: Sequence[Frame], how: str, blamed: Frame | None = None) -> Culprit:
        """Walk outwards; ``blamed`` was chosen already and only the stack is to be counted."""
        stack: list[str] = []
        spare: list[Step] = []
        chosen: Step | None = None
        for frame in frames:
            name = plain_name(frame.function)
            if not frame.reliable:
                self.steps.append(Step(frame, name, "unreliable: found lying on the stack"))
                continue
            why = self.skipped(name)
            if why is not None and frame is not blamed:
                step = Step(frame, name, f"skipped: {why}")
                spare.append(step)
            else:
                wanted = frame is blamed if blamed is not None else chosen is None
                step = Step(frame, name, "blamed" if wanted and chosen is None else "counted")
                if wanted and chosen is None:
                    chosen = step
                if not stack or stack[-1] != name:
                    stack.append(name)
            self.steps.append(step)
        if chosen is None:
            return self.spare(spare)
        name = self.bucket(chosen.name) or chosen.name
        return Culprit(name, chosen.frame.module, tuple(stack), tuple(self.steps), how)

    def spare(self, spare: list[Step]) -> Culprit:
        """Nothing but helpers on the stack: the least common of them, the innermost first."""
        loose = [step for step in self.steps if not step.frame.reliable and self.skipped(step.name) is None]
        known = self.of(spare, "instruments")
        choices = [
            (self.of(spare, "generic"), "only helpers on the stack: the innermost of them"),
            (self.of(spare, "entry"), "only entries on the stack: the innermost of them"),
            (self.of(spare, "scheduler"), "only the scheduler on the stack"),
            (known, "only checks on the stack: the innermost of them"),
            (loose, _GUESSED),
            (self.of(spare, "machinery"), "only the crash's own machinery on the stack"),
        ]
        if not known and all(step.frame.counter for step in spare):
            # Without an unwinder all frames are marked "?": a guess, but a better one than memcpy().
            choices.insert(0, (loose, _GUESSED))
        for steps, how in choices:
            if steps:
                name = steps[0].name
                return Culprit(name, steps[0].frame.module, (name,), tuple(self.steps), how)
        return Culprit(None, None, (), tuple(self.steps), "no function on the stack")

    def of(self, steps: list[Step], *tables: str) -> list[Step]:
        return [step for step in steps if any(self.functions.why(table, step.name) for table in tables)]

    def stall(self, traces: Sequence[Trace], *, below_interrupt: bool) -> Culprit:
        trace = next((trace for trace in traces if any(frame.reliable for frame in trace.frames)), None)
        if trace is None:
            return self.fault(None, traces[:1])
        frames = [frame for frame in trace.frames if frame.reliable]
        names = [plain_name(frame.function) for frame in frames]
        machinery = self.functions.why("machinery", names[0])
        start = self.past_interrupt(names) if below_interrupt or machinery else 0
        for frame, name in zip(frames[:start], names[:start], strict=True):
            self.steps.append(Step(frame, name, "skipped: the interrupt that took the picture"))
        frames, names = frames[start:], names[start:]
        top = 0 if start else self.beyond("machinery", names, 0)
        if top >= len(names):
            return self.fault(None, [trace])
        own = min(self.beyond("instruments", names, top), len(names) - 1)
        if self.bucket(names[own]):
            return self.first(frames, "a CPU that waits for the others is named after that", frames[own])
        for n in range(top + 1, len(names)):
            if not (words := self.functions.why("anchors", names[n])):
                continue
            for inner in range(n - 1, top - 1, -1):
                if self.skipped(names[inner]) is None:
                    how = f"the function that {names[n]} called ({words})"
                    return self.first(frames, how, frames[inner])
            how = "the innermost function: only helpers above the dispatcher"
            return self.first(frames, how, frames[top])
        return self.first(frames, "the first function that is not everybody's")

    def past_interrupt(self, names: Sequence[str]) -> int:
        """Where the interrupted code begins: an interrupt's entry is several functions deep, in one run."""
        for n, name in enumerate(names):
            if self.functions.why("interrupt", name):
                return self.beyond("interrupt", names, n)
        return 0

    def beyond(self, table: str, names: Sequence[str], start: int) -> int:
        """The first function from there that the table does not list; the end where there is none."""
        found = (n for n in range(start, len(names)) if not self.functions.why(table, names[n]))
        return next(found, len(names))

    def overflow(self, traces: Sequence[Trace]) -> Culprit:
        if not traces:
            return self.fault(None, traces)
        frames = [frame for frame in traces[0].frames if frame.reliable]
        names = [plain_name(frame.function) for frame in frames]
        first = next((n for n, name in enumerate(names) if self.skipped(name) is None), None)
        if first is None or len(names) == 1:
            return self.fault(None, traces[:1])
        if names.count(names[first]) >= _RECURSIONS:
            how = f"{names[first]} is {names.count(names[first])} times on the stack"
            return self.first(frames, how, frames[first])
        return self.stall(traces[:1], below_interrupt=False)

    def lock(self, mains: Sequence[Trace], traces: Sequence[Trace], lines: list[Line]) -> Culprit:
        places: list[Frame] = []
        held: list[Frame] = []
        for line in lines:
            text = line.text.strip()
            if match := _HELD_AT.search(text[:512]):
                frame = Frame(
                    match["function"], int(match["offset"], 16), match["module"], True, False, line.number
                )
                (held if text.startswith("#") else places).append(frame)
        ours = [frame for trace in mains for frame in trace.frames]
        before = sorted([*places, *ours], key=lambda frame: frame.number)
        after = [frame for trace in traces if trace.about == "dependency" for frame in trace.frames]
        return self.first([*before, *held, *after], "the first place of the locks that is not everybody's")

"""Stack traces as the kernel prints them: frames, program counters and the sections they stand in.

The layouts are those of the kernel's own printers: show_trace_log_lvl and __show_regs (arch/x86),
dump_backtrace (arch/arm64, arch/arm), show_stack (powerpc, s390, riscv, mips, loongarch), and the
reports of kmemleak, KASAN and lockdep.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from receiver.triage.log import Line

MAX_FRAMES = 1000  # a 16 KiB stack holds fewer; an overflowed one repeats itself
MAX_TRACES = 200

# foo.isra.0+0x1f/0x30 [module 0123456789abcdef…]
SYMBOL = (
    r"(?P<function>[A-Za-z_.$][\w.$@]{0,255})\+0x(?P<offset>[0-9a-f]{1,16})/0x[0-9a-f]{1,16}"
    r"(?:\(\))?(?: \[(?P<module>[\w-]{1,64})(?: [0-9a-f]{1,64})?\])?"
)
# x86, arm64, riscv, mips: "? foo+…" and "[<c0112233>] foo+…"; s390 parenthesises what is unsure.
_CALL = re.compile(
    r"(?:(?:Call Trace:|</?[A-Z_#]{1,8}\d?>) *)*(?P<before>\? *)?(?P<s390>\()?"
    r"(?:\[<[^>\]]{1,40}>\] *)?(?P<after>\? *)?" + SYMBOL
)
_POWERPC = re.compile(r"\[[0-9a-f]{8,16}\] \[[0-9a-f]{8,16}\] \.?" + SYMBOL + r"(?P<unsure> \(unreliable\))?")
# ARM: "callee from caller", every frame twice.
_ARM = re.compile(
    r"(?:\[<[0-9a-f]{1,16}>\] \((?P<old>[^)]{1,400})\)|(?P<new>[A-Za-z_][\w.$]{0,255})) from "
    r"(?:\[<[0-9a-f]{1,16}>\] )?\(?" + SYMBOL
)
_PC = re.compile(
    r"(?:RIP|EIP|IP|PC|pc|epc|era|ERA|NIP|TPC|Krnl PSW|IAOQ\[0\])(?: is at)?(?!\w)[ :]*(?:[0-9a-f]{4}:)?"
    r"(?:[ \[\](<>:]|\(null\)|\b[0-9a-f]{8,16}\b)*(?:" + SYMBOL + r"|0x(?P<nowhere>[0-9a-f]{1,16}))"
)
_USER_MODE = re.compile(r"RIP: 00(?:33|23):|EIP: 00(?:73|23):")
_INTERRUPTED = re.compile(r"--- (?:interrupt|Exception): [0-9a-f]{1,5} at \.?" + SYMBOL)

# What a section of the report is about. "main" is the crash itself; the others tell of its past or of others.
_SECTIONS = {
    "history": (
        r"(?:INFO: )?(?:Allocated|Freed) (?:by|in) ",
        r"Allocated:|Freed:|freed by task |Uninit was |Local variable ",
        r"Last potentially related|Second to last potentially related",
        r"kfence-#\d{1,9} .{0,120}allocated by task",
        r".{0,40}state was registered at:",
        r"hardirqs last |softirqs last |Preemption disabled at:|Last Breaking-Event-Address",
        r"page last free ",
    ),
    "owner": (r"page last allocated via ",),
    "dependency": (r"-> #\d{1,3} \(",),
    "safe": (r"\.\.\. which became .{1,20}-irq-safe at:",),
    "unsafe": (r"\.\.\. which became .{1,20}-irq-unsafe at:",),
    "locks": (r"Showing all locks held in the system:",),
    "keeper": (r"(?:rcu: )?RCU grace-period kthread stack dump",),
    "bystander": (r"(?:rcu: )?Stack dump where RCU GP kthread last ran",),
    "cpu": (r"NMI backtrace for cpu \d", r"Task dump for CPU \d"),
    "task": (
        r"task:.{1,32}? +state:\S",
        r".{1,32}? +[RSDTtXZPI](?: +running task|[0-9a-f]{0,16} +(?:\d+ +){2,3}0x)",
    ),
    "tail": (r"---\[ end (?:trace|Kernel panic)",),
    "trace": (r"(?:Call [Tt]race|Backtrace|backtrace|stack backtrace|Stack):",),
    "who": (r"CPU: ?\d{1,5} .*(?:PID: \d|[Tt]ainted)",),
}
_HEADINGS = re.compile("|".join(f"(?P<{about}>{'|'.join(forms)})" for about, forms in _SECTIONS.items()))
_ASIDE = ("history", "owner", "dependency", "safe", "unsafe", "locks")
_PID = re.compile(r"\bPID: (\d{1,10})")


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack.

    ``reliable`` is false for what the unwinder only found lying on the stack (``?``, ``(unreliable)``).
    ``counter`` marks the program counter: where the CPU was, rather than where a call returns to.
    """

    function: str
    offset: int
    module: str | None
    reliable: bool
    counter: bool
    number: int  # of its line

    def __str__(self) -> str:
        module = f" [{self.module}]" if self.module else ""
        return f"{'' if self.reliable else '? '}{self.function}+{self.offset:#x}{module}"


@dataclass(frozen=True, slots=True)
class Trace:
    """One section of a report: what it is about, and its frames, innermost first, interrupts included.

    ``pid`` is that of the CPU line above the frames: in an interleaved log it may not be the report's.
    ``headed`` is false for frames that follow the headline without a "Call Trace" or a program counter.
    """

    about: str
    pid: int | None
    headed: bool
    frames: tuple[Frame, ...]


def _frame(match: re.Match[str], number: int, *, reliable: bool = True, counter: bool = False) -> Frame:
    return Frame(match["function"], int(match["offset"], 16), match["module"], reliable, counter, number)


def frames_of(text: str, number: int, *, first: bool = True) -> list[Frame]:
    """The frames of one line: none, one, or two where ARM's ``callee from caller`` opens one."""
    text = text.strip()
    if "+0x" not in text or "last  enabled at" in text:
        return []
    if match := _CALL.match(text):
        unsure = bool(match["before"] or match["after"] or match["s390"])
        return [_frame(match, number, reliable=not unsure)]
    if match := _PC.match(text):
        if match["nowhere"] or _USER_MODE.match(text):
            return []
        return [_frame(match, number, counter=True)]
    if match := _ARM.match(text):
        caller = _frame(match, number)
        callee = (match["new"] or match["old"]).split("+", 1)[0]
        return [Frame(callee, 0, None, True, False, number), caller] if first else [caller]
    if match := _POWERPC.match(text):
        return [_frame(match, number, reliable=not match["unsure"])]
    if match := _INTERRUPTED.match(text):
        return [_frame(match, number, counter=True)]
    return []


def traces_of(lines: Iterable[Line]) -> list[Trace]:
    """Cut a report into its sections. Sections without frames are left out, the rest keep their order."""
    cutter = _Cutter()
    for line in lines:
        cutter.take(line.text.strip(), line.number)
        if len(cutter.done) >= MAX_TRACES:
            break
    cutter.close("main")
    return cutter.done


class _Cutter:
    """The section that is being read, and those that are done."""

    def __init__(self) -> None:
        self.done: list[Trace] = []
        self.pending = ""  # what the next stack is about, where its heading comes lines before
        self.about = "main"
        self.open()

    def open(self) -> None:
        self.frames: list[Frame] = []
        self.pid: int | None = None
        self.headed = False
        self.called = False  # more than the program counter was seen

    def close(self, about: str) -> None:
        """End the section; the next one is ``about`` this."""
        if self.frames:
            self.done.append(Trace(self.about, self.pid, self.headed, tuple(self.frames)))
        self.about = about
        self.open()

    def take(self, text: str, number: int) -> None:
        found = frames_of(text, number, first=not self.frames)
        if not found or found[0].counter:
            heading = _HEADINGS.match(text)
            self.head(heading.lastgroup if heading else None, text)
        if found and len(self.frames) < MAX_FRAMES:
            self.frames += found
            self.headed = self.headed or found[0].counter
            self.called = self.called or not found[-1].counter

    def head(self, kind: str | None, text: str) -> None:
        match kind:
            case None:
                return
            case "trace" | "who":
                if self.called or self.about in _ASIDE:
                    self.close("main")
                self.headed = True
                if kind == "who":
                    owner = _PID.search(text[:160])
                    self.pid = int(owner[1]) if owner else None
                    self.about, self.pending = self.pending or self.about, ""
            case "keeper" | "bystander":
                self.close(kind)
                self.pending = kind
            case "cpu" | "task":
                self.close(self.pending or kind)
                self.pending = ""
            case _:
                self.close(kind)

"""What a report says beside its reason: who ran where, kernel, hardware, modules, registers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from receiver.triage.log import Line, Log

MAX_MODULES = 1000
MAX_REGISTERS = 64

_TAINT = r"(?:Not tainted|Tainted: (?P<taint>[A-Z](?:[A-Z ]{0,40}[A-Z])?)) +\(?(?P<kernel>[^\s()]{2,127}) #"
_WHO = re.compile(
    r"CPU: ?(?P<cpu>\d{1,5}) (?:UID: \d{1,10} )?"
    r"(?:PID: (?P<pid>\d{1,10}) Comm: (?P<comm>.{1,32}?)(?: Kdump: loaded)?)? *" + _TAINT
)
_WHO_OLD = re.compile(
    r"Pid: (?P<pid>\d{1,10}), comm: (?P<comm>.{1,32}?) +" + _TAINT + r"\S{1,16}(?: (?P<hardware>.+))?"
)
_BY_TASK = re.compile(r"by task (?P<comm>.{1,32})/(?P<pid>\d{1,10})")
_TASKS = (
    re.compile(r"task:(?P<comm>.{1,32}?) +state:\S.{0,60}? pid: ?(?P<pid>\d{1,10})"),
    re.compile(r"(?P<comm>.{1,32})/(?P<pid>\d{1,10})(?: \[HC.{0,40}\])? (?:is |just |takes:)"),
    re.compile(r"(?:\d{1,4}|no) locks? held by (?P<comm>.{1,32})/(?P<pid>\d{1,10})[:.]"),
    re.compile(r"Process (?P<comm>.{1,32}?) \(pid: (?P<pid>\d{1,10})"),
)
_KERNEL = (
    re.compile(r"^(?P<kernel>\d\.\S{1,127}) #\S{1,16} (?:Not tainted|Tainted)"),
    re.compile(r"^ *" + _TAINT),
)
_HARDWARE = re.compile(r"Hardware name: (?P<hardware>.{1,255})")
_VERSION = re.compile(r"Linux version (?P<kernel>\d\.\S{1,127})")
_BOARD = re.compile(r"(?:DMI: |Machine model: )(?P<hardware>.{1,255})")
_MODULES = re.compile(r"Modules linked in:(?P<names>.*)")
_MODULE = re.compile(r"(?P<name>[\w-]{1,64})(?P<flags>\([A-Z+-]{1,8}\))?")
_REGISTER_LINE = re.compile(
    r"(?:R[A-Z0-9]{2}|E[A-Z]{2}|CR2|[xr]\d{1,2}|[a-t]\d{1,2}|sp|gp|pc|ra|lr|psr|pstate|GPR\d\d|NIP|Krnl|epc"
    r"|era|FS|CS|\$ ?\d{1,2}) *:"
)
_REGISTER = re.compile(
    r"\b(?P<name>[A-Za-z][A-Za-z0-9]{0,5}) ?: (?:[0-9a-f]{4}:)?(?P<value>[0-9a-f]{8,16})\b"
)
_USER_MODE = re.compile(r"RIP: 00[23]3:|---\[ end ")


@dataclass(frozen=True, slots=True)
class Facts:
    """``taint`` holds the letters, "" for an untainted kernel; None means that the log does not say."""

    comm: str | None = None
    pid: int | None = None
    cpu: int | None = None
    taint: str | None = None
    kernel: str | None = None
    hardware: str | None = None
    modules: tuple[str, ...] = ()
    registers: tuple[tuple[str, str], ...] = ()


def read(log: Log, lines: Sequence[Line], words: dict[str, str]) -> Facts:
    """Read the facts of one report; what the headline told (``words``) goes first, the rest last."""
    task: dict[str, str] = {key: words[key] for key in ("comm", "pid") if words.get(key)}
    stacks: list[dict[str, str]] = []
    told: dict[str, str] = {}
    keeper = False
    for line in lines:
        text = line.text.strip()[:512]
        keeper = keeper or "grace-period kthread stack dump" in text
        if who := _WHO.match(text) or _WHO_OLD.match(text):
            stacks.append(
                {key: value for key, value in who.groupdict(default="").items() if value or key == "taint"}
            )
            _first(task, stacks[-1])
        elif (owner := _task(text)) is not None:
            # RCU shows its own thread beside the one that stalls it.
            if not keeper:
                _first(task, owner.groupdict())
            keeper = False
        elif match := _HARDWARE.match(text) or _first_match(_KERNEL, text):
            for key, value in match.groupdict(default="").items():
                told.setdefault(key, value)
    stack = stacks[0] if stacks else {}
    own = next((stack for stack in stacks if task.get("pid") == stack.get("pid")), {})
    cpu = words.get("cpu") or own.get("cpu")
    found = told | stack
    return Facts(
        comm=_clean(task.get("comm")),
        pid=int(task["pid"]) if "pid" in task else None,
        cpu=int(cpu) if cpu else None,
        taint="".join(found["taint"].split()) if "taint" in found else None,
        kernel=found.get("kernel") or _anywhere(log, _VERSION, "Linux version ", "kernel"),
        hardware=_clean(found.get("hardware")) or _anywhere(log, _BOARD, "DMI: ", "hardware"),
        modules=tuple(_modules(lines)),
        registers=tuple(_registers(lines)),
    )


def _first(task: dict[str, str], found: dict[str, str]) -> None:
    """The task is told once; a PID without a name waits for the name."""
    if found.get("pid") and task.get("pid", found["pid"]) == found["pid"]:
        task.setdefault("pid", found["pid"])
        if found.get("comm"):
            task.setdefault("comm", found["comm"])


def _first_match(patterns: Iterable[re.Pattern[str]], text: str) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.match(text))), None)


def _task(text: str) -> re.Match[str] | None:
    return _BY_TASK.search(text) or _first_match(_TASKS, text)


def reporter(lines: Sequence[Line], words: dict[str, str]) -> int | None:
    """The PID of the task the report itself says it is about, stacks left aside."""
    if pid := words.get("pid"):
        return int(pid)
    for line in lines[:40]:
        if match := _task(line.text.strip()[:512]):
            return int(match["pid"])
    return None


def _clean(text: str | None) -> str | None:
    return text.strip() or None if text else None


def _anywhere(log: Log, pattern: re.Pattern[str], literal: str, group: str) -> str | None:
    at = log.text.rfind(literal)
    match = pattern.search(log.text, at, at + 512) if at >= 0 else None
    return match[group].split("\n")[0].strip() if match else None


def _modules(lines: Sequence[Line]) -> Iterable[str]:
    """The list, over the lines it is wrapped to, flags as printed: ``zfs(PO)``."""
    for n, line in enumerate(lines):
        if not (start := _MODULES.match(line.text.strip())):
            continue
        count = 0
        for text in (start["names"], *(more.text for more in lines[n + 1 : n + 40])):
            # A record that was too long goes on in lines that hold nothing but names.
            words = text.split("[last unloaded", 1)[0].split()
            alone = len(words) < 2 and "[last unloaded" not in text
            if count and (alone or not all(_MODULE.fullmatch(word) for word in words)):
                return
            for word in words:
                if not _MODULE.fullmatch(word) or count >= MAX_MODULES:
                    return
                yield word
                count += 1
            if "[last unloaded" in text or not count:
                return
        return


def _registers(lines: Sequence[Line]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for line in lines:
        text = line.text.strip()[:512]
        if _USER_MODE.match(text):
            return
        if not _REGISTER_LINE.match(text):
            continue
        for match in _REGISTER.finditer(text):
            if match["name"] not in seen and len(seen) < MAX_REGISTERS:
                seen.add(match["name"])
                yield match["name"], match["value"]

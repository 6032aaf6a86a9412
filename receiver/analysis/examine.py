"""Run as ``python -m receiver.analysis.examine LIMITS CORE [VMLINUX]``: what drgn sees, as JSON.

It limits itself before it touches the dump: `LIMITS` is JSON, ``{"cpu_seconds", "memory_bytes"}``.
With debuginfo: stacks with file and line, blocked tasks, the largest tasks. Without: kallsyms
(kernels from 6.0 say where it lies) name the addresses of the processors' registers.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from receiver.analysis.registers import program_counters
from receiver.spool.disk import reader

FRAMES: Final = 40  # of one stack
BLOCKED: Final = 20  # tasks
LARGEST: Final = 10  # tasks
PROCESSORS: Final = 256
TASKS: Final = 200_000  # that are looked at


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Bound this process: the dump may be made to make it loop or swell."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def examine(core: str, vmlinux: str | None) -> dict[str, Any]:
    """Everything that can be had; what fails is left out, with its reason under ``problems``."""
    import drgn

    program = drgn.Program()
    program.set_core_dump(core)
    found: dict[str, Any] = {"drgn": drgn.__version__, "symbols": "none", "problems": []}
    if vmlinux is not None:
        try:
            program.load_debug_info([vmlinux])
            if program.main_module().debug_file_path == vmlinux:
                found["symbols"] = "debuginfo"
            else:
                found["problems"].append(f"{vmlinux}: it is not of the kernel that crashed")
        except Exception as error:
            found["problems"].append(f"{vmlinux}: {error}")
    parts = {"crashed": _crashed, "blocked": _blocked, "largest": _largest}
    if found["symbols"] == "none":
        # Without types there are no tasks; but the dump names its processors' registers by itself.
        _load_kallsyms(program, found)
        parts = {"processors": lambda program: _processors(program, core)}
    for name, part in parts.items():
        try:
            found[name] = part(program)
        except Exception as error:
            found["problems"].append(f"{name}: {error}")
    return found


def _load_kallsyms(program: Any, found: dict[str, Any]) -> None:
    try:
        from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

        program.register_symbol_finder("vmlinux_kallsyms", load_vmlinux_kallsyms(program), enable_index=0)
        found["symbols"] = "kallsyms"
    except Exception as error:
        found["problems"].append(f"kallsyms: {error}")


def _crashed(program: Any) -> dict[str, Any]:
    thread = program.crashed_thread()
    crashed: dict[str, Any] = {"tid": thread.tid}
    with suppress(Exception):
        crashed["comm"] = thread.object.comm.string_().decode(errors="replace")
    crashed["stack"] = _stack(thread.stack_trace())
    return crashed


def _processors(program: Any, core: str) -> list[dict[str, Any]]:
    """Where each processor was, by its NT_PRSTATUS note."""
    found = []
    with open(core, "rb") as file:
        for number, address in enumerate(program_counters(reader(file.fileno()))):
            if number == PROCESSORS:
                break
            where: dict[str, Any] = {"cpu": number, "pc": address}
            with suppress(LookupError):
                symbol = program.symbol(address)
                where |= {"function": symbol.name, "offset": address - symbol.address}
            found.append(where)
    return found


def _blocked(program: Any) -> list[dict[str, Any]]:
    from drgn.helpers.linux.sched import task_state_to_char

    blocked = []
    for task in _tasks(program):
        if task_state_to_char(task) == "D":
            blocked.append(_named(task) | {"stack": _stack(program.stack_trace(task))})
            if len(blocked) == BLOCKED:
                break
    return blocked


def _largest(program: Any) -> list[dict[str, Any]]:
    from drgn.helpers.linux.mm import task_rss

    page = int(program["PAGE_SIZE"])
    sizes = [
        _named(task) | {"rss_bytes": int(task_rss(program, task).total) * page}
        for task in _tasks(program)
        if task.mm and task.pid == task.tgid
    ]
    return sorted(sizes, key=lambda size: -size["rss_bytes"])[:LARGEST]


def _tasks(program: Any) -> Iterator[Any]:
    from drgn.helpers.linux.pid import for_each_task

    for number, task in enumerate(for_each_task(program)):
        if number == TASKS:
            return
        yield task


def _named(task: Any) -> dict[str, Any]:
    return {"pid": int(task.pid), "comm": task.comm.string_().decode(errors="replace")}


def _stack(trace: Any) -> list[dict[str, Any]]:
    frames = []
    for frame in list(trace)[:FRAMES]:
        shown: dict[str, Any] = {"function": frame.name}
        with suppress(Exception):
            shown["pc"] = frame.pc
        with suppress(Exception):
            shown["symbol"] = frame.symbol().name
        with suppress(Exception):
            file, line, _column = frame.source()
            shown |= {"file": file, "line": line}
        frames.append(shown)
    return frames


if __name__ == "__main__":
    limit(**json.loads(sys.argv[1]))
    json.dump(examine(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None), sys.stdout)

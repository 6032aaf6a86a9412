"""Kernel logs, written as the kernel's printers write them: small, by hand, with made-up names."""

from __future__ import annotations

from collections.abc import Iterable

KERNEL = "6.1.0-test"


def log(*lines: str, start: float = 100.0, step: float = 0.001, caller: str | None = None) -> bytes:
    """The lines with a time each, and the caller where one is given, as ``dmesg`` prints them."""
    origin = f"[{caller:>6}] " if caller else ""
    stamped = (f"[{start + number * step:12.6f}]{origin or ' '}{line}\n" for number, line in enumerate(lines))
    return "".join(stamped).encode()


def quiet(seconds: float) -> bytes:
    """What a healthy machine says."""
    return log("systemd[1]: Started something.", "eth0: link becomes ready", start=seconds)


def who(pid: int = 42, comm: str = "worker", cpu: int = 1, taint: str = "Not tainted") -> list[str]:
    """The CPU line and the hardware line of a report."""
    return [
        f"CPU: {cpu} PID: {pid} Comm: {comm} Kdump: loaded {taint} {KERNEL} #1",
        "Hardware name: ACME Server 9/Board, BIOS 1.2 01/02/2023",
    ]


def stack(*names: str) -> list[str]:
    """x86 and arm64 frames; a name may bring ``? `` before and `` [module]`` after it."""
    return [f" {frame(name)}" for name in names]


def frame(name: str) -> str:
    function, _, module = name.partition(" [")
    return f"{function}+0x1f/0x130{f' [{module}' if module else ''}"


def x86(first: Iterable[str] | str, pc: str, *frames: str, pid: int = 42, comm: str = "worker") -> list[str]:
    """An oops of x86-64: the headline or headlines, the task, RIP, registers, the stack."""
    return [
        *([first] if isinstance(first, str) else first),
        *who(pid, comm),
        f"RIP: 0010:{frame(pc)}",
        "Code: 00 00 00 00 <0f> 0b",
        "RSP: 0018:ff34fce8c0013e00 EFLAGS: 00000246",
        "RAX: 0000000000000001 RBX: 0000000000000002 RCX: 0000000000000003",
        "Call Trace:",
        " <TASK>",
        *stack(*frames),
        "RIP: 0033:0x47b7a0",
        "RAX: ffffffffffffffda RBX: 0000000000000000 RCX: 0000000000000000",
        " </TASK>",
        "Modules linked in: acme(O) zfs(PO)",
        "---[ end trace 0000000000000000 ]---",
    ]


SYSCALL = ("ksys_write", "do_syscall_64", "entry_SYSCALL_64_after_hwframe")
KTHREAD = ("process_one_work", "worker_thread", "kthread", "ret_from_fork")
TICK = (
    "update_process_times",
    "tick_sched_timer",
    "__hrtimer_run_queues",
    "hrtimer_interrupt",
    "__sysvec_apic_timer_interrupt",
    "sysvec_apic_timer_interrupt",
    "asm_sysvec_apic_timer_interrupt",
)

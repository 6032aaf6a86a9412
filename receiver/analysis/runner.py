"""drgn on a dump, away from the server: a process of its own, with bounds on time and memory."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ANSWER: Final = 4 << 20  # bytes of JSON


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one analysis may use."""

    seconds: float = 120
    memory_bytes: int = 4 << 30


class AnalysisFailed(Exception):
    """No answer; the text says why. Nothing else is touched by it."""


def available() -> bool:
    """Whether drgn is installed (the extra ``analysis``)."""
    return importlib.util.find_spec("drgn") is not None


def analyse(core: Path, vmlinux: Path | None, bounds: Bounds) -> dict[str, Any]:
    """What drgn finds in `core`, as receiver.analysis.examine says it.

    Raises:
        AnalysisFailed: it crashed, ran out of its bounds, or said nothing that can be read.
    """
    limits = json.dumps({"cpu_seconds": max(1, int(bounds.seconds)), "memory_bytes": bounds.memory_bytes})
    # Whatever it does, uploads come first.
    command = ["nice", "-n", "19", sys.executable, "-m", "receiver.analysis.examine", limits, str(core)]
    command += [str(vmlinux)] if vmlinux else []
    try:
        # -9 once it is late: it may be stuck in C, where no gentler signal is seen.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=bounds.seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise AnalysisFailed(f"no answer within {bounds.seconds:g} s") from None
    except OSError as error:
        raise AnalysisFailed(str(error)) from None
    if done.returncode < 0:
        raise AnalysisFailed(f"drgn was ended by signal {-done.returncode}")
    if done.returncode > 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise AnalysisFailed(f"drgn failed: {last[0][:300]}")
    if len(done.stdout) > ANSWER:
        raise AnalysisFailed(f"drgn said more than {ANSWER} bytes")
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise AnalysisFailed(f"drgn's answer is no JSON: {error}") from None
    if not isinstance(answer, dict):
        raise AnalysisFailed("drgn's answer is no JSON object")
    return answer

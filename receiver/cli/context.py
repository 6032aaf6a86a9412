"""What every verb gets as ``ctx.obj``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receiver.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The settings in force, and the file they came from."""

    settings: Settings
    file: Path | None

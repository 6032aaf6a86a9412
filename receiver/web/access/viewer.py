"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """One who may look, and as an operator change things.

    `csrf` is what a form of theirs carries; `how` is ``machine`` (a user of this machine whom no
    login is asked of), ``cookie`` or ``bearer``.
    """

    name: str
    role: Role
    csrf: str
    how: Literal["machine", "cookie", "bearer"]
    login: str | None = None

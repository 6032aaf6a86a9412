"""The dumps whose row may be behind their manifest: a mark each, made before that changes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def folder(state: Path) -> Path:
    """Where the marks lie, below the state directory."""
    return state / "behind"


def marked(state: Path) -> list[str]:
    """The directories whose manifest the catalogue may not have; few, or none."""
    with suppress(FileNotFoundError):
        return sorted(path.name for path in folder(state).iterdir())
    return []


def mark(state: Path, directory: str) -> None:
    """The manifest of `directory` is about to change."""
    (folder(state) / directory).touch(mode=0o600)


def unmark(state: Path, directory: str) -> None:
    """The catalogue has the manifest as it is."""
    (folder(state) / directory).unlink(missing_ok=True)

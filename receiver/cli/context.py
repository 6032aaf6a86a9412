"""What every verb gets as ``ctx.obj``."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver.settings import Settings


class Context:
    """The settings in force; read when a verb asks for them, so that help needs none."""

    def __init__(self, file: Path | None = None, root: Path | None = None) -> None:
        self._file = file
        self._root = root

    @cached_property
    def settings(self) -> Settings:
        """Of the settings file, and `--root`.

        Raises:
            SettingsError: the file says something we cannot obey.
        """
        return self.settings_with()

    def settings_with(self, **overrides: object) -> Settings:
        """The settings as a verb's own options have them.

        Raises:
            SettingsError: the file or an option says something we cannot obey.
        """
        from receiver.settings import load  # pydantic takes a while to load

        return load(self._file, root=self._root, **overrides)

"""A collection of weeks, the pages over it, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.rig.browser import chromium


# Of a module, not of the session: Playwright's loop would be in the way of the coroutine tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for a module."""
    return tmp_path_factory.mktemp("pages")

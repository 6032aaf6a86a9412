"""What axe and its like look for, of which a plain page needs little: names, landmarks, order, contrast.

Sources: WCAG 2.2 (1.1.1, 1.3.1, 1.4.3, 2.4.1, 2.4.2, 2.4.6, 3.1.1, 4.1.2); contrast as 1.4.3 defines it.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

HERE = Path(__file__).parent
_FAULTS = (HERE / "faults.js").read_text()
_CONTRAST = (HERE / "contrast.js").read_text()


def faults(page: Page) -> list[str]:
    """What stands in the way of somebody who hears the page, or goes through it by keyboard."""
    found: list[str] = page.evaluate(_FAULTS)
    return found


def pale(page: Page) -> list[str]:
    """Every text that is too close in colour to what lies behind it."""
    found: list[str] = page.evaluate(_CONTRAST)
    return found


def is_too_wide(page: Page) -> bool:
    """Whether one has to scroll sideways."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide

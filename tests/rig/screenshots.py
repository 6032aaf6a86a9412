"""`make screenshots`: the pages as they look, into docs/screenshots/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import FloatRect

from receiver.catalogue.store import Query
from tests.rig.browser import DESKTOP, PHONE, Visit, chromium, visit
from tests.rig.pages import application
from tests.rig.served import Served
from tests.rig.weeks import fleet

TARGET = Path(__file__).parent.parent.parent / "docs" / "screenshots"
LOOKS = (("", DESKTOP, False), ("-dark", DESKTOP, True), ("-phone", PHONE, False))
HIGHEST = 1600  # pixels
LARGEST = 300_000  # bytes of one picture


def main() -> int:
    """Draw them all; 1 when one is too large for a repository."""
    TARGET.mkdir(exist_ok=True, parents=True)
    with tempfile.TemporaryDirectory() as directory:
        made = fleet(Path(directory))
        with Served(application(made.collection)) as served, chromium() as browser:
            newest = made.collection.catalogue.briefs
            crash = next(row for row in newest(Query(host="web07")) if row.signature)
            group = next(row for row in newest(Query(host="web01")) if row.signature)
            pages = {
                "overview": "/",
                "dump": f"/dumps/{crash.id}",
                "group": f"/groups/{group.signature}",
                "hosts": "/hosts",
                "enrol": "/hosts/web09",
                "space": "/space",
            }
            for name, path in pages.items():
                for look, size, dark in LOOKS:
                    scale = 2 if size == PHONE else 1
                    with visit(browser, served.url, size=size, dark=dark, scale=scale) as seen:
                        seen.go(path)
                        _take(seen, TARGET / f"{name}{look}.png")
    too_large = [path.name for path in TARGET.glob("*.png") if path.stat().st_size > LARGEST]
    print("\n".join(f"{path.name} {path.stat().st_size // 1000} kB" for path in sorted(TARGET.glob("*.png"))))
    return 1 if too_large else 0


def _take(seen: Visit, path: Path) -> None:
    """The page from its top, as far as one scrolls."""
    size = seen.page.viewport_size
    assert size is not None
    width, height = size["width"], size["height"]
    whole: int = seen.page.evaluate("document.documentElement.scrollHeight")
    shown = height if width == PHONE[0] else min(whole, HIGHEST)
    clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": shown}
    seen.page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    sys.exit(main())

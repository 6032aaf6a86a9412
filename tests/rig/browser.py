"""Debian's chromium, driven by Playwright, and what every page must be free of."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

expect.set_options(timeout=30_000)  # milliseconds; the machine may be busy
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
DESKTOP, PHONE = (1280, 900), (360, 780)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; as root it needs to be told that it may run without its sandbox."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A window of the browser, and everything that it complained of."""

    context: BrowserContext
    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    abroad: list[str] = field(default_factory=list)  # requests to another origin

    def go(self, path: str) -> Page:
        """Open a page of the receiver."""
        self.page.goto(f"{self.origin}{path}")
        return self.page

    def check(self) -> None:
        """No console error, no violation of the policy, no request to anybody else."""
        assert self.complaints == []
        assert self.abroad == []

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def _see(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"data", "blob"} and f"{url.scheme}://{url.netloc}" != self.origin:
            self.abroad.append(request.url)


@contextlib.contextmanager
def visit(
    browser: Browser,
    origin: str,
    *,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    scripts: bool = True,
    permissions: tuple[str, ...] = (),
    scale: float = 1,
) -> Iterator[Visit]:
    """One window."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        permissions=list(permissions),
        device_scale_factor=scale,
        accept_downloads=True,
        reduced_motion="reduce",
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    seen = Visit(context, page, origin)
    page.on("console", seen._hear)
    page.on("pageerror", lambda error: seen.complaints.append(f"page error: {error}"))
    page.on("request", seen._see)
    try:
        yield seen
    finally:
        context.close()

"""An administrator watches: a real host sends by real ssh, and the page moves by itself."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.rig.browser import visit
from tests.rig.newcomer import typed
from tests.rig.receiver import Client, Receiver
from tests.rig.sample import digest

BLOCK = 32 << 10
PACE = 1 << 20  # bytes a second
DIRECTORY = "/var/crash/10.0.0.7-2026-11-23-03:48:02"


@pytest.fixture(scope="module")
def collector(place: Path) -> Iterator[Receiver]:
    """A real `kdump-receiver serve`."""
    with Receiver(place, web="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def url(collector: Receiver) -> str:
    """Where its page is."""
    found: str = collector.ready["web"]
    return found


class Crash:
    """One host's upload, whose speed the test has in hand: a slow line, and it goes on when it is told to."""

    def __init__(self, client: Client, stream: Path) -> None:
        self._data = stream.read_bytes()
        self._sent = 0
        client.ssh(f"mkdir -p {DIRECTORY}")
        command = f"umask 0077 && dd bs=512 of='{DIRECTORY}/vmcore-incomplete'"
        line = ["ssh", *client.options, "-p", str(client.receiver.port), client.target, command]
        self._ssh = subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self._client = client
        self._pace = threading.Event()  # never set: what one waits for is the time

    def send(self, part: float) -> None:
        """On to `part` of it, 0 to 1, a megabyte a second."""
        end = int(len(self._data) * part)
        assert self._ssh.stdin is not None
        while self._sent < end:
            block = self._data[self._sent : min(self._sent + BLOCK, end)]
            self._ssh.stdin.write(block)
            self._ssh.stdin.flush()
            self._sent += len(block)
            self._pace.wait(BLOCK / PACE)

    def finish(self) -> None:
        """The rest at full speed, and the rename that kdump does then."""
        assert self._ssh.stdin is not None
        self._ssh.stdin.write(self._data[self._sent :])
        _, said = self._ssh.communicate(timeout=60)
        assert self._ssh.returncode == 0, said
        self._client.ssh(f"mv '{DIRECTORY}/vmcore-incomplete' '{DIRECTORY}/vmcore.flat'")

    def close(self) -> None:
        self._ssh.kill()
        self._ssh.communicate()


def percent(text: str) -> float:
    found = re.search(r"([\d.]+) %", text)
    return float(found[1]) if found else -1.0


def test_progress_moves_and_the_finished_dump_appears_without_reload(
    browser: Browser, collector: Receiver, url: str, data: Path, tmp_path: Path
) -> None:
    """The whole incident: percent and time left from the dump's own bitmap, then the dump with its crash.

    Its page has the panic marked, and what is downloaded is the file.
    """
    host = Client.enrolled(collector, "web01")
    with visit(browser, url) as seen:
        page = seen.go("/")
        expect(page.locator("#uploads")).to_contain_text("No host is sending.")
        loads: list[str] = []
        page.on("framenavigated", lambda frame: loads.append(frame.url))
        crash = Crash(host, data / "vmcore.flat")
        try:
            crash.send(0.3)
            upload = page.locator("#uploads li")
            expect(upload).to_contain_text("web01")
            expect(upload.locator(".percent")).to_contain_text("%")
            early = percent(upload.inner_text())
            crash.send(0.8)
            expect(upload.locator(".percent")).not_to_have_text(f"{early} %")
            late = percent(upload.inner_text())
            assert 0 < early < late < 100
            expect(upload).to_contain_text("of 6,141 pages")
            expect(upload).to_contain_text("6.1.192-tiny")
            expect(page.locator("#summary")).to_contain_text("1 upload under way")
            crash.finish()
        finally:
            crash.close()
        row = page.locator("#dumps tbody tr").first
        expect(row).to_contain_text("sysrq triggered crash")
        expect(row).to_contain_text("complete")
        expect(page.locator("#groups")).to_contain_text("sysrq triggered crash")
        expect(page.locator("#uploads")).to_contain_text("No host is sending.")
        expect(page.locator("#summary")).to_contain_text("1 dump in 24 hours")
        assert loads == []  # all this without a reload
        row.get_by_role("link", name="sysrq").click()
        expect(page.locator(".l.headline")).to_contain_text(
            "Kernel panic - not syncing: sysrq triggered crash"
        )
        with page.expect_download() as arriving:
            page.get_by_role("link", name="vmcore", exact=True).click()
        kept = tmp_path / "vmcore"
        arriving.value.save_as(kept)
        assert digest(kept) == digest(collector.file())
        assert digest(kept) in page.locator("#files ~ table").inner_text()
        seen.check()


def test_a_host_that_falls_silent_is_said_to_be_silent(
    browser: Browser, collector: Receiver, url: str, data: Path
) -> None:
    """No percentage that stands still without a word, and no promise of an end.

    When it breaks off, the dump's own page, which somebody has open, loads itself with the verdict.
    """
    host = Client.enrolled(collector, "silent1")
    with visit(browser, url) as seen:
        page = seen.go("/")
        crash = Crash(host, data / "vmcore.flat")
        try:
            crash.send(0.5)
            upload = page.locator("#uploads li", has_text="silent1")
            expect(upload).to_contain_text("no byte for")
            expect(upload).not_to_contain_text("left")
            upload.get_by_role("link", name="vmcore").click()
            expect(page.locator(".uploads")).to_contain_text("no byte for")
            expect(page.locator(".lead-line")).to_contain_text("receiving")
        finally:
            crash.close()
        expect(page.locator(".lead-line")).to_contain_text("truncated")
        expect(page.get_by_text("is being read")).to_have_count(0)
        expect(page.locator("#why")).to_be_visible()
        seen.go("/")
        expect(page.locator("#dumps tbody tr", has_text="silent1")).to_contain_text("truncated")
        seen.check()


def test_enrolments_copied_lines_work_with_the_real_ssh_copy_id(
    browser: Browser, collector: Receiver, url: str, tmp_path: Path
) -> None:
    """From the page's button through the clipboard into a shell: trust, key, token, and the host is in."""
    with visit(browser, url, permissions=("clipboard-read", "clipboard-write")) as seen:
        page = seen.go("/hosts/web07")
        page.get_by_label("This server's name").fill("127.0.0.1")
        page.get_by_role("button", name="Create a token").click()

        def copied(name: str) -> str:
            page.get_by_role("button", name=f"Copy: {name}").click()
            text: str = page.evaluate("navigator.clipboard.readText()")
            return text

        token = copied("the token")
        page.locator("#ssh summary").click()
        lines = [copied(f"Anything with ssh-copy-id: {what}") for what in ("Trust", "Make", "Bring", "Try")]
        answers = [typed(tmp_path, line, token) for line in lines]
        assert [answer.returncode for answer in answers] == [0, 0, 0, 0], answers
        assert "Avail" in answers[-1].stdout
        page = seen.go("/hosts/web07")
        expect(page.locator("#keys ~ ul")).to_contain_text("SHA256:")
        expect(page.locator(".enrol tbody")).to_contain_text("used up")
        seen.check()

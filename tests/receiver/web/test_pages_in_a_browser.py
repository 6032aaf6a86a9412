"""Every page in a real browser: for everybody, on any screen, by any light, and whatever a host sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.builders import kernel_logs
from tests.builders.collection import Collection
from tests.rig import accessible
from tests.rig.browser import DESKTOP, PHONE, Visit, visit
from tests.rig.pages import COOKIE, application, logged_in
from tests.rig.served import Served

ATTACK = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\x1b[31;1mred\x1b[0m\x07 \u202eesrever\u202c \u200bzero {{7*7}} </code></div></body><h1>owned</h1>"
)


@dataclass(frozen=True)
class Stand:
    """Where the pages are, and the dumps they show."""

    url: str
    whole: str
    hostile: str
    signature: str  # of the whole one
    attack: str  # signature of the hostile one


@pytest.fixture(scope="module")
def stand(place: Path, data: Path) -> Iterator[Stand]:
    made = Collection(place)
    made.enrol("web01")
    made.enrol("db2", seen_days_ago=60)
    made.enrol("new3", seen_days_ago=None)
    null = (data / "oopses" / "null.txt").read_bytes()
    for days in (9.0, 2.0, 1.0):
        made.crash("web01", null, days_ago=days)
    made.test("web01", succeeded=True, days_ago=3)
    made.test("db2", succeeded=False, days_ago=2)
    whole = made.crash("web01", b"", core=(data / "vmcore.flat").read_bytes())
    lines = kernel_logs.x86(
        f"BUG: unable to handle page fault for {ATTACK}", "acme_poll", *kernel_logs.SYSCALL
    )
    log = kernel_logs.log(ATTACK, *lines, ATTACK)
    # What a core says of itself may be anything, too.
    hostile = replace(made.crash("db2", log), kernel_release="6.1<img src=x>\x1b[31m\u202e", nodename=ATTACK)
    made.spool.write(hostile)
    made.catalogue.record(hostile)
    with Served(application(made)) as served:
        yield Stand(served.url, whole.id, hostile.id, whole.signature or "", hostile.signature or "")
    made.close()


def paths(stand: Stand) -> list[str]:
    return [
        "/",
        "/dumps",
        "/dumps?since=nonsense",
        "/dumps?host=nobody",
        f"/dumps/{stand.whole}",
        f"/dumps/{stand.whole}?q=linux&hit=2",
        f"/dumps/{stand.hostile}",
        "/groups",
        "/groups?by=host",
        f"/groups/{stand.signature}",
        "/hosts",
        "/hosts/web01",
        "/hosts/db2",
        "/hosts/new3",
        "/hosts/unheard-of",
        "/space",
        "/nothing/here",
    ]


def test_every_page_is_for_everybody(browser: Browser, stand: Stand) -> None:
    """Names, landmarks, heading order, alternatives, unique ids; 4.5 to 1 of contrast in both lights; and
    nobody scrolls sideways from 360 pixels on.

    On the way: no console error, no violation of a policy that allows nothing inline, no request to
    anybody else.
    """
    found = {}
    with visit(browser, stand.url) as seen:
        for path in paths(stand):
            response = seen.page.goto(f"{stand.url}{path}")
            assert response is not None
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'self'")
            assert "unsafe" not in policy
            if wrong := _wrong(seen.page):
                found[path] = wrong
        _check(seen)
    assert found == {}


def _wrong(page: Page) -> list[str]:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    wrong = accessible.faults(page) + accessible.pale(page)
    page.emulate_media(color_scheme="dark")
    wrong += accessible.pale(page)
    page.emulate_media(color_scheme="light")
    for width in (PHONE[0], 700, 1000, DESKTOP[0]):
        page.set_viewport_size({"width": width, "height": DESKTOP[1]})
        if accessible.is_too_wide(page):
            wrong.append(f"too wide for {width}")
    return wrong


def _check(seen: Visit) -> None:
    """That a page is not there, or that a filter means nothing, is no fault of the page."""
    seen.complaints = [each for each in seen.complaints if "status of 40" not in each]
    seen.check()


def test_a_log_full_of_html_escapes_and_overrides_is_text(browser: Browser, stand: Stand) -> None:
    """In the log, in the title, in the lists: seen as what it is, and nothing of it runs."""
    with visit(browser, stand.url) as seen:
        page = seen.go(f"/dumps/{stand.hostile}")
        text = page.locator(".log").inner_text()
        assert "<script>document.title='owned'</script><img src=x" in text
        assert "6.1<img src=x>␛[31m<U+202E>" in page.locator("main").inner_text()
        assert "␛[31;1mred␛[0m␇ <U+202E>esrever<U+202C> <U+200B>zero {{7*7}}" in text
        for path in ("/", f"/dumps/{stand.hostile}?q=owned", f"/groups/{stand.attack}", "/hosts/db2"):
            page = seen.go(path)
            assert "owned" in page.locator("main").inner_text()
            assert page.title() != "owned"
            assert page.locator("main img, main script, h1:text-is('owned')").count() == 0
            assert not set(page.evaluate("document.body.innerText")) & set("\x1b\x07\u202e\u200b")
        seen.check()


def test_the_panic_is_marked_and_the_log_is_searched_without_javascript(
    browser: Browser, stand: Stand
) -> None:
    """A form and links: each hit has an address."""
    with visit(browser, stand.url, scripts=False) as seen:
        page = seen.go(f"/dumps/{stand.whole}")
        assert "sysrq triggered crash" in page.locator(".l.headline").inner_text()
        page.get_by_role("searchbox", name="Search the log").fill("SYSRQ")
        page.get_by_role("button", name="Search").click()
        assert page.locator(".l.current mark").first.inner_text().lower() == "sysrq"
        first = page.locator(".l.current").get_attribute("id")
        page.get_by_role("link", name="next").click()
        assert page.locator(".l.current").get_attribute("id") != first
        page.get_by_role("link", name="clear").click()
        page.get_by_role("link", name="earlier lines").click()
        assert page.locator("#L1").is_visible()


def test_reading_needs_no_javascript(browser: Browser, stand: Stand) -> None:
    """Every page says the same without it."""
    with visit(browser, stand.url, scripts=False) as seen:
        assert "BUG" in seen.go("/").locator("#dumps").inner_text()
        assert "1 dump of 1 host" in seen.go(f"/groups/{stand.signature}").locator("main").inner_text()
        assert "ssh-copy-id" in seen.go("/hosts/web01").locator("#ssh").inner_html()


def test_the_keyboard_comes_everywhere_and_sees_where_it_is(browser: Browser, stand: Stand) -> None:
    """The first Tab offers to skip the navigation; each stop has a visible outline; filters work by Enter."""
    with visit(browser, stand.url) as seen:
        page = seen.go("/dumps")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        stops = []
        for _ in range(12):
            page.keyboard.press("Tab")
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            stops.append((page.evaluate("document.activeElement.textContent.trim()"), page.evaluate(outline)))
        assert {outline for _, outline in stops} == {"solid"}
        assert [name for name, _ in stops[1:6]] == ["Overview", "Dumps", "Groups", "Hosts", "Space"]
        page.get_by_label("Host", exact=True).fill("db2")
        page.keyboard.press("Enter")
        page.wait_for_url("**host=db2**")
        assert page.locator("tbody tr").count() == 2


def test_a_viewer_reads_everything_and_is_offered_nothing_else(browser: Browser, place: Path) -> None:
    """No form that would be refused; the page says who could. And there is a way out."""
    made = Collection(place / "viewer")
    guest = logged_in(made, "viewer", "guest")
    with Served(application(made, loopback=False)) as served, visit(browser, served.url) as seen:
        seen.context.add_cookies([{"name": COOKIE, "value": guest.cookie, "url": served.url}])
        page = seen.go("/hosts/web01")
        assert page.get_by_role("button", name="Create a token").count() == 0
        assert "An operator can create a token" in page.locator("#main").inner_text()
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        assert not accessible.faults(page) + accessible.pale(page)
        seen.check()
    made.close()


def test_a_newcomer_is_told_the_next_step(browser: Browser, place: Path) -> None:
    """Nothing enrolled, nothing stored: the overview leads to the page that ends with the lines to type."""
    made = Collection(place / "new")
    with Served(application(made)) as served, visit(browser, served.url) as seen:
        page = seen.go("/")
        page.get_by_role("link", name="Name a host").click()
        page.get_by_label("Enrol a host").fill("web01")
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("This server's name").fill("collector.example")
        page.get_by_role("button", name="Create a token").click()
        assert page.locator(".secret pre code").inner_text().startswith("kdump-")
        assert "kdump@collector.example" in page.locator("#rhel").inner_text()
        assert not accessible.faults(page) + accessible.pale(page)
        seen.check()
    made.close()

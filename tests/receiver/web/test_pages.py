"""The pages' handlers over HTTP: what they answer, what they refuse, and what they never do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.events import Pruned, UploadFinished
from receiver.settings import Settings
from receiver.spool.manifest import load
from receiver.web.pages import overview
from receiver.web.pages.fences import FenceClient
from tests.builders.collection import Collection
from tests.rig.pages import COOKIE, Person, application, logged_in
from tests.rig.served import Served


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Collection]:
    collection = Collection(tmp_path_factory.mktemp("collection"))
    collection.enrol("web01")
    null = (data / "oopses" / "null.txt").read_bytes()
    collection.crash("web01", null, days_ago=3)
    collection.crash("db2", b"", core=(data / "vmcore.flat").read_bytes())
    yield collection
    collection.close()


@pytest.fixture(scope="module")
def anna(made: Collection) -> Person:
    """An operator."""
    return logged_in(made, "operator")


def opened(made: Collection, person: Person) -> httpx.AsyncClient:
    """The web as `person` has it."""
    transport = httpx.ASGITransport(application(made, loopback=False), raise_app_exceptions=False)
    cookies = {COOKIE: person.cookie}
    return httpx.AsyncClient(transport=transport, base_url="http://collector.example", cookies=cookies)


@pytest_asyncio.fixture
async def client(made: Collection, anna: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(made, anna) as web:
        yield web


def ids(answer: httpx.Response) -> list[str]:
    return re.findall(r'id="dump-([0-9a-f]+)"', answer.text)


async def test_the_list_filters_by_the_words_of_the_command_line(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """host, since, verdict and the group's signature, alone and together."""
    everything = ids(await client.get("/dumps"))
    assert len(everything) == 2
    db2 = ids(await client.get("/dumps?host=db2"))
    assert len(db2) == 1
    assert ids(await client.get("/dumps?since=2h")) == db2
    assert ids(await client.get("/dumps?verdict=complete")) == db2
    assert ids(await client.get("/dumps?host=web01&verdict=complete")) == []
    assert ids(await client.get("/dumps?n=1")) == db2


async def test_a_filter_that_means_nothing_says_what_to_say(client: httpx.AsyncClient) -> None:
    """Status 400, the sentence beside the field, and what was typed still in it."""
    answer = await client.get("/dumps?since=noon")
    assert answer.status_code == 400
    assert "say 2h, 3d, today" in answer.text
    assert 'value="noon"' in answer.text


async def test_a_dump_is_known_by_a_part_of_its_id_and_by_its_directory(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """As for the CLI; what nobody has is told, with a way on."""
    (dump,) = ids(await client.get("/dumps?host=db2"))
    for name in (dump, dump[:6], next(iter(made.spool.root.glob("db2-*"))).name):
        assert (await client.get(f"/dumps/{name}")).status_code == 200
    missing = await client.get("/dumps/ffffffffff")
    assert missing.status_code == 404
    assert "was removed, or never here" in missing.text


async def test_a_download_is_the_file_and_goes_on_where_it_broke_off(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """Range, and a name that tells host and dump; never shown by a browser as a page."""
    (dump,) = ids(await client.get("/dumps?host=db2"))
    path = next(made.spool.root.glob("db2-*")) / "vmcore"
    whole = await client.get(f"/dumps/{dump}/files/vmcore")
    assert whole.content == path.read_bytes()
    assert whole.headers["content-disposition"] == f"attachment; filename*=UTF-8''db2-{dump}-vmcore"
    assert whole.headers["x-content-type-options"] == "nosniff"
    rest = await client.get(f"/dumps/{dump}/files/vmcore", headers={"range": "bytes=4000000-"})
    assert (rest.status_code, rest.content) == (206, whole.content[4_000_000:])


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2f.state%2fcatalogue.sqlite", "%2fetc%2fpasswd", ".lock", "nothing", ""],
)
async def test_nothing_but_the_dumps_own_files_is_served(client: httpx.AsyncClient, name: str) -> None:
    """Whatever the path says."""
    (dump,) = ids(await client.get("/dumps?host=db2"))
    answer = await client.get(f"/dumps/{dump}/files/{name}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


async def test_a_link_in_a_dumps_directory_is_not_followed(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """Somebody with a shell on the collector may have put it there."""
    (dump,) = ids(await client.get("/dumps?host=web01"))
    (directory,) = made.spool.root.glob("web01-*")
    report = directory / "report.txt"
    report.rename(directory / "kept")
    report.symlink_to("/etc/passwd")
    try:
        assert (await client.get(f"/dumps/{dump}/files/report.txt")).status_code == 404
    finally:
        report.unlink()
        (directory / "kept").rename(report)


async def test_a_token_is_made_by_an_operator_from_our_own_form_only(
    client: httpx.AsyncClient, made: Collection, anna: Person
) -> None:
    """A forged form, a viewer, a name that is none: refused, and no token is there."""
    before = len(made.tokens.all())
    forged = await client.post("/hosts/web09/tokens", data={"expires": "1d"})
    assert forged.status_code == 403
    strange = await client.post("/hosts/web09%20;reboot/tokens", data={"csrf": anna.csrf})
    assert strange.status_code == 404
    for_ever = await client.post("/hosts/web09/tokens", data={"csrf": anna.csrf, "expires": "99y"})
    assert for_ever.status_code == 400
    bert = logged_in(made, "viewer", "bert")
    async with opened(made, bert) as guest:
        assert (await guest.post("/hosts/web09/tokens", data={"csrf": bert.csrf})).status_code == 403
    assert len(made.tokens.all()) == before
    good = await client.post("/hosts/web09/tokens", data={"csrf": anna.csrf, "expires": "1h"})
    assert good.status_code == 200
    (token,) = [token for token in made.tokens.all() if token.host == "web09"]
    assert token.uses == 1
    assert token.id in good.text


async def test_a_token_is_revoked_from_its_hosts_page(
    client: httpx.AsyncClient, made: Collection, anna: Person
) -> None:
    """And the page says so."""
    await client.post("/hosts/web10/tokens", data={"csrf": anna.csrf})
    (token,) = [token for token in made.tokens.all() if token.host == "web10"]
    answer = await client.post(f"/hosts/web10/tokens/{token.id}/revoke", data={"csrf": anna.csrf})
    assert answer.status_code == 303
    assert [token for token in made.tokens.all() if token.host == "web10"] == []


async def test_a_dump_is_pinned_and_unpinned_with_a_word_why(
    client: httpx.AsyncClient, made: Collection, anna: Person
) -> None:
    """By name; the manifest and the audit trail have it, and a forged form changes nothing."""
    (dump,) = ids(await client.get("/dumps?host=db2"))
    assert (await client.post(f"/dumps/{dump}/pin", data={"note": "x"})).status_code == 403
    answer = await client.post(f"/dumps/{dump}/pin", data={"csrf": anna.csrf, "note": "ticket <4711>"})
    assert answer.status_code == 303
    page = (await client.get(answer.headers["location"])).text
    assert "Pinned</strong> by anna" in page
    assert "ticket &lt;4711&gt;" in page
    (directory,) = made.spool.root.glob("db2-*")
    assert load(directory).pinned is not None
    await client.post(f"/dumps/{dump}/unpin", data={"csrf": anna.csrf})
    assert load(directory).pinned is None
    assert [entry.what for entry in load(directory).history][-2:] == ["pinned", "unpinned"]


async def test_what_was_pruned_is_on_the_curve_until_it_went(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """The journal remembers what the disk does not."""
    gone = Pruned("old1", "0123456789", "old1-x", "dump", 5 << 30, "anna", "older than `dump_age`")
    came = UploadFinished(
        "old1", "192.0.2.9", gone.dump, gone.directory, "vmcore", 5 << 30, 1, 1.0, "elf", "complete", ""
    )
    made.journal.append([came], made.now - 9 * 86_400)
    made.journal.append([gone], made.now - 86_400)
    answer = await client.get("/space")
    assert "What the dumps on the disk took" in answer.text
    assert "at most 5.0 GiB" in answer.text


async def test_the_lines_name_the_server_as_the_browser_does(client: httpx.AsyncClient) -> None:
    """What works for the administrator's browser most likely works for the host; and it can be changed."""
    assert "kdump@collector.example" in (await client.get("/hosts/web01")).text
    assert "kdump@10.1.2.3" in (await client.get("/hosts/web01?collector=10.1.2.3")).text
    assert ";halt" not in (await client.get("/hosts/web01?collector=x%3Bhalt")).text


async def test_nothing_of_a_page_is_kept_by_caches_and_assets_are(client: httpx.AsyncClient) -> None:
    """Memory of crashed machines stays here; an asset's address changes with its content."""
    page = await client.get("/")
    assert page.headers["cache-control"] == "no-store"
    (style,) = re.findall(r'href="(/static/page\.css\?v=[0-9a-f]{10})"', page.text)
    asset = await client.get(style)
    assert "immutable" in asset.headers["cache-control"]
    assert (await client.get("/static/../routes.py")).status_code == 404
    assert (await client.get("/static/..%2fpages%2froutes.py")).status_code == 404


async def test_a_page_that_breaks_says_so_and_shows_no_traceback(
    client: httpx.AsyncClient, made: Collection
) -> None:
    """The log has it; the page says that uploads go on."""
    (dump,) = ids(await client.get("/dumps?host=web01"))
    (directory,) = made.spool.root.glob("web01-*")
    (directory / "report.json").rename(directory / "kept")
    (directory / "report.json").mkdir()
    (directory / "log.txt").rename(directory / "kept-log")
    (directory / "log.txt").mkdir()
    try:
        answer = await client.get(f"/dumps/{dump}")
        assert answer.status_code == 200
        assert "report.json cannot be read" in answer.text
        made.catalogue.close()
        (made.settings.state / "catalogue.sqlite").rename(made.settings.state / "aside")
        (made.settings.state / "catalogue.sqlite").mkdir()
        broken = await client.get("/dumps")
        assert broken.status_code == 500
        assert "Uploads are not touched" in broken.text
        assert "Traceback" not in broken.text
    finally:
        (made.settings.state / "catalogue.sqlite").rmdir()
        (made.settings.state / "aside").rename(made.settings.state / "catalogue.sqlite")
        for name, kept in (("report.json", "kept"), ("log.txt", "kept-log")):
            (directory / name).rmdir()
            (directory / kept).rename(directory / name)


def test_the_stream_gives_every_part_at_once(made: Collection) -> None:
    """So a page that reconnects is true again whatever it missed."""
    with Served(application(made)) as served:
        seen = set()
        with httpx.stream("GET", f"{served.url}/live", timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    seen.add(line.removeprefix("event: "))
                if len(seen) == 6:
                    break
        assert seen == {"summary", "uploads", "groups", "dumps", "hosts", "space"}


def test_too_many_who_listen_are_told_to_come_again(
    made: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The desk has a bound of its own for streams."""
    monkeypatch.setattr(overview, "WATCHERS_MAX", 0)
    with Served(application(made)) as served:
        answer = httpx.get(f"{served.url}/live")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


NODES = {"nodes": [{"name": "web01", "addresses": [], "state": "dumping", "grade": "ssh", "reason": "bytes"}]}


async def nodes(request: Request) -> Response:
    """A kdump-fence that wants its token."""
    if request.headers.get("authorization") != "Bearer let-me-read":
        return Response(status_code=401)
    return JSONResponse(NODES)


@pytest.fixture(scope="module")
def fence() -> Iterator[str]:
    with Served(Starlette(routes=[Route("/v1/nodes", nodes)])) as served:
        yield served.url


async def test_the_fences_nodes_stand_beside_their_hosts(
    made: Collection, anna: Person, fence: str, tmp_path: Path
) -> None:
    """Asked with the token of the settings."""
    secret = tmp_path / "token"
    secret.write_text("let-me-read\n")
    made.settings = made.settings.model_copy(update={"fence_url": fence, "fence_token_file": secret})
    try:
        async with opened(made, anna) as client:
            assert 'class="fence dumping"' in (await client.get("/hosts")).text
            assert "its capture kernel runs" in (await client.get("/")).text
    finally:
        made.settings = made.settings.model_copy(update={"fence_url": None, "fence_token_file": None})


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1", "is not reachable"),
        ("unix:///nowhere/api.sock", "is not reachable"),
        ("http://[::1", "is not reachable"),
    ],
)
async def test_a_fence_that_is_away_is_told_calmly(url: str, says: str) -> None:
    """A sentence, in time, and the page is there all the same."""
    answer = await FenceClient(Settings(fence_url=url)).nodes()
    assert says in answer.trouble
    assert answer.nodes == ()


async def test_a_fence_without_our_token_is_told_calmly(fence: str, tmp_path: Path) -> None:
    """401, a missing file: the same."""
    assert "401" in (await FenceClient(Settings(fence_url=fence)).nodes()).trouble
    missing = Settings(fence_url=fence, fence_token_file=tmp_path / "nothing")
    assert "not reachable" in (await FenceClient(missing).nodes()).trouble


def test_the_manifest_is_served_as_it_is(made: Collection) -> None:
    """For programs that look at one dump."""
    with Served(application(made)) as served:
        (directory,) = made.spool.root.glob("db2-*")
        found = httpx.get(f"{served.url}/dumps/{directory.name}/manifest.json").json()
    assert found == json.loads((directory / "manifest.json").read_bytes())

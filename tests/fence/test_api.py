"""fence.api: every route over a real socket (docs/fence-api.md)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

from fence import api
from fence.message import Message, encode
from tests.fence.conftest import Desk
from tests.rig.fence import eventually

KEY = b"k" * 32
DeskOf = Callable[..., AbstractAsyncContextManager[Desk]]


def signed(sequence: int = 1000, drill: bool = False, **more: Any) -> bytes:
    stamp = int(time.time() * 1000)
    return encode(
        Message(drill=drill, node="n1", session=b"A" * 16, sequence=sequence, time=stamp, **more), KEY
    )


async def test_the_message_came_before_the_question(desk_of: DeskOf) -> None:
    """What the C agent never answers: at once."""
    async with desk_of() as desk:
        desk.hear()
        answer = await desk.get("/v1/nodes/n1/off", timeout=60)
        assert (answer["status"], answer["off"], answer["grade"], answer["beats"]) == (200, True, "udp", 1)
        assert answer["waited_seconds"] < 20
        assert "asked_by" not in answer


async def test_the_message_comes_while_somebody_waits(desk_of: DeskOf) -> None:
    """The answer is there the moment the datagram is."""
    async with desk_of() as desk:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await desk.get("/v1/nodes/n1/off", timeout=60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await eventually(lambda: desk.daemon.waits.open == 1)
            desk.hear(address="192.0.2.20")  # another node
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not answers
            desk.hear()
        assert answers[0]["off"]
        assert desk.daemon.waits.open == 0


async def test_no_message_is_a_no_after_the_time(desk_of: DeskOf) -> None:
    """With the reason, and 200: it is an answer."""
    async with desk_of() as desk:
        answer = await desk.get("/v1/nodes/n1/off", timeout=0.05)
        assert answer == {
            "node": "n1",
            "off": False,
            "grade": "none",
            "policy": "udp",
            "reason": "nothing heard from n1",
            "state": "quiet",
            "beats": 0,
            "age_seconds": None,
            "waited_seconds": answer["waited_seconds"],
            "status": 200,
        }


async def test_a_question_may_ask_for_more(desk_of: DeskOf) -> None:
    """It waits on through lesser evidence."""
    async with desk_of() as desk:
        desk.hear()
        answer = await desk.get("/v1/nodes/n1/off", timeout=0.02, grade="signed")
        assert (answer["off"], answer["grade"], answer["policy"]) == (False, "udp", "signed")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await desk.get("/v1/nodes/n1/off", timeout=60, grade="signed"))["off"]

            nursery.start_soon(ask)
            await eventually(lambda: desk.daemon.waits.open == 1)
            desk.hear()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert desk.daemon.waits.open == 1
            desk.hear(signed(), "203.0.113.9")


async def test_several_names_are_one_question(desk_of: DeskOf) -> None:
    """As `fence_kdump -n a,b`: any of them, unknown ones passed over."""
    async with desk_of(nodes={"unlisted": "refuse"}) as desk:
        desk.hear(address="192.0.2.20")
        answer = await desk.get("/v1/nodes/n1,,nowhere,n2/off", timeout=1)
        assert (answer["node"], answer["off"]) == ("n2", True)
        assert (await desk.get("/v1/nodes/nowhere,nothing/off"))["status"] == 404


@pytest.mark.parametrize("name", ["n1", "N1", "rack7", "192.0.2.10", "2001:db8::10", "2001%3ADB8::10"])
async def test_a_node_has_many_names(desk_of: DeskOf, name: str) -> None:
    """Its name, its id, its addresses."""
    async with desk_of() as desk:
        assert (await desk.get(f"/v1/nodes/{name}"))["name"] == "n1"


async def test_an_unlisted_name_is_resolved_and_what_it_just_sent_counts(desk_of: DeskOf) -> None:
    """The C agent without configuration, but not too late."""
    async with desk_of() as desk:
        desk.hear(address="127.0.0.1")
        answer = await desk.get("/v1/nodes/localhost/off", timeout=1)
        assert (answer["node"], answer["off"]) == ("localhost", True)
        node = await desk.get("/v1/nodes/127.0.0.1")
        assert (node["name"], node["source"]) == ("localhost", "asked")
        assert (await desk.get("/v1/nodes/192.0.2.10"))["name"] == "n1"
        assert (await desk.get("/v1/nodes/203.0.113.77/off", timeout=0))["status"] == 200
        lost = await desk.get("/v1/nodes/no.such.name.invalid/off")
        assert (lost["status"], "does not resolve" in lost["error"]) == (404, True)
        assert (await desk.get("/v1/nodes/a b"))["status"] == 404


async def test_an_unlisted_name_is_refused_where_the_settings_say_so(desk_of: DeskOf) -> None:
    """A typing error in the cluster's configuration is seen."""
    async with desk_of(nodes={"unlisted": "refuse"}) as desk:
        answer = await desk.get("/v1/nodes/localhost/off")
        assert answer == {"status": 404, "error": "no node 'localhost' is configured; add [node.localhost]"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"timeout": "soon"}, "timeout: say 0 to 3600 seconds, not 'soon'"),
        ({"timeout": "-1"}, "timeout: say 0 to 3600 seconds"),
        ({"timeout": "nan"}, "timeout: say 0 to 3600 seconds"),
        ({"timeout": "inf"}, "timeout: say 0 to 3600 seconds"),
        ({"grade": "none"}, "grade: say one of udp, udp-checked, signed, ssh, saved, not 'none'"),
        ({"grade": "best"}, "grade: say one of"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_why(
    desk_of: DeskOf, query: dict[str, str], told: str
) -> None:
    """400, never a no that the cluster would act on."""
    async with desk_of() as desk:
        answer = await desk.get("/v1/nodes/n1/off", **query)
        assert answer["status"] == 400
        assert answer["error"].startswith(told)


async def test_too_many_questions_are_refused(desk_of: DeskOf) -> None:
    """A bound, said in words."""
    async with desk_of(api={"max_waits": 1}) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: desk.get("/v1/nodes/n1/off"))
        await eventually(lambda: desk.daemon.waits.open == 1)
        answer = await desk.get("/v1/nodes/n1/off")
        assert (answer["status"], "api.max_waits" in answer["error"]) == (503, True)
        desk.hear()


async def test_a_client_that_goes_away_waits_no_longer(desk_of: DeskOf) -> None:
    """Pacemaker kills its agent: nothing of it stays."""
    async with desk_of() as desk:
        with trio.move_on_after(0.2):
            await desk.get("/v1/nodes/n1/off")
        await eventually(lambda: desk.daemon.waits.open == 0)


async def test_who_waits_when_the_daemon_stops_is_told(desk_of: DeskOf) -> None:
    """503, not a no: the agent asks another daemon."""
    async with desk_of() as desk, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert (await desk.get("/v1/nodes/n1/off"))["status"] == 503

        nursery.start_soon(ask)
        await eventually(lambda: desk.daemon.waits.open == 1)
        desk.daemon.stop()


async def test_alive_clears_and_lost_does_not(desk_of: DeskOf) -> None:
    """The cluster's own knowledge; durable when it is answered."""
    async with desk_of() as desk:
        desk.hear()
        assert await desk.post("/v1/nodes/n1/lost") == {
            "node": "n1",
            "state": "dumping",
            "durable": True,
            "status": 200,
        }
        assert (await desk.get("/v1/nodes/n1/off", timeout=0))["off"]
        answer = await desk.post("/v1/nodes/n1/alive", by="pacemaker")
        assert (answer["state"], answer["durable"]) == ("quiet", True)
        node = await desk.get("/v1/nodes/n1")
        assert (node["off"], node["alive"]["known"], node["alive"]["by"]) == (False, True, "pacemaker")


async def test_alive_says_how_old_it_is(desk_of: DeskOf) -> None:
    """An alert that came late clears nothing that came after it."""
    async with desk_of() as desk:
        desk.hear()
        await desk.post("/v1/nodes/n1/alive", age_seconds=30.0)
        assert (await desk.get("/v1/nodes/n1/off", timeout=0))["off"]


async def test_the_receivers_evidence(desk_of: DeskOf) -> None:
    """From the first byte to the whole dump, and its age counts."""
    async with desk_of() as desk:
        told = {"node": "192.0.2.10", "age_seconds": 0, "upload": "u1", "by": "collector1"}
        answer = await desk.post("/v1/evidence", phase="progress", done_bytes=1, total_bytes=4, **told)
        assert (answer["status"], answer["state"], answer["durable"]) == (200, "dumping", True)
        node = await desk.get("/v1/nodes/n1")
        assert (node["grade"], node["progress"]) == ("ssh", {"done_bytes": 1, "total_bytes": 4})
        await desk.post("/v1/evidence", phase="finished", **told)
        node = await desk.get("/v1/nodes/n1")
        assert (node["grade"], node["state"]) == ("saved", "saved")
        desk.later(100)
        await desk.post("/v1/evidence", phase="finished", node="n1", age_seconds=99, upload="u2")
        assert not (await desk.get("/v1/nodes/n1"))["off"]


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/v1/evidence", '{"node":"n1","phase":"progress"}', 400, "age_seconds: Field required"),
        ("/v1/evidence", '{"node":"n1","phase":"x","age_seconds":0}', 400, "phase: Input should be"),
        ("/v1/evidence", '{"node":"n1","phase":"failed","age_seconds":-1}', 400, "age_seconds: "),
        ("/v1/evidence", '{"node":"n1","phase":"failed","age_seconds":0,"x":1}', 400, "x: Extra inputs"),
        (
            "/v1/evidence",
            '{"node":"n1","phase":"failed","age_seconds":0,"done_bytes":-1}',
            400,
            "done_bytes: ",
        ),
        ("/v1/evidence", '{"node":"n9","phase":"failed","age_seconds":0}', 404, "no node 'n9' is configured"),
        ("/v1/evidence", "[]", 400, "the body: "),
        ("/v1/evidence", "{", 400, "the body: Invalid JSON"),
        ("/v1/evidence", "x" * 70_000, 413, "the body is over 65536 bytes"),
        ("/v1/nodes/n1/alive", '{"age_seconds":"NaN"}', 400, "age_seconds: "),
        ("/v1/nodes/n1/alive", '{"by":"' + "x" * 300 + '"}', 400, "by: "),
    ],
)
async def test_what_is_told_must_be_as_the_page_says(
    desk_of: DeskOf, path: str, body: str, status: int, told: str
) -> None:
    """Which value, and why."""
    async with desk_of(nodes={"unlisted": "refuse"}) as desk:
        answer = await desk.client.post(path, content=body)
        assert answer.status_code == status
        assert answer.json()["error"].startswith(told)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nodes/n1/on", 404),
        ("POST", "/v1/nodes/n1/off", 405),
        ("GET", "/v1/evidence", 405),
    ],
)
async def test_other_routes_and_methods(desk_of: DeskOf, method: str, path: str, status: int) -> None:
    """JSON with an error, as everywhere."""
    async with desk_of() as desk:
        answer = await desk.client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]


async def test_nodes_show_all_that_is_known(desk_of: DeskOf) -> None:
    """In the form of the API page."""
    async with desk_of() as desk:
        desk.hear(signed(), "203.0.113.9")
        desk.hear(signed(drill=True))
        listing = await desk.get("/v1/nodes")
        assert [node["name"] for node in listing["nodes"]] == ["n1", "n2"]
        node = listing["nodes"][0]
        assert (node["id"], node["source"], node["addresses"]) == (
            "rack7",
            "config",
            ["192.0.2.10", "2001:db8::10"],
        )
        assert (node["state"], node["off"], node["grade"], node["policy"]) == (
            "dumping",
            True,
            "signed",
            "udp",
        )
        assert node["evidence"]["signed"]["fresh"]
        assert (node["heard_from"], node["session"]) == (
            "203.0.113.9",
            "41414141-4141-4141-4141-414141414141",
        )
        assert node["keys"] == [node["signed_with"]]
        assert node["drill"]["grade"] == "signed"
        quiet = listing["nodes"][1]
        for key in ("heard_from", "session", "phase", "progress", "signed_with", "drill", "age_seconds"):
            assert quiet[key] is None
        assert quiet["alive"] == {"known": False, "liveness": "unknown", "age_seconds": None, "by": None}
        assert b"6b6b" not in (await desk.client.get("/v1/nodes")).content  # no key is ever shown


async def test_a_long_list_of_nodes_is_whole(desk_of: DeskOf) -> None:
    """Others get their turn meanwhile."""
    many = {f"m{number}": {"addresses": [f"10.0.{number // 250}.{number % 250}"]} for number in range(250)}
    async with desk_of(node=many) as desk:
        assert len((await desk.get("/v1/nodes"))["nodes"]) == 250


async def test_strangers_are_shown(desk_of: DeskOf) -> None:
    """The newest first."""
    async with desk_of() as desk:
        desk.hear(address="203.0.113.1")
        desk.hear(encode(Message(node="n7")), "203.0.113.2", count=3)
        view = await desk.get("/v1/unknown")
        assert [(each["address"], each["messages"], each["claims"]) for each in view["senders"]] == [
            ("203.0.113.2", 3, "n7"),
            ("203.0.113.1", 1, None),
        ]


async def test_events_are_paged_and_filtered(desk_of: DeskOf) -> None:
    """`since`, `limit`, `node`; CloudEvents all of them."""
    async with desk_of() as desk:
        desk.hear()
        desk.hear(address="192.0.2.20")
        await desk.get("/v1/nodes/n2/off", timeout=0)
        events = await desk.events()
        assert [(event["subject"], event["type"]) for event in events] == [
            ("n1", "kdump-net.fence.node.dumping"),
            ("n2", "kdump-net.fence.node.dumping"),
            ("n2", "kdump-net.fence.decision"),
        ]
        assert events[2]["data"]["asked_by"] == "root"
        assert events[0]["source"] == "/kdump-fence/test"
        page = await desk.get("/v1/events", since=1, limit=1)
        assert ([event["id"] for event in page["events"]], page["last"]) == (["2"], "2")
        assert [event["id"] for event in (await desk.get("/v1/events", node="N2"))["events"]] == ["2", "3"]
        assert (await desk.get("/v1/events", since=3))["events"] == []
        assert len((await desk.get("/v1/events", since=99))["events"]) == 3  # an id of a journal that is gone
        assert (await desk.get("/v1/events", since="x"))["status"] == 400


async def read_stream(desk: Desk, count: int, *headers: str, query: str = "") -> list[Any]:
    """So many events of a stream, with their ids checked."""
    found: list[Any] = []
    block: dict[str, str] = {}
    async with aclosing(desk.stream(*headers, query=query)) as lines:
        async for line in lines:
            name, _, value = line.partition(": ")
            if name:
                block[name] = value
            elif "data" in block:
                event = json.loads(block["data"])
                assert (block["id"], block["event"]) == (event["id"], event["type"])
                found.append(event)
                block = {}
            if len(found) == count:
                break
    return found


async def test_a_stream_goes_on_where_it_broke_off(desk_of: DeskOf) -> None:
    """`Last-Event-ID`, and from there to what comes: nothing twice, nothing lost."""
    async with desk_of() as desk:
        desk.hear()
        await desk.events()
        found: list[Any] = []

        async def follow() -> None:
            found.extend(await read_stream(desk, 3, "Last-Event-ID: 0"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked(0.05)
            desk.hear(address="192.0.2.20")
            await desk.post("/v1/nodes/n2/alive")
        assert [event["id"] for event in found] == ["1", "2", "3"]
        assert [event["id"] for event in await read_stream(desk, 2, "Last-Event-ID: 2")] == ["3", "4"]
        assert [event["id"] for event in await read_stream(desk, 1, query="?since=3")] == ["4"]
        assert [event["subject"] for event in await read_stream(desk, 1, query="?since=0&node=n2")] == ["n2"]
        assert [event["id"] for event in await read_stream(desk, 4, "Last-Event-ID: 999")] == list("1234")


async def test_a_stream_without_an_id_begins_with_what_comes(desk_of: DeskOf) -> None:
    """The past is not asked for."""
    async with desk_of() as desk:
        desk.hear()
        await desk.events()
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                (event,) = await read_stream(desk, 1)
                assert event["subject"] == "n2"

            nursery.start_soon(follow)
            await eventually(lambda: desk.http._open and len(desk.http._open) >= 2)
            await trio.testing.wait_all_tasks_blocked(0.05)
            desk.hear(address="192.0.2.20")


async def test_many_events_pass_through_a_stream_page_by_page(
    desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a page holds."""
    monkeypatch.setattr(api, "PAGE", 3)
    async with desk_of() as desk:
        for _ in range(5):
            await desk.get("/v1/nodes/n1/off", timeout=0)
            await desk.get("/v1/nodes/n2/off", timeout=0)
        await desk.events()
        assert len(await read_stream(desk, 10, query="?since=0")) == 10
        assert len(await read_stream(desk, 5, query="?since=0&node=n2")) == 5


async def test_a_quiet_stream_is_kept_open(desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then, for proxies."""
    monkeypatch.setattr(api, "KEEP_ALIVE_SECONDS", 0.02)
    async with desk_of() as desk, aclosing(desk.stream()) as lines:
        assert await anext(lines) == ": kdump-fence"
        assert [await anext(lines) for _ in range(4)] == ["", ": still here"] * 2


async def test_there_is_an_end_to_streams(desk_of: DeskOf) -> None:
    """A bound, said in words; and a stream that ended makes room."""
    async with desk_of(api={"max_streams": 1}) as desk:
        async with aclosing(desk.stream()) as lines:
            assert await anext(lines) == ": kdump-fence"
            refused = await desk.client.get("/v1/events", headers={"accept": "text/event-stream"})
            assert (refused.status_code, "api.max_streams" in refused.json()["error"]) == (503, True)
        desk.hear()
        desk.hear(address="192.0.2.20")
        await desk.events()
        assert await read_stream(desk, 1, query="?since=0")


async def test_health_is_200_or_503_with_the_reasons(desk_of: DeskOf) -> None:
    """For monitors and load balancers."""
    async with desk_of() as desk:
        view = await desk.get("/healthz")
        assert (view["status"], view["ok"], view["nodes"], view["waits"]) == (200, True, 2, 0)
        desk.problems.append("the socket is lost")
        view = await desk.get("/healthz")
        assert (view["status"], view["ok"], view["problems"]) == (503, False, ["the socket is lost"])


async def test_a_client_that_does_not_read_holds_nothing_up(
    desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the others, nor the end of the daemon."""
    monkeypatch.setattr("fence.serve.GRACE_SECONDS", 0.2)
    async with desk_of() as desk:
        for _ in range(400):
            await desk.get("/v1/nodes/n1/off", timeout=0)
        path = str(desk.daemon.settings.api.socket)
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect(path)
            stuck.sendall(b"GET /v1/events?since=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert (await desk.get("/healthz"))["status"] == 200
            desk.daemon.stop()
            desk.stop.set()
            with trio.fail_after(5):
                await desk.http.ended.wait()


async def test_junk_on_the_socket_hurts_nobody(desk_of: DeskOf) -> None:
    """Not HTTP, half a request, a request and gone."""
    async with desk_of() as desk:
        path = str(desk.daemon.settings.api.socket)
        for data in (
            b"\x00" * 100,
            b"GET / HTTP/1.1\r\nHost",
            b"POST /v1/evidence HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
        ):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(data)
        assert (await desk.get("/healthz"))["status"] == 200
        await eventually(lambda: len(desk.http._open) <= 1)


def test_the_page_of_the_api_names_every_route() -> None:
    """What is not documented does not exist."""
    page = (Path(__file__).parents[2] / "docs" / "fence-api.md").read_text()
    for path in (
        "/v1/nodes",
        "/v1/unknown",
        "/v1/evidence",
        "/v1/events",
        "/healthz",
        "/metrics",
        "/alive",
        "/off",
    ):
        assert path in page

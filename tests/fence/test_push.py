"""fence.push and fence.webhook: others are told, in order, at least once, and never too late to be true."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import trio

from fence import push
from fence.events import Alarm, Decision, Grade, State, StateChanged
from fence.events import Event as FenceEvent
from fence.journal import Journal
from fence.push import Pusher, consumer
from fence.settings import Program, Webhook
from fence.store import Store
from tests.rig.fence import eventually


def change(node: str = "n1", grade: Grade = Grade.UDP, state: State = State.DUMPING) -> StateChanged:
    return StateChanged(node=node, state=state, was=State.QUIET, grade=grade, reason="")


@dataclass
class Endpoint:
    """A real HTTP server that answers as it is told, and remembers."""

    statuses: list[int] = field(default_factory=list)  # the next answers; 200 when there are none left
    seen: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    hold: Event = field(default_factory=Event)

    def nodes(self) -> list[str]:
        return [event["subject"] for _, event in self.seen]


@pytest.fixture
def endpoint() -> Any:
    made = Endpoint()
    made.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.hold.wait(10)
            made.seen.append((dict(self.headers.items()), json.loads(body)))
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}/hook"  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Pushing:
    journal: Journal
    pusher: Pusher
    wall: list[float]

    def tell(self, *events: FenceEvent) -> None:
        self.journal.record(events)


@asynccontextmanager
async def pushing(
    path: Path, settings: Webhook | Program, *before: FenceEvent, late: float = 0
) -> AsyncIterator[Pushing]:
    """A pusher over a real journal; ``before``: what stands in it already, ``late`` seconds old."""
    wall = [time.time()]
    store = Store(path / "journal.sqlite")
    journal = Journal(store, lambda: wall[0], keep_seconds=1e9, max_bytes=1 << 30)
    place = store.consumers().get(consumer(settings), 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        if before:
            journal.record(before)
            await journal.news(0)
        wall[0] += late
        pusher = Pusher(settings, journal, place, "/kdump-fence/test", lambda: wall[0])
        nursery.start_soon(pusher.run)
        yield Pushing(journal, pusher, wall)
        nursery.cancel_scope.cancel()


def hook(endpoint: Any, **more: Any) -> Webhook:
    return Webhook.model_validate({"name": "ops", "url": endpoint.url} | more)


async def test_a_webhook_gets_cloud_events_in_order(endpoint: Any, tmp_path: Path) -> None:
    """Structured mode, those it asked for, with its token as it is now."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with pushing(tmp_path, hook(endpoint, token_file=token)) as pushed:
        pushed.tell(
            change("n1"), Alarm(node="n1", alarm="replay", reason=""), change("n2", state=State.SAVED)
        )
        await eventually(lambda: pushed.pusher.done == 2)
        assert endpoint.nodes() == ["n1", "n2"]
        headers, event = endpoint.seen[0]
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert headers["authorization"] == "Bearer secret"
        assert (event["type"], event["data"]["grade"]) == ("kdump-net.fence.node.dumping", "udp")
        token.write_text("renewed")
        pushed.tell(change("n3"))
        await eventually(lambda: pushed.pusher.done == 3)
        assert endpoint.seen[2][0]["authorization"] == "Bearer renewed"
        assert pushed.pusher.behind == 0


async def test_a_webhook_that_fails_is_tried_again_and_the_order_stays(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses that grow; what comes later waits for its turn."""
    monkeypatch.setattr(push, "RETRY_SECONDS", (0.01, 0.02))
    endpoint.statuses = [500, 429, 503]
    async with pushing(tmp_path, hook(endpoint)) as pushed:
        pushed.tell(change("n1"), change("n2"))
        await eventually(lambda: pushed.pusher.done == 2)
        assert endpoint.nodes() == ["n1", "n1", "n1", "n1", "n2"]
        assert pushed.pusher.problem is None


async def test_an_event_that_is_not_wanted_there_is_given_up(
    endpoint: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """4xx says that trying again is of no use; the log says so, too."""
    endpoint.statuses = [410]
    async with pushing(tmp_path, hook(endpoint)) as pushed:
        pushed.tell(change("n1"), change("n2"))
        await eventually(lambda: pushed.pusher.done == 1)
        assert (endpoint.nodes(), pushed.pusher.given_up) == (["n1", "n2"], 1)
    assert "push.given-up" in caplog.text
    assert "answered 410" in caplog.text


async def test_an_endpoint_that_is_down_or_hangs_is_a_problem_that_is_said(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And told when it is there again."""
    monkeypatch.setattr(push, "RETRY_SECONDS", (0.01,))
    endpoint.hold.clear()
    async with pushing(tmp_path, hook(endpoint, timeout_seconds=0.1)) as pushed:
        pushed.tell(change("n1"))
        await eventually(lambda: pushed.pusher.problem)
        assert str(pushed.pusher.problem).startswith("webhook ops: ")
        endpoint.hold.set()
        await eventually(lambda: pushed.pusher.done == 1)
    async with pushing(tmp_path, hook(endpoint, url="http://127.0.0.1:1/", name="other")) as pushed:
        pushed.tell(change("n1"))
        await eventually(lambda: pushed.pusher.problem)
        assert "ConnectError" in str(pushed.pusher.problem)
        assert pushed.pusher.behind >= 1


async def test_a_token_that_cannot_be_read_is_a_problem(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent without it."""
    monkeypatch.setattr(push, "RETRY_SECONDS", (0.01,))
    async with pushing(tmp_path, hook(endpoint, token_file=tmp_path / "token")) as pushed:
        pushed.tell(change("n1"))
        await eventually(lambda: pushed.pusher.problem)
        assert "No such file" in str(pushed.pusher.problem)
        assert not endpoint.seen


async def test_after_a_restart_a_webhook_gets_what_it_missed(endpoint: Any, tmp_path: Path) -> None:
    """The journal is the queue, and it knows how far each is."""
    async with pushing(tmp_path, hook(endpoint)) as pushed:
        pushed.tell(change("n1"))
        await eventually(lambda: pushed.pusher.done == 1)
        await pushed.journal.flush()
    store = Store(tmp_path / "journal.sqlite")
    store.write([])
    place = store.consumers()["webhook ops"]
    store.close()
    assert place == 1
    async with pushing(tmp_path, hook(endpoint), change("n2"), change("n3")) as pushed:
        await eventually(lambda: pushed.pusher.done == 2)
    assert endpoint.nodes() == ["n1", "n2", "n3"]


async def test_what_is_too_old_is_not_pushed(endpoint: Any, tmp_path: Path) -> None:
    """It would tell of a node that is long back."""
    old = (change("n1"), change("n2"))
    async with pushing(tmp_path, hook(endpoint, max_age_seconds=50), *old, late=51) as pushed:
        await eventually(lambda: pushed.pusher.given_up == 2)
        pushed.tell(change("n3"))
        await eventually(lambda: pushed.pusher.done == 1)
        assert endpoint.nodes() == ["n3"]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_program_gets_the_event_on_stdin_and_its_best_in_the_environment(tmp_path: Path) -> None:
    """An argv, no shell."""
    out = tmp_path / "out"
    values = "$KDUMP_FENCE_EVENT $KDUMP_FENCE_NODE $KDUMP_FENCE_GRADE $KDUMP_FENCE_STATE"
    program = script(tmp_path / "hook", f'cat > {out}.json\necho "$1 {values}" > {out}')
    settings = Program(name="p", argv=(program, "a b; rm -rf /"))
    async with pushing(tmp_path, settings) as pushed:
        pushed.tell(change("n1", Grade.SIGNED))
        await eventually(lambda: pushed.pusher.done == 1)
    assert out.read_text() == "a b; rm -rf / node.dumping n1 signed dumping\n"
    assert json.loads(out.with_suffix(".json").read_text())["subject"] == "n1"


async def test_a_program_is_run_for_good_enough_evidence_only(tmp_path: Path) -> None:
    """`stonith_admin --confirm` must not run for a datagram anybody can send."""
    out = tmp_path / "out"
    program = script(tmp_path / "hook", f"echo $KDUMP_FENCE_NODE >> {out}")
    settings = Program(name="p", argv=(program,), min_grade=Grade.SIGNED, events=("node.*", "decision"))
    decision = Decision(
        node="n9",
        off=True,
        grade=Grade.UDP,
        policy=Grade.UDP,
        reason="",
        state=State.DUMPING,
        beats=1,
        age_seconds=0,
        waited_seconds=0,
        asked_by="",
    )
    alarm = Alarm(node="n9", alarm="replay", reason="")
    async with pushing(tmp_path, settings) as pushed:
        pushed.tell(
            change("n1", Grade.UDP), change("n2", Grade.SIGNED), decision, alarm, change("n3", Grade.SAVED)
        )
        await eventually(lambda: pushed.pusher.done == 2)
    assert out.read_text() == "n2\nn3\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("/no/such/program",), "/no/such/program: No such file or directory"),
        (("false",), "false ended with 1"),
        (("sleep", "20"), "sleep took longer than 0.2 s"),
    ],
)
async def test_a_program_that_fails_is_a_problem_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], told: str
) -> None:
    """Until the event is too old to act on."""
    monkeypatch.setattr(push, "RETRY_SECONDS", (0.01,))
    async with pushing(tmp_path, Program(name="p", argv=argv, timeout_seconds=0.2)) as pushed:
        pushed.tell(change("n1"))
        await eventually(lambda: pushed.pusher.problem == f"program p: {told}")
        pushed.wall[0] += 30
        await eventually(lambda: pushed.pusher.given_up == 1)

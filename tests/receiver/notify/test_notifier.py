"""The notifier against real endpoints that fail, hang, recover: nothing is lost, nobody waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
import ssl
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.catalogue.store import Catalogue
from receiver.events import Event, KeyEnrolled, Reported
from receiver.notify import pace
from receiver.notify.deliver import Failed, open_target
from receiver.notify.outbox import Outbox
from receiver.notify.run import run
from receiver.notify.sample import send_sample
from receiver.settings import Settings
from receiver.spool.dumps import Spool
from receiver.targets import Apprise, Program, Target, Webhook
from tests.rig.endpoint import Endpoint, until
from tests.rig.receiver import PROGRAM, Receiver


def crash(number: int, host: str = "web01", group: str = "aa") -> Reported:
    return Reported(host, f"d{number}", "null-pointer", f"oops in {group}", group, "complete")


class Rig:
    """A catalogue, and a notifier that can be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = Spool(directory / "spool", directory / "state")
        self.catalogue = Catalogue(f"sqlite:///{directory / 'catalogue.sqlite'}", self.spool.state)
        self.outbox = Outbox(self.catalogue)
        self.told: list[Event] = []

    def tell(self, *events: Event) -> None:
        """They happen."""
        self.catalogue.journal.append(events)

    @asynccontextmanager
    async def notifying(self, *targets: Target) -> AsyncIterator[None]:
        """While the notifier runs; on entry every target knows its place in the journal."""
        settings = Settings(root=self.spool.root, state_dir=self.spool.state, notify=targets)
        task = asyncio.create_task(run(settings, self.catalogue, self.spool, self.told.append))
        names = {target.name for target in targets}
        await eventually(lambda: names <= {state.name for state in self.outbox.states()})
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def state(self, name: str = "w") -> Any:
        return next(state for state in self.outbox.states() if state.name == name)


async def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- there is no event to wait for
            await asyncio.sleep(0.02)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(pace, "FIRST_SECONDS", 0.1)
    return Rig(tmp_path)


def webhook(endpoint: Endpoint, **keys: Any) -> Webhook:
    return Webhook(kind="webhook", url=endpoint.url, **{"name": "w", "burst": 0, **keys})


def dumps(endpoint: Endpoint) -> list[str]:
    """The dumps that the endpoint was told of, and took."""
    return [request.event["data"]["dump"] for request in endpoint.taken]


async def test_an_event_is_posted_signed_and_once(rig: Rig) -> None:
    """With a secret of each place; what happened before the target was there is not told."""
    secret = rig.directory / "secret"
    secret.write_text("whsec_" + b64encode(b"k" * 32).decode() + "\n")
    rig.tell(crash(0))
    with Endpoint() as endpoint:
        async with rig.notifying(webhook(endpoint, secret_files=(secret,))):
            rig.tell(crash(1), KeyEnrolled("web01", "p", "t", "d"))
            await eventually(lambda: endpoint.requests)
            await eventually(lambda: rig.state().delivered == 1)
        (request,) = endpoint.requests
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.event["data"]["dump"] == "d1"
    assert request.headers["webhook-id"] == request.event["id"]
    at = request.headers["webhook-timestamp"]
    assert abs(int(at) - time.time()) < 60
    version, _, code = request.headers["webhook-signature"].partition(",")
    signed = f"{request.event['id']}.{at}.".encode() + request.body
    assert version == "v1"
    assert b64decode(code) == hmac.digest(b"k" * 32, signed, "sha256")
    assert rig.state().waiting == 0


async def test_an_endpoint_that_fails_gets_everything_in_order_when_it_is_back(rig: Rig) -> None:
    """500, then refused connections, then 200: at pauses that grow, each event once."""
    with Endpoint(answer=500) as endpoint:
        async with rig.notifying(webhook(endpoint)):
            for number in range(5):
                rig.tell(crash(number))
            await eventually(lambda: len(endpoint.requests) >= 2)
            assert rig.state().failures >= 1
            assert "500" in rig.state().error
            endpoint.stop()
            await eventually(lambda: "ConnectError" in (rig.state().error or ""))
            endpoint.answer = 200
            endpoint.start()
            await eventually(lambda: rig.state().delivered == 5)
        assert dumps(endpoint) == [f"d{number}" for number in range(5)]
        ids = [request.event["id"] for request in endpoint.requests]
        assert len(set(ids)) == 5
        assert ids[0] == ids[1]
    assert rig.state().error is None
    assert rig.told == []


async def test_an_endpoint_that_hangs_delays_no_other(rig: Rig) -> None:
    """It gets its time, then a pause; the other target is told meanwhile."""
    with Endpoint(answer=0) as hanging, Endpoint() as quick:
        targets = webhook(hanging, name="hanging", timeout_seconds=2), webhook(quick, name="quick")
        async with rig.notifying(*targets):
            begun = time.monotonic()
            for number in range(5):
                rig.tell(crash(number))
            await eventually(lambda: len(quick.taken) == 5)
            assert hanging.requests
            assert time.monotonic() - begun < 10
            await eventually(lambda: "no answer within 2 s" in (rig.state("hanging").error or ""))
            hanging.answer = 200
            await eventually(lambda: rig.state("hanging").delivered == 5)
        assert dumps(quick) == dumps(hanging) == [f"d{number}" for number in range(5)]


async def test_a_restart_in_between_loses_nothing(rig: Rig) -> None:
    """What waited for a dead endpoint, and what happened while no notifier ran."""
    with Endpoint(answer=503) as endpoint:
        async with rig.notifying(webhook(endpoint)):
            rig.tell(crash(1))
            await eventually(lambda: endpoint.requests)
        rig.tell(crash(2))
        endpoint.answer = 200
        async with rig.notifying(webhook(endpoint)):
            await eventually(lambda: rig.state().delivered == 2)
        assert dumps(endpoint) == ["d1", "d2"]


async def test_what_an_endpoint_refuses_is_given_up_and_lets_others_pass(rig: Rig) -> None:
    """A 400 for one event; the journal tells that it was given up, and another target hears of it."""
    with Endpoint(answer=400) as picky, Endpoint() as other:
        targets = webhook(picky, events=("*",)), webhook(other, name="other", events=("notify.gave_up",))
        async with rig.notifying(*targets):
            rig.tell(crash(1))
            await eventually(lambda: rig.state().given_up == 1)
            assert len(picky.requests) == pace.REFUSALS
            picky.answer = 200
            rig.tell(crash(2))
            await eventually(lambda: rig.state().delivered == 1)
            await eventually(lambda: other.taken)
        assert dumps(picky) == ["d2"]
        assert other.taken[0].event["data"] == {"target": "w", "count": 1, "reason": "answered 400"}


async def test_an_outbox_is_bounded_by_count_and_age(rig: Rig) -> None:
    """A target that is dead for ever costs so many rows; what is dropped is told."""
    with Endpoint(answer=503) as endpoint:
        target = webhook(endpoint, keep=10, give_up_hours=1)
        async with rig.notifying(target):
            rig.tell(*(crash(number) for number in range(25)))
            await eventually(lambda: rig.state().given_up == 15)
            assert rig.state().waiting == 10
        rig.outbox.bound(target, time.time() + 3700)
    assert (rig.state().waiting, rig.state().given_up) == (0, 25)
    reasons = [entry.fields["reason"] for entry in rig.catalogue.journal.after(0, names=["notify.gave_up"])]
    assert reasons == ["more than 10 waited", "waited too long"]


async def test_a_storm_is_some_messages_and_one_digest(rig: Rig) -> None:
    """Five hundred crashes at once."""
    with Endpoint() as endpoint:
        async with rig.notifying(webhook(endpoint, burst=3, period_seconds=2)):
            rig.tell(*(crash(number, f"web{number % 40:02}") for number in range(500)))
            await eventually(lambda: rig.state().delivered == 500)
        *singles, digest = [request.event for request in endpoint.taken]
        assert [single["type"] for single in singles] == ["kdump-net.receiver.dump.reported"] * 3
        assert digest["type"] == "kdump-net.receiver.digest"
        (group,) = digest["data"]["groups"]
        assert (digest["data"]["count"], group["count"], group["host_count"]) == (497, 497, 40)


async def test_only_one_of_several_notifiers_tells(rig: Rig) -> None:
    """Two servers on one catalogue: no event comes twice."""
    with Endpoint() as endpoint:
        async with rig.notifying(webhook(endpoint)), rig.notifying(webhook(endpoint)):
            for number in range(20):
                rig.tell(crash(number))
            await eventually(lambda: rig.state().delivered == 20)
        assert len(endpoint.requests) == 20


def certified(directory: Path) -> tuple[Path, Path]:
    """A key, and a certificate for 127.0.0.1 that vouches for itself."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"),
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return key, certificate


async def test_a_target_behind_tls_is_checked_by_its_ca(rig: Rig) -> None:
    """A certificate of another CA is not talked to."""
    key, certificate = certified(rig.directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Endpoint(tls=context) as endpoint:
        await send_sample(webhook(endpoint, ca=certificate), time.time())
        assert len(endpoint.taken) == 1
        with pytest.raises(Failed, match="CERTIFICATE_VERIFY_FAILED"):
            await send_sample(webhook(endpoint), time.time())
        with pytest.raises(Failed, match="nowhere"):
            await send_sample(webhook(endpoint, ca=Path("/nowhere")), time.time())


async def test_a_secret_or_token_that_is_missing_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not posted unsigned."""
    monkeypatch.setenv("KDUMP_SECRET", "s" * 20)
    monkeypatch.delenv("KDUMP_NONE", raising=False)
    with Endpoint() as endpoint:
        await send_sample(webhook(endpoint, secret_env=("KDUMP_SECRET",)), time.time())
        for keys in (
            {"secret_env": ("KDUMP_NONE",)},
            {"secret_files": (Path("/nowhere"),)},
            {"token_file": Path("/nowhere")},
        ):
            with pytest.raises(Failed, match=r"KDUMP_NONE|nowhere"):
                await send_sample(webhook(endpoint, **keys), time.time())
        assert len(endpoint.requests) == 1


def program(*argv: str, seconds: float = 20) -> Program:
    return Program(kind="program", name="p", argv=argv, timeout_seconds=seconds)


async def test_a_program_gets_the_event_on_standard_input(rig: Rig) -> None:
    place = rig.directory / "got.json"
    async with rig.notifying(program("/bin/sh", "-c", f"cat > {place}.new; mv {place}.new {place}")):
        rig.tell(crash(1))
        await eventually(lambda: rig.state("p").delivered == 1)
    assert json.loads(place.read_bytes())["data"]["dump"] == "d1"


async def test_a_program_that_takes_too_long_is_killed_with_all_it_started(rig: Rig) -> None:
    """Its children, too, and though it ignores SIGTERM; one that does not read its input is no harm."""
    pids = rig.directory / "pids"
    script = f"trap '' TERM; sleep 1000 & echo $$ $! > {pids}; wait; sleep 1000"
    begun = time.monotonic()
    with pytest.raises(Failed, match=r"took longer than 0\.5 s"):
        await send_sample(program("/bin/sh", "-c", script, seconds=0.5), time.time())
    assert time.monotonic() - begun < 10
    for pid in map(int, pids.read_text().split()):
        await eventually(partial(ended, pid))
    async with open_target(program("/bin/true")):
        await send_sample(program("/bin/true"), time.time())
    with pytest.raises(Failed, match="exit status 3: no luck"):
        await send_sample(program("/bin/sh", "-c", "echo no luck; exit 3"), time.time())
    with pytest.raises(Failed, match="No such file"):
        await send_sample(program("/nowhere"), time.time())


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def apprise(*urls: str, **keys: Any) -> Apprise:
    return Apprise.model_validate({"kind": "apprise", "name": "a", "urls": urls, **keys})


async def test_apprise_tells_people(rig: Rig) -> None:
    """By its JSON notification here; of mail and chats the library knows a hundred."""
    pytest.importorskip("apprise")
    urls = rig.directory / "urls"
    with Endpoint() as endpoint:
        urls.write_text(f"# where people look\njson://127.0.0.1:{endpoint.port}/b\n")
        target = apprise(f"json://127.0.0.1:{endpoint.port}/a", urls_file=urls)
        await send_sample(target, time.time())
        assert sorted(request.path for request in endpoint.requests) == ["/a", "/b"]
        assert "nothing crashed" in endpoint.requests[0].event["title"]
        endpoint.answer = 0
        begun = time.monotonic()
        with pytest.raises(Failed, match="took longer than 2 s"):
            await send_sample(apprise(f"json://127.0.0.1:{endpoint.port}/", timeout_seconds=2), time.time())
        assert time.monotonic() - begun < 15
    with pytest.raises(Failed, match="URL 1 is none that Apprise knows") as raised:
        await send_sample(apprise("pigeon://u:hunter2@x"), time.time())
    assert "hunter2" not in str(raised.value)


def test_kill_9_of_the_server_loses_no_notification(tmp_path: Path) -> None:
    """The real server, killed while its endpoint is down: the next one tells it all, under the same ids."""
    with Endpoint(answer=503) as endpoint:
        block = f'[[notify]]\nname = "w"\nkind = "webhook"\nurl = "{endpoint.url}"\nevents = ["key.enrolled"]'
        with Receiver(tmp_path, block) as receiver:
            catalogue = Catalogue(
                f"sqlite:///{receiver.root / '.state' / 'catalogue.sqlite'}", receiver.root / ".state"
            )
            outbox = Outbox(catalogue)
            until(lambda: [state.name for state in outbox.states()] == ["w"])
            catalogue.journal.append([KeyEnrolled("web01", "p", "t", "one")])
            until(lambda: endpoint.requests)
            children = Path(f"/proc/{receiver.pid}/task/{receiver.pid}/children").read_text().split()
            receiver.kill()
            for pid in map(int, children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                until(partial(ended, pid))
            catalogue.journal.append([KeyEnrolled("web01", "p", "t", "two")])
            endpoint.answer = 200
            receiver.start()
            until(lambda: len(endpoint.taken) == 2)
            until(lambda: outbox.states()[0].waiting == 0)
            shown = json.loads(receiver.cli("notify", "status", "--json").stdout)
            catalogue.close()
        assert [request.event["data"]["detail"] for request in endpoint.taken] == ["one", "two"]
        assert endpoint.requests[0].event["id"] == endpoint.taken[0].event["id"]
        assert (shown[0]["delivered"], shown[0]["kind"], shown[0]["error"]) == (2, "webhook", None)


def test_the_words_of_the_command_line(tmp_path: Path) -> None:
    """`notify test` says what came of it; `events` shows what happened, and follows it."""
    with Endpoint(answer=418) as endpoint:
        blocks = f'[[notify]]\nname = "w"\nkind = "webhook"\nurl = "{endpoint.url}"\n'
        blocks += '[[notify]]\nname = "p"\nkind = "program"\nargv = ["/bin/true"]\n'
        receiver = Receiver(tmp_path, blocks)
        tried = receiver.cli("notify", "test", check=False)
        assert tried.returncode == 75
        assert [line.split() for line in tried.stdout.splitlines()[1:]] == [
            ["w", "webhook", "answered", "418"],
            ["p", "program", "ok"],
        ]
        assert receiver.cli("notify", "test", "p").returncode == 0
        unknown = receiver.cli("notify", "test", "x", check=False)
        assert (unknown.returncode, "no [[notify]] block named 'x'" in unknown.stderr) == (64, True)
    assert receiver.cli("events", check=False).returncode == 1
    state = receiver.root / ".state"
    catalogue = Catalogue(f"sqlite:///{state / 'catalogue.sqlite'}", state)
    catalogue.journal.append([KeyEnrolled(f"web{n}", "p", "t", "x\x1b[31m") for n in range(3)])
    shown = receiver.cli("events").stdout.splitlines()
    assert [line.split()[3:5] for line in shown] == [["key.enrolled", f"host=web{n}"] for n in range(3)]
    assert "\x1b" not in "".join(shown)
    newest = json.loads(receiver.cli("events", "--json", "-n", "1").stdout)
    assert (newest["host"], newest["name"]) == ("web2", "key.enrolled")
    since = receiver.cli("events", "--json", "--since", str(newest["id"] - 1)).stdout.splitlines()
    assert [json.loads(line)["host"] for line in since] == ["web2"]
    command = [str(PROGRAM), "--config", str(receiver.config), "events", "-f", "--json"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    try:
        for _ in range(3):
            follower.stdout.readline()
        catalogue.journal.append([KeyEnrolled("web9", "p", "t", "x")])
        assert json.loads(follower.stdout.readline())["host"] == "web9"
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
        follower.stdout.close()
        catalogue.close()

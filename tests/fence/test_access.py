"""fence.access and fence.serve: who may ask, who may tell, by Unix socket and by TCP."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from fence.access import Denied, Peer, allowed
from fence.serve import tcp_socket, unix_socket
from fence.settings import Api, SettingsError
from fence.udp import ListenError, Where
from tests.fence.conftest import Desk

DeskOf = Callable[..., AbstractAsyncContextManager[Desk]]
TOKENS = {
    "reader": ("r" * 64, ("read",)),
    "collector": ("c" * 64, ("evidence",)),
    "cluster": ("a" * 64, ("read", "alive")),
}
TOKEN_BLOCKS = [
    {"name": name, "sha256": sha256(text.encode()).hexdigest(), "scopes": scopes}
    for name, (text, scopes) in TOKENS.items()
]
API = Api.model_validate({"token": TOKEN_BLOCKS, "alive_users": [1001], "evidence_users": [1002]})


@pytest.mark.parametrize(
    ("uid", "scope", "may"),
    [
        (0, "read", True),
        (0, "alive", True),
        (0, "evidence", True),
        (1001, "read", True),
        (1001, "alive", True),
        (1001, "evidence", False),
        (1002, "evidence", True),
        (1002, "alive", False),
        (4242, "read", True),
        (4242, "alive", False),
    ],
)
def test_users_of_the_unix_socket_may_what_the_settings_say(uid: int, scope: Any, may: bool) -> None:
    """Who may open it may read; telling takes a name in the settings."""
    peer = Peer(1, uid, uid)
    if may:
        assert allowed(API, scope, peer, None)
    else:
        with pytest.raises(Denied, match=rf"see `api\.{scope}_users`") as caught:
            allowed(API, scope, peer, "Bearer " + "c" * 64)  # a token makes no other user
        assert caught.value.status == 403


def test_the_daemons_own_user_may_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could do it anyway."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert allowed(API, "evidence", Peer(1, 4242, 4242), None) == "uid 4242"


@pytest.mark.parametrize(
    ("authorization", "scope", "status"),
    [
        (None, "read", 401),
        ("", "read", 401),
        ("Basic " + "r" * 64, "read", 401),
        ("Bearer", "read", 401),
        ("Bearer wrong", "read", 401),
        ("Bearer \udcff", "read", 401),
        ("Bearer " + "r" * 64, "read", None),
        ("bearer  " + "r" * 64, "read", None),
        ("Bearer " + "r" * 64, "alive", 403),
        ("Bearer " + "r" * 64, "evidence", 403),
        ("Bearer " + "c" * 64, "evidence", None),
        ("Bearer " + "c" * 64, "read", 403),
        ("Bearer " + "a" * 64, "alive", None),
    ],
)
def test_tokens_may_what_their_scopes_say(authorization: str | None, scope: Any, status: int | None) -> None:
    """Only a hash of each is in the settings."""
    if status is None:
        assert allowed(API, scope, None, authorization) in TOKENS
    else:
        with pytest.raises(Denied) as caught:
            allowed(API, scope, None, authorization)
        assert caught.value.status == status


async def test_the_api_by_tcp_needs_a_token_and_healthz_none(desk_of: DeskOf) -> None:
    """Loopback without TLS, for a proxy in front."""
    async with desk_of(api={"http": "127.0.0.1:0", "token": TOKEN_BLOCKS}) as desk:
        desk.hear()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{desk.port}") as client:
            answer = await client.get("/v1/nodes/n1/off")
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/metrics")).status_code == 401
            reader = {"authorization": f"Bearer {TOKENS['reader'][0]}"}
            assert (await client.get("/v1/nodes/n1/off", headers=reader)).json()["off"]
            assert (await client.post("/v1/nodes/n1/alive", headers=reader)).status_code == 403
            cluster = {"authorization": f"Bearer {TOKENS['cluster'][0]}"}
            assert (await client.post("/v1/nodes/n1/alive", headers=cluster)).json()["state"] == "quiet"
        decisions = [event for event in await desk.events() if event["type"].endswith("decision")]
        assert decisions[0]["data"]["asked_by"] == "reader"


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += [
        "-subj",
        "/CN=fence",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-out",
        str(cert),
        "-keyout",
        str(key),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return cert, key


async def test_the_api_by_tls(desk_of: DeskOf, tmp_path: Path) -> None:
    """And a certificate that was renewed is used without a restart."""
    cert, key = certificate(tmp_path)
    block = {"http": "127.0.0.1:0", "token": TOKEN_BLOCKS, "certificate": cert, "key": key}
    async with desk_of(api=block) as desk:
        for _ in range(2):
            trust = ssl.create_default_context(cafile=cert)
            async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{desk.port}", verify=trust) as client:
                headers = {"authorization": f"Bearer {TOKENS['reader'][0]}"}
                answer = await client.get("/v1/nodes", headers=headers)
                assert len(answer.json()["nodes"]) == 2
            certificate(tmp_path)
            desk.http.load_certificate(desk.daemon.settings.api)
        with socket.create_connection(("127.0.0.1", desk.port or 0)) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # no TLS: closed, and nobody is hurt
        cert.write_text("no certificate")
        with pytest.raises(SettingsError, match=r"api\.certificate .*cert\.pem, api\.key"):
            desk.http.load_certificate(desk.daemon.settings.api)
        assert (await desk.get("/healthz"))["status"] == 200


async def test_strangers_by_tcp_do_not_use_up_the_unix_socket(
    desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their connections have a bound of their own."""
    monkeypatch.setattr("fence.serve.TCP_MAX", 2)
    async with desk_of(api={"http": "127.0.0.1:0"}) as desk:
        streams = [await trio.open_tcp_stream("127.0.0.1", desk.port or 0) for _ in range(5)]
        with trio.fail_after(5):
            ends = [await stream.receive_some(1) for stream in streams[2:]]
        assert ends == [b""] * 3
        assert (await desk.get("/healthz"))["status"] == 200
        for stream in streams:
            await stream.aclose()


def test_the_unix_socket_has_the_mode_of_the_settings(tmp_path: Path) -> None:
    """And never, not for a moment, a wider one."""
    path = tmp_path / "run" / "api.sock"
    with unix_socket(Api(socket=path, socket_mode="0640", socket_group=os.getgid())):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.stat().st_gid == os.getgid()


def test_a_socket_left_by_a_dead_daemon_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    """kill -9 leaves the file; a second daemon must not steal the first one's questions."""
    path = tmp_path / "api.sock"
    unix_socket(Api(socket=path)).close()
    with unix_socket(Api(socket=path)), pytest.raises(ListenError, match="another daemon answers there"):
        unix_socket(Api(socket=path))
    path.unlink()
    path.write_text("precious")
    with pytest.raises(ListenError, match="there is a file that is no socket"):
        unix_socket(Api(socket=path))
    assert path.read_text() == "precious"


def test_a_taken_tcp_port_is_said(tmp_path: Path) -> None:
    """With the key of the settings."""
    with tcp_socket(Where("127.0.0.1", 0)) as sock, pytest.raises(ListenError, match=r"see `api\.http`"):
        tcp_socket(Where("127.0.0.1", sock.getsockname()[1]))
    with tcp_socket(Where("::1", 0)) as sock:
        assert sock.family == socket.AF_INET6


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_another_user_is_known_by_its_credentials(desk_of: DeskOf, tmp_path: Path) -> None:
    """The kernel says who it is; nothing the client writes changes that."""
    async with desk_of(api={"socket_mode": "0666"}) as desk:
        for parent in (tmp_path, *tmp_path.parents):
            if parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        path = str(desk.daemon.settings.api.socket)
        script = (
            "import os, socket, sys; os.setuid(65534);"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.sendall(b'POST /v1/nodes/n1/alive HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n"
            "Authorization: Bearer x\\r\\nContent-Length: 0\\r\\n\\r\\n'); print(s.makefile().read())"
        )
        done = await trio.run_process(["python3", "-c", script, path], capture_stdout=True)
        assert b" 403 " in done.stdout
        assert b"nobody may not do this" in done.stdout

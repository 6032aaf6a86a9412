"""Who may do what: every route by every role, browsers that are led astray, TLS, floods and slow clients."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, Route

from receiver.web import serve
from receiver.web.access.guard import OPEN, SAFE
from receiver.web.app import routes
from tests.rig.receiver import PROGRAM, Receiver
from tests.rig.web import ask, login

PAGE_HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "cache-control")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def certificate(place: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    pair = place / "web.pem", place / "web.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=collector", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(pair[0]), "-keyout", str(pair[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return pair


@pytest.fixture(scope="module")
def proxied(place: Path) -> Iterator[Receiver]:
    """A server that asks everybody for a login, as behind a proxy."""
    directory = place / "proxied"
    directory.mkdir()
    with Receiver(directory, "behind_proxy = true", web="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def home(place: Path) -> Iterator[Receiver]:
    """A server on loopback, as it comes."""
    directory = place / "home"
    directory.mkdir()
    with Receiver(directory, web="127.0.0.1:0") as running:
        yield running


def every_route() -> list[tuple[str, str]]:
    """Method and path of every route, its parameters filled in."""
    found = []
    for route in routes():
        if isinstance(route, Mount):
            found.append(("GET", f"{route.path}/page.css"))
            continue
        assert isinstance(route, Route)
        path = re.sub(r"\{\w+\}", "abc", route.path)
        found += [(method, path) for method in (route.methods or set()) - {"HEAD"}]
    return sorted(set(found))


def test_every_route_asks_for_its_role(proxied: Receiver) -> None:
    """Nobody: only health, login and the style; a viewer reads; only an operator changes something.

    The table is made of the application's own routes: a new one cannot be forgotten.
    """
    tokens = {"nobody": "", "viewer": login(proxied, "viewer"), "operator": login(proxied, "operator")}
    for method, path in every_route():
        is_open = path in OPEN or path.startswith("/static/")
        for role, token in tokens.items():
            if (method, path) == ("POST", "/login") or path in {"/live", "/api/v1/events"}:
                continue
            with ask(proxied, token) as web:
                answer = web.request(method, path)
            case = f"{role}: {method} {path}: {answer.status_code}"
            if role == "nobody" and not is_open:
                page = method in SAFE and not path.startswith(("/api/", "/metrics"))
                assert answer.status_code == (303 if page else 401), case
                assert not page or answer.headers["location"].startswith("/login?next="), case
            elif role == "viewer" and method not in SAFE and path != "/logout":
                assert answer.status_code == 403, case
            else:
                assert answer.status_code not in {401, 405, 500}, case


def test_loopback_answers_to_loopbacks_names_only(home: Receiver) -> None:
    """A page that has its own name resolved to 127.0.0.1 (DNS rebinding) reads nothing."""
    port = home.ready["web"].rpartition(":")[2]
    with ask(home) as web:
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "127.9.9.9"):
            assert web.get("/api/v1/dumps", headers={"host": host}).status_code == 200, host
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "",
            "localhost:x",
            "[",
        ):
            for path in ("/", "/api/v1/dumps", "/metrics", "/static/page.css"):
                assert web.get(path, headers={"host": host}).status_code in {400, 421}, (host, path)


def test_other_users_of_the_machine_must_log_in(home: Receiver) -> None:
    """The kernel says whose the other end is: neither root's nor ours, so a login is wanted."""
    url = f"{home.ready['web']}/api/v1/dumps"
    line = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
    assert subprocess.run(line, capture_output=True, text=True, timeout=60).stdout == "200"
    other = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", *line], capture_output=True, text=True, timeout=60
    )
    if other.returncode:
        pytest.skip(f"cannot become another user here: {other.stderr}")
    assert other.stdout == "401"
    with ask(home) as web:  # nor is a proxy's client one of this machine
        assert web.get("/api/v1/dumps", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 401


FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"referer": "https://evil.example/"},  # an old browser: it says no more
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"cookie": "kdump=nonsense"},
)


CHANGES = (
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/hosts/web01/keys"),
    ("PUT", "/api/v1/hosts/web01/block"),
    ("PUT", "/api/v1/dumps/x/pin"),
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_foreign_page_changes_anything(home: Receiver, headers: dict[str, str]) -> None:
    """What a browser sends for another site is refused, though it comes from this machine."""
    with ask(home) as web:
        for method, path in CHANGES:
            assert web.request(method, path, headers=headers, content=b"{}").status_code == 403, path
        assert web.get("/api/v1/tokens").json() == {"tokens": []}


def test_a_page_shows_its_token_and_may(home: Receiver) -> None:
    """The same request with the viewer's own token passes: in a header, or in a form's field."""
    url = home.ready["web"]
    with ask(home) as web:
        mine = web.get("/api/v1/me").json()
        headers = {"origin": url, "sec-fetch-site": "same-origin", "x-csrf-token": mine["csrf"]}
        assert web.post("/api/v1/tokens", json={}, headers=headers).status_code == 201
        wrong = headers | {"x-csrf-token": "guessed"}
        assert web.post("/api/v1/tokens", json={}, headers=wrong).status_code == 403
        form = {"csrf": mine["csrf"], "expires": "1d"}
        page = web.post("/hosts/web01/tokens", data=form, headers={"origin": url})
        assert page.status_code == 200
        assert "kdump-" in page.text


def test_a_browser_logs_in_and_out(proxied: Receiver) -> None:
    """The cookie is out of scripts' reach and of other sites'; a logout or a revoked login ends it."""
    token = login(proxied, "operator")
    over_tls = {
        "x-forwarded-proto": "https",
        "host": "collector.example",
        "origin": "https://collector.example",
    }
    with ask(proxied) as web:
        entered = web.post("/login", data={"token": token, "next": "/dumps"}, headers=over_tls)
        assert (entered.status_code, entered.headers["location"]) == (303, "/dumps")
        cookie = entered.headers["set-cookie"]
        assert cookie.startswith("__Host-kdump=")
        for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
            assert word in cookie
        key = cookie.partition(";")[0]
        signed = over_tls | {"cookie": key}
        assert web.get("/", headers=signed).status_code == 200
        assert "strict-transport-security" in web.get("/", headers=signed).headers
        mine = web.get("/api/v1/me", headers=signed).json()
        assert (mine["role"], mine["how"]) == ("operator", "cookie")
        assert web.post("/logout", headers=signed).status_code == 403
        assert web.post("/logout", data={"csrf": mine["csrf"]}, headers=signed).status_code == 303
        assert web.get("/api/v1/me", headers=signed).status_code == 401
        key = (
            web.post("/login", data={"token": token}, headers=over_tls)
            .headers["set-cookie"]
            .partition(";")[0]
        )
        assert web.get("/api/v1/me", headers=over_tls | {"cookie": key}).status_code == 200
        proxied.cli("login", "revoke", token)
        assert web.get("/api/v1/me", headers=over_tls | {"cookie": key}).status_code == 401
        assert token not in proxied.log.read_text()


ELSEWHERE = ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "\t//x")


@pytest.mark.parametrize("there", ELSEWHERE)
def test_the_login_leads_to_no_other_site(proxied: Receiver, there: str) -> None:
    """`next` is a path of ours, or nothing."""
    with ask(proxied) as web:
        data = {"token": login(proxied, "viewer"), "next": there}
        assert web.post("/login", data=data).headers["location"] == "/"


def test_wrong_tokens_are_slowed_down(proxied: Receiver) -> None:
    """Each address waits longer and longer; others do not wait for it."""
    with ask(proxied) as web:
        guess = {
            "authorization": "Bearer kweb-aaaaaa-aaaaa-aaaaa-aaaaa-aaaaa",
            "x-forwarded-for": "192.0.2.66",
        }
        said = [web.get("/api/v1/dumps", headers=guess).status_code for _ in range(15)]
        assert said[0] == 401
        assert said[-1] == 429
        slowed = web.get("/api/v1/dumps", headers=guess)
        assert int(slowed.headers["retry-after"]) >= 1
        other = guess | {"x-forwarded-for": "192.0.2.67"}
        assert web.get("/api/v1/dumps", headers=other).status_code == 401
        formed = web.post("/login", data={"token": "x"}, headers={"x-forwarded-for": "192.0.2.66"})
        assert formed.status_code == 429


def test_expired_logins_and_other_tokens_are_worthless(proxied: Receiver) -> None:
    """A host's enrolment token is no login."""
    enrolment = proxied.cli("token", "create", "--host", "web01", "--json").stdout
    assert '"kdump-' in enrolment
    token = enrolment.split('"token": "')[1].split('"')[0]
    with ask(proxied, token) as web:
        assert web.get("/api/v1/dumps", headers={"x-forwarded-for": "192.0.2.99"}).status_code == 401


def test_every_answer_has_its_headers(home: Receiver) -> None:
    """No sniffing, no framing, no script but our own, no cache; errors, too."""
    with ask(home) as web:
        for path in ("/", "/dumps", "/login", "/nope", "/api/v1/dumps", "/api/v1/nope", "/metrics"):
            headers = web.get(path).headers
            assert all(name in headers for name in PAGE_HEADERS), path
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "server" not in headers


START_RULES = (
    ("0.0.0.0:0", "", 78, "web_tls_certificate"),
    (":0", "", 78, "behind_proxy"),
    ("[::]:0", "", 78, "web_tls_certificate"),
    ("127.0.0.1:0", 'web_tls_certificate = "/nowhere/web.pem"', 78, "web_tls_key"),
    ("127.0.0.1:0", 'web_tls_certificate = "/no.pem"\nweb_tls_key = "/no.key"', 78, "No such file"),
    ("192.0.2.1:0", "behind_proxy = true", 71, "--web"),
    ("nonsense", "", 78, "web"),
)


@pytest.mark.parametrize(("web", "settings", "status", "word"), START_RULES, ids=str)
def test_beyond_loopback_it_wants_tls(
    tmp_path: Path, web: str, settings: str, status: int, word: str
) -> None:
    """It does not start; the one line says what to do, and there is no traceback."""
    receiver = Receiver(tmp_path, settings, web=web)
    line = [str(PROGRAM), "--config", str(receiver.config), "serve", "--listen", "127.0.0.1:0"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert ended.returncode == status, ended.stderr
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_address_is_said_at_the_start(tmp_path: Path, home: Receiver) -> None:
    """The second receiver of a machine hears what to do; its clients would not have been served by halves."""
    taken = home.ready["web"].rpartition("/")[2]
    receiver = Receiver(tmp_path, web=taken)
    line = [str(PROGRAM), "--config", str(receiver.config), "serve", "--listen", "127.0.0.1:0"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 71
    assert f"cannot listen on {taken}: Address already in use; say another --web" in ended.stderr


def test_with_tls_it_serves_everybody_who_logs_in(place: Path, certificate: tuple[Path, Path]) -> None:
    """On every address; a machine's own users log in there, too."""
    directory = place / "tls"
    directory.mkdir()
    settings = f'web_tls_certificate = "{certificate[0]}"\nweb_tls_key = "{certificate[1]}"'
    with Receiver(directory, settings, web="0.0.0.0:0") as running:
        assert running.ready["web"].startswith("https://")
        port = running.ready["web"].rpartition(":")[2]
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted, trust_env=False) as web:
            assert web.get("/healthz").status_code == 200
            assert web.get("/api/v1/dumps").status_code == 401
            headers = {"authorization": f"Bearer {login(running, 'viewer')}"}
            assert web.get("/api/v1/dumps", headers=headers).status_code == 200
            assert "strict-transport-security" in web.get("/healthz").headers


def test_slow_and_boundless_requests_are_cut(home: Receiver) -> None:
    """A header that never ends, one that drips, and a body beyond the bound; others are served meanwhile."""
    host, _, port = home.ready["web"].rpartition("/")[2].rpartition(":")
    drip = socket.create_connection((host, int(port)), timeout=60)
    drip.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=60) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000)
        assert b" 431 " in endless.recv(4096) or endless.recv(1) == b""
    with socket.create_connection((host, int(port)), timeout=60) as large:
        large.sendall(
            b"POST /api/v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 99999999\r\n\r\n{"
        )
        assert b" 413 " in large.recv(4096)
    with ask(home) as web:
        assert web.get("/healthz").status_code == 200
    with drip:
        seen = b""
        try:
            while time.monotonic() - began < serve.HEADERS_SECONDS + 20:
                drip.sendall(b"x: y\r\n")
                drip.settimeout(1)
                try:
                    seen = drip.recv(100)
                except TimeoutError:
                    continue
                break
        except OSError:
            seen = b""
        assert not seen.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < serve.HEADERS_SECONDS + 20

"""Where a kdump-fence daemon is reached, and one question put to it (docs/fence-api.md)."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fence.agent import http
from fence.pair.flags import BadValue

if TYPE_CHECKING:
    from fence.agent.options import Request

DEFAULT_SOCKET = "/run/kdump-fence/api.sock"
CONNECT_SECONDS = 3.0  # for one address; a lost SYN is sent again after 1 s
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unreachable(Exception):
    """No answer was got; the text says why. It may be there a moment later."""


class Refused(Exception):
    """The daemon answered, and will not do it; the text is the daemon's."""


class Missing(Refused):
    """The daemon does not know the node."""


class Daemon(NamedTuple):
    """One daemon; ``path`` of its Unix socket, or host and port. ``label`` is how the operator wrote it."""

    label: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    prefix: str = ""
    token: str = ""
    ca_file: str = ""


def at_socket(path: str) -> Daemon:
    """The daemon on a Unix socket.

    Raises:
        BadValue: no such path can be.
    """
    if not path.startswith("/") or len(path.encode(errors="surrogateescape")) > 107 or "\0" in path:
        raise BadValue(f"invalid socket '{path}': it has to be an absolute path of at most 107 bytes")
    return Daemon(path, path=path)


def at_url(url: str, token: str = "", ca_file: str = "") -> Daemon:
    """The daemon behind ``http[s]://HOST[:PORT][/PREFIX]``.

    Raises:
        BadValue: it is no such URL, or would carry the token in the clear.
    """
    scheme, separator, rest = url.partition("://")
    authority, _, prefix = rest.partition("/")
    tls = scheme.lower() == "https"
    host, port = _host_and_port(authority, 443 if tls else 80)
    if not separator or scheme.lower() not in ("http", "https") or not host or not port or not _plain(url):
        raise BadValue(f"invalid url '{url}': it has to be like https://collector.example:7443")
    if token and not tls and host not in LOOPBACK:
        raise BadValue(f"invalid url '{url}': http would send the token for everybody to read; use https")
    prefix = f"/{prefix.strip('/')}" if prefix.strip("/") else ""
    return Daemon(url, host=host, port=port, tls=tls, prefix=prefix, token=token, ca_file=ca_file)


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    """Of ``HOST:PORT`` or ``[IPv6]:PORT``; port 0 where it is neither."""
    if authority.startswith("["):
        host, bracket, after = authority[1:].partition("]")
        if not bracket or after[:1] not in ("", ":"):
            return host, 0
        text = after[1:]
    else:
        host, _, text = authority.partition(":")
    if not text:
        return host, default
    return host, int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 else 0


def _plain(url: str) -> bool:
    return all("!" <= character <= "~" and character not in '"<>\\^`{|}@?#' for character in url)


def configured(request: Request) -> list[Daemon]:
    """The daemons that the request names.

    Raises:
        BadValue: one cannot exist, the token cannot be read, or a grade is asked for without a daemon.
    """
    token = read_token(request.token_file) if request.token_file else ""
    found = [at_socket(path) for path in request.socket]
    found += [at_url(url, token, request.ca_file) for url in request.url]
    if not found and request.grade not in ("", "udp"):
        raise BadValue(f"grade '{request.grade}' is known to a daemon only: give socket or url")
    return found


def at_default_socket() -> list[Daemon]:
    """The daemon of this host, if one is there; for those who named none."""
    return [at_socket(DEFAULT_SOCKET)] if os.path.exists(DEFAULT_SOCKET) else []


def read_token(path: str) -> str:
    """The bearer token in the first line of a file.

    Raises:
        BadValue: there is none.
    """
    try:
        with open(path, encoding="ascii") as file:
            token = file.readline(4096).strip()
    except (OSError, ValueError) as error:
        raise BadValue(f"invalid token_file '{path}': {getattr(error, 'strerror', None) or error}") from error
    if not token or not all("!" <= character <= "~" for character in token):
        raise BadValue(f"invalid token_file '{path}': its first line is no token")
    return token


def get(daemon: Daemon, path: str, deadline: float) -> dict[str, Any]:
    """The JSON object that the daemon answers to ``GET path``; ``deadline`` in monotonic seconds.

    Raises:
        Unreachable: no answer, or none that is JSON; or the daemon is stopping (503).
        Missing: 404.
        Refused: any other status.
    """
    host = daemon.host or "localhost"
    name = f"[{host}]" if ":" in host else host
    question = http.request(daemon.prefix + path, name, daemon.token)
    try:
        reply = _exchange(daemon, question, deadline)
        answer = json.loads(reply.body)
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from error
    except (http.BadReply, ValueError, RecursionError) as error:
        raise Unreachable(str(error)) from error
    if not isinstance(answer, dict):
        raise Unreachable("the answer is no JSON object")
    if reply.status in (200, 503) and "error" not in answer:  # healthz says 503 with all it has to say
        return answer
    text = str(answer.get("error", f"status {reply.status}"))
    if reply.status == 503:
        raise Unreachable(text)
    raise Missing(text) if reply.status == 404 else Refused(text)


def _exchange(daemon: Daemon, question: bytes, deadline: float) -> http.Reply:
    with _connected(daemon, deadline) as connection:
        connection.sendall(question)
        data = b""
        while True:
            connection.settimeout(_left(deadline))
            more = connection.recv(1 << 20)
            data += more
            reply = http.reply_untrusted(data, ended=not more)
            if reply is not None:
                return reply


def _connected(daemon: Daemon, deadline: float) -> socket.socket:
    if daemon.path:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(daemon.path)
        except BaseException:
            connection.close()
            raise
        return connection
    # A host with several addresses: one that swallows packets must not eat all the time there is.
    connection = socket.create_connection(
        (daemon.host, daemon.port), timeout=min(CONNECT_SECONDS, _left(deadline))
    )
    connection.settimeout(_left(deadline))
    if not daemon.tls:
        return connection
    import ssl  # 9 ms, for those who need it

    try:
        context = ssl.create_default_context(cafile=daemon.ca_file or None)
        return context.wrap_socket(connection, server_hostname=daemon.host)
    except BaseException:
        connection.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left

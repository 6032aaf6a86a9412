"""Serves the page and the API: Hypercorn's connections over sockets that are bound already.

``hypercorn.asyncio.serve`` would do but for two things: it takes any number of connections, and a
client that does not read holds its end up.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ConnectionState
from starlette.types import ASGIApp

from receiver.failure import Failure

CONNECTIONS_MAX: Final = 512
OF_PEER_MAX: Final = 256
HEADERS_SECONDS: Final = 20.0  # for a request's headers, and between two requests
HANDSHAKE_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 2.0  # for answers under way at the end
USER_TIMEOUT_MS: Final = 60_000  # that sent bytes stay unacknowledged
log = logging.getLogger("kdump-receiver")


class CertificateError(Failure):
    """The web server's certificate or key does not load."""

    exit_code = 78  # EX_CONFIG


def tls_of(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The TLS of the settings, if they name any. Raises CertificateError."""
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise CertificateError(
            f"web_tls_certificate {certificate}, web_tls_key {key}: {reason}; PEM files without a password"
        ) from None
    return context


class Connection(TCPServer):
    """Hypercorn's, but for its end: an idle timer must not keep a connection that the client has closed."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


class Http:
    """The web's listeners and connections."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None) -> None:
        self._app = ASGIWrapper(app)  # type: ignore[arg-type]
        self._tls = tls
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = log
        self._config.keep_alive_timeout = HEADERS_SECONDS
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = 16 << 10
        self._context = WorkerContext(None)
        self._connections: set[asyncio.Task[None]] = set()
        self._peers: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def listen(self, sockets: list[socket.socket]) -> None:
        """Take connections from now on."""
        for sock in sockets:
            options: dict[str, Any] = {}
            if self._tls is not None:
                options = {"ssl": self._tls, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
            self._servers.append(await asyncio.start_server(self._come, sock=sock, backlog=128, **options))

    async def close(self) -> None:
        """No more connections; answers under way get `GRACE_SECONDS`."""
        for server in self._servers:
            server.close()
        await self._context.terminated.set()
        if self._connections:
            await asyncio.wait(self._connections, timeout=GRACE_SECONDS)
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("?",))[0])
        full = len(self._connections) >= CONNECTIONS_MAX or self._peers[peer] >= OF_PEER_MAX
        task = asyncio.current_task()
        if full or task is None:
            writer.transport.abort()
            return
        self._connections.add(task)
        self._peers[peer] += 1
        try:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
            loop, state = asyncio.get_running_loop(), ConnectionState({})
            await Connection(self._app, loop, self._config, self._context, state, reader, writer)
        except asyncio.CancelledError:
            pass  # the end; the callback of a stream server must not raise
        except Exception:
            log.exception("a connection of the web failed")
        finally:
            with suppress(RuntimeError):
                writer.transport.abort()
            self._connections.discard(task)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

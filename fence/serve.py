"""Serves the API: Hypercorn's trio connections over our own listeners.

``hypercorn.trio.serve`` would do but for two things: it does not tell the application who is at the other
end of a Unix socket, and a client that does not read holds its shutdown up for ever.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import stat
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from fence.access import Peer
from fence.settings import Api, SettingsError
from fence.udp import ListenError, Where

BACKLOG = 1024
GRACE_SECONDS = 3.0  # for answers under way when the daemon stops
IDLE_SECONDS = 75.0  # of a connection between two requests
TCP_MAX = 4096  # connections; those of the Unix socket are not held up by strangers
CREDENTIALS = struct.Struct("@3i")

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
log = logging.getLogger("kdump-fence")


class Connection(TCPServer):
    """Hypercorn's, but for its end: an idle timer must not keep a connection that the client has closed."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


class Http:
    """The listeners and connections of the API."""

    def __init__(self, app: App, api: Api) -> None:
        """Raises SettingsError where certificate or key do not load."""
        self._app = app
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = log
        self._config.keep_alive_timeout = IDLE_SECONDS
        self._config.include_server_header = False
        self._context = WorkerContext(None)
        self._open: set[trio.SocketStream] = set()
        self._tcp = 0
        self.ended = trio.Event()  # the last connection is closed
        self.tls: ssl.SSLContext | None = None
        if api.certificate and api.key:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self.tls.set_alpn_protocols(["http/1.1"])
            self.load_certificate(api)

    def load_certificate(self, api: Api) -> None:
        """Read certificate and key; connections from now on use them.

        Raises:
            SettingsError: they do not load.
        """
        if self.tls and api.certificate and api.key:
            try:
                self.tls.load_cert_chain(api.certificate, api.key)
            except (OSError, ssl.SSLError) as error:
                reason = error.strerror or str(error)
                raise SettingsError(
                    f"api.certificate {api.certificate}, api.key {api.key}: {reason}"
                ) from None

    async def serve(
        self,
        sockets: list[socket.socket],
        stop: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until ``stop``, and then at most `GRACE_SECONDS` for what is under way. Closes the sockets."""
        listeners: list[trio.abc.Listener[Any]] = []
        for sock in sockets:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            if self.tls is not None and sock.family != socket.AF_UNIX:
                listeners.append(trio.SSLListener(listener, self.tls, https_compatible=True))
            else:
                listeners.append(listener)
        async with trio.open_nursery() as ending:
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, listeners, handlers)
                    task_status.started()
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                await self._context.terminated.set()
                ending.start_soon(self._cut, handlers.cancel_scope)
            ending.cancel_scope.cancel()
        self.ended.set()

    async def _accept(self, listeners: list[trio.abc.Listener[Any]], handlers: trio.Nursery) -> None:
        await trio.serve_listeners(self._connection, listeners, handler_nursery=handlers)

    async def _connection(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        transport = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
        sock = transport.socket
        peer = None
        if sock.family == socket.AF_UNIX:
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            peer = Peer(*CREDENTIALS.unpack(credentials))
        elif self._tcp >= TCP_MAX:
            await trio.aclose_forcefully(stream)
            return
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)

        async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            scope["peer"] = peer
            await self._app(scope, receive, send)

        self._open.add(transport)
        self._tcp += peer is None
        try:
            wrapped = ASGIWrapper(app)  # type: ignore[arg-type]
            await Connection(wrapped, self._config, self._context, ConnectionState({}), stream)  # type: ignore[arg-type]
        except Exception:
            log.exception("a connection of the API failed")  # it must not take the daemon with it
        finally:
            self._open.discard(transport)
            self._tcp -= peer is None

    async def _cut(self, handlers: trio.CancelScope) -> None:
        await trio.sleep(GRACE_SECONDS)
        for stream in list(self._open):
            # Hypercorn shields its sending: one to a client that does not read ends only with the socket.
            with suppress(OSError):
                stream.socket.shutdown(socket.SHUT_RDWR)
        handlers.cancel()


def unix_socket(api: Api) -> socket.socket:
    """The API's Unix socket, listening, with mode and group of the settings.

    Raises:
        ListenError: it cannot be made, or another daemon answers there.
    """
    path = api.socket
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        if api.socket_group is not None:
            os.chown(path, -1, api.socket_group)
        path.chmod(int(api.socket_mode, 8))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on {path}: {error.strerror or error}; see `api.socket`, or say another --socket"
        ) from None
    return sock


def tcp_socket(where: Where) -> socket.socket:
    """The API's TCP socket, listening.

    Raises:
        ListenError: the address cannot be had.
    """
    sock = socket.socket(where.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if where.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((where.host, where.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on TCP {where}: {error.strerror}; see `api.http`, or say another --http"
        ) from None
    return sock


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another daemon answers there")

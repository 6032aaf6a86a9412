"""An ASGI application on a port of loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette


class Served:
    """Use it as a context; `url` is where it answers."""

    def __init__(self, application: Starlette) -> None:
        self._application: Any = application  # whose types are not those of Hypercorn
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="served")

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self) -> None:
        config = Config()
        config.bind = [f"fd://{self._socket.detach()}"]
        config.graceful_timeout = 0.5
        config.accesslog = config.errorlog = None
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve(self._application, config, shutdown_trigger=self._stop.wait))
        finally:
            self._loop.close()

"""Every address of the pages."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from receiver.web.pages import dumps, groups, hosts, overview, space
from receiver.web.pages.render import HEADERS, STATIC


class Assets:
    """Files of static/; their addresses change with their content, so browsers may keep them."""

    def __init__(self) -> None:
        self._files = StaticFiles(directory=STATIC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                ours = HEADERS | {"cache-control": "public, max-age=31536000, immutable"}
                headers = [(key.encode(), value.encode()) for key, value in ours.items()]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._files(scope, receive, kept)


routes: list[BaseRoute] = [
    Route("/", overview.show, name="overview"),
    Route("/live", overview.live),
    Route("/dumps", dumps.show_list),
    Route("/dumps/{id}", dumps.show),
    Route("/dumps/{id}/progress", dumps.progress),
    Route("/dumps/{id}/manifest.json", dumps.manifest),
    Route("/dumps/{id}/files/{name}", dumps.download),
    Route("/groups", groups.show_list),
    Route("/groups/{signature}", groups.show),
    Route("/hosts", hosts.show_list),
    Route("/hosts/{name}", hosts.show),
    Route("/hosts/{name}/tokens", hosts.create_token, methods=["POST"]),
    Route("/hosts/{name}/tokens/{id}/revoke", hosts.revoke_token, methods=["POST"]),
    Route("/space", space.show),
    Mount("/static", Assets(), name="static"),
]

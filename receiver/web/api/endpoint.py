"""One route of the API, with all that its OpenAPI description needs: routes and document cannot differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from receiver.failure import Failure
from receiver.hosts.records import StateError
from receiver.web.desk import Desk
from receiver.web.problem import Refused

PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
ERRORS_MAX: Final = 10  # that one answer lists


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, validated."""

    request: Request
    desk: Desk
    query: Any  # an instance of the endpoint's model
    body: Any

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


class NoQuery(BaseModel):
    """Of a route that takes none."""

    model_config = ConfigDict(extra="forbid")


Handler = Callable[[Ask], Any]  # blocks, and runs in a thread
Waiter = Callable[[Ask], Awaitable[Response]]  # runs in the event loop


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``METHOD PATH``. `answer` is the type of its JSON; None: there is none, or not of that kind."""

    method: str
    path: str
    summary: str
    handler: Handler | None = None
    waiter: Waiter | None = None
    answer: Any = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    status: int = 200
    media: tuple[str, ...] = (JSON,)
    statuses: dict[int, str] = field(default_factory=dict)  # further answers, beside the errors of all
    headers: tuple[str, ...] = ()  # that it understands


def routes(endpoints: Iterable[Endpoint]) -> list[BaseRoute]:
    """A route a path, so that a wrong method hears of all the right ones."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [Route(path, _answering(methods), methods=list(methods)) for path, methods in paths.items()]


def _answering(methods: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    adapters = {
        method: TypeAdapter(endpoint.answer)
        for method, endpoint in methods.items()
        if endpoint.answer is not None
    }

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = methods[method]
        ask = Ask(
            request,
            request.app.state.desk,
            _query(endpoint.query or NoQuery, request),
            await _body(endpoint.body, request) if endpoint.body else None,
        )
        if endpoint.waiter is not None:
            return await endpoint.waiter(ask)
        handler = endpoint.handler
        assert handler is not None  # noqa: S101  # by the table

        def work() -> Response:
            found = handler(ask)
            if isinstance(found, Response):
                return found
            if method not in adapters:
                return Response(status_code=endpoint.status)
            return Response(adapters[method].dump_json(found), endpoint.status, media_type=JSON)

        try:
            return await run_in_threadpool(work)
        except (sa.exc.SQLAlchemyError, StateError) as error:
            why = str(error).splitlines()[0][:300]
            raise Refused(503, f"a store cannot be used just now: {why}") from error
        except Failure as failure:
            raise Refused(422, str(failure)) from None

    return answer


def _query(model: type[BaseModel], request: Request) -> BaseModel:
    asked = request.query_params
    names = [name for name, _ in asked.multi_items()]
    for name in names:
        if names.count(name) > 1:
            raise Refused(422, f"the query says {name!r} more than once")
    return _validated(model, dict(asked), "query")


async def _body(model: type[BaseModel], request: Request) -> BaseModel:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, f"say Content-Type: {JSON}", headers={"accept": JSON})
    try:
        data = await request.body()
    except ClientDisconnect:
        raise Refused(400, "the body never came whole") from None
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _unfit(error, "body") from None


def _validated(model: type[BaseModel], values: Any, where: str) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _unfit(error, where) from None


def _unfit(error: ValidationError, where: str) -> Refused:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [
        {"where": ".".join((where, *map(str, one["loc"]))), "reason": one["msg"]}
        for one in problems[:ERRORS_MAX]
    ]
    first = errors[0]
    return Refused(422, f"{first['where']}: {first['reason']}", errors=errors)

"""The OpenAPI 3.1 document, from the table that the routes are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from pydantic import TypeAdapter

from receiver.web.api.endpoint import JSON, PREFIX, Endpoint
from receiver.web.api.models import Problem
from receiver.web.problem import MEDIA_TYPE

ALWAYS: Final = (400, 401, 403, 405, 421, 422, 429, 500, 503)
WITH_BODY: Final = (408, 413, 415)
_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ABOUT: Final = (
    "What kdump-receiver knows and does, for programs. Errors are problem details (RFC 9457). Beyond "
    "loopback every request carries a login token: `Authorization: Bearer TOKEN`, made by "
    "`kdump-receiver login create`. Reading is for viewers; whatever changes something is for operators."
)


def document(endpoints: tuple[Endpoint, ...]) -> bytes:
    """The document as JSON."""
    types = _types(endpoints)
    wanted = [(name, mode, TypeAdapter(kind)) for name, (kind, mode) in types.items()]
    schemas, definitions = TypeAdapter.json_schemas(wanted, ref_template=_REF)  # type: ignore[arg-type]
    by_name = {name: schema for (name, _), schema in schemas.items()}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = endpoint.path.removeprefix(PREFIX)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_name, definitions)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "kdump-receiver", "version": version("kdump-net"), "description": _ABOUT},
        "servers": [{"url": PREFIX}],
        "security": [{"bearer": []}, {"cookie": []}, {}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "kdump"},
            },
        },
    }
    return json.dumps(whole).encode()


def _types(endpoints: Sequence[Endpoint]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {"problem": (Problem, "serialization")}
    for endpoint in endpoints:
        if endpoint.answer is not None:
            found[f"answer {endpoint.method} {endpoint.path}"] = (endpoint.answer, "serialization")
        if endpoint.body is not None:
            found[f"body {endpoint.method} {endpoint.path}"] = (endpoint.body, "validation")
    return found


def _operation(endpoint: Endpoint, schemas: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = f"{endpoint.method} {endpoint.path}"
    said: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method}_{endpoint.path}".lower()).strip("_"),
        "parameters": [*_path(endpoint), *_query(endpoint), *_headers(endpoint)],
        "responses": _responses(endpoint, schemas, name),
    }
    if endpoint.body is not None:
        said["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[f"body {name}"]}}}
    return said


def _path(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = TypeAdapter(endpoint.query).json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _plain(of)}
        | ({"description": of["description"]} if "description" in of else {})
        for name, of in schema["properties"].items()
    ]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A query cannot say null: what may be left out is only left out."""
    kinds = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    found = kinds[0] if len(kinds) == 1 else schema
    return {key: value for key, value in found.items() if key not in ("title", "description", "default")}


def _headers(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        for name in endpoint.headers
    ]


def _responses(endpoint: Endpoint, schemas: dict[str, Any], name: str) -> dict[str, Any]:
    right: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.status != HTTPStatus.NO_CONTENT:
        right["content"] = {
            media: {"schema": schemas[f"answer {name}"]} if media == JSON else {} for media in endpoint.media
        }
    found: dict[str, Any] = {str(endpoint.status): right}
    for status, text in endpoint.statuses.items():
        found[str(status)] = {"description": text}
        if 200 < status < 300:
            found[str(status)]["content"] = {media: {} for media in endpoint.media}
    wrong = [*ALWAYS, *(WITH_BODY if endpoint.body else ()), *((404,) if "{" in endpoint.path else ())]
    for status in (*wrong, *(status for status in endpoint.statuses if status >= 400)):
        found[str(status)] = {
            "description": endpoint.statuses.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": schemas["problem"]}},
        }
    return dict(sorted(found.items()))

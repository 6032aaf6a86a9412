"""Templates to responses: everything escaped, everything hostile made visible, nothing from elsewhere."""

from __future__ import annotations

import hashlib
import time
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from receiver.web.plots.bar import parts_bar
from receiver.web.plots.sparkline import sparkline
from receiver.web.views import words
from receiver.web.views.visible import visible

HERE: Final = Path(__file__).parent.parent
STATIC: Final = HERE / "static"
# No script, style, image or connection but our own, and none inline.
POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",  # memory of crashed machines: in no cache
}


def _shown(value: Any) -> Any:
    """What every expression of a template goes through before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]


def asset(name: str) -> str:
    """The address of a file below static/, which changes with its content: caches keep it for ever."""
    return f"/static/{name}?v={_version(name)}"


def segment(text: str) -> str:
    """One part of a path."""
    return quote(text, safe="")


@cache
def environment() -> Environment:
    """The templates, and the words that they may use."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "size": words.size,
        "rate": words.rate,
        "duration": words.duration,
        "segment": segment,
        "sparkline": sparkline,
    }
    made.globals |= {
        "asset": asset,
        "count": words.count,
        "bar": parts_bar,
        "moment": lambda when: words.moment(when, time.time()),
    }
    return made


def fragment(template: str, **context: Any) -> str:
    """A piece of a page, for htmx."""
    return environment().get_template(template).render(**context)


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page; `viewer` is there in every template, None before login."""
    viewer = getattr(request.state, "viewer", None)
    body = fragment(template, viewer=viewer, path=request.url.path, **context)
    return HTMLResponse(body, status, headers=HEADERS)

"""SVG as text: elements with attributes, everything escaped; the page's CSS colours it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from markupsafe import Markup, escape

from receiver.web.views.visible import visible

Number = int | float


def element(name: str, *children: Markup | str, **attributes: Number | str | None) -> Markup:
    """``<name …>…</name>``; ``class_`` is `class`, an underscore in a name a hyphen, None leaves one out."""
    said = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(
        escape(visible(child)) if not isinstance(child, Markup) else child for child in children
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, inner)  # noqa: S704  # names are ours


def picture(
    title: str,
    description: str,
    width: Number,
    height: Number,
    parts: Iterable[Markup],
    *,
    class_: str,
    **attributes: Number | str | None,
) -> Markup:
    """A whole SVG that says in words what it shows; several may stand in one page, so without ids."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *parts,
        class_=f"plot {class_}",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{title}: {description}",
        **attributes,
    )


def ceiling(most: Number) -> int:
    """A round number over `most` for the axis: 1, 2, 4, 6, 8 times a power of ten; its half is whole, too."""
    for power in itertools.count():
        for step in (1, 2, 4, 6, 8):
            if step * 10**power >= most:
                return int(step * 10**power)
    raise AssertionError


def _value(value: Number | str) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return visible(str(value))

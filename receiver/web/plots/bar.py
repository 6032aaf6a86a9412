"""A bar of one quantity in another: an upload's progress, the room that is used."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from receiver.web.plots.svg import element, picture

WIDTH, HEIGHT = 1000, 10


def parts_bar(title: str, told: str, parts: Sequence[tuple[float, str]]) -> Markup:
    """`parts` are (fraction, class), drawn one after the other; together 1 at most."""
    drawn, x = [element("rect", x=0, y=0, width=WIDTH, height=HEIGHT, class_="rest")], 0.0
    for fraction, class_ in parts:
        width = min(max(0.0, fraction) * WIDTH, WIDTH - x)
        drawn.append(element("rect", x=x, y=0, width=width, height=HEIGHT, class_=class_))
        x += width
    return picture(title, told, WIDTH, HEIGHT, drawn, class_="meter", preserveAspectRatio="none")

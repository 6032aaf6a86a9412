"""A filled line: bytes on the disk over time, against what there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from receiver.web.plots.svg import element, picture
from receiver.web.views import words

WIDTH, HEIGHT = 720, 180
LEFT, RIGHT, TOP, BOTTOM = 64, 4, 12, 22


def area(title: str, points: Sequence[tuple[str, int]], limit: int | None = None) -> Markup:
    """`points` are (date, bytes); `limit`, where it fits the scale, is drawn as a line."""
    most = max((value for _, value in points), default=0)
    shows_limit = limit is not None and limit <= most * 4
    top = _round(max(most, limit if shows_limit and limit else 0) or 1)
    ground = HEIGHT - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / max(1, len(points) - 1)

    def y(value: float) -> float:
        return ground - value / top * (ground - TOP)

    parts = []
    for value in (0.0, top / 2, float(top)):
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_="grid"))
        parts.append(element("text", words.size(int(value)), x=LEFT - 6, y=y(value) + 4, class_="tick end"))
    corners = [(LEFT + place * step, y(value)) for place, (_, value) in enumerate(points)]
    if corners:
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
        closed = f"{LEFT},{ground} {line} {corners[-1][0]:.1f},{ground}"
        parts.append(element("polygon", points=closed, class_="fill"))
        parts.append(element("polyline", points=line, class_="line"))
    for place in range(0, len(points), max(1, len(points) // 5)):
        date = points[place][0][5:]
        end = "start" if not place else "middle"
        parts.append(element("text", date, x=LEFT + place * step, y=HEIGHT - 6, class_=f"tick {end}"))
    if shows_limit and limit:
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(limit), y2=y(limit), class_="limit"))
    told = "Nothing is stored."
    if points:
        told = (
            f"{words.size(points[0][1])} on {points[0][0]}, {words.size(points[-1][1])} on {points[-1][0]}; "
            f"at most {words.size(most)}."
        )
    return picture(title, told, WIDTH, HEIGHT, parts, class_="area")


def _round(most: int) -> int:
    """A round number of its unit over `most`: 1, 2, 4, 8, 16, … of 512 too."""
    return 1 << max(0, (most - 1).bit_length())

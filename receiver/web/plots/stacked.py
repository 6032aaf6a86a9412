"""Bars stacked by group, one a day: crashes over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from receiver.web.plots.svg import ceiling, element, picture

WIDTH, HEIGHT = 720, 180
LEFT, RIGHT, TOP, BOTTOM = 34, 4, 10, 22
TICK = 7  # labels from one that is written to the next


@dataclass(frozen=True, slots=True)
class Layer:
    """One group's counts, in the order of the labels."""

    name: str
    counts: Sequence[int]


def stacked(title: str, labels: Sequence[str], layers: Sequence[Layer]) -> Markup:
    """One bar a label, one colour a layer: the n-th has the class ``s{n}``, the first at the bottom."""
    totals = [sum(layer.counts[place] for layer in layers) for place in range(len(labels))]
    top = ceiling(max(totals, default=0) or 1)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    parts = list(_grid(top))
    for place, label in enumerate(labels):
        x = LEFT + place * step
        parts.append(_bar(x, step * 0.78, label, [layer.counts[place] for layer in layers], layers, top))
        if (len(labels) - 1 - place) % TICK == 0:
            parts.append(element("text", label[5:], x=x + step * 0.39, y=HEIGHT - 6, class_="tick middle"))
    return picture(title, _told(labels, totals), WIDTH, HEIGHT, parts, class_="stacked")


def _grid(top: int) -> list[Markup]:
    ground = HEIGHT - BOTTOM
    parts = []
    for value in (0, top / 2, top) if top > 1 else (0, top):
        y = ground - value / top * (ground - TOP)
        class_ = "grid" if value else "ground"
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=class_))
        if value == int(value):
            parts.append(element("text", f"{int(value):,}", x=LEFT - 6, y=y + 4, class_="tick end"))
    return parts


def _bar(
    x: float, width: float, label: str, counts: Sequence[int], layers: Sequence[Layer], top: int
) -> Markup:
    ground, scale = HEIGHT - BOTTOM, (HEIGHT - BOTTOM - TOP) / top
    parts, level = [], 0
    for number, count in enumerate(counts):
        if count:
            y, height = ground - (level + count) * scale, count * scale
            parts.append(element("rect", x=x, y=y, width=width, height=height, class_=f"s{number}"))
            level += count
    said = "; ".join(f"{layer.name}: {count}" for layer, count in zip(layers, counts, strict=True) if count)
    return element("g", element("title", f"{label}: {said or 'none'}"), *parts)


def _told(labels: Sequence[str], totals: Sequence[int]) -> str:
    if not any(totals):
        return f"None from {labels[0]} to {labels[-1]}." if labels else "None."
    most = max(range(len(totals)), key=totals.__getitem__)
    return (
        f"{sum(totals):,} from {labels[0]} to {labels[-1]}; most on {labels[most]}: {totals[most]:,}; "
        f"on the last day: {totals[-1]:,}."
    )

"""A line of small bars beside a title: when a group's crashes came."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from receiver.web.plots.svg import element, picture

HEIGHT = 20
BAR, GAP = 3, 1


def sparkline(counts: Sequence[int], days: str = "30 days") -> Markup:
    """One bar a count, the last one now; zero is a dot on the ground line."""
    most = max(counts, default=0)
    total = sum(counts)
    ground = HEIGHT - 1
    parts = []
    for place, count in enumerate(counts):
        height = max(2.0, count / most * ground) if count else 1.0
        parts.append(
            element(
                "rect",
                x=place * (BAR + GAP),
                y=HEIGHT - height,
                width=BAR,
                height=height,
                class_="bar" if count else "none",
            )
        )
    told = f"{total} in {days}, at most {most} a day" if total else f"none in {days}"
    width = max(1, len(counts) * (BAR + GAP) - GAP)
    return picture("Occurrences", told, width, HEIGHT, parts, class_="sparkline")

"""Numbers to SVG: the picture is well-formed, in words too, and true to its numbers."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from receiver.web.plots.area import area
from receiver.web.plots.bar import WIDTH, parts_bar
from receiver.web.plots.sparkline import HEIGHT, sparkline
from receiver.web.plots.stacked import Layer, stacked
from receiver.web.plots.svg import ceiling

COUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=60)
HOSTILE = '<script>"&\x1b\u202e'


def parsed(svg: str) -> ElementTree.Element:
    found = ElementTree.fromstring(svg)
    assert found.tag == "svg"
    assert found.get("role") == "img"
    assert found.get("aria-label")
    assert found.find("title") is not None
    assert found.find("desc") is not None
    return found


def rects(svg: ElementTree.Element, class_: str) -> list[ElementTree.Element]:
    return [rect for rect in svg.iter("rect") if rect.get("class") == class_]


@given(COUNTS)
def test_a_sparkline_has_a_bar_for_each_day_and_the_largest_fills_it(counts: list[int]) -> None:
    """A day with one crash is seen beside a day with ten thousand."""
    svg = parsed(sparkline(counts))
    bars = rects(svg, "bar")
    assert len(bars) == sum(1 for count in counts if count)
    heights = [float(bar.get("height") or 0) for bar in bars]
    assert not heights or (max(heights) == HEIGHT - 1 and min(heights) >= 2)
    assert f"{sum(counts)} in 30 days" in (svg.get("aria-label") or "") or not any(counts)


@given(st.integers(1, 40), st.data())
def test_the_layers_of_a_bar_stand_on_each_other_and_none_leaves_the_plot(
    days: int, data: st.DataObject
) -> None:
    """Heights are in the proportion of the counts."""
    row = st.lists(st.integers(0, 500), min_size=days, max_size=days)
    layers = [Layer(HOSTILE, data.draw(row)) for _ in range(data.draw(st.integers(0, 6)))]
    labels = [f"2026-01-{day:02}" for day in range(days)]
    svg = parsed(stacked("Crashes", labels, layers))
    for group in svg.iter("g"):
        edge = None
        for rect in group.iter("rect"):
            top, height = float(rect.get("y") or 0), float(rect.get("height") or 0)
            assert top >= 9.99
            assert edge is None or abs(top + height - edge) < 0.02
            edge = top


def test_a_hostile_name_is_text_in_a_picture() -> None:
    """Titles of crashes are what kernels log."""
    svg = stacked("Crashes", ["2026-01-01"], [Layer(HOSTILE, [3])])
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert "&lt;script&gt;" in svg


@given(st.lists(st.integers(0, 1 << 50), max_size=60), st.none() | st.integers(0, 1 << 52))
def test_space_over_time_stays_within_its_axes(levels: list[int], limit: int | None) -> None:
    """Whatever the sizes are."""
    points = [(f"2026-01-{day:02}", level) for day, level in enumerate(levels)]
    svg = parsed(area("Space", points, limit))
    for line in svg.iter("polyline"):
        for corner in (line.get("points") or "").split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= 720
            assert 0 <= y <= 180


@given(st.lists(st.floats(-1, 5), max_size=5))
def test_a_meter_is_never_more_than_full(parts: list[float]) -> None:
    """Numbers that were read at two moments may sum up to more than all."""
    svg = parsed(parts_bar("Space", "told", [(part, "done") for part in parts]))
    assert sum(float(rect.get("width") or 0) for rect in rects(svg, "done")) <= WIDTH + 0.1


@given(st.integers(1, 10**9))
def test_an_axis_ends_at_a_round_number_not_far_above(most: int) -> None:
    """Its half can be written, too."""
    top = ceiling(most)
    assert most <= top <= most * 2
    assert top % 2 == 0 or top == 1

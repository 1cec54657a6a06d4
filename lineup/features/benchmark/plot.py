"""The plot of published accuracy against the latency measured on this machine."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from lineup.analysis.comparison import ComparisonRow

Point = dict[str, Any]
Box = tuple[float, float, float, float]  # left, right, top, bottom
Align = Literal["left", "center", "right"]
ALIGNMENTS: tuple[Align, ...] = "center", "left", "right"
Placement = tuple[Point, Align, float]  # a label: its text alignment at the dot, and its y in pixels from the top

HEIGHT_PX = 320
WIDTHS_PX = (560, 700, 840, 980, 1120)  # labels are placed for all of these; style.css keeps plots from being narrower
CHARACTER_PX, LINE_PX = 6.2, 13  # of a label at font size 11 px
AREAS_PX = (60.0, 500.0)  # square pixels: of a dot without parameters, and of the largest
MIN_MARGIN = 1.0  # percentage points above and below the dots
TICKS_MS = tuple(digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5))
SELECTED_COLOR, DEFAULT_COLOR = "#8b5cf6", "#94a3b8"
GREY = "#7c879a"  # legible in light and dark mode
TEXT = {"labelColor": GREY, "titleColor": GREY, "titleFontWeight": 400}
STYLE: dict[str, Any] = {
    "font": "ui-sans-serif, system-ui, sans-serif",
    "axis": {**TEXT, "gridColor": GREY, "gridOpacity": 0.2},
    "legend": {**TEXT, "orient": "top"},
    "view": {"stroke": None},
}


def chart(rows: Sequence[ComparisonRow], selected: Sequence[str]) -> Any:
    """Return a chart with a dot per backbone that has run: sized by parameters, the selected ones highlighted.

    A line joins the Pareto front. A backbone without a published accuracy is a tick on the lower edge, at its
    latency. Returns None if none has run.
    """
    points = [
        {
            "backbone": row.backbone,
            "ms": row.median_ms,
            "accuracy": row.imagenet_top1,
            "parameters": (row.parameters or 0) / 1e6,
            "selected": row.backbone in selected,
        }
        for row in rows
        if row.median_ms is not None
    ]
    if not points:
        return None
    published = [point for point in points if point["accuracy"] is not None]
    unpublished = [point for point in points if point["accuracy"] is None]
    domains = _domain_ms(points), _domain_percent(published)
    x, y = _milliseconds_axis(domains[0]), _percent_axis("accuracy", domains[1])
    layers = (_dots(published, x, y) if published else []) + ([_ticks(unpublished, x)] if unpublished else [])
    labels = _labels(_place(published + unpublished, *domains), x, domains[1], has_axis=bool(published))
    no_menu = {"embedOptions": {"actions": False}}  # Vega's menu links to an external site
    layered = alt.layer(*layers, *labels).properties(width="container", height=HEIGHT_PX, usermeta=no_menu)
    return layered.properties(background="transparent").configure(**STYLE)


def _domain_ms(points: Sequence[Point]) -> tuple[float, float]:
    """Return the domain of the time axis: it ends on ticks, a factor of at least 1.2 beyond the dots."""
    values = [point["ms"] for point in points]
    below = [tick for tick in TICKS_MS if tick <= min(values) / 1.2] or TICKS_MS[:1]
    above = [tick for tick in TICKS_MS if tick >= max(values) * 1.2] or TICKS_MS[-1:]
    high = above[0]
    if len([tick for tick in TICKS_MS if below[-1] <= tick <= high]) < 3:
        high = above[:2][-1]  # two ticks do not show that the axis is logarithmic
    return below[-1], high


def _domain_percent(points: Sequence[Point]) -> tuple[int, int]:
    """Return the domain of the accuracy axis: whole percent, with a margin for the labels."""
    values = [point["accuracy"] for point in points] or [0.0]
    margin = max(MIN_MARGIN, (max(values) - min(values)) * 0.25)
    return math.floor(min(values) - margin), math.ceil(max(values) + margin)


def _milliseconds_axis(ms: tuple[float, float]) -> alt.X:
    ticks = [tick for tick in TICKS_MS if ms[0] <= tick <= ms[1]]
    scale, axis = alt.Scale(type="log", domain=ms, nice=False), alt.Axis(values=ticks, format="~g")
    return alt.X("ms:Q", title="milliseconds per forward pass, measured here", scale=scale, axis=axis)


def _percent_axis(field: str, percent: tuple[int, int], is_shown: bool = True) -> alt.Y:
    axis = alt.Axis(tickMinStep=1, tickCount=6, format="~g") if is_shown else None
    scale = alt.Scale(domain=percent, nice=False, zero=False)
    return alt.Y(f"{field}:Q", title="published ImageNet top-1, %", scale=scale, axis=axis)


def _dots(points: list[Point], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    scale = alt.Scale(domain=[0, _max_parameters(points)], range=list(AREAS_PX))
    size = alt.Size("parameters:Q", title="million parameters", scale=scale, legend=alt.Legend(tickCount=4))
    front = [points[index] for index in pareto_front([(point["ms"], point["accuracy"]) for point in points])]
    return [
        _base(front, x).encode(y=y).mark_line(color=SELECTED_COLOR, strokeDash=[4, 3], opacity=0.6),
        _base(points, x).encode(y=y, size=size, color=_color()).mark_circle(opacity=0.9),
    ]


def _ticks(points: list[Point], x: alt.X) -> alt.Chart:
    return _base(points, x).encode(y=alt.value(HEIGHT_PX - 8), color=_color()).mark_tick(thickness=2, size=14)


def _place(points: Sequence[Point], ms: tuple[float, float], percent: tuple[int, int]) -> list[Placement]:
    """Place labels so that none overlaps another or a dot at any of WIDTHS_PX.

    Greedy, from left to right: a label takes the nearest free position above or below its dot, or else the one
    with the fewest overlaps.
    """
    max_parameters = _max_parameters(points)
    dots = [_dot(point, ms, percent, max_parameters) for point in points]
    occupied = [[_box(share * width, y, radius * 2, radius * 2) for share, y, radius in dots] for width in WIDTHS_PX]
    placements: list[Placement] = []
    for (share, y, radius), point in sorted(zip(dots, points, strict=True), key=lambda pair: pair[0]):
        width_px, fewest = len(point["backbone"]) * CHARACTER_PX, math.inf
        best: Placement = point, "center", y
        best_boxes: list[Box] = []
        for step, sign, align in itertools.product(range(24), (-1, 1), ALIGNMENTS):
            label_y = y + sign * (radius + LINE_PX * (step + 0.6))
            boxes = [_box(share * width, label_y, width_px, LINE_PX, align) for width in WIDTHS_PX]
            overlaps = sum(map(_overlaps, boxes, WIDTHS_PX, occupied))
            if overlaps < fewest:
                fewest, best, best_boxes = overlaps, (point, align, label_y), boxes
            if overlaps == 0:
                break
        placements.append(best)
        for others, box in zip(occupied, best_boxes, strict=True):
            others.append(box)
    return placements


def _max_parameters(points: Sequence[Point]) -> float:
    """Return the parameters of the largest dot, in millions; ticks have no size."""
    return max((point["parameters"] for point in points if point["accuracy"] is not None), default=0) or 1


def _dot(
    point: Point, ms: tuple[float, float], percent: tuple[int, int], max_parameters: float
) -> tuple[float, float, float]:
    """Return a dot's x as a share of the width, its y in pixels from the top, and its radius in pixels."""
    share = math.log(point["ms"] / ms[0]) / math.log(ms[1] / ms[0])
    if point["accuracy"] is None:
        return share, HEIGHT_PX - 8, math.sqrt(AREAS_PX[0]) / 2
    area = AREAS_PX[0] + (AREAS_PX[1] - AREAS_PX[0]) * point["parameters"] / max_parameters
    y = HEIGHT_PX * (percent[1] - point["accuracy"]) / (percent[1] - percent[0])
    return share, y, math.sqrt(area) / 2  # Vega's size is an area


def _box(x: float, y: float, width: float, height: float, align: Align = "center") -> Box:
    left = x - {"left": 0, "center": width / 2, "right": width}[align]
    return left, left + width, y - height / 2, y + height / 2


def _overlaps(box: Box, width_px: float, others: Sequence[Box]) -> int:
    """Count the overlaps of a box with others; a position outside the plot counts more than any overlap."""
    left, right, top, bottom = box
    if top < 0 or bottom > HEIGHT_PX:
        return 10_000
    outside = 100 * (left < 0 or right > width_px)
    return outside + sum(left < r and right > x and top < b and bottom > t for x, r, t, b in others)


def _labels(placements: Sequence[Placement], x: alt.X, percent: tuple[int, int], has_axis: bool) -> list[alt.Chart]:
    """Return the text layers: one per alignment, not per label, since altair takes 30 ms per layer."""
    layers = []
    for align in ALIGNMENTS:
        points = [
            {**point, "level": percent[1] - y * (percent[1] - percent[0]) / HEIGHT_PX}  # y on the accuracy axis
            for point, alignment, y in placements
            if alignment == align
        ]
        if points:
            labels = _base(points, x).encode(y=_percent_axis("level", percent, has_axis), text="backbone:N")
            layers.append(labels.encode(color=_color()).mark_text(align=align, baseline="middle", fontSize=11))
    return layers


def _base(points: list[Point], x: alt.X) -> alt.Chart:
    tooltip = {"backbone": "N", "ms": "Q", "accuracy": "Q", "parameters": "Q"}
    return alt.Chart(alt.Data(values=points)).encode(x, tooltip=[f"{key}:{kind}" for key, kind in tooltip.items()])


def _color() -> Any:
    return alt.condition("datum.selected", alt.value(SELECTED_COLOR), alt.value(DEFAULT_COLOR))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto-optimal points (cost, gain), the cheapest first.

    A point is dominated by one that costs no more and gains no less, and is strictly better in one of the two.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front

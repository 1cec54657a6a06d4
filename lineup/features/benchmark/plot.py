"""The plot: published accuracy against the milliseconds measured on this machine."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from lineup.analysis.comparison import ComparisonRow

pass

Point = dict[str, Any]
Box = tuple[float, float, float, float]  # left, right, top, bottom
Align = Literal["left", "center", "right"]
ALIGNMENTS: tuple[Align, ...] = "center", "left", "right"
Placed = tuple[Point, Align, float]  # the side of a name that its dot is at, and the name's pixels from the top

HEIGHT_PX = 320
WIDTHS_PX = (560, 700, 840, 980, 1120)  # names are placed for all of these; style.css makes no plot narrower
CHARACTER_PX, LINE_PX = 6.2, 13  # of a name at 11 px
AREAS_PX = (60.0, 500.0)  # of a dot without parameters, and of the largest
LEAST_ROOM = 1.0  # percentage points above and below the dots, however close they are
TICKS_MS = tuple(digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5))
MARKED, PLAIN = "#8b5cf6", "#94a3b8"
GREY = "#7c879a"  # legible on light and on dark
TEXT = {"labelColor": GREY, "titleColor": GREY, "titleFontWeight": 400}
STYLE: dict[str, Any] = {
    "font": "ui-sans-serif, system-ui, sans-serif",
    "axis": {**TEXT, "gridColor": GREY, "gridOpacity": 0.2},
    "legend": {**TEXT, "orient": "top"},
    "view": {"stroke": None},
}


def chart(rows: Sequence[ComparisonRow], selected: Sequence[str]) -> Any:
    """Draw a dot for each backbone that has run: size by parameters, the selected ones marked.

    A line joins the Pareto front: the backbones that no other beats in both. One without a published
    accuracy stands as a tick on the lower edge, at its speed. Returns None if none has run.
    """
    ran = [
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
    if not ran:
        return None
    known = [each for each in ran if each["accuracy"] is not None]
    unknown = [each for each in ran if each["accuracy"] is None]
    spans = _span_ms(ran), _span_percent(known)
    x, y = _milliseconds_axis(spans[0]), _percent_axis("accuracy", spans[1])
    layers = (_published(known, x, y) if known else []) + ([_unpublished(unknown, x)] if unknown else [])
    names = _names(_placed(known + unknown, *spans), x, spans[1], has_axis=bool(known))
    quiet = {"embedOptions": {"actions": False}}  # its menu leads to a site elsewhere
    drawn = alt.layer(*layers, *names).properties(width="container", height=HEIGHT_PX, usermeta=quiet)
    return drawn.properties(background="transparent").configure(**STYLE)


def _span_ms(points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of the axis of time: ticks, so far out that no dot stands on them."""
    values = [each["ms"] for each in points]
    below = [tick for tick in TICKS_MS if tick <= min(values) / 1.2] or TICKS_MS[:1]
    above = [tick for tick in TICKS_MS if tick >= max(values) * 1.2] or TICKS_MS[-1:]
    high = above[0]
    if len([tick for tick in TICKS_MS if below[-1] <= tick <= high]) < 3:
        high = above[:2][-1]  # two numbers alone do not tell that the axis is logarithmic
    return below[-1], high


def _span_percent(points: Sequence[Point]) -> tuple[int, int]:
    """Return the ends of the axis of accuracy: whole percent, with room above and below the dots for their names."""
    values = [each["accuracy"] for each in points] or [0.0]
    room = max(LEAST_ROOM, (max(values) - min(values)) * 0.25)
    return math.floor(min(values) - room), math.ceil(max(values) + room)


def _milliseconds_axis(ms: tuple[float, float]) -> alt.X:
    ticks = [tick for tick in TICKS_MS if ms[0] <= tick <= ms[1]]
    scale, axis = alt.Scale(type="log", domain=ms, nice=False), alt.Axis(values=ticks, format="~g")
    return alt.X("ms:Q", title="milliseconds per forward pass, here", scale=scale, axis=axis)


def _percent_axis(field: str, percent: tuple[int, int], is_shown: bool = True) -> alt.Y:
    axis = alt.Axis(tickMinStep=1, tickCount=6, format="~g") if is_shown else None
    scale = alt.Scale(domain=percent, nice=False, zero=False)
    return alt.Y(f"{field}:Q", title="published ImageNet top-1, %", scale=scale, axis=axis)


def _published(points: list[Point], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    scale = alt.Scale(domain=[0, _most_parameters(points)], range=list(AREAS_PX))
    size = alt.Size("parameters:Q", title="million parameters", scale=scale, legend=alt.Legend(tickCount=4))
    front = [points[index] for index in pareto_front([(each["ms"], each["accuracy"]) for each in points])]
    return [
        _of(front, x).encode(y=y).mark_line(color=MARKED, strokeDash=[4, 3], opacity=0.6),
        _of(points, x).encode(y=y, size=size, color=_colour()).mark_circle(opacity=0.9),
    ]


def _unpublished(points: list[Point], x: alt.X) -> alt.Chart:
    return _of(points, x).encode(y=alt.value(HEIGHT_PX - 8), color=_colour()).mark_tick(thickness=2, size=14)


def _placed(points: Sequence[Point], ms: tuple[float, float], percent: tuple[int, int]) -> list[Placed]:
    """Place names so that none lies over another, or over a dot, on a plot of any of WIDTHS_PX.

    From left to right each takes the nearest free place above or below its own dot.
    """
    most = _most_parameters(points)
    dots = [_dot(point, ms, percent, most) for point in points]
    taken = [[_box(share * width, y, radius * 2, radius * 2) for share, y, radius in dots] for width in WIDTHS_PX]
    placed: list[Placed] = []
    for (share, y, radius), point in sorted(zip(dots, points, strict=True), key=lambda each: each[0]):
        length, fewest = len(point["backbone"]) * CHARACTER_PX, math.inf
        chosen: Placed = point, "center", y
        chosen_boxes: list[Box] = []
        for step, sign, align in itertools.product(range(24), (-1, 1), ALIGNMENTS):
            at = y + sign * (radius + LINE_PX * (step + 0.6))
            boxes = [_box(share * width, at, length, LINE_PX, align) for width in WIDTHS_PX]
            overlaps = sum(map(_overlaps, boxes, WIDTHS_PX, taken))
            if overlaps < fewest:  # where no place is free, the one with the fewest overlaps is taken
                fewest, chosen, chosen_boxes = overlaps, (point, align, at), boxes
            if overlaps == 0:
                break
        placed.append(chosen)
        for others, box in zip(taken, chosen_boxes, strict=True):
            others.append(box)
    return placed


def _most_parameters(points: Sequence[Point]) -> float:
    """Return the parameters of the largest dot, in millions; ticks have no size."""
    return max((each["parameters"] for each in points if each["accuracy"] is not None), default=0) or 1


def _dot(point: Point, ms: tuple[float, float], percent: tuple[int, int], most: float) -> tuple[float, float, float]:
    """Return a dot's share of the width, its pixels from the top, and its radius in pixels."""
    share = math.log(point["ms"] / ms[0]) / math.log(ms[1] / ms[0])
    if point["accuracy"] is None:
        return share, HEIGHT_PX - 8, math.sqrt(AREAS_PX[0]) / 2
    area = AREAS_PX[0] + (AREAS_PX[1] - AREAS_PX[0]) * point["parameters"] / most
    y = HEIGHT_PX * (percent[1] - point["accuracy"]) / (percent[1] - percent[0])
    return share, y, math.sqrt(area) / 2  # as Vega draws a circle of this size


def _box(x: float, y: float, width: float, height: float, align: Align = "center") -> Box:
    left = x - {"left": 0, "center": width / 2, "right": width}[align]
    return left, left + width, y - height / 2, y + height / 2


def _overlaps(box: Box, width_px: float, others: Sequence[Box]) -> int:
    """Count the boxes that a box lies over; to stand outside of the plot is worse than any of that."""
    left, right, top, bottom = box
    if top < 0 or bottom > HEIGHT_PX:
        return 10_000
    outside = 100 * (left < 0 or right > width_px)
    return outside + sum(left < r and right > x and top < b and bottom > t for x, r, t, b in others)


def _names(placed: Sequence[Placed], x: alt.X, percent: tuple[int, int], has_axis: bool) -> list[alt.Chart]:
    """Write the names: a layer for each alignment, since a layer takes altair 30 ms."""
    layers = []
    for align in ALIGNMENTS:
        points = [
            {**point, "level": percent[1] - y * (percent[1] - percent[0]) / HEIGHT_PX}  # where y lies on the axis
            for point, side, y in placed
            if side == align
        ]
        if points:
            names = _of(points, x).encode(y=_percent_axis("level", percent, has_axis), text="backbone:N")
            layers.append(names.encode(color=_colour()).mark_text(align=align, baseline="middle", fontSize=11))
    return layers


def _of(points: list[Point], x: alt.X) -> alt.Chart:
    told = {"backbone": "N", "ms": "Q", "accuracy": "Q", "parameters": "Q"}
    return alt.Chart(alt.Data(values=points)).encode(x, tooltip=[f"{key}:{kind}" for key, kind in told.items()])


def _colour() -> Any:
    return alt.condition("datum.selected", alt.value(MARKED), alt.value(PLAIN))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, gain) that no other beats, the cheapest first.

    A point is beaten by one that costs no more and gains no less, and is better in one of the two.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front

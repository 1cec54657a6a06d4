"""The plot: published accuracy against the milliseconds measured on this machine."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from lineup.standings import pareto_front

Row = Mapping[str, Any]
Point = dict[str, Any]
Box = tuple[float, float, float, float]  # left, right, top, bottom
Align = Literal["left", "center", "right"]
Placed = tuple[Point, Align, float]  # a name's side that the dot is at, and its distance from the dot in pixels

HEIGHT_PX = 320
WIDTH_PX = 560  # at least, which style.css sees to: names placed for it do not overlap on a wider plot either
CHARACTER_PX, LINE_PX = 6.2, 13  # of a name at 11 px
AREAS_PX = (60.0, 500.0)  # of a dot without parameters, and of the largest
LEAST_SPAN = 4.0  # percentage points on the axis, however close the accuracies are
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


def chart(rows: Sequence[Row], selected: Sequence[str]) -> Any:
    """Draw a dot for each backbone that has run: size by parameters, the selected ones marked.

    A line joins the Pareto front: the backbones that no other beats in both. One without a published
    accuracy stands as a tick on the lower edge, at its speed. Returns None if none has run.
    """
    ran = [
        {
            "backbone": row["backbone"],
            "ms": row["median_ms"],
            "accuracy": row["imagenet_top1"],
            "parameters": (row["parameters"] or 0) / 1e6,
            "selected": row["backbone"] in selected,
        }
        for row in rows
        if row["median_ms"] is not None
    ]
    if not ran:
        return None
    known = [each for each in ran if each["accuracy"] is not None]
    unknown = [each for each in ran if each["accuracy"] is None]
    spans = _span_ms(ran), _span_percent(known)
    x, y = _axes(*spans)
    layers = (_published(known, x, y) if known else []) + ([_unpublished(unknown, x)] if unknown else [])
    names = [_name(*each, x, y) for each in _placed(known + unknown, *spans)]
    quiet = {"embedOptions": {"actions": False}}  # its menu leads to a site elsewhere
    drawn = alt.layer(*layers, *names).properties(width="container", height=HEIGHT_PX, usermeta=quiet)
    return drawn.properties(background="transparent").configure(**STYLE)


def _span_ms(points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of the axis of time: ticks, so far out that no dot stands on them."""
    values = [each["ms"] for each in points]
    low = max((tick for tick in TICKS_MS if tick <= min(values) / 1.2), default=TICKS_MS[0])
    return low, min((tick for tick in TICKS_MS if tick >= max(values) * 1.2), default=TICKS_MS[-1])


def _span_percent(points: Sequence[Point]) -> tuple[int, int]:
    """Return the ends of the axis of accuracy: whole percent, with room above and below the dots for their names."""
    values = [each["accuracy"] for each in points] or [0.0]
    room = max(LEAST_SPAN, max(values) - min(values)) * 0.25
    return math.floor(min(values) - room), math.ceil(max(values) + room)


def _axes(ms: tuple[float, float], percent: tuple[int, int]) -> tuple[alt.X, alt.Y]:
    ticks = [tick for tick in TICKS_MS if ms[0] <= tick <= ms[1]]
    return (
        alt.X(
            "ms:Q",
            title="milliseconds per forward pass, here",
            scale=alt.Scale(type="log", domain=ms, nice=False),
            axis=alt.Axis(values=ticks, format="~g"),
        ),
        alt.Y(
            "accuracy:Q",
            title="published ImageNet top-1, %",
            scale=alt.Scale(domain=percent, nice=False, zero=False),
            axis=alt.Axis(tickMinStep=1, tickCount=6, format="~g"),
        ),
    )


def _published(points: list[Point], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    most = max(each["parameters"] for each in points) or 1
    scale = alt.Scale(domain=[0, most], range=list(AREAS_PX))
    size = alt.Size("parameters:Q", title="million parameters", scale=scale, legend=alt.Legend(tickCount=4))
    front = [points[index] for index in pareto_front([(each["ms"], each["accuracy"]) for each in points])]
    return [
        _of(front, x).encode(y=y).mark_line(color=MARKED, strokeDash=[4, 3], opacity=0.6),
        _of(points, x).encode(y=y, size=size, color=_colour()).mark_circle(opacity=0.9),
    ]


def _unpublished(points: list[Point], x: alt.X) -> alt.Chart:
    return _of(points, x).encode(y=alt.value(HEIGHT_PX - 8), color=_colour()).mark_tick(thickness=2, size=14)


def _placed(points: Sequence[Point], ms: tuple[float, float], percent: tuple[int, int]) -> list[Placed]:
    """Place names so that none lies over another, or over a dot.

    From left to right each takes the nearest free place above or below its own dot, on a plot of WIDTH_PX.
    """
    dots = {}  # by the name: x, y and radius in pixels, from the upper left
    most = max(each["parameters"] for each in points) or 1
    for point in points:
        x, y = math.log(point["ms"] / ms[0]) / math.log(ms[1] / ms[0]) * WIDTH_PX, HEIGHT_PX - 8.0
        area = AREAS_PX[0]
        if point["accuracy"] is not None:
            y = HEIGHT_PX * (percent[1] - point["accuracy"]) / (percent[1] - percent[0])
            area += (AREAS_PX[1] - AREAS_PX[0]) * point["parameters"] / most
        dots[point["backbone"]] = x, y, math.sqrt(area / math.pi)
    taken = [(x - radius, x + radius, y - radius, y + radius) for x, y, radius in dots.values()]
    placed: list[Placed] = []
    for point in sorted(points, key=lambda each: each["ms"]):
        x, y, radius = dots[point["backbone"]]
        width = len(point["backbone"]) * CHARACTER_PX
        align: Align = "left" if x < width / 2 else "right" if x > WIDTH_PX - width / 2 else "center"
        left = x - {"left": 0, "center": width / 2, "right": width}[align]
        places = [sign * (radius + LINE_PX * (step + 0.6)) for step in range(20) for sign in (-1, 1)]
        boxes = {dy: (left, left + width, y + dy - LINE_PX / 2, y + dy + LINE_PX / 2) for dy in places}
        free = (dy for dy, box in boxes.items() if box[2] >= 0 and box[3] <= HEIGHT_PX and not _overlaps(box, taken))
        chosen = next(free, places[0])
        taken.append(boxes[chosen])
        placed.append((point, align, chosen))
    return placed


def _overlaps(box: Box, others: Sequence[Box]) -> bool:
    left, right, top, bottom = box
    return any(left < r and right > l and top < b and bottom > t for l, r, t, b in others)  # noqa: E741


def _name(point: Point, align: Align, offset: float, x: alt.X, y: alt.Y) -> alt.Chart:
    name = _of([point], x).encode(text="backbone:N", color=_colour())
    at = y if point["accuracy"] is not None else alt.value(HEIGHT_PX - 8)
    return name.encode(y=at).mark_text(align=align, baseline="middle", dy=offset, fontSize=11)


def _of(points: list[Point], x: alt.X) -> alt.Chart:
    told = {"backbone": "N", "ms": "Q", "accuracy": "Q", "parameters": "Q"}
    return alt.Chart(alt.Data(values=points)).encode(x, tooltip=[f"{key}:{kind}" for key, kind in told.items()])


def _colour() -> Any:
    return alt.condition("datum.selected", alt.value(MARKED), alt.value(PLAIN))

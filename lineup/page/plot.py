"""Plots of accuracy against the latency measured on this machine, with labels that do not overlap."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from lineup.analysis.pareto import pareto_front

Point = dict[str, Any]
Box = tuple[float, float, float, float]  # left, right, top, bottom
Align = Literal["left", "center", "right"]
ALIGNMENTS: tuple[Align, ...] = "center", "left", "right"
Placement = tuple[Point, Align, float]  # a label: its text alignment at the dot, and its y in pixels from the top

HEIGHT_PX = 320
WIDTHS_PX = (560, 700, 840, 980, 1120)  # labels are placed for all of these; style.css keeps plots from being narrower
CHARACTER_PX, LINE_PX = 6.2, 13  # of a label at font size 11 px
BESIDE_PX = 6  # from a whisker to a label
AREAS_PX = (60.0, 500.0)  # square pixels: of a dot without a size, and of the largest
MIN_MARGIN = 1.0  # percentage points above and below the dots
TICKS_MS = tuple(digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5))
GREY = "#7c879a"  # visible in light and dark mode; style.css has the colours of the text
SELECTED_COLOR, DEFAULT_COLOR = "#8b5cf6", GREY
TEXT = {"labelColor": GREY, "titleColor": GREY, "titleFontWeight": 400}
STYLE: dict[str, Any] = {
    "font": "ui-sans-serif, system-ui, sans-serif",
    "axis": {**TEXT, "gridColor": GREY, "gridOpacity": 0.2},
    "legend": {**TEXT, "orient": "top"},
    "view": {"stroke": None},
}


def latency_plot(points: Sequence[Point], accuracy_title: str, size_field: str, size_title: str) -> Any:
    """Return a chart with a dot for each point, the selected ones highlighted; a line joins the Pareto front.

    Args:
        points: dicts with `backbone`, `ms`, `accuracy` in percent, `selected` and the size; with `low` and `high`, in
            percent, they have whiskers. A point whose accuracy is None is a tick on the lower edge, at its latency.
        accuracy_title: of the axis.
        size_field: the key of the size.
        size_title: of the legend.

    Returns:
        The chart; None without points.
    """
    if not points:
        return None
    known = [point for point in points if point["accuracy"] is not None]
    unknown = [point for point in points if point["accuracy"] is None]
    scales = _Scales(_domain_ms(points), _domain_percent(known), size_field, _max_size(known, size_field))
    x, y = scales.x(), scales.y("accuracy", accuracy_title)
    low = scales.y("low", accuracy_title)
    layers = (_dots(known, scales, x, y, low, size_title) if known else []) + ([_ticks(unknown, x)] if unknown else [])
    labels = _labels(_place(known + unknown, scales), scales, x, accuracy_title if known else None)
    # no menu, as Vega's links to an external site; SVG, as style.css cannot colour text on a canvas
    options = {"embedOptions": {"actions": False, "renderer": "svg"}}
    layered = alt.layer(*layers, *labels).properties(
        width="container", height=HEIGHT_PX, usermeta=options, description=_description(points, accuracy_title)
    )
    return layered.properties(background="transparent").configure(**STYLE)


def _description(points: Sequence[Point], accuracy_title: str) -> str:
    """Return the data as text, for screen readers: ``resnet18: 9.1 ms, 71.5%; …``."""
    shares = {point["backbone"]: "" if point["accuracy"] is None else f", {point['accuracy']:.1f}%" for point in points}
    values = "; ".join(f"{point['backbone']}: {point['ms']:.1f} ms{shares[point['backbone']]}" for point in points)
    return f"Milliseconds per forward pass and {accuracy_title.removesuffix(', %')}. {values}."


@dataclass(frozen=True)
class _Scales:
    """What maps a point to its place in the plot: the domains of both axes, and the size of the largest dot."""

    ms: tuple[float, float]
    percent: tuple[int, int]
    size_field: str
    max_size: float

    def x(self) -> alt.X:
        ticks = [tick for tick in TICKS_MS if self.ms[0] <= tick <= self.ms[1]]
        scale, axis = alt.Scale(type="log", domain=self.ms, nice=False), alt.Axis(values=ticks, format="~g")
        return alt.X("ms:Q", title="milliseconds per forward pass, measured here", scale=scale, axis=axis)

    def y(self, field: str, title: str | None) -> alt.Y:
        """Return the encoding of a field on the accuracy axis, which is shown if it has a title."""
        beyond = "datum.value < 0 || datum.value > 100 ? '' : datum.label"  # the margins
        axis = alt.Axis(tickMinStep=1, tickCount=6, format="d", labelExpr=beyond) if title else None
        scale = alt.Scale(domain=self.percent, nice=False, zero=False)
        return alt.Y(f"{field}:Q", title=title, scale=scale, axis=axis)

    def y_px(self, percent: float) -> float:
        """Return a y in pixels from the top."""
        return HEIGHT_PX * (self.percent[1] - percent) / (self.percent[1] - self.percent[0])

    def dot(self, point: Point) -> tuple[float, float, float]:
        """Return a dot's x as a share of the width, its y in pixels from the top, and its radius in pixels."""
        share = math.log(point["ms"] / self.ms[0]) / math.log(self.ms[1] / self.ms[0])
        if point["accuracy"] is None:
            return share, HEIGHT_PX - 8, math.sqrt(AREAS_PX[0]) / 2
        area = AREAS_PX[0] + (AREAS_PX[1] - AREAS_PX[0]) * point[self.size_field] / self.max_size
        return share, self.y_px(point["accuracy"]), math.sqrt(area) / 2  # Vega's size is an area


def _max_size(points: Sequence[Point], field: str) -> float:
    """Return the size of the largest dot; ticks have none."""
    return max((point[field] for point in points), default=0) or 1


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
    values = [value - margin for value in values] + [
        point["low"] - MIN_MARGIN for point in points if _has_whisker(point)
    ]
    tops = [point["accuracy"] + margin for point in points] or [margin]
    tops += [point["high"] + MIN_MARGIN for point in points if _has_whisker(point)]
    return math.floor(min(values)), math.ceil(max(tops))


def _dots(points: list[Point], scales: _Scales, x: alt.X, y: alt.Y, low: alt.Y, size_title: str) -> list[alt.Chart]:
    scale = alt.Scale(domain=[0, scales.max_size], range=list(AREAS_PX))
    size = alt.Size(f"{scales.size_field}:Q", title=size_title, scale=scale, legend=alt.Legend(tickCount=4))
    front = [points[index] for index in pareto_front([(point["ms"], point["accuracy"]) for point in points])]
    whiskers = list(filter(_has_whisker, points))
    ends = _base(whiskers, x).encode(y=low, y2="high:Q", color=_color())
    return [
        _base(front, x).encode(y=y).mark_line(color=SELECTED_COLOR, strokeDash=[4, 3], opacity=0.6),
        *([ends.mark_rule(strokeWidth=2, opacity=0.55)] if whiskers else []),
        _base(points, x).encode(y=y, size=size, color=_color()).mark_circle(opacity=0.9),
    ]


def _ticks(points: list[Point], x: alt.X) -> alt.Chart:
    return _base(points, x).encode(y=alt.value(HEIGHT_PX - 8), color=_color()).mark_tick(thickness=2, size=14)


def _place(points: Sequence[Point], scales: _Scales) -> list[Placement]:
    """Place labels so that none overlaps another, a dot or a whisker at any of WIDTHS_PX.

    Greedy, from left to right: a label takes the nearest free position above or below its dot, or else the one
    with the fewest overlaps.
    """
    dots = [scales.dot(point) for point in points]
    occupied = [[_box(share * width, y, radius * 2, radius * 2) for share, y, radius in dots] for width in WIDTHS_PX]
    for width, boxes in zip(WIDTHS_PX, occupied, strict=True):
        boxes += [
            _whisker(point, scales, dot[0] * width)
            for point, dot in zip(points, dots, strict=True)
            if _has_whisker(point)
        ]
    placements: list[Placement] = []
    for (share, y, radius), point in sorted(zip(dots, points, strict=True), key=lambda pair: pair[0]):
        width_px, fewest = len(point["backbone"]) * CHARACTER_PX, math.inf
        best: Placement = point, "center", y
        best_boxes: list[Box] = []
        for step, sign, align in itertools.product(range(24), (-1, 1), ALIGNMENTS):
            label_y, beside = y + sign * (radius + LINE_PX * (step + 0.6)), _beside(point, align)
            boxes = [_box(share * width + beside, label_y, width_px, LINE_PX, align) for width in WIDTHS_PX]
            overlaps = sum(map(_overlaps, boxes, WIDTHS_PX, occupied))
            if overlaps < fewest:
                fewest, best, best_boxes = overlaps, (point, align, label_y), boxes
            if overlaps == 0:
                break
        placements.append(best)
        for others, box in zip(occupied, best_boxes, strict=True):
            others.append(box)
    return placements


def _has_whisker(point: Point) -> bool:
    return "low" in point


def _whisker(point: Point, scales: _Scales, x: float) -> Box:
    return x - 2, x + 2, scales.y_px(point["high"]), scales.y_px(point["low"])


def _beside(point: Point, align: Align) -> float:
    """Return how far a label is shifted to stand beside its whisker, in pixels."""
    return _has_whisker(point) * {"left": BESIDE_PX, "center": 0, "right": -BESIDE_PX}[align]


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


def _labels(placements: Sequence[Placement], scales: _Scales, x: alt.X, title: str | None) -> list[alt.Chart]:
    """Return the text layers: one per alignment, not per label, since altair takes 30 ms per layer."""
    low, high = scales.percent
    layers = []
    for align, is_beside in itertools.product(ALIGNMENTS, (False, True)):
        placed = [
            (point, y) for point, alignment, y in placements if (alignment, _has_whisker(point)) == (align, is_beside)
        ]
        # y on the accuracy axis
        points = [{**point, "level": high - y * (high - low) / HEIGHT_PX} for point, y in placed]
        if points:
            labels = _base(points, x).encode(y=scales.y("level", title), text="backbone:N", color=_color())
            dx = _beside(points[0], align)
            layers.append(labels.mark_text(align=align, baseline="middle", fontSize=11, dx=dx))
    return layers


def _base(points: list[Point], x: alt.X) -> alt.Chart:
    kinds = {key: "N" if isinstance(value, str) else "Q" for point in points[:1] for key, value in point.items()}
    shown = [f"{key}:{kind}" for key, kind in kinds.items() if key not in ("selected", "level")]
    return alt.Chart(alt.Data(values=points)).encode(x, tooltip=shown)


def _color() -> Any:
    return alt.condition("datum.selected", alt.value(SELECTED_COLOR), alt.value(DEFAULT_COLOR))

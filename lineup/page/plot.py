"""The plot: published accuracy against the milliseconds measured on this machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from lineup.standings import pareto_front

Row = Mapping[str, Any]

HEIGHT_PX = 320
MARKED, PLAIN = "#8b5cf6", "#94a3b8"
GREY = "#7c879a"  # to be read on light and on dark
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
    known = [each for each in ran if each["accuracy"] is not None]
    layers = (_published(known) if known else []) + _unpublished([each for each in ran if each not in known])
    quiet = {"embedOptions": {"actions": False}}  # its menu leads to a site elsewhere
    drawn = alt.layer(*layers).properties(width="container", height=HEIGHT_PX, usermeta=quiet, background="transparent")
    return drawn.configure(**STYLE) if ran else None


def _published(points: list[dict[str, Any]]) -> list[alt.Chart]:
    y = alt.Y("accuracy:Q", title="published ImageNet top-1, %", scale=alt.Scale(zero=False, nice=True))
    size = alt.Size("parameters:Q", title="million parameters", scale=alt.Scale(range=[60, 700]))
    front = [points[index] for index in pareto_front([(each["ms"], each["accuracy"]) for each in points])]
    line, dots = _of(front).encode(y=y), _of(points).encode(y=y)
    return [
        line.mark_line(color=MARKED, strokeDash=[4, 3], opacity=0.6),
        dots.mark_circle(opacity=0.9).encode(size=size, color=_colour()),
        dots.mark_text(dy=-14, fontSize=11).encode(text="backbone:N", color=_colour()),
    ]


def _unpublished(points: list[dict[str, Any]]) -> list[alt.Chart]:
    ticks, names = _of(points).encode(y=alt.value(HEIGHT_PX - 8)), _of(points).encode(y=alt.value(HEIGHT_PX - 16))
    return [
        ticks.mark_tick(thickness=2, size=14).encode(color=_colour()),
        names.mark_text(align="left", angle=315, dx=8).encode(text="backbone:N", color=_colour()),
    ]


def _of(points: list[dict[str, Any]]) -> alt.Chart:
    x = alt.X("ms:Q", title="milliseconds per forward pass, here", scale=alt.Scale(type="log", nice=True))
    told = {"backbone": "N", "ms": "Q", "accuracy": "Q", "parameters": "Q"}
    return alt.Chart(alt.Data(values=points)).encode(x, tooltip=[f"{key}:{kind}" for key, kind in told.items()])


def _colour() -> Any:
    return alt.condition("datum.selected", alt.value(MARKED), alt.value(PLAIN))

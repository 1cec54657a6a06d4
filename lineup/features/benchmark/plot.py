"""The plot of published accuracy against the latency measured on this machine."""

from collections.abc import Sequence
from typing import Any

from lineup.analysis.comparison import ComparisonRow
from lineup.page.plot import latency_plot


def chart(rows: Sequence[ComparisonRow], selected: Sequence[str]) -> Any:
    """Return a chart with a dot per backbone that has run: sized by parameters, the selected ones highlighted.

    A backbone without a published accuracy is a tick. Returns None if none has run.
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
    return latency_plot(points, "published ImageNet top-1, %", "parameters", "million parameters")

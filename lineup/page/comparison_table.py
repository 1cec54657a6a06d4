"""The comparison table: sortable in the browser, downloadable as CSV and JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from lineup.analysis.comparison import ComparisonRow
from lineup.formatting import count, csv_text, size
from lineup.page.templates import render
from lineup.registry import published

# field of ComparisonRow → heading of the column, and the formatter of its values
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "backbone": ("Backbone", str),
    "label": ("Top class", str),
    "probability": ("Probability", "{:.1%}".format),
    "last_ms": ("Last ms", "{:.1f}".format),
    "median_ms": ("Median ms", "{:.1f}".format),
    "runs": ("Runs", "{:d}".format),
    "parameters": ("Parameters", count),
    "input_size": ("Input px", str),
    **{key: (heading, "{:g}".format) for key, heading in published.FIGURES.items()},
    "license": ("Licence", str),
    "download_bytes": ("Download", size),
}


def table(rows: Sequence[ComparisonRow]) -> str:
    """Render a row per backbone; unknown and unpublished values are empty cells."""
    notes: dict[str, list[str]] = {}  # each is shown once, with the backbones that it applies to
    for row in rows:
        if row.figures_note:
            notes.setdefault(row.figures_note, []).append(row.backbone)
    return render(
        "table.html",
        headings=[heading for heading, _ in COLUMNS.values()],
        rows=[[_cell(getattr(row, key), text) for key, (_, text) in COLUMNS.items()] for row in rows],
        source=published.SOURCE,
        csv=csv_text([row.to_json() for row in rows]),
        json=json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False),
        notes=notes,
    )


def _cell(value: Any, text: Callable[[Any], str]) -> tuple[Any, str]:
    """Return the value that a cell is sorted by, and its text."""
    return ("", "") if value is None else (value, text(value))

"""The table of a comparison: sortable in the browser, and to be taken away as CSV or JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from lineup.analysis.comparison import ComparisonRow
from lineup.formatting import count, size
from lineup.registry import published

# What the page shows of a row: its key, the column's heading, and how a value is written.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "backbone": ("Backbone", str),
    "label": ("Says", str),
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
    """Render a row for each backbone; what is not known or not published is an empty cell."""
    heads = "".join(f'<th scope="col"><button>{escape(heading)}</button></th>' for heading, _ in COLUMNS.values())
    body = "".join(f"<tr>{''.join(_cell(getattr(row, key), key) for key in COLUMNS)}</tr>" for row in rows)
    return (
        f'<div class="lu-figures"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="lu-detail">{escape(published.SOURCE)}, and for its own weights by torchvision. '
        "Times are forward passes on this machine. "
        f"{_download('comparison.csv', 'text/csv', as_csv(rows))} · "
        f"{_download('comparison.json', 'application/json', _as_json(rows))}</p>"
        f"{_notes(rows)}"
    )


def _notes(rows: Sequence[ComparisonRow]) -> str:
    """Render each remark on published figures once, after the backbones that it is about."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.facts_note:
            names.setdefault(row.facts_note, []).append(row.backbone)
    notes = (f"{', '.join(about)}: {note}." for note, about in names.items())
    return "".join(f'<p class="lu-detail">{escape(note)}</p>' for note in notes)


def _as_json(rows: Sequence[ComparisonRow]) -> str:
    return json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[ComparisonRow]) -> str:
    """Write rows as CSV, with a line of keys first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].to_json()))
    writer.writeheader()
    writer.writerows(row.to_json() for row in rows)
    return text.getvalue()


def _cell(value: Any, key: str) -> str:
    number = isinstance(value, int | float)
    text = "" if value is None else escape(COLUMNS[key][1](value))
    head = key == "backbone"
    tag = 'th scope="row"' if head else f'td class="{"lu-number" if number else ""}"'
    return f'<{tag} data-value="{escape("" if value is None else str(value))}">{text}</{"th" if head else "td"}>'


def _download(name: str, kind: str, text: str) -> str:
    # in the page itself: no file of one visitor lies where another could ask for it
    return f'<a download="{name}" href="data:{kind};charset=utf-8,{quote(text)}">{name}</a>'

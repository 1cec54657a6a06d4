"""The comparison table: sortable in the browser, downloadable as CSV and JSON."""

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
    heads = "".join(f'<th scope="col"><button>{escape(heading)}</button></th>' for heading, _ in COLUMNS.values())
    body = "".join(f"<tr>{''.join(_cell(getattr(row, key), key) for key in COLUMNS)}</tr>" for row in rows)
    return (
        f'<div class="lu-table"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="lu-detail">{escape(published.SOURCE)}, and for its own weights by torchvision. '
        "Times are forward passes on this machine. "
        f"{_download('comparison.csv', 'text/csv', as_csv(rows))} · "
        f"{_download('comparison.json', 'application/json', _as_json(rows))}</p>"
        f"{_notes(rows)}"
    )


def _notes(rows: Sequence[ComparisonRow]) -> str:
    """Render each note on published figures once, with the backbones that it applies to."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.figures_note:
            names.setdefault(row.figures_note, []).append(row.backbone)
    notes = (f"{', '.join(backbones)}: {note}." for note, backbones in names.items())
    return "".join(f'<p class="lu-detail">{escape(note)}</p>' for note in notes)


def _as_json(rows: Sequence[ComparisonRow]) -> str:
    return json.dumps([row.to_json() for row in rows], indent=2, ensure_ascii=False)


def as_csv(rows: Sequence[ComparisonRow]) -> str:
    """Return rows as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].to_json()))
    writer.writeheader()
    writer.writerows(row.to_json() for row in rows)
    return text.getvalue()


def _cell(value: Any, key: str) -> str:
    is_number = isinstance(value, int | float)
    text = "" if value is None else escape(COLUMNS[key][1](value))
    is_header = key == "backbone"
    tag = 'th scope="row"' if is_header else f'td class="{"lu-number" if is_number else ""}"'
    return f'<{tag} data-value="{escape("" if value is None else str(value))}">{text}</{"th" if is_header else "td"}>'


def _download(name: str, kind: str, text: str) -> str:
    # a data: URI: a file on the server could be requested by other users
    return f'<a download="{name}" href="data:{kind};charset=utf-8,{quote(text)}">{name}</a>'

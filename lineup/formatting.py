"""Human-readable numbers, text tables, and CSV for spreadsheets."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


def count(number: int) -> str:
    """Format a number of parameters: 11.7 M."""
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"


def size(number: int) -> str:
    """Format a number of bytes, in decimal units: 46.8 MB."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def short_duration(seconds: float) -> str:
    """Format a time for reading: 40 s, 3 min, 2 h 5 min."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def enumeration(names: Sequence[str]) -> str:
    """Join names as in a sentence: ``a, b and c``; empty if there are none."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def duration(seconds: float) -> str:
    """Format a time in words: 4 hours and 10 minutes."""
    hours, minutes = divmod(round(seconds / 60), 60)
    parts = [(hours, "hour"), (minutes, "minute")]
    return enumeration([f"{number} {unit}{'s' * (number != 1)}" for number, unit in parts if number]) or "0 minutes"


def aligned(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    """Pad cells to columns of equal width; `alignment` has one letter per column, l (left) or r (right)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = {"l": str.ljust, "r": str.rjust}
    return [
        "  ".join(pad[letter](cell, width) for letter, cell, width in zip(alignment, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def or_dash(value: float | None, template: str) -> str:
    return template.format(value) if value else "-"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV for spreadsheets: a header line, CRLF, and a byte order mark, by which Excel knows UTF-8.

    Text that a spreadsheet would run as a formula is preceded by an apostrophe; numbers stay as they are. Encode the
    text as UTF-8, and write it without translating its line ends.

    Args:
        rows: the cells by column, the same columns in each row; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_harmless(column) for column in (rows[0] if rows else ())])
    writer.writerows([_harmless(cell) for cell in row.values()] for row in rows)
    return "\ufeff" + text.getvalue()


def _harmless(cell: Any) -> Any:
    """Precede text that begins as a formula does by an apostrophe, as OWASP recommends against CSV injection.

    White space and invisible characters before it do not count, as some spreadsheets remove them, and full-width
    characters count as their ASCII forms.
    """
    if cell is None or isinstance(cell, int | float):
        return cell
    text = str(cell)
    first = next((char for char in text if unicodedata.category(char)[0] not in "CZ"), "")
    begins = unicodedata.normalize("NFKC", first) in ("=", "+", "-", "@", "\u2212") or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if begins and not _NUMBER.fullmatch(text) else text

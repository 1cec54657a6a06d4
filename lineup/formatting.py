"""Human-readable numbers and text tables."""

from collections.abc import Sequence


def count(number: int) -> str:
    """Format a number of parameters: 11.7 M."""
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"


def size(number: int) -> str:
    """Format a number of bytes, in decimal units: 46.8 MB."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def enumeration(names: Sequence[str]) -> str:
    """Join names as in a sentence: ``a, b and c``; empty if there are none."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


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

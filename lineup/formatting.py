"""Writes numbers and tables for people."""

from collections.abc import Sequence


def count(number: int) -> str:
    """Write a number of parameters: 11.7 M."""
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"


def size(number: int) -> str:
    """Write a number of bytes: 46.8 MB."""
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Put cells under one another, each column to its side: l or r."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = {"l": str.ljust, "r": str.rjust}
    return [
        "  ".join(align[side](cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def or_dash(value: float | None, form: str) -> str:
    return form.format(value) if value else "-"

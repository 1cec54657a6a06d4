"""Reads the lines of a label file: columns, numbers or WordNet ids beside the names, or one name per line."""

import csv
import re
from collections.abc import Sequence

from lineup.config.class_indices import NAMES_ALONE, are_indices, is_index, resemble_indices
from lineup.errors import BackboneError
from lineup.registry.label_tables import Classes, from_columns, is_name_title

# a number or a WordNet id, a separator, and a name · a name, a separator, and a number
_FIRST = re.compile(
    r"(?i:(?:class|label|id|index)[ _#]*)?[\[(]?([0-9]{1,6}|n[0-9]{8})[\])]?"
    r"(\s*(?:[-=]>|[:,;=|])\s*|\t\s*|[.)]?\s+(?:[-–]\s+)?)(\S.*)"
)
_LAST = re.compile(r"(\S.*?)(\s*(?:[-=]>|[:,;=|])\s*|\t\s*|\s+)([0-9]{1,6})")
_QUOTED = re.compile(r"[\"'“‘`](.*)[\"'”’`]")
_SEVERAL = 0.9  # of the names differ, if numbers are beside them; "1 star", "2 stars" and so on are names


def from_lines(text: str, is_csv: bool) -> Classes:
    """Return the classes of lines.

    Args:
        text: comments, a heading and bullets are removed.
        is_csv: whether commas and the like separate columns, even if no column is known to be one of indices.

    Raises:
        BackboneError: a line is empty, or the names or their order are in doubt.
    """
    numbered = [(number, line.strip()) for number, line in enumerate(text.rstrip().split("\n"), start=1)]
    numbered = [(number, line) for number, line in numbered if not line.startswith(("#", "//"))]
    heading = numbered[0][1] if len(numbered) > 1 and _is_heading(numbered[0][1]) else ""
    numbered = numbered[bool(heading) :]
    lines = _unmarked([line for _, line in numbered if line])
    tables = [_rows(lines, delimiter) for delimiter in ",;\t|"]
    for rows in (*(rows for rows in tables if rows and len(rows[0]) > 1), _numbered(lines)):
        if rows and (classes := from_columns(rows, strict=False)):
            return classes if is_csv else classes._replace(names=_unquoted(classes.names))
    if is_csv and lines:
        return _certain_table(next((rows for rows in tables if rows and len(rows[0]) > 1), tables[0]))
    for number, line in numbered:
        if not line:
            raise BackboneError("", "a name in every line", f"line {number} is empty", "each line is one class")
    _refuse_some_numbers(lines)
    if len(lines) == 1 and "," in lines[0] and not _QUOTED.fullmatch(lines[0]):
        got = f"got {lines[0][:60]!r} in one line"
        raise BackboneError("", "one name per line", got, "put a name with commas in quotes")
    return Classes(_unquoted(lines), origin=f"without its heading {heading!r}" if heading[-1:] not in ("", ":") else "")


def _is_heading(line: str) -> bool:
    return line.endswith(":") or is_name_title(line)


def _unmarked(lines: list[str]) -> list[str]:
    """Remove bullets, and the commas after the items of a list."""
    if all(re.match(r"[-*•]\s", line) for line in lines):
        lines = [line[1:].strip() for line in lines]
    if len(lines) > 1 and all(line.endswith((",", ";")) for line in lines[:-1]):
        lines = [line.rstrip(",; ") for line in lines]
    return lines


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Return the cells of each line; empty if their number differs between the lines."""
    try:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = [[cell.strip() for cell in row] for row in reader]
    except csv.Error:
        return []
    return rows if len({len(row) for row in rows}) == 1 and len(rows) == len(lines) else []


def _certain_table(rows: list[list[str]]) -> Classes:
    """Return the classes of a CSV file without indices.

    Raises:
        BackboneError: its lines have different numbers of columns, or it is unknown which one has the names.
    """
    if not rows:
        got = "the number of columns differs between the lines"
        raise BackboneError("", "the same columns in each line", got, "put names with commas in quotes")
    if len(rows) == 1 and len(rows[0]) > 1:
        raise BackboneError("", "one class per line", f"got one line with {len(rows[0])} columns", NAMES_ALONE)
    classes = from_columns(rows)
    assert classes  # strict
    return classes


def _numbered(lines: Sequence[str]) -> list[list[str]]:
    """Split the number, the WordNet id, or both, off each line; empty if they are part of the names.

    Raises:
        BackboneError: that is in doubt, and the order depends on it.
    """
    columns: list[list[str]] = []
    rest = lines
    for _ in range(2):
        found = [_FIRST.fullmatch(line) for line in rest]
        if not rest or not all(found):
            break
        separators = {match[2] for match in found if match and is_index(match[1])}
        column, names = ([match[group] for match in found if match] for group in (1, 3))
        if all(map(is_index, column)) and _belong_to_names(column, separators, rest, names):
            break
        columns.append(column)
        rest = names
    if columns:
        return [list(row) for row in zip(*columns, rest, strict=True)]
    found = [_LAST.fullmatch(line) for line in lines]
    if not lines or not all(found):
        return []
    names, spaces, column = ([match[group] for match in found if match] for group in (1, 2, 3))
    if _belong_to_names(column, set(spaces), lines, names, at_end=True):
        return []
    return [list(row) for row in zip(names, column, strict=True)]


def _belong_to_names(
    numbers: Sequence[str], separators: set[str], lines: Sequence[str], names: Sequence[str], at_end: bool = False
) -> bool:
    """Return whether numbers that only spaces separate from the names are part of them, as in ``stage 2``.

    Raises:
        BackboneError: that is in doubt, and the order depends on it.
    """
    if any(re.search(r"[:,;=|>\t]", separator) for separator in separators):
        return False
    is_ascending = list(map(int, numbers)) == sorted(map(int, numbers))
    are_different = len(set(names)) >= _SEVERAL * len(names)
    if are_different and are_indices(numbers):
        # folders such as "0 cat", "1 dog", "10 fish" are classes in this order, which is not that of the numbers
        doubtful = not is_ascending and not at_end and list(lines) == sorted(lines)
        result = False
    elif are_different and resemble_indices(numbers):
        doubtful = at_end and not is_ascending
        result = at_end
    else:
        doubtful = are_indices(numbers) and not is_ascending
        result = True
    if doubtful:
        got = f"the number in {lines[0][:60]!r} may be an index, or part of the name"
        raise BackboneError("", "lines with a certain order", got, "write `index,name`, or names in quotes")
    return result


def _refuse_some_numbers(lines: Sequence[str]) -> None:
    found = [match for line in lines if (match := _FIRST.fullmatch(line)) and is_index(match[1])]
    if not len(lines) // 2 < len(found) < len(lines):
        return
    numbers, different = [match[1] for match in found], len({match[3] for match in found})
    if different >= _SEVERAL * len(found) and resemble_indices(numbers):
        other = next(line for line in lines if not _FIRST.fullmatch(line))
        got = f"{len(found)} of {len(lines)} lines begin with a number, and {other[:60]!r} does not"
        raise BackboneError("", "a number in every line, or in none", got, NAMES_ALONE)


def _unquoted(names: Sequence[str]) -> list[str]:
    """Remove the quotes around all names, or around those that CSV needs quotes for."""
    quoted = [_QUOTED.fullmatch(name) for name in names]
    if all(quoted):
        return [match[1].replace('""', '"') for match in quoted if match]
    return [re.sub(r'^"([^"]*)"$', r"\1", name) for name in names]

"""Finds the classes and their order in parsed data: lists, mappings, and tables with columns of indices and names.

A scalar is its text, a list is a list, and a mapping is `Pairs`: a dict would drop the first of two equal keys.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lineup.config.class_indices import are_indices, is_index, names_of, ordered, resemble_indices, two_numberings
from lineup.errors import BackboneError


class Pairs(list[tuple[str, Any]]):
    """The keys and values of a mapping, duplicates included."""


class Classes(NamedTuple):
    """Names of classes in the order of the outputs.

    Attributes:
        names: the names; a WordNet id where there is no other name.
        ids: the column of WordNet ids, if the data has one.
        origin: the part of the file that decides the order; empty for a plain list.
    """

    names: list[str]
    ids: Sequence[str] = ()
    origin: str = ""


class _Column(NamedTuple):
    title: str  # empty if there is no header
    cells: list[str]
    position: int

    @property
    def is_numeric(self) -> bool:
        return all(map(is_index, self.cells))

    @property
    def called(self) -> str:
        return repr(self.title) if self.title else str(self.position)


REMEDY = "keep one column with the indices, and one with the names"
# titles of columns and keys, in lower case and without underscores
_INDEX_TITLE = re.compile(r"(class|label|category)?(id|idx|index|no|nr|number)s?|i|target")
_NAME_TITLE = re.compile(r"name|label|class|category")
_OTHER_TITLE = re.compile(r"wnid|wordnetid|synset|description|definition|supercategory|color|count")
_MAY_BE_INDEX = re.compile(
    rf"{_INDEX_TITLE.pattern}|{_NAME_TITLE.pattern}|unnamed.*|.*(id|idx|index|code)|key|value|y|cls|output.*|n|k"
)
_IS_NO_INDEX = re.compile(rf".*name|{_OTHER_TITLE.pattern}|price|year|size|support|frequency|total")
# The keys of mappings and lists of classes: `names` of ultralytics, `id2label` of transformers, `class_to_idx` of
# torchvision, `label_names` of timm, and the like
_TO_NAME = re.compile(r"(id|idx|index|int|i)(2|to)(label|class|name|str|s)s?")
_TO_INDEX = re.compile(r"(label|class|name|str|s)s?(2|to)(id|idx|index|int|i)")
_LIST = re.compile(r"names|labels|classes|categories|vocab|(class|label|category)(names?|labels|map|list|dict)")


def word(text: str) -> str:
    """Normalise a key or a heading: ``Class_Names:`` → ``classnames``."""
    return re.sub(r"[\W_]", "", text).lower()


def is_container(key: str) -> bool:
    """Return whether a key is known to have the classes as its value."""
    return any(pattern.fullmatch(word(key)) for pattern in (_TO_NAME, _TO_INDEX, _LIST))


def is_name_title(text: str) -> bool:
    """Return whether text is the title of a column of names."""
    return bool(_NAME_TITLE.fullmatch(word(text))) or is_container(text)


def from_value(value: Any) -> Classes:
    """Return the classes of a list, of a mapping, or of a whole config that contains one of them.

    Raises:
        BackboneError: there are none, or their order is in doubt.
    """
    found = list(_containers(value)) if isinstance(value, Pairs) else []
    if not found:
        return _from_container(value)
    # a mapping to indices has only one of two equal names
    found = [(key, inner) for key, inner in found if not _TO_INDEX.fullmatch(word(key))] or found
    first, *others = [(key, _from_container(inner, _side_of_index(key))) for key, inner in found]
    for key, classes in others:
        if classes.names != first[1].names:
            raise BackboneError("", "one list of classes", f"{first[0]} and {key} differ", "remove one of them")
    return first[1]._replace(origin=f"by its {first[0]}")


def from_columns(rows: Sequence[Sequence[str]], header: Sequence[str] = (), strict: bool = True) -> Classes | None:
    """Return the classes of a table.

    Args:
        rows: of equal length; the first one may be a header.
        header: the titles of the columns, if they are known.
        strict: whether the rows are certain to be a table; otherwise they may be names that contain the separator.

    Returns:
        None if the rows are names, and `strict` is False.

    Raises:
        BackboneError: the order of the classes, or the column of their names, is in doubt.
    """
    if not header and _has_header(rows):
        header, *rows = rows
    columns = [_Column(header[at] if header else "", [row[at] for row in rows], at + 1) for at in range(len(rows[0]))]
    if len(columns) == 1:
        return Classes(columns[0].cells, origin=_by(columns[0]) if header else "")
    ids = next((column for column in columns if all(re.fullmatch("n[0-9]+", cell) for cell in column.cells)), None)
    others = [column for column in columns if column is not ids]
    numeric = [column for column in others if column.is_numeric and not _IS_NO_INDEX.fullmatch(word(column.title))]
    if not strict and not ids and not any(map(is_name_title, header)) and not any(map(_resembles_index, numeric)):
        return None
    if len(numeric) == len(others) == 2 and not _titled_index(numeric):
        first, second = (column.cells for column in numeric)
        return Classes(two_numberings((first, second), (second, first)), origin="by its numbers")
    index = _index_column(numeric)
    if unlike := [column for column in others if column.is_numeric and column not in numeric and not index]:
        got = f"the only numbers are in column {unlike[0].called}"
        raise BackboneError("", "a column with the class indices, or the names alone", got, REMEDY)
    remaining = [column for column in others if column is not index]
    names = _name_column(remaining, ids, is_table=bool(header or index or ids))
    if names is None:
        if strict:
            called = " or ".join(column.called for column in remaining)
            raise BackboneError("", "one column with the names", f"it could be column {called}", REMEDY)
        return None
    if index is None:
        return Classes(names.cells, ids.cells if ids else (), _by(names) if header else "")
    try:
        return Classes(ordered(index.cells, names.cells), ordered(index.cells, ids.cells) if ids else (), _by(index))
    except BackboneError as error:
        raise error.at(f"column {index.called}") from None


def _resembles_index(column: _Column) -> bool:
    return resemble_indices(column.cells)


def _titled_index(numeric: Sequence[_Column]) -> _Column | None:
    titled = [column for column in numeric if _INDEX_TITLE.fullmatch(word(column.title))]
    return titled[0] if len(titled) == 1 else None


def _index_column(numeric: Sequence[_Column]) -> _Column | None:
    """Return the column of indices, if there is a column of numbers.

    Raises:
        BackboneError: more than one column could be it, or the numbers are no indices.
    """
    if titled := _titled_index(numeric):
        return titled
    possible = [column for column in numeric if are_indices(column.cells)]
    if unclear := [column for column in possible if column.title and not _MAY_BE_INDEX.fullmatch(word(column.title))]:
        got = f"column {unclear[0].called} has such numbers, under a heading that says something else"
        raise BackboneError("", "a column of class indices, with a heading such as `index`", got, REMEDY)
    if any(column.cells != possible[0].cells for column in possible):
        called = " or ".join(column.called for column in possible)
        raise BackboneError("", "one column with the indices", f"it could be column {called}", REMEDY)
    if numeric and not possible:
        return numeric[0]  # `ordered` says why not
    return possible[0] if possible else None


def _name_column(candidates: Sequence[_Column], ids: _Column | None, is_table: bool) -> _Column | None:
    """Return the column of names, or None if that is in doubt."""
    if not candidates:
        return ids
    titled = [column for column in candidates if is_name_title(column.title)]
    text = [column for column in candidates if not column.is_numeric]
    unique = next((found for found in (titled, candidates, text) if len(found) == 1), [])
    return unique[0] if unique and is_table else None


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    if len(rows) < 2:
        return False
    first, *rest = rows
    over_numbers = any(
        not re.fullmatch("n?[0-9]+", cell) and all(re.fullmatch("n?[0-9]+", row[at]) for row in rest)
        for at, cell in enumerate(first)
    )
    others = (_INDEX_TITLE, _OTHER_TITLE)
    known = [is_name_title(cell) or any(title.fullmatch(word(cell)) for title in others) for cell in first]
    return over_numbers or (all(known) and any(map(is_name_title, first)))


def _by(column: _Column) -> str:
    return f"by its column {column.called}" if column.title else "by its numbers"


def _containers(pairs: Pairs) -> Iterator[tuple[str, Any]]:
    """Yield each key and value of a mapping, at any depth, that is known to have the classes."""
    for key, value in pairs:
        if isinstance(value, list) and is_container(key):
            yield key, value
            continue
        inside = [value] if isinstance(value, Pairs) else value if isinstance(value, list) else []
        for inner in inside:
            if isinstance(inner, Pairs):
                yield from _containers(inner)


def _side_of_index(key: str) -> str:
    return "key" if _TO_NAME.fullmatch(word(key)) else "value" if _TO_INDEX.fullmatch(word(key)) else ""


def _from_container(value: Any, index_is: str = "") -> Classes:
    """Return the classes of a list or a mapping."""
    if not isinstance(value, list) or not value:
        raise BackboneError("", "a list or a mapping of classes", "it is empty", "write one name per line")
    keys: list[list[str]] = [[] for _ in value]
    values: list[Any] = value
    if isinstance(value, Pairs):
        keys, values = [[key] for key, _ in value], [inner for _, inner in value]
    elif all(isinstance(inner, Pairs) and len(inner) == 1 for inner in value) and len({i[0][0] for i in value}) > 1:
        return _from_container(Pairs(pair for inner in value for pair in inner))  # a list of ``index: name``
    if all(isinstance(inner, str) for inner in values):
        names = names_of(zip((key for [key] in keys), values, strict=True), index_is) if keys[0] else values
        return Classes(names, origin="by its numbers" if keys[0] else "")
    header: list[str] = []
    if all(isinstance(inner, Pairs) for inner in values):
        records = [dict(inner) for inner in values]
        titles = [title for title in records[0] if all(isinstance(each.get(title), str) for each in records)]
        if titles and (keys[0] or any(map(is_name_title, titles))):
            header = [*([""] if keys[0] else []), *titles]
            values = [[each[title] for title in titles] for each in records]
    cells = [len(each) if _is_row(each) else 0 for each in values]
    if not cells[0] or len(set(cells)) > 1:
        odd = next((each for each in values if not isinstance(each, str)), "")
        got = f"got {str(dict(odd) if isinstance(odd, Pairs) else odd)[:60]!r} for one"
        raise BackboneError("", "a name, or the same columns with one of names, for each class", got, REMEDY)
    classes = from_columns([[*key, *inner] for key, inner in zip(keys, values, strict=True)], header)
    assert classes  # strict
    return classes


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs) and all(isinstance(cell, str) for cell in value)

"""Orders class names by their class indices, and refuses indices that leave the order in doubt."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from lineup.config.yaml_source import format_value
from lineup.errors import BackboneError

T = TypeVar("T")
NAMES_ALONE = "list the names alone, in the order of the outputs"
REMEDY = f"number the classes from 0, or {NAMES_ALONE}"


def is_index(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,6}", text))


def are_indices(numbers: Sequence[str]) -> bool:
    """Return whether each of 0 to n − 1 occurs once among n numbers."""
    return sorted(map(int, numbers)) == list(range(len(numbers)))


def resemble_indices(numbers: Sequence[str]) -> bool:
    """Return whether n numbers are probably meant as indices: most of 0 to n occur. Years and sizes do not."""
    count = len(numbers)
    return 2 * len({int(number) for number in numbers if int(number) <= count}) > count


def ordered(indices: Sequence[str], items: Sequence[T]) -> list[T]:
    """Return the items in the order of their indices.

    Raises:
        BackboneError: an index is missing or occurs twice, or the first one is 1.
    """
    by_index: dict[int, T] = {}
    for index, item in zip(map(int, indices), items, strict=True):
        if index in by_index:
            got = f"index {index} is that of {by_index[index]!r} and of {item!r}"
            raise BackboneError("", "each class index once", got, REMEDY)
        by_index[index] = item
    count = len(by_index)
    missing = [index for index in range(count) if index not in by_index]
    if not missing:
        return [by_index[index] for index in range(count)]
    got = f"there is none for {listed(missing)}, and the last one is {max(by_index)}"
    if missing == [0] and max(by_index) == count:
        got = f"they are numbered from 1 to {count}, which leaves open which output is the first"
    raise BackboneError("", f"the class indices 0 to {count - 1}, as there are {count} names", got, REMEDY)


def names_of(pairs: Iterable[tuple[str, str]], index_is: str = "") -> list[str]:
    """Return class names in order, from pairs of an index and a name, or of a name and an index.

    Args:
        pairs: the keys and values of a mapping.
        index_is: "key" or "value" if that is known; otherwise the numbers decide.

    Raises:
        BackboneError: neither side has the indices 0 to n − 1, or both have, in different orders.
    """
    keys, values = zip(*pairs, strict=True)
    sides = {"key": (keys, values), "value": (values, keys)}
    numeric = [side for side, (numbers, _) in sides.items() if all(map(is_index, numbers))]
    if index_is in numeric or len(numeric) == 1:
        return ordered(*sides[index_is if index_is in numeric else numeric[0]])
    if not numeric:
        mixed = [pair for pair in zip(keys, values, strict=True) if not any(map(is_index, pair))]
        key, value = mixed[0] if mixed else (keys[0], values[0])
        got = f"{key!r} has {value!r}"
        raise BackboneError("", "an index on the same side of each pair, and a name on the other", got, REMEDY)
    return two_numberings(sides["key"], sides["value"])


def two_numberings(*readings: tuple[Sequence[str], Sequence[str]]) -> list[str]:
    """Return class names that are numbers, if only one of the readings, or both alike, are possible.

    Args:
        readings: the indices, and the names.

    Raises:
        BackboneError: either column can be the index.
    """
    possible = [ordered(*reading) for reading in readings if are_indices(reading[0])]
    others = [numbers for numbers, _ in readings if not are_indices(numbers) and resemble_indices(numbers)]
    if not possible or others or any(names != possible[0] for names in possible):
        numbers, names = readings[0]
        got = f"both may be the index: {numbers[0]!r} has {names[0]!r}"
        raise BackboneError("", "an index and a name for each class", got, NAMES_ALONE)
    return possible[0]


def from_config(value: Mapping[object, object]) -> list[str]:
    """Return the class names of a mapping in a config: from index to name, or from name to index.

    Raises:
        ValueError: a value is neither text nor a whole number, or the order of the classes is in doubt.
    """
    for key, item in value.items():
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise ValueError(f"expected a name or an index for {key!r}; got {format_value(item)}; put a name in quotes")
    try:
        return names_of((str(key), str(item)) for key, item in value.items()) if value else []
    except BackboneError as error:
        raise ValueError(str(error)) from None


def listed(items: Sequence[object], most: int = 3) -> str:
    """Format a few of the items: ``2, 5, 6 …``."""
    return ", ".join(map(str, items[:most])) + (" …" if len(items) > most else "")

"""Validates the arguments of a request; the page and the API may be sent anything."""

from collections import Counter
from collections.abc import Sequence

from lineup.errors import BackboneError, LineupError

MAX_TOP_K = 100_000  # more than any label set has classes


def top_k(value: object, default: int) -> int:
    """Return how many classes to list.

    Raises:
        LineupError: when the value is neither None nor a whole number from 1 to MAX_TOP_K.
    """
    if value is None:
        return default
    if isinstance(value, float) and value.is_integer():  # JSON from JavaScript
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TOP_K:
        got = f"got {repr(value)[:100]}"
        raise LineupError("top_k", f"a whole number from 1 to {MAX_TOP_K}", got, "send another, or none")
    return value


def backbone(value: object) -> str:
    """Return a name that may be one of an entry.

    Raises:
        BackboneError: when the value is not a string.
    """
    if not isinstance(value, str):
        raise BackboneError("backbone", "one name of the line-up", f"got {repr(value)[:100]}", "send a name")
    return value


def backbones(values: object, names: Sequence[str], max_compared: int) -> list[str]:
    """Return the names of a comparison; whether each is one of `names` is not checked.

    Raises:
        BackboneError: when the value is not a list of distinct strings, or has more than `max_compared`.
    """
    if not isinstance(values, list | tuple) or not values:
        got = f"got {repr(values)[:100]}"
        raise BackboneError("backbones", "a list of one name or more", got, "/backbones lists them")
    limit = f"at most {min(max_compared, len(names))} at once"
    if len(values) > len(names):  # checked first: a list may have a million
        raise BackboneError("backbones", limit, f"got {len(values)}", "leave some out")
    chosen = [backbone(value) for value in values]
    if repeated := [name for name, count in Counter(chosen).items() if count > 1]:
        raise BackboneError("backbones", "each name once", f"got {repeated[0]!r} again", "leave one out")
    if len(chosen) > max_compared:
        raise BackboneError("backbones", limit, f"got {len(chosen)}", "leave some out")
    return chosen

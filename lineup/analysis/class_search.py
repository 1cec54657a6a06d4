"""Finds classes by what a user types: a part of their names, or of their synonyms."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lineup.registry.labels import LabelSet

MAX_FOUND = 6
MAX_TEXT = 200  # characters of a query that count


@dataclass(frozen=True)
class FoundClass:
    """A class that fits a query: its label, and other names that it has."""

    label: str
    synonyms: str


class ClassSearch:
    """The classes of one set of labels or more, each label once.

    Args:
        label_sets: those whose classes are only numbered are left out.
    """

    def __init__(self, label_sets: Iterable[LabelSet]) -> None:
        self._names: dict[FoundClass, tuple[str, str]] = {}  # the label, and all names, folded
        self._labels: dict[str, str] = {}  # by the label without case
        known = set[str]()
        for labels in label_sets:
            for name, label in zip(labels.display_names, labels.labels, strict=True) if labels.named else ():
                if name not in known:
                    known.add(name)
                    names = label.description.partition(": ")[0].split(", ") if label.id else []
                    found = FoundClass(name, ", ".join(other for other in names if other and other != label.name))
                    self._names[found] = _folded(name), _folded(f"{name}, {found.synonyms}")
                    self._labels.setdefault(_without_case(name), name)
        self._labels |= {name: name for name in known}  # two labels may differ in case alone

    def named(self, text: str) -> str:
        """Return the label that a text is, whatever its case; empty if it is none."""
        return self._labels.get(text) or self._labels.get(_without_case(text), "")

    def find(self, text: str, limit: int = MAX_FOUND) -> Sequence[FoundClass]:
        """Return the classes that have a text in one of their names, the best first."""
        query = _folded(text[:MAX_TEXT])
        ranked = ((_rank(query, *names), found) for found, names in self._names.items() if query in names[1])
        return [found for _, found in sorted(ranked, key=lambda each: each[0])[:limit]] if query else []


def _rank(query: str, name: str, names: str) -> tuple[int, int]:
    """Return how well a class fits, the lowest first: by where the text is in its names, then by length."""
    places = [name.startswith(query), f" {query}" in name, query in name, f" {query}" in names, True]
    return places.index(True), len(name)


def _without_case(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _folded(text: str) -> str:
    """Return a text without case, accents and repeated spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(char for char in plain if not unicodedata.combining(char)).split())

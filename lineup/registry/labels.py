"""The names of a backbone's classes: where they come from, and how they are told apart."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lineup.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Label:
    """One class: its WordNet id where one is known, a short name, and a longer description."""

    id: str | None
    name: str
    description: str = ""


@dataclass(frozen=True)
class LabelSet:
    """The labels of a backbone in the order of its outputs; a class is its index in here.

    `origin` says where the names come from, in words for the page. `named` is False when there
    are none and the classes are only numbered.
    """

    labels: tuple[Label, ...]
    origin: str
    named: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def display_names(self) -> tuple[str, ...]:
        """Return the short names, made unique: ImageNet-1k has two cranes."""
        names = [label.name for label in self.labels]
        for by_id in (True, False, False):
            count = Counter(names)
            for index, (name, label) in enumerate(zip(names, self.labels, strict=True)):
                if count[name] > 1:
                    names[index] = f"{name} ({(by_id and label.id) or f'class {index}'})"
        return tuple(names)


@dataclass(frozen=True)
class WordNet:
    """What WordNet says of each synset: ``n01440764`` → ``tench, Tinca tinca`` and a definition."""

    lemmas: Mapping[str, str]
    definitions: Mapping[str, str]

    def label(self, synset: str) -> Label:
        """Return a synset's label; its short name is the first lemma, as torchvision has it."""
        lemmas = self.lemmas[synset]
        definition = self.definitions.get(synset, "")
        return Label(synset, lemmas.split(",")[0].strip(), f"{lemmas}: {definition}" if definition else lemmas)


def from_names(names: Iterable[str], origin: str) -> LabelSet:
    """Make labels of plain names."""
    return LabelSet(tuple(Label(None, name.strip()) for name in names), origin)


def from_synsets(synsets: Iterable[str], wordnet: WordNet, origin: str) -> LabelSet:
    """Make labels of WordNet ids."""
    return LabelSet(tuple(wordnet.label(synset) for synset in synsets), origin)


def from_hub(names: object, descriptions: object, wordnet: WordNet, origin: str) -> LabelSet:
    """Make labels of a timm config.json's `label_names` and `label_descriptions`.

    `names` is a list, or a mapping from class index to name; `descriptions` is a mapping from name
    to description, or None. WordNet ids are resolved to words.

    Raises:
        BackboneError: when they are of another shape, or an index is missing.
    """
    if isinstance(names, Mapping):
        try:
            by_index = {int(index): name for index, name in names.items()}
            names = [by_index[index] for index in range(len(by_index))]
        except (ValueError, KeyError):
            raise BackboneError(
                origin, "one name for each class index from 0", "got other indices", "mend config.json"
            ) from None
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise BackboneError(origin, "a list of texts", f"got {str(names)[:60]}", "mend config.json")
    told = descriptions if isinstance(descriptions, Mapping) else {}
    return LabelSet(
        tuple(
            wordnet.label(name) if name in wordnet.lemmas else Label(None, name.strip(), str(told.get(name, "")))
            for name in names
        ),
        origin,
    )


def numbered(count: int) -> LabelSet:
    """Stand in for names that nobody knows: ``class 0``, ``class 1`` and so on."""
    return LabelSet(tuple(Label(None, f"class {index}") for index in range(count)), "unnamed classes", named=False)


def read_file(path: Path) -> LabelSet:
    """Read a label file: UTF-8, one name per line, in the order of the outputs.

    Raises:
        BackboneError: when it is missing, is not UTF-8, or has an empty line between names.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except FileNotFoundError:
        raise BackboneError("labels", "a file with a name per line", f"{path} is not there", "check the path") from None
    except OSError as error:
        raise BackboneError("labels", "a file of names", f"{path}: {error.strerror}", "check the path") from None
    except UnicodeDecodeError as error:
        raise BackboneError("labels", "a UTF-8 text file", f"{path}: {error}", "save it again as UTF-8") from None
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if empty:
        raise BackboneError(
            "labels", "a name in every line", f"line {empty[0]} of {path} is empty", "each line is one class"
        )
    return from_names(lines, path.name)


def check_count(labels: LabelSet, num_classes: int) -> LabelSet:
    """Return the labels if there is one for each of the backbone's outputs.

    Raises:
        BackboneError: when there is not: a shifted name would be a wrong answer.
    """
    if len(labels) != num_classes:
        raise BackboneError(
            "labels",
            f"{num_classes} names, one for each output of the backbone",
            f"{labels.origin} has {len(labels)}",
            "add or remove names, or use the backbone they belong to",
        )
    return labels

"""The labels of a backbone's classes: their sources, and unique display names."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lineup.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a class: its WordNet id if known, a short name, and a longer description."""

    id: str | None
    name: str
    description: str = ""


@dataclass(frozen=True)
class LabelSet:
    """The labels of a backbone.

    Attributes:
        labels: in the order of the outputs: a class is its index.
        origin: the source of the names, as shown on the page.
        named: False if the classes are only numbered.
    """

    labels: tuple[Label, ...]
    origin: str
    named: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def display_names(self) -> tuple[str, ...]:
        """The short names, made unique by WordNet id or class index: ImageNet-1k has two cranes."""
        names = [label.name for label in self.labels]
        for by_id in (True, False, False):
            count = Counter(names)
            for index, (name, label) in enumerate(zip(names, self.labels, strict=True)):
                if count[name] > 1:
                    names[index] = f"{name} ({(by_id and label.id) or f'class {index}'})"
        return tuple(names)


@dataclass(frozen=True)
class WordNet:
    """The lemmas and definitions of WordNet by synset: ``n01440764`` → ``tench, Tinca tinca`` and a definition."""

    lemmas: Mapping[str, str]
    definitions: Mapping[str, str]

    def label(self, synset: str) -> Label:
        """Return the label of a synset; its short name is the first lemma, as in torchvision."""
        lemmas = self.lemmas[synset]
        definition = self.definitions.get(synset, "")
        return Label(synset, lemmas.split(",")[0].strip(), f"{lemmas}: {definition}" if definition else lemmas)


def from_names(names: Iterable[str], origin: str) -> LabelSet:
    """Create labels from plain names."""
    return LabelSet(tuple(Label(None, name.strip()) for name in names), origin)


def from_synsets(synsets: Iterable[str], wordnet: WordNet, origin: str) -> LabelSet:
    """Create labels from WordNet ids."""
    return LabelSet(tuple(wordnet.label(synset) for synset in synsets), origin)


def from_hub(names: object, descriptions: object, wordnet: WordNet, origin: str) -> LabelSet:
    """Create labels from `label_names` and `label_descriptions` of a config.json of timm.

    Args:
        names: a list, or a mapping from class index to name. WordNet ids are resolved to lemmas.
        descriptions: a mapping from name to description; any other value is ignored.
        wordnet: resolves WordNet ids.
        origin: the source of the names, as shown on the page.

    Raises:
        BackboneError: `names` has another type, or an index is missing.
    """
    if isinstance(names, Mapping):
        try:
            by_index = {int(index): name for index, name in names.items()}
            names = [by_index[index] for index in range(len(by_index))]
        except (ValueError, KeyError):
            raise BackboneError(
                origin, "one name for each class index from 0", "got other indices", "fix config.json"
            ) from None
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise BackboneError(origin, "a list of strings", f"got {str(names)[:60]}", "fix config.json")
    described = descriptions if isinstance(descriptions, Mapping) else {}
    return LabelSet(
        tuple(
            wordnet.label(name) if name in wordnet.lemmas else Label(None, name.strip(), str(described.get(name, "")))
            for name in names
        ),
        origin,
    )


def numbered(count: int) -> LabelSet:
    """Create placeholder labels for unknown names: ``class 0``, ``class 1`` and so on."""
    return LabelSet(tuple(Label(None, f"class {index}") for index in range(count)), "unnamed classes", named=False)


def read_file(path: Path) -> LabelSet:
    """Read a label file: UTF-8, one name per line, in the order of the outputs.

    Raises:
        BackboneError: the file is missing, is not UTF-8, or has an empty line between names.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except FileNotFoundError:
        raise BackboneError(
            "labels", "a file with a name per line", f"{path} does not exist", "check the path"
        ) from None
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
    """Return the labels if their number is that of the outputs.

    Raises:
        BackboneError: the numbers differ: names shifted by one would be wrong predictions.
    """
    if len(labels) != num_classes:
        raise BackboneError(
            "labels",
            f"{num_classes} names, one for each output of the backbone",
            f"{labels.origin} has {len(labels)}",
            "add or remove names, or use the backbone they belong to",
        )
    return labels

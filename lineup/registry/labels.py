"""The labels of a backbone's classes: their sources, and unique display names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lineup.config.class_indices import is_index, listed
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

    def label(self, synset: str, name: str = "") -> Label:
        """Return the label of a synset; its short name is the first lemma, as in torchvision, unless it has another."""
        lemmas = self.lemmas[synset]
        definition = self.definitions.get(synset, "")
        lemma = lemmas.split(",")[0].strip()
        short = lemma if not name or comparable(name) == comparable(lemma) else name
        return Label(synset, short, f"{lemmas}: {definition}" if definition else lemmas)

    def resolve(self, labels: LabelSet) -> LabelSet:
        """Return labels with the WordNet ids among their ids and names resolved."""
        return replace(labels, labels=tuple(map(self._resolved, labels.labels)))

    def _resolved(self, label: Label) -> Label:
        if label.id and label.id in self.lemmas:
            return self.label(label.id, "" if label.id == label.name else label.name)
        return self.label(label.name) if label.name in self.lemmas else replace(label, id=None)


def comparable(name: str) -> str:
    """Return the first of a class's names, as others write it: ``Great_white_shark, white shark`` → with spaces."""
    return name.split(",")[0].replace("_", " ").strip().casefold()


def from_names(names: Iterable[str], origin: str) -> LabelSet:
    """Create labels from plain names."""
    return LabelSet(tuple(Label(None, name.strip()) for name in names), origin)


def from_synsets(synsets: Iterable[str], wordnet: WordNet, origin: str) -> LabelSet:
    """Create labels from WordNet ids."""
    return LabelSet(tuple(wordnet.label(synset) for synset in synsets), origin)


def from_hub(
    names: object, descriptions: object, wordnet: WordNet, origin: str, num_classes: int | None = None
) -> LabelSet:
    """Create labels from `label_names` and `label_descriptions` of a config.json of timm.

    Args:
        names: a list, or a mapping from class index to name. WordNet ids are resolved to lemmas.
        descriptions: a mapping from name to description; any other value is ignored.
        wordnet: resolves WordNet ids.
        origin: the source of the names, as shown on the page.
        num_classes: if known, a mapping may lack names, as timm documents; these classes are numbered.

    Raises:
        BackboneError: `names` has another type, or an index is missing, not a number, or too large.
    """
    unnamed: list[int] = []
    if isinstance(names, Mapping):
        count = num_classes or len(names)
        texts = [str(index) for index in names]
        by_index = {int(text): name for text, name in zip(texts, names.values(), strict=True) if is_index(text)}
        unnamed = [index for index in range(count) if index not in by_index]
        if len(by_index) < len(names) or max(by_index, default=0) >= count or (unnamed and num_classes is None):
            unlike = [text for text in texts if not is_index(text) or int(text) >= count]
            got = f"got the indices {listed(texts)}"
            if len(texts) > 3:
                got = f"there is none for {listed(unnamed)}" + (f", and one is {listed(unlike)}" if unlike else "")
            raise BackboneError(origin, "one name for each class index from 0", got, "fix config.json")
        names = [by_index.get(index, f"class {index}") for index in range(count)]
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise BackboneError(origin, "a list of strings", f"got {str(names)[:60]}", "fix config.json")
    described = descriptions if isinstance(descriptions, Mapping) else {}
    if unnamed:
        origin += f", without class {listed(unnamed)}"
    return wordnet.resolve(
        LabelSet(tuple(Label(None, name.strip(), str(described.get(name, ""))) for name in names), origin)
    )


def shown_target(target: str) -> str:
    """Return a target as users may see it: of an absolute path its last part only."""
    return Path(target).name if Path(target).is_absolute() else target


def are_placeholders(names: object) -> bool:
    """Return whether names are LABEL_0, LABEL_1 and so on, with which transformers fills in for missing ones."""
    values = names.values() if isinstance(names, Mapping) else names
    return isinstance(values, Iterable) and all(re.fullmatch(r"LABEL_\d+", str(name)) for name in values)


def numbered(count: int) -> LabelSet:
    """Create placeholder labels for unknown names: ``class 0``, ``class 1`` and so on."""
    return LabelSet(tuple(Label(None, f"class {index}") for index in range(count)), "unnamed classes", named=False)


def check_count(labels: LabelSet, num_outputs: int) -> LabelSet:
    """Return the labels if their number is that of the outputs, or two for one output.

    Raises:
        BackboneError: the numbers differ: names shifted by one would be wrong predictions.
    """
    if len(labels) != num_outputs and (len(labels), num_outputs) != (2, 1):
        several = f"{num_outputs} names, one for each output of the backbone"
        raise BackboneError(
            "labels",
            several if num_outputs != 1 else "one name for the one output of the backbone, or two",
            f"{labels.origin} has {len(labels)}",
            "add or remove names, or use the backbone they belong to",
        )
    return labels


def check_order(labels: LabelSet, own: LabelSet) -> None:
    """Check that labels are not those of the weights in another order.

    Only large sets, and those with WordNet ids, are checked: a config may correct the names in a small one.

    Raises:
        BackboneError: the same names, or most of them, are those of other classes.
    """
    if len(own) < 100 and not any(label.id for label in own.labels):
        return
    classes: dict[str, set[int]] = {}
    for index, label in enumerate(own.labels):
        for key in (label.id or "", comparable(label.name)):
            classes.setdefault(key, set()).add(index)
    found = [classes.get(label.id or comparable(label.name)) for label in labels.labels]
    elsewhere = [index for index, known in enumerate(found) if known and index not in known]
    if elsewhere and (all(found) or 2 * len(elsewhere) > len(found)):
        index = elsewhere[0]
        raise BackboneError(
            "labels",
            "names in the order of the weights' classes",
            f"{labels.origin} has the same in another order: "
            f"class {index} is {labels.labels[index].name!r}, and that of the weights {own.labels[index].name!r}",
            "remove `labels`: the weights have their names",
        )

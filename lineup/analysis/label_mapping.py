"""Maps the labels of a folder to the classes of backbones: by name, and by WordNet's nouns and all kinds of them."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from lineup.errors import LineupError, did_you_mean
from lineup.formatting import enumeration
from lineup.registry.hypernyms import Hypernyms, hypernyms, normalized, singulars
from lineup.registry.labels import LabelSet

MAX_NEAREST = 3
MIN_WORD = 3  # letters of a word that a name of a class may share with a label
# A word is ambiguous if its second meaning has a third of the classes of its first, or if another one has no class
# here, but three times the hyponyms in all of ImageNet, and at least ten: the animal, where the first is the device.
SHARE, MIN_HYPONYMS = 3, 10
SYNSET = re.compile(r"(?<![^\W_])n\d{8}(?![^\W_])")

State = Literal["matched", "ambiguous", "unmatched", "chosen", "left out"]
Meaning = str | Sequence[str] | None  # a WordNet id or the name of a class, several names, or None for none


@dataclass(frozen=True)
class Sense:
    """A meaning of a label.

    Attributes:
        id: a WordNet id.
        name: its first name.
        definition: may be empty.
        n_classes: the number of classes of all backbones that it stands for.
    """

    id: str
    name: str
    definition: str
    n_classes: int


@dataclass(frozen=True)
class Match:
    """What a label means.

    Attributes:
        label: as in the folder.
        state: ambiguous if several meanings are as likely, unmatched if no backbone has a class for it, chosen or left
            out if it was said.
        meaning: WordNet ids and names of classes; none if it is not scored.
        senses: the meanings in WordNet that have classes here, the most likely first.
        nearest: names of the nearest classes, if it is unmatched.
        classes: indices of the classes that it stands for, by backbone.
    """

    label: str
    state: State
    meaning: tuple[str, ...]
    senses: tuple[Sense, ...]
    nearest: tuple[str, ...]
    classes: Mapping[str, tuple[int, ...]]

    @property
    def meaning_names(self) -> tuple[str, ...]:
        """Return the meaning with names in place of the ids that are known."""
        names = {sense.id: sense.name for sense in self.senses}
        return tuple(names.get(part, part) for part in self.meaning)

    def to_json(self) -> dict[str, Any]:
        """Return the match as the API returns it."""
        counts = {name: len(indices) for name, indices in self.classes.items()}
        return asdict(self) | {"classes": counts}


class Classes:
    """The classes of several backbones, by WordNet id and by name.

    Args:
        label_sets: the labels of each backbone.
    """

    def __init__(self, label_sets: Mapping[str, LabelSet]) -> None:
        self.graph: Hypernyms = hypernyms()
        self._indices = {backbone: _indices(labels) for backbone, labels in label_sets.items()}
        self.ids = frozenset[str]().union(*(by_id for by_id, _, _ in self._indices.values()))
        self.names: dict[str, str] = {}  # as they are written, by normalised name
        for _, _, names in self._indices.values():
            self.names = names | self.names

    def of(self, meaning: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the indices of the classes that WordNet ids, with all below them, and names mean, by backbone."""
        synsets, names = list[str](), list[str]()
        for part in meaning:
            (synsets if part in self.graph.parents else names).append(part)
        below = frozenset[str]().union(*map(self.graph.below, synsets)) & self.ids
        forms = [normalized(name) for name in names]
        lemmas = [normalized(lemma) for synset in synsets for lemma in self.graph.lemmas[synset].split(",")]
        found = {}
        for backbone, (by_id, by_name, _) in self._indices.items():
            indices = {index for synset in below for index in by_id.get(synset, ())}
            indices |= {index for form in forms for index in by_name.get(form, ())}
            if not by_id:  # a backbone with names of its own, which may be WordNet's
                indices |= {index for form in lemmas for index in by_name.get(form, ())}
            found[backbone] = tuple(sorted(indices))
        return found

    def senses(self, label: str) -> list[Sense]:
        """Return the meanings of a label in WordNet, those with the most classes here first."""
        from lineup.registry.wordnet import wordnet  # imports timm

        definitions = wordnet().definitions
        senses = [
            Sense(
                synset, self.graph.name(synset), definitions.get(synset, ""), len(self.graph.below(synset) & self.ids)
            )
            for synset in self.graph.senses(label)
        ]
        return sorted(senses, key=lambda sense: (-sense.n_classes, -len(self.graph.below(sense.id))))

    def nearest(self, label: str, senses: Sequence[Sense]) -> tuple[str, ...]:
        """Return the names of the classes nearest to a label that has none."""
        word = normalized(label)
        containing = [name for form, name in self.names.items() if re.search(rf"\b{re.escape(word)}\b", form)]
        words = [each for each in reversed(word.split()) if len(each) >= MIN_WORD]  # the last one is the noun
        containing += [name for each in words for form, name in self.names.items() if each in form.split()]
        above = (level for sense in senses for level in self.graph.above(sense.id))
        level = next((each for each in above if any(self.graph.below(synset) & self.ids for synset in each)), [])
        kin = sorted(frozenset[str]().union(*map(self.graph.below, level)) & self.ids)
        alike = [self.names[form] for form in difflib.get_close_matches(word, self.names, MAX_NEAREST)]
        found = containing or [self.graph.name(synset) for synset in kin] or alike
        return tuple(islice(dict.fromkeys(found), MAX_NEAREST))


@lru_cache(maxsize=8)  # most backbones have the same classes
def _indices(labels: LabelSet) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, str]]:
    """Return the classes by WordNet id and by normalised name, and the names as written by normalised name."""
    by_id, by_name, names = dict[str, list[int]](), dict[str, list[int]](), dict[str, str]()
    for index, label in enumerate(labels.labels if labels.named else ()):
        if label.id:
            by_id.setdefault(label.id, []).append(index)
        for name in dict.fromkeys(map(normalized, (label.name, *label.name.split(",")))):
            by_name.setdefault(name, []).append(index)
            names.setdefault(name, label.name)
    return by_id, by_name, names


def match(
    labels: Iterable[str], label_sets: Mapping[str, LabelSet], chosen: Mapping[str, Meaning] | None = None
) -> list[Match]:
    """Map labels to classes.

    A label that is the name of a class of a backbone without WordNet ids means that class. Others are looked up in
    WordNet: by id, name, plural or synonym; a label means all classes below it, too.

    Args:
        labels: the labels of a folder.
        label_sets: the labels of each backbone.
        chosen: meanings by label that replace what is found; None leaves a label out.

    Raises:
        LineupError: when `chosen` has a label or a meaning that there is not.
    """
    labels, chosen, classes = list(labels), chosen or {}, Classes(label_sets)
    if unknown := [label for label in chosen if label not in labels]:
        hint = did_you_mean(unknown[0], labels) or "remove it"
        raise LineupError("mapping", "labels of the folder", f"got {unknown[0][:100]!r}", hint)
    return [_chosen(label, chosen[label], classes) if label in chosen else _match(label, classes) for label in labels]


def fitting(
    label_sets: Mapping[str, LabelSet], chosen: Mapping[str, Meaning]
) -> tuple[dict[str, Meaning], list[LineupError]]:
    """Return the chosen meanings that the backbones have classes for, and an error for each other one."""
    classes, found, problems = Classes(label_sets), dict[str, Meaning](), list[LineupError]()
    for label, meaning in chosen.items():
        try:
            _chosen(label, meaning, classes)
            found[label] = meaning
        except LineupError as error:
            problems.append(error)
    return found, problems


def _match(label: str, classes: Classes) -> Match:
    if (found := SYNSET.search(label)) and found[0] in classes.graph.parents:
        return _result(label, (found[0],), classes.senses(classes.graph.name(found[0])), classes)
    senses = classes.senses(label)
    with_classes = [sense for sense in senses if sense.n_classes]
    if not with_classes:
        names = next(([form] for form in singulars(label) if any(classes.of([form]).values())), [])
        return _result(label, tuple(names), senses, classes)
    first, *others = with_classes
    rivals = [sense for sense in others if _rivals(sense, first, label)]
    size = len(classes.graph.below(first.id))
    rivals += [
        sense
        for sense in senses
        if not sense.n_classes and len(classes.graph.below(sense.id)) >= max(MIN_HYPONYMS, SHARE * size)
    ]
    if rivals:
        return Match(label, "ambiguous", (), (first, *rivals), (), classes.of(()))
    return _result(label, (first.id,), senses, classes)


def _rivals(sense: Sense, first: Sense, label: str) -> bool:
    """Return whether a meaning is as likely as the one with the most classes.

    If the label is the first name of the latter, as *cat*, a meaning that has another first name, as *big cat*, is not.
    """
    as_close = normalized(sense.name) in singulars(label) or normalized(first.name) not in singulars(label)
    return SHARE * sense.n_classes >= first.n_classes and (as_close or sense.n_classes >= first.n_classes)


def _result(label: str, meaning: tuple[str, ...], senses: Sequence[Sense], classes: Classes) -> Match:
    found = classes.of(meaning)
    if any(found.values()):
        return Match(label, "matched", meaning, tuple(sense for sense in senses if sense.n_classes), (), found)
    return Match(label, "unmatched", (), (), classes.nearest(label, senses), classes.of(()))


def _chosen(label: str, meaning: Meaning, classes: Classes) -> Match:
    senses = tuple(sense for sense in classes.senses(label) if sense.n_classes)
    several = meaning is None or isinstance(meaning, list | tuple)
    parts: tuple[Any, ...] = tuple(meaning or ()) if several else (meaning,)
    if not parts:
        return Match(label, "left out", (), senses, (), classes.of(()))
    for part in parts:
        if not isinstance(part, str) or not any(classes.of([part]).values()):
            hint = did_you_mean(normalized(str(part)), list(classes.names)) or "write a WordNet id, or names of classes"
            expected = "a WordNet id with classes below it, or the name of a class"
            raise LineupError(f"mapping: {label}", expected, f"got {str(part)[:100]!r}", hint)
    return Match(label, "chosen", tuple(map(str, parts)), senses, (), classes.of(parts))


def unscored(matches: Iterable[Match], counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each label that is not scored, with the number of its images."""
    sentences = []
    for each in matches:
        n, images = counts.get(each.label, 0), "image is" if counts.get(each.label, 0) == 1 else "images are"
        if each.state == "ambiguous":
            meanings = enumeration([f"{sense.name} ({sense.definition})" for sense in each.senses])
            sentences.append(f"{each.label}: it may mean {meanings}; its {n} {images} not scored until you choose.")
        elif each.state == "unmatched":
            verb = "are" if each.nearest[1:] else "is"
            nearest = f"; the nearest {verb} {enumeration(each.nearest)}" if each.nearest else ""
            sentences.append(f"{each.label}: no backbone has a class for it{nearest}; its {n} {images} not scored.")
        elif each.state == "left out":
            sentences.append(f"{each.label}: left out as you chose; its {n} {images} not scored.")
    return sentences

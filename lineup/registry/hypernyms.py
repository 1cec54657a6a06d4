"""The hypernyms of WordNet's nouns: what is a kind of what, for all classes of ImageNet."""

import gzip
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

_FILE = Path(__file__).with_name("hypernyms.tsv.gz")
_ES = re.compile(r"(?:[sxz]|[cs]h)es$")
# irregular plurals of what folders are named after
_PLURALS = {"mice": "mouse", "geese": "goose", "wolves": "wolf", "calves": "calf", "leaves": "leaf", "knives": "knife"}
_PLURALS |= {"men": "man", "women": "woman", "children": "child", "people": "person", "oxen": "ox", "teeth": "tooth"}
_PLURALS |= {"shelves": "shelf", "loaves": "loaf", "thieves": "thief", "feet": "foot", "cacti": "cactus"}


@dataclass(frozen=True)
class Hypernyms:
    """A directed acyclic graph of synsets.

    Attributes:
        parents: the synsets directly above each synset.
        lemmas: the names of each synset, separated by commas.
    """

    parents: Mapping[str, tuple[str, ...]]
    lemmas: Mapping[str, str]
    _below: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children = defaultdict[str, list[str]](list)
        for synset, parents in self.parents.items():
            for parent in parents:
                children[parent].append(synset)
        return children

    @cached_property
    def _by_lemma(self) -> dict[str, list[str]]:
        synsets = defaultdict[str, list[str]](list)
        for synset, lemmas in self.lemmas.items():
            for lemma in dict.fromkeys(map(normalized, lemmas.split(","))):
                synsets[lemma].append(synset)
        return synsets

    def senses(self, word: str) -> list[str]:
        """Return the synsets that a word is a name of: as it is, else as a plural."""
        return next((found for form in singulars(word) if (found := self._by_lemma.get(form))), [])

    def below(self, synset: str) -> frozenset[str]:
        """Return a synset and all of its hyponyms."""
        if synset not in self._below:
            found, queue = {synset}, [synset]
            while queue:
                new = [child for child in self._children.get(queue.pop(), ()) if child not in found]
                found.update(new)
                queue += new
            self._below[synset] = frozenset(found)
        return self._below[synset]

    def above(self, synset: str) -> Iterator[list[str]]:
        """Yield the hypernyms of a synset, a level at a time, the next ones first."""
        level = list(self.parents.get(synset, ()))
        while level:
            yield level
            level = list(dict.fromkeys(parent for each in level for parent in self.parents[each]))

    def name(self, synset: str) -> str:
        """Return the first name of a synset."""
        return self.lemmas[synset].split(",")[0].strip()


def normalized(name: str) -> str:
    """Return a name in the form that names are compared in: lower case, words separated by one space."""
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split())


def singulars(word: str) -> list[str]:
    """Return the normalised forms that a word may have in a list of nouns: itself, and singulars of its last word."""
    word = normalized(word)
    head, last = word[: word.rfind(" ") + 1], word[word.rfind(" ") + 1 :]
    forms = [last, _PLURALS.get(last, last)]
    if last.endswith("ies"):
        forms.append(f"{last[:-3]}y")
    if _ES.search(last):
        forms.append(last[:-2])
    if last.endswith("s") and not last.endswith("ss"):
        forms.append(last[:-1])
    return [head + form for form in dict.fromkeys(forms)]


@cache
def hypernyms() -> Hypernyms:
    """Return the hypernyms of all classes of ImageNet, from WordNet 3.0."""
    from lineup.registry.wordnet import wordnet  # imports timm

    parents, lemmas = dict[str, tuple[str, ...]](), dict(wordnet().lemmas)
    with gzip.open(_FILE, "rt", encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                synset, above, names = line.rstrip("\n").split("\t")
                parents[synset] = tuple(above.split())
                if names:
                    lemmas[synset] = names
    return Hypernyms(parents, lemmas)

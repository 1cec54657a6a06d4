"""The verdict on several backbones' answers to one image: which of them agree, and on what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress
from operator import not_
from typing import Any

from lineup.errors import LineupError
from lineup.registry.labels import Label, LabelSet
from lineup.results import Answer, Classification

MAX_LISTED = 3  # classes or backbones that a sentence lists; chips and cards show them all


@dataclass(frozen=True)
class Vote:
    """One backbone's answer, and all the classes it could have named."""

    answer: Classification
    labels: LabelSet

    @property
    def top(self) -> Label:
        return self.labels.labels[self.answer.predictions[0].class_index]


@dataclass(frozen=True)
class Group:
    """Backbones that put the same class first; its short name carries the id only where two groups need that."""

    id: str | None
    label: str
    backbones: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """The verdict, in words for the visitor and in parts for programs."""

    sentence: str
    majority: Group | None  # more than half of those that can be compared with one another
    groups: tuple[Group, ...]  # of all but those apart; largest first, ties in the order asked
    not_comparable: tuple[str, ...]  # backbones that share no class with any other
    dissenting: tuple[str, ...] = ()  # backbones that are compared with the majority, and say something else
    lacking: tuple[str, ...] = ()  # those of them whose classes do not include the majority's

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        groups = [asdict(group) | {"backbones": list(group.backbones)} for group in self.groups]
        majority = groups[self.groups.index(self.majority)] if self.majority else None
        lists = {key: list(getattr(self, key)) for key in ("not_comparable", "dissenting", "lacking")}
        return {"sentence": self.sentence, "majority": majority, "groups": groups, **lists}


@dataclass(frozen=True)
class _Side:
    """The votes behind a group."""

    group: Group
    votes: list[Vote]


def same(a: Label, b: Label) -> bool:
    """Tell whether two labels name the same class: by id where both have one, else by short name."""
    return a.id == b.id if a.id and b.id else a.name.casefold() == b.name.casefold()


def share(a: LabelSet, b: LabelSet) -> bool:
    """Tell whether two sets have a class in common; one without names has none in common with any."""
    if a is b or not (a.named and b.named):
        return a.named and b.named
    a, b = sorted((a, b), key=len)  # hash the small one; in the large one the first hit will do
    ids = {label.id for label in a.labels if label.id}
    return any(label.id in ids for label in b.labels) or _share_a_name(a, b) or _share_a_name(b, a)


def _share_a_name(a: LabelSet, b: LabelSet) -> bool:
    names = {label.name.casefold() for label in a.labels if not label.id}
    return bool(names) and any(label.name.casefold() in names for label in b.labels)


def agreement(votes: Sequence[Vote], failed: Sequence[str] = ()) -> Agreement:
    """Say how far backbones agree on an image.

    Args:
        votes: the answers, in the order asked.
        failed: names of the backbones that did not answer.
    """
    if not votes:
        return Agreement("No backbone answered.", None, (), ())
    sets = [_groups(comparable) for comparable in _comparable_sets(votes)]
    names = Counter(group[0].top.name.casefold() for groups in sets for group in groups)
    sides = [[_side(group, names) for group in groups] for groups in sets]
    alone = [side for (side, *more) in sides if len(side.votes) == 1 < len(votes) and not more]
    together = sides[: len(sides) - len(alone)]  # the largest sets are first
    texts = [_verdict(each) for each in together]
    texts[1:] = [f"Among those with other classes, {text[0].lower()}{text[1:]}" for text in texts[1:]]
    texts += [_set_apart(alone, bool(together))] if alone else []
    texts += [f"{_named_or_counted(failed)} did not answer."] if failed else []
    groups = _largest_first([group for groups in sets[: len(together)] for group in groups], votes)
    majority = together[0][0] if len(votes) > 1 and together and _has_majority(together[0]) else None
    dissenting = [vote for side in together[0][1:] for vote in side.votes] if majority else []
    return Agreement(
        sentence=" ".join(texts),
        majority=majority.group if majority else None,
        groups=tuple(_side(group, names).group for group in groups),
        not_comparable=tuple(side.votes[0].answer.backbone for side in alone),
        dissenting=tuple(vote.answer.backbone for vote in dissenting),
        lacking=tuple(vote.answer.backbone for vote in dissenting if majority and not _could_join(vote, majority)),
    )


def _comparable_sets(votes: Sequence[Vote]) -> list[list[Vote]]:
    """Part votes into those that can be compared, directly or through others; largest set first."""
    sets: list[list[Vote]] = []
    for vote in votes:
        met = [any(share(vote.labels, other.labels) for other in comparable) for comparable in sets]
        joined = [other for comparable in compress(sets, met) for other in comparable]
        sets = [*compress(sets, map(not_, met)), [*joined, vote]]
    return _largest_first(sets, votes)


def _groups(votes: Sequence[Vote]) -> list[list[Vote]]:
    """Part votes by the class they put first; largest group first."""
    groups: list[list[Vote]] = []
    for vote in sorted(votes, key=lambda vote: not vote.top.id):
        fits = [group for group in groups if all(same(vote.top, other.top) for other in group)]
        # A bare "crane" beside both of ImageNet's cranes could be either, so it joins neither.
        if len(fits) == 1 or (fits and not fits[-1][0].top.id):
            fits[-1].append(vote)
        else:
            groups.append([vote])
    return _largest_first(groups, votes)


def _largest_first(parts: Sequence[list[Vote]], votes: Sequence[Vote]) -> list[list[Vote]]:
    """Sort parts by size; equal ones, and the votes in each, stay in the order asked."""
    parts = [sorted(part, key=votes.index) for part in parts]
    return sorted(parts, key=lambda part: (-len(part), votes.index(part[0])))


def _side(group: list[Vote], names: Counter[str]) -> _Side:
    name, synset = group[0].top.name, next((vote.top.id for vote in group if vote.top.id), None)
    label = f"{name} ({synset})" if synset and names[name.casefold()] > 1 else name
    return _Side(Group(synset, label, tuple(vote.answer.backbone for vote in group)), group)


def _has_majority(sides: Sequence[_Side]) -> bool:
    first, *rest = (len(side.votes) for side in sides)
    return first > sum(rest)


def _verdict(sides: Sequence[_Side]) -> str:
    """Say how far the votes of one such set agree, in one short sentence."""
    first, *rest = sides
    size, total = len(first.votes), sum(len(side.votes) for side in sides)
    if total == 1:
        return f"{first.group.backbones[0]} says {first.group.label}."
    if not rest:
        return f"{'Both' if total == 2 else f'All {total}'} say {first.group.label}."
    if size == 1:
        return f"{'The two disagree' if total == 2 else 'No two agree'}{_either(sides)}."
    if _has_majority(sides):
        return f"{size} of {total} say {first.group.label}, {_others_say(rest)}."
    if len(rest) > MAX_LISTED:
        return f"No majority: {total} backbones give {len(sides)} different answers."
    return f"No majority: {size} of {total} say {first.group.label}, {_others_say(rest)}."


def _either(sides: Sequence[_Side]) -> str:
    labels = [side.group.label for side in sides]
    return f": {', '.join(labels[:-1])} or {labels[-1]}" if len(labels) <= MAX_LISTED else ""


def _others_say(sides: Sequence[_Side]) -> str:
    if len(sides) > MAX_LISTED:
        return f"the others are split over {len(sides)} answers"
    sizes = [(len(side.votes), side.group.label) for side in sides]
    return ", ".join(f"{size} say{'s' if size == 1 else ''} {label}" for size, label in sizes)


def _set_apart(sides: Sequence[_Side], others: bool) -> str:
    """Say which backbones are compared with no other, and why."""
    # unnamed classes may be the same ones: of them nothing is known
    which = "" if all(side.votes[0].labels.named for side in sides) else "named "
    if not others:
        return f"Nothing can be compared: these backbones share no {which}classes."
    s, they_are = ("", "they are") if len(sides) > 1 else ("s", "it is")
    why = f"share{s} no named class with the others" if which else f"know{s} other classes"
    return f"{_named_or_counted([side.group.backbones[0] for side in sides])} {why}, so {they_are} not compared."


def _could_join(vote: Vote, side: _Side) -> bool:
    return share(vote.labels, LabelSet(tuple(other.top for other in side.votes), "their answers"))


def _named_or_counted(names: Sequence[str]) -> str:
    *most, last = names
    return str(len(names)) if len(names) > MAX_LISTED else f"{', '.join(most)} and {last}" if most else last


@dataclass(frozen=True)
class Comparison:
    """Several backbones' answers on one image, in the order asked, and how far they agree."""

    answers: Mapping[str, Answer]
    agreement: Agreement
    left_out: Mapping[str, LineupError | str] = field(default_factory=dict)  # name → why; where all were to be compared

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        results = [
            answer.to_json() if isinstance(answer, Classification) else {"backbone": name, **answer.to_json()}
            for name, answer in self.answers.items()
        ]
        left_out = [
            {"backbone": name, **(why.to_json() if isinstance(why, LineupError) else {"error": why})}
            for name, why in self.left_out.items()
        ]
        return {"results": results, "agreement": self.agreement.to_json(), "left_out": left_out}

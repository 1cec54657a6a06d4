"""Majority vote over several backbones' top-1 predictions for one image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress
from operator import not_
from typing import Any

from lineup.errors import LineupError
from lineup.formatting import enumeration
from lineup.registry.labels import Label, LabelSet
from lineup.results import Answer, Classification

MAX_LISTED = 3  # limit of classes or backbones in a sentence; chips and cards show all


@dataclass(frozen=True)
class Vote:
    """A backbone's prediction and its full label set."""

    answer: Classification
    labels: LabelSet

    @property
    def top(self) -> Label:
        return self.labels.labels[self.answer.predictions[0].class_index]


@dataclass(frozen=True)
class Group:
    """Backbones with the same top-1 class; `label` includes the id only if two groups share the name."""

    id: str | None
    label: str
    backbones: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """The verdict: a sentence for the page, and its parts for API clients."""

    sentence: str
    majority: Group | None  # more than half of the votes of the largest comparable set
    groups: tuple[Group, ...]  # without `not_comparable`; largest first, ties in request order
    not_comparable: tuple[str, ...]  # backbones that share no class with any other one
    dissenting: tuple[str, ...] = ()  # comparable backbones whose top-1 class is not the majority's
    missing_class: tuple[str, ...] = ()  # dissenting backbones whose label set lacks the majority's class
    multi_label: tuple[str, ...] = ()  # backbones without a vote: any number of their classes may be true

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as the API returns it."""
        groups = [asdict(group) | {"backbones": list(group.backbones)} for group in self.groups]
        majority = groups[self.groups.index(self.majority)] if self.majority else None
        lists = {
            key: list(getattr(self, key)) for key in ("not_comparable", "dissenting", "missing_class", "multi_label")
        }
        return {"sentence": self.sentence, "majority": majority, "groups": groups, **lists}


@dataclass(frozen=True)
class _VotedGroup:
    """A group with its votes."""

    group: Group
    votes: list[Vote]


def same(a: Label, b: Label) -> bool:
    """Return whether two labels are the same class: by id if both have one, else by name, ignoring case."""
    return a.id == b.id if a.id and b.id else a.name.casefold() == b.name.casefold()


def share(a: LabelSet, b: LabelSet) -> bool:
    """Return whether two label sets have a class in common; sets without class names never do."""
    if a is b or not (a.named and b.named):
        return a.named and b.named
    a, b = sorted((a, b), key=len)  # hash the smaller set, scan the larger one until the first match
    ids = {label.id for label in a.labels if label.id}
    return any(label.id in ids for label in b.labels) or _share_name(a, b) or _share_name(b, a)


def _share_name(a: LabelSet, b: LabelSet) -> bool:
    names = {label.name.casefold() for label in a.labels if not label.id}
    return bool(names) and any(label.name.casefold() in names for label in b.labels)


def agreement(votes: Sequence[Vote], failed: Sequence[str] = ()) -> Agreement:
    """Compute the verdict on an image.

    Args:
        votes: the predictions, in request order.
        failed: names of the backbones that returned no prediction.
    """
    if not votes:
        return Agreement("No backbone answered.", None, (), ())
    multi_label = [vote.answer for vote in votes if vote.answer.above_half is not None]
    votes = [vote for vote in votes if vote.answer.above_half is None]
    sets = [_groups(comparable) for comparable in _comparable_sets(votes)]
    names = Counter(group[0].top.name.casefold() for groups in sets for group in groups)
    voted_sets = [[_voted_group(group, names) for group in groups] for groups in sets]
    isolated = [first for (first, *rest) in voted_sets if len(first.votes) == 1 < len(votes) and not rest]
    comparable_sets = voted_sets[: len(voted_sets) - len(isolated)]  # the largest sets are first
    sentences = [_verdict(groups) for groups in comparable_sets]
    sentences[1:] = [f"Among those with other classes, {text[0].lower()}{text[1:]}" for text in sentences[1:]]
    sentences += [_not_compared(isolated, bool(comparable_sets))] if isolated else []
    sentences += [_multi_label(multi_label)] if multi_label else []
    sentences += [f"{_names_or_count(failed)} did not answer."] if failed else []
    all_groups = _largest_first([group for groups in sets[: len(comparable_sets)] for group in groups], votes)
    largest = comparable_sets[0] if comparable_sets else []
    majority = largest[0] if len(votes) > 1 and largest and _has_majority(largest) else None
    dissenting = [vote for group in largest[1:] for vote in group.votes] if majority else []
    return Agreement(
        sentence=" ".join(sentences),
        majority=majority.group if majority else None,
        groups=tuple(_voted_group(group, names).group for group in all_groups),
        not_comparable=tuple(group.votes[0].answer.backbone for group in isolated),
        dissenting=tuple(vote.answer.backbone for vote in dissenting),
        missing_class=tuple(
            vote.answer.backbone for vote in dissenting if majority and not _could_join(vote, majority)
        ),
        multi_label=tuple(answer.backbone for answer in multi_label),
    )


def _comparable_sets(votes: Sequence[Vote]) -> list[list[Vote]]:
    """Partition votes into connected components of shared classes; largest set first."""
    sets: list[list[Vote]] = []
    for vote in votes:
        connected = [any(share(vote.labels, other.labels) for other in comparable) for comparable in sets]
        merged = [other for comparable in compress(sets, connected) for other in comparable]
        sets = [*compress(sets, map(not_, connected)), [*merged, vote]]
    return _largest_first(sets, votes)


def _groups(votes: Sequence[Vote]) -> list[list[Vote]]:
    """Partition votes by top-1 class; largest group first."""
    groups: list[list[Vote]] = []
    for vote in sorted(votes, key=lambda vote: not vote.top.id):
        matches = [group for group in groups if all(same(vote.top, other.top) for other in group)]
        # ImageNet has two classes "crane": a label "crane" without an id is ambiguous and joins neither.
        if len(matches) == 1 or (matches and not matches[-1][0].top.id):
            matches[-1].append(vote)
        else:
            groups.append([vote])
    return _largest_first(groups, votes)


def _largest_first(parts: Sequence[list[Vote]], votes: Sequence[Vote]) -> list[list[Vote]]:
    """Sort parts by size, descending; ties, and the votes within a part, keep request order."""
    parts = [sorted(part, key=votes.index) for part in parts]
    return sorted(parts, key=lambda part: (-len(part), votes.index(part[0])))


def _voted_group(group: list[Vote], names: Counter[str]) -> _VotedGroup:
    name, synset = group[0].top.name, next((vote.top.id for vote in group if vote.top.id), None)
    label = f"{name} ({synset})" if synset and names[name.casefold()] > 1 else name
    return _VotedGroup(Group(synset, label, tuple(vote.answer.backbone for vote in group)), group)


def _has_majority(groups: Sequence[_VotedGroup]) -> bool:
    first, *rest = (len(group.votes) for group in groups)
    return first > sum(rest)


def _verdict(groups: Sequence[_VotedGroup]) -> str:
    """Summarize the votes of one comparable set in a sentence."""
    first, *rest = groups
    size, total = len(first.votes), sum(len(group.votes) for group in groups)
    if total == 1:
        return f"{first.group.backbones[0]} says {first.group.label}."
    if not rest:
        return f"{'Both' if total == 2 else f'All {total}'} say {first.group.label}."
    if size == 1:
        return f"{'The two disagree' if total == 2 else 'No two agree'}{_alternatives(groups)}."
    if _has_majority(groups):
        return f"{size} of {total} say {first.group.label}, {_others_say(rest)}."
    if len(rest) > MAX_LISTED:
        return f"No majority: {total} backbones give {len(groups)} different answers."
    return f"No majority: {size} of {total} say {first.group.label}, {_others_say(rest)}."


def _alternatives(groups: Sequence[_VotedGroup]) -> str:
    labels = [group.group.label for group in groups]
    return f": {', '.join(labels[:-1])} or {labels[-1]}" if len(labels) <= MAX_LISTED else ""


def _others_say(groups: Sequence[_VotedGroup]) -> str:
    if len(groups) > MAX_LISTED:
        return f"the others are split over {len(groups)} answers"
    sizes = [(len(group.votes), group.group.label) for group in groups]
    return ", ".join(f"{size} say{'s' if size == 1 else ''} {label}" for size, label in sizes)


def _not_compared(groups: Sequence[_VotedGroup], others: bool) -> str:
    """Explain why backbones are not compared; `others` says whether any are."""
    # whether unnamed classes are shared is unknown
    named = "" if all(group.votes[0].labels.named for group in groups) else "named "
    if not others:
        return f"Nothing can be compared: these backbones share no {named}classes."
    s, they_are = ("", "they are") if len(groups) > 1 else ("s", "it is")
    reason = f"share{s} no named class with the others" if named else f"know{s} other classes"
    return f"{_names_or_count([group.group.backbones[0] for group in groups])} {reason}, so {they_are} not compared."


def _multi_label(answers: Sequence[Classification]) -> str:
    """List the classes that each backbone finds, of those that may find several."""
    if len(answers) > MAX_LISTED:
        return f"{len(answers)} backbones may find several classes at once, so they have no vote."
    found = [(answer.backbone, [each.label for each in answer.above_half or ()]) for answer in answers]
    return " ".join(
        f"{name} finds {_several(labels) if labels else 'no class'} above 50%; it may find several, so it has no vote."
        for name, labels in found
    )


def _several(labels: list[str]) -> str:
    return f"{len(labels)} classes" if len(labels) > MAX_LISTED else enumeration(labels)


def _could_join(vote: Vote, group: _VotedGroup) -> bool:
    return share(vote.labels, LabelSet(tuple(other.top for other in group.votes), "their answers"))


def _names_or_count(names: Sequence[str]) -> str:
    return str(len(names)) if len(names) > MAX_LISTED else enumeration(names)


@dataclass(frozen=True)
class Comparison:
    """Several backbones' answers for one image, in request order, and the verdict."""

    answers: Mapping[str, Answer]
    agreement: Agreement
    left_out: Mapping[str, LineupError | str] = field(default_factory=dict)  # name → reason, for "compare all"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as the API returns it."""
        results = [
            answer.to_json() if isinstance(answer, Classification) else {"backbone": name, **answer.to_json()}
            for name, answer in self.answers.items()
        ]
        left_out = [
            {"backbone": name, **(reason.to_json() if isinstance(reason, LineupError) else {"error": reason})}
            for name, reason in self.left_out.items()
        ]
        return {"results": results, "agreement": self.agreement.to_json(), "left_out": left_out}

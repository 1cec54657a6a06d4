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

MOST_TOLD = 3  # classes or backbones that a sentence lists; chips and cards show them all


@dataclass(frozen=True)
class Voice:
    """One backbone's answer, and all the classes it could have named."""

    answer: Classification
    labels: LabelSet

    @property
    def top(self) -> Label:
        return self.labels.labels[self.answer.predictions[0].class_index]


@dataclass(frozen=True)
class Camp:
    """Backbones that put the same class first; its short name carries the id only where two camps need that."""

    id: str | None
    label: str
    backbones: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """The verdict, in words for the visitor and in parts for programs."""

    sentence: str
    majority: Camp | None  # more than half of those that can be compared with one another
    camps: tuple[Camp, ...]  # of all but those apart; largest first, ties in the order asked
    apart: tuple[str, ...]  # backbones that share no class with any other
    dissenting: tuple[str, ...] = ()  # backbones that are compared with the majority, and say something else
    lacking: tuple[str, ...] = ()  # those of them whose classes do not include the majority's

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        camps = [asdict(camp) | {"backbones": list(camp.backbones)} for camp in self.camps]
        majority = camps[self.camps.index(self.majority)] if self.majority else None
        lists = {key: list(getattr(self, key)) for key in ("apart", "dissenting", "lacking")}
        return {"sentence": self.sentence, "majority": majority, "camps": camps, **lists}


@dataclass(frozen=True)
class _Side:
    """The voices behind a camp."""

    camp: Camp
    voices: list[Voice]


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


def agreement(voices: Sequence[Voice], failed: Sequence[str] = ()) -> Agreement:
    """Say how far backbones agree on an image.

    Args:
        voices: the answers, in the order asked.
        failed: names of the backbones that did not answer.
    """
    if not voices:
        return Agreement("No backbone answered.", None, (), ())
    circles = [_groups(circle) for circle in _circles(voices)]
    names = Counter(group[0].top.name.casefold() for groups in circles for group in groups)
    sides = [[_side(group, names) for group in groups] for groups in circles]
    alone = [side for (side, *more) in sides if len(side.voices) == 1 < len(voices) and not more]
    together = sides[: len(sides) - len(alone)]  # the largest circles are first
    texts = [_verdict(each) for each in together]
    texts[1:] = [f"Among those with other classes, {text[0].lower()}{text[1:]}" for text in texts[1:]]
    texts += [_set_apart(alone, bool(together))] if alone else []
    texts += [f"{_named_or_counted(failed)} did not answer."] if failed else []
    camps = _largest_first([group for groups in circles[: len(together)] for group in groups], voices)
    majority = together[0][0] if len(voices) > 1 and together and _has_majority(together[0]) else None
    dissenting = [voice for side in together[0][1:] for voice in side.voices] if majority else []
    return Agreement(
        sentence=" ".join(texts),
        majority=majority.camp if majority else None,
        camps=tuple(_side(group, names).camp for group in camps),
        apart=tuple(side.voices[0].answer.backbone for side in alone),
        dissenting=tuple(voice.answer.backbone for voice in dissenting),
        lacking=tuple(voice.answer.backbone for voice in dissenting if majority and not _could_join(voice, majority)),
    )


def _circles(voices: Sequence[Voice]) -> list[list[Voice]]:
    """Part voices into those that can be compared, directly or through others; largest circle first."""
    circles: list[list[Voice]] = []
    for voice in voices:
        met = [any(share(voice.labels, other.labels) for other in circle) for circle in circles]
        joined = [other for circle in compress(circles, met) for other in circle]
        circles = [*compress(circles, map(not_, met)), [*joined, voice]]
    return _largest_first(circles, voices)


def _groups(voices: Sequence[Voice]) -> list[list[Voice]]:
    """Part voices by the class they put first; largest group first."""
    groups: list[list[Voice]] = []
    for voice in sorted(voices, key=lambda voice: not voice.top.id):
        fits = [group for group in groups if all(same(voice.top, other.top) for other in group)]
        # A bare "crane" beside both of ImageNet's cranes could be either, so it joins neither.
        if len(fits) == 1 or (fits and not fits[-1][0].top.id):
            fits[-1].append(voice)
        else:
            groups.append([voice])
    return _largest_first(groups, voices)


def _largest_first(parts: Sequence[list[Voice]], voices: Sequence[Voice]) -> list[list[Voice]]:
    """Sort parts by size; equal ones, and the voices in each, stay in the order asked."""
    parts = [sorted(part, key=voices.index) for part in parts]
    return sorted(parts, key=lambda part: (-len(part), voices.index(part[0])))


def _side(group: list[Voice], names: Counter[str]) -> _Side:
    name, synset = group[0].top.name, next((voice.top.id for voice in group if voice.top.id), None)
    label = f"{name} ({synset})" if synset and names[name.casefold()] > 1 else name
    return _Side(Camp(synset, label, tuple(voice.answer.backbone for voice in group)), group)


def _has_majority(sides: Sequence[_Side]) -> bool:
    first, *rest = (len(side.voices) for side in sides)
    return first > sum(rest)


def _verdict(sides: Sequence[_Side]) -> str:
    """Say how far the voices of one circle agree, in one short sentence."""
    first, *rest = sides
    size, total = len(first.voices), sum(len(side.voices) for side in sides)
    if total == 1:
        return f"{first.camp.backbones[0]} says {first.camp.label}."
    if not rest:
        return f"{'Both' if total == 2 else f'All {total}'} say {first.camp.label}."
    if size == 1:
        return f"{'The two disagree' if total == 2 else 'No two agree'}{_either(sides)}."
    if _has_majority(sides):
        return f"{size} of {total} say {first.camp.label}, {_others_say(rest)}."
    if len(rest) > MOST_TOLD:
        return f"No majority: {total} backbones give {len(sides)} different answers."
    return f"No majority: {size} of {total} say {first.camp.label}, {_others_say(rest)}."


def _either(sides: Sequence[_Side]) -> str:
    labels = [side.camp.label for side in sides]
    return f": {', '.join(labels[:-1])} or {labels[-1]}" if len(labels) <= MOST_TOLD else ""


def _others_say(sides: Sequence[_Side]) -> str:
    if len(sides) > MOST_TOLD:
        return f"the others are split over {len(sides)} answers"
    sizes = [(len(side.voices), side.camp.label) for side in sides]
    return ", ".join(f"{size} say{'s' if size == 1 else ''} {label}" for size, label in sizes)


def _set_apart(sides: Sequence[_Side], others: bool) -> str:
    """Say which backbones are compared with no other, and why."""
    # unnamed classes may be the same ones: of them nothing is known
    which = "" if all(side.voices[0].labels.named for side in sides) else "named "
    if not others:
        return f"Nothing can be compared: these backbones share no {which}classes."
    s, they_are = ("", "they are") if len(sides) > 1 else ("s", "it is")
    why = f"share{s} no named class with the others" if which else f"know{s} other classes"
    return f"{_named_or_counted([side.camp.backbones[0] for side in sides])} {why}, so {they_are} not compared."


def _could_join(voice: Voice, side: _Side) -> bool:
    return share(voice.labels, LabelSet(tuple(other.top for other in side.voices), "their answers"))


def _named_or_counted(names: Sequence[str]) -> str:
    *most, last = names
    return str(len(names)) if len(names) > MOST_TOLD else f"{', '.join(most)} and {last}" if most else last


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

"""The verdict on several backbones' answers to one picture: who agrees, who dissents, and how sure each is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from operator import not_
from typing import Any

from lineup.labels import Label, LabelSet
from lineup.results import Classification


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

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        camps = [asdict(camp) | {"backbones": list(camp.backbones)} for camp in self.camps]
        majority = camps[self.camps.index(self.majority)] if self.majority else None
        return {"sentence": self.sentence, "majority": majority, "camps": camps, "apart": list(self.apart)}


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
    """Say how far backbones agree on a picture.

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
    texts += [f"{_list(failed)} did not answer."] if failed else []
    camps = _largest_first([group for groups in circles[: len(together)] for group in groups], voices)
    return Agreement(
        sentence=" ".join(texts),
        majority=together[0][0].camp if len(voices) > 1 and together and _has_majority(together[0]) else None,
        camps=tuple(_side(group, names).camp for group in camps),
        apart=tuple(side.voices[0].answer.backbone for side in alone),
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
    """Say how far those of one circle agree."""
    first, *rest = sides
    size, total = len(first.voices), sum(len(side.voices) for side in sides)
    if not rest:
        return f"{_says(first, 'Both' if total == 2 else f'All {total}')}."
    if _has_majority(sides):
        return f"{_says(first, f'{size} of {total}')}. {_all_say(rest, first)}."
    if size > 1:
        return f"No majority: {_says(first, f'{size} of {total}')}; {_all_say(rest)}."
    return f"{'The two disagree' if total == 2 else 'No two agree'}: {_all_say(sides)}."


def _set_apart(sides: Sequence[_Side], others: bool) -> str:
    """Say who is compared with nobody, and why."""
    which = "" if all(side.voices[0].labels.named for side in sides) else "named "  # unnamed ones may be the same
    if not others:
        return f"Nothing can be compared, because these backbones share no {which}classes: {_all_say(sides)}."
    s, are = ("", "are") if len(sides) > 1 else ("s", "is")
    why = f"share{s} no named class with the others" if which else f"know{s} other classes"
    said = _all_say(sides) if len(sides) > 1 else f"it says {sides[0].camp.label} {_sure(sides[0].voices[0])}"
    return f"{_list([side.camp.backbones[0] for side in sides])} {why} and {are} compared with nobody: {said}."


def _all_say(sides: Sequence[_Side], majority: _Side | None = None) -> str:
    said = [_says(side, str(len(side.voices)), majority) for side in sides]
    return _list(said) if all(len(side.voices) == 1 for side in sides) else "; ".join(said)


def _says(side: _Side, who: str, majority: _Side | None = None) -> str:
    """Write ``a says maze (…)`` or ``2 say maze: a (…) and b (…)``, and whose classes lack the majority's."""
    lacks = ["" if majority is None or _could_join(voice, majority) else majority.camp.label for voice in side.voices]
    if len(side.voices) == 1:
        aside = f", which has no class {lacks[0]}," if lacks[0] else ""
        return f"{side.camp.backbones[0]}{aside} says {side.camp.label} {_sure(side.voices[0])}"
    each = [f"{voice.answer.backbone} {_sure(voice, lack)}" for voice, lack in zip(side.voices, lacks, strict=True)]
    return f"{who} say {side.camp.label}: {_list(each)}"


def _could_join(voice: Voice, side: _Side) -> bool:
    return share(voice.labels, LabelSet(tuple(other.top for other in side.voices), "their answers"))


def _sure(voice: Voice, lack: str = "") -> str:
    """Write ``(98%, 95 points before beacon)``."""
    first, *others = voice.answer.predictions
    points = _percent(voice.answer.margin)[:-1]
    lead = f"{points} point{'' if points in ('1', 'under 1') else 's'}"
    if others:
        second = voice.labels.labels[others[0].class_index].name
        twins = second.casefold() == voice.top.name.casefold()
        lead = f"{lead} before {others[0].label if twins else second}"
    else:
        lead = "its only class" if len(voice.labels) == 1 else f"{lead} ahead"
    return f"({_percent(first.probability)}, {lead}{lack and f'; it has no class {lack}'})"


def _percent(part: float) -> str:
    """Round, but neither up to everything nor down to nothing."""
    text = f"{part:.0%}"
    if text == "100%" and part < 1:
        return "over 99%"
    return "under 1%" if text == "0%" else text


def _list(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last

"""The report of an evaluation: what several backbones say of a folder of images, and the verdict."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from lineup.analysis import disagreement
from lineup.analysis.calibration import Calibration
from lineup.analysis.label_mapping import Match, unscored
from lineup.analysis.scoring import Scores
from lineup.analysis.statistics import wilson_interval
from lineup.analysis.verdict import Cost, Verdict, verdict
from lineup.errors import LineupError
from lineup.formatting import enumeration
from lineup.images.image_set import ImageSet
from lineup.registry.labels import Label, LabelSet

# among: the most probable of the folder's labels is right; anywhere: the most probable of all classes is
Scoring = Literal["among", "anywhere"]


@dataclass(frozen=True)
class Accuracy:
    """How many of the images that are scored a backbone is right on.

    Attributes:
        right: their number.
        images: the number of images that are scored.
        accuracy: the share, 0 to 1; None without an image.
        low: the lower limit of its 95% Wilson interval.
        high: the upper limit.
    """

    right: int
    images: int
    accuracy: float | None
    low: float
    high: float


@dataclass(frozen=True)
class EvaluatedBackbone:
    """A backbone, and its answers.

    Attributes:
        name: the entry's.
        labels: of its classes.
        scores: its answers, and where they are right.
        problems: why images have no answer, by index.
        cost: the latency of one image, and the size of the weights file.
        engine: the engine and its precision.
        license: of the weights; empty if not stated.
        notes: caveats about its predictions.
        calibration: how far its probabilities can be trusted; None without labels that are scored.
    """

    name: str
    labels: LabelSet
    scores: Scores
    problems: Mapping[int, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    engine: str = ""
    license: str = ""
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def is_answered(self) -> np.ndarray:
        """Whether each image has an answer, ``(N,)`` bool."""
        return self.scores.top[:, 0] >= 0

    def answer(self, image: int) -> Label | None:
        """Return the label of the first class of an image; None if it has no answer."""
        first = int(self.scores.top[image, 0])
        return self.labels.labels[first] if first >= 0 else None

    def accuracy(self, scoring: Scoring, k: Literal[1, 5] = 1) -> Accuracy:
        """Return the top-k accuracy."""
        is_right = getattr(self.scores, scoring if k == 1 else f"{scoring}5")
        right, images = int(is_right.sum()), int(self.scores.is_scored.sum())
        return Accuracy(right, images, right / images if images else None, *wilson_interval(right, images))

    def to_json(self) -> dict[str, Any]:
        """Return the figures as the API returns them."""
        return {
            "backbone": self.name,
            "top1_among": asdict(self.accuracy("among")),
            "top5_among": asdict(self.accuracy("among", 5)),
            "top1_anywhere": asdict(self.accuracy("anywhere")),
            "top5_anywhere": asdict(self.accuracy("anywhere", 5)),
            "forward_ms": self.cost.forward_ms,
            "weights_mb": self.cost.size_mb,
            "engine": self.engine,
            "license": self.license,
            "classes": len(self.labels),
            "label_set": self.labels.origin,
            "n_failed": len(self.problems),
            "problem": next(iter(self.problems.values()), ""),
            "notes": list(self.notes),
            "calibration": self.calibration.to_json() if self.calibration else None,
        }


@dataclass(frozen=True)
class Report:
    """What backbones say of a set of images.

    Attributes:
        images: the set.
        matches: what each label of the set means.
        backbones: those that are compared, in request order.
        left_out: why other backbones are not, by name.
        scoring: what counts as right in the verdict.
        progress: the share of answers that are there, 0 to 1.
    """

    images: ImageSet
    matches: tuple[Match, ...]
    backbones: tuple[EvaluatedBackbone, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    scoring: Scoring = "among"
    progress: float = 1.0

    @cached_property
    def truth(self) -> np.ndarray:
        """The label of each image as an index of `matches`, ``(N,)``; -1 without one."""
        return truth_of(self.images, self.matches)

    @cached_property
    def is_labelled(self) -> bool:
        """Whether any label is scored."""
        return any(match.meaning for match in self.matches)

    @cached_property
    def is_right(self) -> np.ndarray:
        """Whether each backbone is right on each image, ``(backbones, N)`` bool."""
        return self._of_each([getattr(backbone.scores, self.scoring) for backbone in self.backbones])

    @cached_property
    def is_scored(self) -> np.ndarray:
        """Whether each backbone is scored on each image, ``(backbones, N)`` bool."""
        return self._of_each([backbone.scores.is_scored for backbone in self.backbones])

    def _of_each(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        return np.array(rows, bool).reshape(len(self.backbones), len(self.images.images))

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict from the labels."""
        is_answered = self._of_each([backbone.is_answered for backbone in self.backbones])
        of_any = self.is_scored.any(axis=0)  # images with a label that some backbone has
        names, costs = [each.name for each in self.backbones], [each.cost for each in self.backbones]
        return verdict(names, self.is_right, is_answered & of_any, self.is_scored, costs)

    @cached_property
    def codes(self) -> np.ndarray:
        """The numbers of the first classes, equal for the same class: ``(backbones, N)``; -1 without an answer."""
        indices = range(len(self.images.images))
        answers = [[backbone.answer(at) for at in indices] for backbone in self.backbones]
        return disagreement.answer_codes(answers).reshape(len(self.backbones), len(indices))

    @property
    def n_differing(self) -> int:
        """The number of images on which any two backbones differ."""
        return int((disagreement.n_differing_pairs(self.codes) > 0).sum())

    @cached_property
    def notes(self) -> list[str]:
        """Sentences on what is not scored, left out or doubtful."""
        images, counts = self.images, Counter(image.label for image in self.images.images if image.label)
        notes = unscored(self.matches, counts) if self.backbones else []
        by_classes = defaultdict[tuple[tuple[int, ...], ...], list[str]](list)
        for match in self.matches:
            by_classes[tuple(match.classes.values()) if match.meaning else ()].append(match.label)
        by_classes.pop((), None)
        same = [enumeration(labels) for labels in by_classes.values() if labels[1:]]
        notes += [f"{labels} mean the same classes, and count as one label." for labels in same]
        if self.scoring == "among" and len(by_classes) == 1:
            notes.append("Only one label is scored, so every answer is right: score the best of all classes instead.")
        lacking = {
            backbone.name: [match.label for match in self.matches if match.meaning and not match.classes[backbone.name]]
            for backbone in self.backbones
        }
        notes += [f"{name} has no class for {_some(labels)}." for name, labels in lacking.items() if labels]
        notes += [f"{name} is left out: {reason}" for name, reason in self.left_out.items()]
        if broken := [*(each["error"] for each in images.unreadable), *self._undecodable]:
            notes.append(f"{n_files(len(broken))} cannot be read, such as {broken[0]}.")
        notes += duplicate_notes(images)
        if len(splits := images.splits) > 1:
            counted = ", ".join(f"{count:,} of {name}" for name, count in splits.items())
            notes.append(
                f"All splits are evaluated ({counted}); a backbone that was trained on one of them is favoured."
            )
        if n := sum(image.label is None for image in images.images) * bool(counts):
            notes.append(f"{n_files(n)} without a label {'is' if n == 1 else 'are'} not scored.")
        return notes

    @property
    def _undecodable(self) -> list[str]:
        """Why images have no answer of any backbone, though their headers can be read."""
        problems = [backbone.problems for backbone in self.backbones]
        images = sorted(set.intersection(*map(set, problems))) if problems else []
        return [problems[0][image] for image in images]

    def to_json(self) -> dict[str, Any]:
        """Return the report as the API returns it, without the answers to single images."""
        images, counts = self.images, Counter(image.label for image in self.images.images)
        agreement = disagreement.agreement_matrix(self.codes)
        return {
            "name": images.name,
            "images": {
                "evaluated": len(images.images),
                "labelled": sum(image.label is not None for image in images.images),
                "splits": images.splits,
                "unreadable": list(images.unreadable),
                "duplicates": [list(group) for group in images.duplicates],
                "conflicts": list(images.conflicts),
            },
            "labels": [match.to_json() | {"images": counts[match.label]} for match in self.matches],
            "scoring": self.scoring,
            "progress": self.progress,
            "verdict": self.verdict.to_json() if self.is_labelled else None,
            "backbones": [backbone.to_json() for backbone in self.backbones],
            "left_out": dict(self.left_out),
            "agreement": [[None if np.isnan(each) else float(each) for each in row] for row in agreement],
            "n_differing": self.n_differing,
            "notes": self.notes,
        }


def duplicate_notes(images: ImageSet) -> list[str]:
    """Return sentences on the files of a set that are left out because they are the same image."""
    notes = []
    if n := sum(len(group) - 1 for group in images.duplicates):
        notes.append(f"{n_files(n)} repeat{'s' if n == 1 else ''} another, and {'is' if n == 1 else 'are'} left out.")
    if images.conflicts:
        first = images.conflicts[0]
        files = f"{' and '.join(first['files'][:2])} are the same image"
        notes.append(f"{n_files(len(images.conflicts))} left out as noise in the labels: {files}.")
    return notes


def truth_of(images: ImageSet, matches: Sequence[Match]) -> np.ndarray:
    """Return the label of each image as an index of `matches`, ``(N,)``; -1 if it has none, or it means no class."""
    indices = {match.label: index for index, match in enumerate(matches) if match.meaning}
    return np.array([indices.get(image.label or "", -1) for image in images.images], np.int64)


def scoring_of(value: object) -> Scoring:
    """Return a way of scoring.

    Raises:
        LineupError: when it is none.
    """
    for known in get_args(Scoring):
        if value == known:
            return known
    raise LineupError("scoring", " or ".join(get_args(Scoring)), f"got {str(value)[:40]!r}", "choose one")


def n_files(count: int) -> str:
    """Return a number of files in words."""
    return "1 file" if count == 1 else f"{count:,} files"


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:5])
    return f"{shown} and {len(labels) - 5} more" if labels[5:] else shown

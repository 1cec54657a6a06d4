"""What to look at in a report: which images first, and which labels a backbone takes for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lineup.analysis import disagreement
from lineup.analysis.confusion import NO_ANSWER, OTHER, Confusion, confusion
from lineup.analysis.evaluation import EvaluatedBackbone, Report
from lineup.analysis.scoring import owners
from lineup.errors import LineupError

Kind = Literal["all", "differ", "only", "all wrong", "label", "least sure", "cell"]


@dataclass(frozen=True)
class Filter:
    """Which images to show.

    Attributes:
        kind: differ if not all answers are the same, only if `backbone` is right and `other` is wrong, label for one
            label, cell for the images of `label` that `backbone` takes for `answer`.
        backbone: the name of one.
        other: the name of another.
        label: a label of the folder.
        answer: a label of the folder; empty for none of them.
    """

    kind: Kind = "all"
    backbone: str = ""
    other: str = ""
    label: str = ""
    answer: str = ""


def filter_of(kind: object, **values: object) -> Filter:
    """Return a filter from what a client sends; values that name nothing select no image.

    Raises:
        LineupError: when there is no such filter.
    """
    for known in get_args(Kind):
        if kind == known:
            return Filter(known, **{key: value if isinstance(value, str) else "" for key, value in values.items()})
    raise LineupError("filter", f"one of {', '.join(get_args(Kind))}", f"got {str(kind)[:40]!r}", "choose one")


def select(report: Report, chosen: Filter) -> list[int]:
    """Return the images of a filter, as indices.

    First come those on which most pairs of backbones give different labels, then different classes, and of these those
    with the most confident wrong answer; of the least sure ones, those whose confidence is low among each backbone's
    own, as the confidences of different backbones are not comparable.
    """
    right, scored = report.is_right, report.is_scored
    n_differing, confidences = disagreement.n_differing_pairs(report.codes), _confidences(report)
    certainty = confidences if not scored.any() else np.where(scored & ~right, confidences, 0.0)
    of_labels = np.zeros_like(n_differing)
    if scored.any():
        answers = np.array([answers_among_labels(report, backbone) for backbone in report.backbones])
        of_labels = disagreement.n_differing_pairs(np.where(answers == NO_ANSWER, disagreement.NO_ANSWER, answers + 1))
    order = np.lexsort((-certainty.max(axis=0, initial=0.0), -n_differing, -of_labels))
    if chosen.kind == "least sure":
        ranks = confidences.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        order = np.argsort(ranks.sum(axis=0), kind="stable")
    indices: list[int] = order[_mask(report, chosen, n_differing)[order]].tolist()
    return indices


def _confidences(report: Report) -> np.ndarray:
    """Return the probability of each backbone's first class, ``(backbones, N)``; 0 without an answer."""
    rows = [np.where(each.is_answered, each.scores.probabilities[:, 0], 0.0) for each in report.backbones]
    return np.array(rows, np.float64).reshape(len(rows), len(report.images.images))


def _mask(report: Report, chosen: Filter, n_differing: np.ndarray) -> np.ndarray:
    right, scored = report.is_right, report.is_scored
    names = [backbone.name for backbone in report.backbones]
    of_label = np.array([image.label == chosen.label for image in report.images.images], bool)
    nothing = np.zeros(len(of_label), bool)
    match chosen.kind:
        case "differ":
            return n_differing > 0
        case "all wrong":
            return scored.any(axis=0) & ~(right & scored).any(axis=0)
        case "only":
            if not {chosen.backbone, chosen.other} <= set(names):
                return nothing
            a, b = names.index(chosen.backbone), names.index(chosen.other)
            result: np.ndarray = right[a] & scored[a] & scored[b] & ~right[b]
            return result
        case "label":
            return of_label
        case "cell":
            if chosen.backbone not in names:
                return nothing
            answers = answers_among_labels(report, report.backbones[names.index(chosen.backbone)])
            labels = {match.label: index for index, match in enumerate(report.matches)}
            code = labels.get(chosen.answer, NO_ANSWER - 1) if chosen.answer else OTHER
            return of_label & (answers == code)
    return ~nothing


def answers_among_labels(report: Report, backbone: EvaluatedBackbone) -> np.ndarray:
    """Return the answers as indices of `Report.matches`, `OTHER` or `NO_ANSWER`: ``(N,)``.

    When all classes count, a class stands for the most specific of the labels that it belongs to, but if it is right,
    for the image's own label.
    """
    scores = backbone.scores
    if report.scoring == "among":
        return np.where(backbone.is_answered & (scores.best >= 0), scores.best, NO_ANSWER)
    classes = [match.classes[backbone.name] if match.meaning else () for match in report.matches]
    owner = owners(classes, len(backbone.labels))  # -1 is OTHER
    answers = np.where(scores.anywhere, report.truth, owner[scores.top[:, 0]])
    return np.where(backbone.is_answered, answers, NO_ANSWER)


def confusion_of(report: Report, backbone: EvaluatedBackbone) -> Confusion:
    """Return the confusion matrix of a backbone over the labels that are scored."""
    kept = [index for index, match in enumerate(report.matches) if match.meaning]
    position = np.full(len(report.matches), OTHER)
    position[kept] = range(len(kept))
    is_labelled = report.truth >= 0
    answers = answers_among_labels(report, backbone)[is_labelled]
    answers = np.where(answers < 0, answers, position[answers]) if len(position) else answers
    labels = position[report.truth[is_labelled]] if len(position) else answers
    unknown = [place for place, index in enumerate(kept) if not report.matches[index].classes[backbone.name]]
    return confusion([report.matches[index].label for index in kept], labels, answers, unknown)


def most_confused_labels(found: Confusion, count: int) -> Sequence[int]:
    """Return the labels with the most errors, as row or as column, in the order of the labels."""
    errors = found.matrix
    np.fill_diagonal(errors, 0)
    totals = errors.sum(axis=1) + errors[:, :-1].sum(axis=0)
    chosen: list[int] = sorted(np.argsort(-totals, kind="stable")[:count].tolist())
    return chosen

"""Which classes a backbone takes for which: confusion matrix, and precision and recall of each class."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from lineup.analysis.statistics import Interval, wilson_interval

OTHER = -1  # the answer is none of the labels
NO_ANSWER = -2  # the backbone did not answer


@dataclass(frozen=True)
class ClassFigures:
    """How well a backbone recognizes one class; intervals are Wilson's, of 95%.

    Attributes:
        support: number of images with this label.
        precision: share of right answers among those with this answer; None if there is none.
        recall: share of right answers among the images with this label; None if there is none.
        f1: harmonic mean of both; None if no image has this label or this answer.
        is_known: False if the backbone's classes lack the label, so that its images are left out.
        n_left_out: number of images with this label that are left out.
    """

    label: str
    support: int
    precision: float | None
    precision_interval: Interval
    recall: float | None
    recall_interval: Interval
    f1: float | None
    is_known: bool = True
    n_left_out: int = 0


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of a backbone, and the figures of each class.

    Attributes:
        labels: the names of the labels.
        counts: ``(labels, labels + 1)``; the row is an image's label and the column the answer, in the last column
            none of the labels.
        classes: of each label.
        n_unanswered: number of images without an answer, which are left out.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    classes: tuple[ClassFigures, ...]
    n_unanswered: int = 0

    @property
    def matrix(self) -> np.ndarray:
        """The counts, as ``(labels, labels + 1)`` int64."""
        return np.array(self.counts, dtype=np.int64).reshape(len(self.labels), len(self.labels) + 1)

    def most_confused(self, count: int) -> list[tuple[str, str | None, int]]:
        """Return the most frequent errors: label, answer, and number of images; the answer None is no label."""
        errors = self.matrix
        np.fill_diagonal(errors, 0)
        order = np.argsort(-errors, axis=None, kind="stable")[:count]
        cells = [(int(row), int(column)) for row, column in zip(*np.unravel_index(order, errors.shape), strict=True)]
        answers = (*self.labels, None)
        return [(self.labels[i], answers[j], int(errors[i, j])) for i, j in cells if errors[i, j]]


def confusion(
    names: Sequence[str], labels: np.ndarray, answers: np.ndarray, unknown: Collection[int] = ()
) -> Confusion:
    """Return the confusion matrix and the figures of each class, as scikit-learn computes them.

    Args:
        names: of the labels.
        labels: ``(images,)`` int, the indices of the images' labels.
        answers: ``(images,)`` int, the indices of the answers, `OTHER` or `NO_ANSWER`.
        unknown: indices of labels that the backbone's classes lack; it is not blamed for their images.

    Raises:
        ValueError: when the shapes do not match, or an index is out of range.
    """
    true, given = np.asarray(labels, dtype=np.int64), np.asarray(answers, dtype=np.int64)
    k = len(names)
    if true.shape != given.shape or true.ndim != 1:
        raise ValueError(f"answers: expected shape {true.shape}, one per label; got {given.shape}")
    if len(true) and not (true.min() >= 0 and true.max() < k and given.min() >= NO_ANSWER and given.max() < k):
        raise ValueError(f"labels and answers: expected indices below {k}")
    known = ~np.isin(true, list(unknown))
    kept = known & (given != NO_ANSWER)
    cells = true[kept] * (k + 1) + np.where(given[kept] == OTHER, k, given[kept])
    matrix = np.bincount(cells, minlength=k * (k + 1)).reshape(k, k + 1)
    left_out = np.bincount(true[~known], minlength=k)
    classes = tuple(_figures(name, i, matrix, i not in unknown, int(left_out[i])) for i, name in enumerate(names))
    n_unanswered = int((known & (given == NO_ANSWER)).sum())
    return Confusion(tuple(names), tuple(map(tuple, matrix.tolist())), classes, n_unanswered)


def _figures(name: str, index: int, matrix: np.ndarray, is_known: bool, n_left_out: int) -> ClassFigures:
    support, predicted, right = int(matrix[index].sum()), int(matrix[:, index].sum()), int(matrix[index, index])
    return ClassFigures(
        label=name,
        support=support,
        precision=right / predicted if predicted else None,
        precision_interval=wilson_interval(right, predicted),
        recall=right / support if support else None,
        recall_interval=wilson_interval(right, support),
        f1=2 * right / (support + predicted) if support + predicted else None,
        is_known=is_known,
        n_left_out=n_left_out,
    )

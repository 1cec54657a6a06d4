"""Pairs of backbones on the same images: how often only one of the two is right, and whether that decides."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from lineup.analysis.statistics import ALPHA, Interval, holm, images_needed, mcnemar_mid_p, newcombe_interval


class PairedCounts(NamedTuple):
    """Counts of images for each pair of backbones, as ``(backbones, backbones)`` int64.

    Attributes:
        n: images on which both are scored.
        both: of those, on which both are right.
        only_first: of those, on which the row's backbone is right and the column's is not.
    """

    n: np.ndarray
    both: np.ndarray
    only_first: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Two backbones on the images on which both are scored.

    Attributes:
        n_images: number of those images.
        only_first: on how many of them only the first is right.
        only_second: on how many of them only the second is right.
        difference: accuracy of the first minus that of the second, −1 to 1; None without images.
        unadjusted_interval: Newcombe's 95% interval of the difference, not adjusted for the number of pairs; None if
            the accuracies are unknown.
        mid_p: McNemar's mid-p value.
        adjusted_p: the same by Holm's method over all pairs.
        decided: whether `adjusted_p` is at most 5%; this alone decides.
        images_needed: how many images in all would decide it if the difference is real, at a power of 80% and a level
            divided among the undecided pairs; None without a difference.
    """

    first: str
    second: str
    n_images: int
    only_first: int
    only_second: int
    difference: float | None
    unadjusted_interval: Interval | None
    mid_p: float
    adjusted_p: float
    decided: bool
    images_needed: int | None

    @property
    def better(self) -> str | None:
        """The backbone that is better, if that is decided."""
        return (self.first if self.only_first > self.only_second else self.second) if self.decided else None

    @property
    def worse(self) -> str | None:
        """The backbone that is worse, if that is decided."""
        return {self.first: self.second, self.second: self.first}.get(self.better or "")

    @property
    def more_images(self) -> int | None:
        """How many more images than these would decide it; None if it is decided, or without a difference."""
        return None if self.decided or self.images_needed is None else self.images_needed - self.n_images

    def to_json(self) -> dict[str, Any]:
        """Return the pair as the API returns it."""
        interval = self.unadjusted_interval
        derived = {"better": self.better, "more_images": self.more_images}
        return asdict(self) | {"unadjusted_interval": interval and list(interval)} | derived


def paired_counts(correct: np.ndarray, scored: np.ndarray) -> PairedCounts:
    """Count the images of each pair.

    Args:
        correct: ``(backbones, images)`` bool; ignored where `scored` is False.
        scored: ``(backbones, images)`` bool, whether there is an answer that can be right or wrong.
    """
    right, valid = (correct & scored).astype(np.float64), scored.astype(np.float64)  # exact, and by BLAS
    both, first = right @ right.T, right @ valid.T
    n, both, only_first = (np.rint(counts).astype(np.int64) for counts in (valid @ valid.T, both, first - both))
    return PairedCounts(n, both, only_first)


def compare(names: Sequence[str], counts: PairedCounts, accuracies_known: bool = True) -> tuple[Pair, ...]:
    """Compare all pairs of backbones, in the order of their names.

    Holm's adjustment is over all k (k − 1) / 2 pairs but those without a common image, which nothing can decide.

    Args:
        names: of the backbones, in the order of the counts.
        counts: of the images.
        accuracies_known: whether `both` of the counts is known; without it there are no intervals.
    """
    indices = list(combinations(range(len(names)), 2))
    p = [mcnemar_mid_p(counts.only_first[i, j], counts.only_first[j, i]) for i, j in indices]
    tested = np.array([counts.n[i, j] > 0 for i, j in indices], dtype=bool)
    adjusted = np.ones(len(indices))
    adjusted[tested] = holm(np.array(p)[tested])
    n_undecided = max(int((adjusted[tested] > ALPHA).sum()), 1)
    return tuple(
        _pair((names[i], names[j]), _table(counts, i, j), accuracies_known, (mid_p, float(adjusted_p)), n_undecided)
        for (i, j), mid_p, adjusted_p in zip(indices, p, adjusted, strict=True)
    )


def not_worse(names: Sequence[str], pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return the backbones than which no other of them is better, as far as that is decided."""
    worse = {pair.worse for pair in pairs if {pair.first, pair.second} <= set(names)}
    return tuple(name for name in names if name not in worse)


def _table(counts: PairedCounts, i: int, j: int) -> tuple[int, int, int, int]:
    """Return on how many images both, only the first, only the second, and neither is right."""
    both, b, c = int(counts.both[i, j]), int(counts.only_first[i, j]), int(counts.only_first[j, i])
    return both, b, c, int(counts.n[i, j]) - both - b - c


def _pair(
    names: tuple[str, str],
    table: tuple[int, int, int, int],
    accuracies_known: bool,
    p_values: tuple[float, float],
    n_undecided: int,
) -> Pair:
    _, b, c, _ = table
    n, (mid_p, adjusted_p) = sum(table), p_values
    return Pair(
        *names,
        n_images=n,
        only_first=b,
        only_second=c,
        difference=(b - c) / n if n else None,
        unadjusted_interval=newcombe_interval(*table) if accuracies_known and n else None,
        mid_p=mid_p,
        adjusted_p=adjusted_p,
        decided=adjusted_p <= ALPHA,
        images_needed=images_needed(b, c, n, n_undecided),
    )

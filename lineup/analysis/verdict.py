"""Which of several backbones to take, by which images each of them classifies correctly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lineup.analysis import verdict_text
from lineup.analysis.pairs import Pair, compare, not_worse, paired_counts
from lineup.analysis.statistics import Interval, wilson_interval


@dataclass(frozen=True)
class Cost:
    """What a backbone costs on this machine; None where that is not known."""

    forward_ms: float | None = None  # per image
    size_mb: float | None = None

    @property
    def price(self) -> tuple[float, float]:
        """A key that sorts by ms, then MB; unknown ones are last."""
        unknown = math.inf
        return (
            unknown if self.forward_ms is None else self.forward_ms,
            unknown if self.size_mb is None else self.size_mb,
        )


def cheapest(names: Sequence[str], costs: Mapping[str, Cost]) -> str | None:
    """Return the backbone with the least ms, then MB; of equal ones the first, and None of none."""
    return min(names, key=lambda name: costs[name].price, default=None)


@dataclass(frozen=True)
class Score:
    """How many images a backbone classifies correctly.

    Attributes:
        right: number of correct answers.
        n_images: number of answers that can be right or wrong.
        interval: Wilson's 95% interval of the accuracy.
        n_unanswered: number of images that others answered, and this backbone did not.
        n_unknown: number of images whose label its classes lack; not counted as wrong.
    """

    backbone: str
    right: int
    n_images: int
    interval: Interval
    cost: Cost
    n_unanswered: int = 0
    n_unknown: int = 0

    @property
    def accuracy(self) -> float | None:
        """The share of correct answers; None without an answer."""
        return self.right / self.n_images if self.n_images else None

    def to_json(self) -> dict[str, Any]:
        """Return the score as the API returns it."""
        return {**asdict(self), "interval": list(self.interval), "accuracy": self.accuracy}


@dataclass(frozen=True)
class Verdict:
    """What the images say about the backbones.

    Attributes:
        scores: of each backbone on all of its own images, in request order.
        ranked: scores on the images on which all of them are scored, best first, the cheaper one first in a tie;
            without backbones that did not finish, or whose classes lack the labels of most images.
        pairs: all pairs, the better-ranked one first; those of ranked backbones are on the images of `ranked`, and with
            one that is not ranked on those that both have.
        not_worse: the ranked backbones than which no ranked one is better, as far as the images decide that.
        recommended: of those the one with the least ms, then MB; None without a ranking.
        sentence: all of that in plain words.
    """

    scores: tuple[Score, ...]
    ranked: tuple[Score, ...]
    pairs: tuple[Pair, ...]
    not_worse: tuple[str, ...]
    recommended: str | None
    sentence: str

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of the ranked backbones, best first."""
        return tuple(score.backbone for score in self.ranked)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as the API returns it."""
        return {
            "sentence": self.sentence,
            "recommended": self.recommended,
            "not_worse": list(self.not_worse),
            "ranking": list(self.ranking),
            "scores": [score.to_json() for score in self.scores],
            "ranked": [score.to_json() for score in self.ranked],
            "pairs": [pair.to_json() for pair in self.pairs],
        }


def verdict(
    names: Sequence[str],
    correct: np.ndarray,
    answered: np.ndarray | None = None,
    known: np.ndarray | None = None,
    costs: Sequence[Cost] = (),
) -> Verdict:
    """Decide which backbones are better than others, and which one to take.

    McNemar's mid-p values with Holm's adjustment over all pairs decide. Backbones are ranked on common images only, so
    that what is said of three of them does not contradict itself. Ranked are those that answered every image that any
    backbone did, or all if there is none, and are scored on at least half as many images as the others.

    Args:
        names: of the backbones, each once.
        correct: ``(backbones, images)`` bool.
        answered: ``(backbones, images)`` bool, False where a backbone failed; None if none did.
        known: ``(backbones, images)`` bool, False where a backbone's classes lack the label; None if none does.
        costs: of the backbones, or empty.

    Raises:
        ValueError: when the shapes do not match, or a name is there twice.
    """
    right, valid, labelled = _checked(names, correct, answered, known)
    scored = valid & labelled
    all_costs = list(costs) or [Cost()] * len(names)
    is_ranked = _is_ranked(valid, scored)
    common = scored[is_ranked].all(axis=0) if is_ranked.any() else np.zeros(scored.shape[1], dtype=bool)
    unanswered = (valid.any(axis=0) & ~valid).sum(axis=1)
    unknown = (valid & ~labelled).sum(axis=1)

    def score(index: int, images: np.ndarray) -> Score:
        n_right, n = int((right[index] & images).sum()), int(images.sum())
        left_out = int(unanswered[index]), int(unknown[index])
        return Score(names[index], n_right, n, wilson_interval(n_right, n), all_costs[index], *left_out)

    scores = [score(index, scored[index]) for index in range(len(names))]
    on_common = [score(index, common) if is_ranked[index] else scores[index] for index in range(len(names))]
    order = sorted(
        range(len(names)), key=lambda i: (not is_ranked[i], -(on_common[i].accuracy or 0), scores[i].cost.price)
    )
    n_ranked = int(is_ranked.sum()) if common.any() else 0
    ranked = tuple(on_common[index] for index in order[:n_ranked])
    compared = scored & (common | ~is_ranked[:, None]) if n_ranked else scored
    pairs = compare([names[i] for i in order], paired_counts(right[order], compared[order]))
    candidates = not_worse([each.backbone for each in ranked], pairs)
    recommended = cheapest(candidates, dict(zip(names, all_costs, strict=True)))
    text = verdict_text.sentence(scores, ranked, pairs, candidates, recommended)
    return Verdict(tuple(scores), ranked, pairs, candidates, recommended, text)


def _checked(
    names: Sequence[str], correct: np.ndarray, answered: np.ndarray | None, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three ``(backbones, images)`` bool arrays."""
    if not names:
        return (np.zeros((0, 0), dtype=bool),) * 3
    right = np.asarray(correct, dtype=bool).reshape(len(names), -1)
    masks = [np.ones_like(right) if mask is None else np.asarray(mask, dtype=bool) for mask in (answered, known)]
    for mask in masks:
        if mask.shape != right.shape:
            raise ValueError(f"answered and known: expected shape {right.shape}; got {mask.shape}")
    if len(set(names)) < len(names):
        raise ValueError(f"names: expected each once; got {list(names)}")
    return right, masks[0], masks[1]


def _is_ranked(answered: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return which backbones are ranked, ``(backbones,)`` bool."""
    complete = answered.any(axis=1) & (answered | ~answered.any(axis=0)).all(axis=1)
    if not complete.any():
        complete = answered.any(axis=1)
    n_scored = scored.sum(axis=1)
    most = n_scored[complete].max(initial=0)
    return complete & (n_scored > 0) & (2 * n_scored >= most)

"""Images on which backbones differ: without labels they are all that has to be labelled to compare the backbones.

Where two backbones give the same answer, both are right or both are wrong. Such images do not enter McNemar's test,
so that its verdict from labels of the others is the one from labels of all images.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lineup.analysis.pairs import Pair, PairedCounts, compare, not_worse, paired_counts
from lineup.analysis.verdict import Cost, cheapest
from lineup.analysis.verdict_text import advice
from lineup.registry.labels import Label

NO_ANSWER = -1  # the code of an image that a backbone did not answer


def answer_codes(answers: Sequence[Sequence[Label | None]]) -> np.ndarray:
    """Number the answers of several backbones so that the same class has the same number.

    As for the agreement on one image, classes are the same by id if both have one, else by name, ignoring case. A name
    without an id that is the name of several ids is none of them.

    Args:
        answers: of each backbone, the label of its first class for each image; None where it did not answer.

    Returns:
        ``(backbones, images)`` int64, with `NO_ANSWER` for None.
    """
    labels = dict.fromkeys(label for row in answers for label in row if label is not None)
    ids: dict[str, set[str]] = {}
    for label in labels:
        if label.id:
            ids.setdefault(label.name.casefold(), set()).add(label.id)
    codes: dict[str, int] = {}
    code_of: dict[Label | None, int] = {None: NO_ANSWER}
    for label in labels:
        name = label.name.casefold()
        known = ids.get(name, set())
        key = label.id or (next(iter(known)) if len(known) == 1 else f"name {name}")
        code_of[label] = codes.setdefault(key, len(codes))
    table = np.array([[code_of[label] for label in row] for row in answers], dtype=np.int64)
    return table.reshape(len(answers), len(answers[0]) if answers else 0)


def agreement_matrix(codes: np.ndarray) -> np.ndarray:
    """Return the share of common images on which two backbones agree, ``(backbones, backbones)`` float64.

    It is NaN for a pair without an image that both answered.

    Args:
        codes: ``(backbones, images)`` int; the numbers of the answers, or `NO_ANSWER`.
    """
    result = np.full((len(codes), len(codes)), np.nan)
    for i, j in np.ndindex(result.shape):
        common = (codes[i] != NO_ANSWER) & (codes[j] != NO_ANSWER)
        if common.any():
            result[i, j] = (codes[i] == codes[j])[common].mean()
    return result


def n_differing_pairs(codes: np.ndarray) -> np.ndarray:
    """Return how many pairs of backbones differ on each image, ``(images,)`` int64."""
    counts = np.zeros(codes.shape[1], dtype=np.int64)
    for i, j in combinations(range(len(codes)), 2):
        counts += _differ(codes[i], codes[j])
    return counts


def _differ(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first != second) & (first != NO_ANSWER) & (second != NO_ANSWER)


def labelling_order(codes: np.ndarray, confidences: np.ndarray | None = None) -> np.ndarray:
    """Return the images on which backbones differ, ``(differing,)`` int64, in the order in which to label them.

    First come those on which most pairs differ, as one label then counts for several pairs; among these, those with
    the most confident answer, which is less often *neither*. No order can bias the verdict: it is `settled` only when
    no labels of the rest can change it.

    Args:
        codes: ``(backbones, images)`` int; the numbers of the answers, or `NO_ANSWER`.
        confidences: ``(backbones, images)``, the probabilities of the answers.
    """
    counts = n_differing_pairs(codes)
    if confidences is None:
        confidence = np.zeros(len(counts))
    else:
        confidence = np.where(codes == NO_ANSWER, 0.0, confidences).max(axis=0, initial=0.0)
    order = np.lexsort((-confidence, -counts))  # stable: ties keep the order of the images
    return order[counts[order] > 0]


@dataclass(frozen=True)
class LabellingVerdict:
    """The verdict on all pairs from labels of only some images, and what remains to be labelled.

    Attributes:
        pairs: as of labels of all images, once nothing remains; without intervals, as accuracies are unknown.
        n_images: number of all images.
        n_differing: number of images on which any pair differs.
        n_labelled: how many of those are labelled.
        settled: whether the remaining labels cannot change which pairs are decided, and for which backbone.
        not_worse: the backbones than which no other is better, as far as the labels decide that.
        recommended: of those the one with the least ms, then MB; None until the verdict is settled.
        sentence: the progress, and the decisions that are settled.
    """

    pairs: tuple[Pair, ...]
    not_worse: tuple[str, ...]
    recommended: str | None
    n_images: int
    n_differing: int
    n_labelled: int
    settled: bool
    sentence: str

    @property
    def n_remaining(self) -> int:
        return self.n_differing - self.n_labelled


def labelling_verdict(
    names: Sequence[str], codes: np.ndarray, right: Mapping[int, Collection[int]], costs: Sequence[Cost] = ()
) -> LabellingVerdict:
    """Return the verdict on all pairs from labels of images on which backbones differ.

    Args:
        names: of the backbones, each once.
        codes: ``(backbones, images)`` int; the numbers of the answers, or `NO_ANSWER`.
        right: image → the numbers of its right answers, empty for *neither*; other images are not labelled yet.
        costs: of the backbones, or empty.

    Raises:
        ValueError: when the shapes do not match, or an image does not exist.
    """
    n_images = codes.shape[1]
    if len(codes) != len(names) or not all(0 <= image < n_images for image in right):
        raise ValueError(f"codes: expected ({len(names)}, images up to {max(right, default=0)}); got {codes.shape}")
    correct, is_labelled = np.zeros(codes.shape, dtype=bool), np.zeros(n_images, dtype=bool)
    for image, answers in right.items():
        correct[:, image] = np.isin(codes[:, image], list(answers)) & (codes[:, image] != NO_ANSWER)
        is_labelled[image] = True
    counts = paired_counts(correct, codes != NO_ANSWER)
    pairs = compare(names, counts, accuracies_known=False)
    open_images = codes[:, ~is_labelled]
    remaining = np.array([[_differ(a, b).sum() for b in open_images] for a in open_images]).reshape(counts.n.shape)
    lasting = _lasting(names, counts, remaining)
    differs = n_differing_pairs(codes) > 0
    n_differing, n_labelled = int(differs.sum()), int((differs & is_labelled).sum())
    possible = _possible(names, counts, remaining)
    settled = all(kept is not None or not may for kept, may in zip(lasting, possible, strict=True))
    text = _sentence(n_differing, n_differing - n_labelled, settled, pairs, lasting)
    candidates, recommended = not_worse(names, pairs), None
    if settled and n_differing and candidates:
        cost_of = dict(zip(names, costs or [Cost()] * len(names), strict=True))
        recommended = cheapest(candidates, cost_of)
        text += f" {advice(recommended or '', [cost_of[name] for name in candidates])}"
    return LabellingVerdict(pairs, candidates, recommended, n_images, n_differing, n_labelled, settled, text)


def _lasting(names: Sequence[str], counts: PairedCounts, remaining: np.ndarray) -> list[str | None]:
    """Return for each pair which backbone is better whatever the remaining labels are; None if neither is.

    In the worst case each of them is against the backbone that is ahead. Holm's adjusted values increase with each
    p value, so that the worst case of all pairs at once is an upper limit of all.
    """
    lead = counts.only_first - counts.only_first.T
    behind = lead < 0
    only_first = np.where(behind, np.minimum(counts.only_first + remaining, counts.only_first.T), counts.only_first)
    return [pair.better for pair in compare(names, counts._replace(only_first=only_first), False)]


def _possible(names: Sequence[str], counts: PairedCounts, remaining: np.ndarray) -> list[bool]:
    """Return for each pair whether some remaining labels could decide it.

    In the best case each of them is for the backbone that is ahead, or in a tie, for the first.
    """
    lead = counts.only_first - counts.only_first.T
    ahead = (lead > 0) | ((lead == 0) & np.triu(np.ones_like(lead, dtype=bool)))
    only_first = np.where(ahead, counts.only_first + remaining, counts.only_first)
    return [pair.decided for pair in compare(names, counts._replace(only_first=only_first), False)]


def _sentence(
    n_differing: int, n_remaining: int, settled: bool, pairs: Sequence[Pair], lasting: Sequence[str | None]
) -> str:
    if n_differing == 0:
        return "The backbones give the same answers on all images, so no label can show a difference."
    better = [
        f"{name} is better than {pair.second if name == pair.first else pair.first}"
        for pair, name in zip(pairs, lasting, strict=True)
        if name
    ]
    found = f"{'; '.join(better[:3])}{f'; and {len(better) - 3} more pairs are decided' if better[3:] else ''}."
    progress = f"{n_differing - n_remaining:,} of {n_differing:,} images where they differ are labelled"
    if n_remaining and not settled:
        return f"{progress}: label {n_remaining:,} more.{f' Already certain: {found}' if better else ''}"
    cannot = f", and the other {n_remaining:,} cannot change the verdict" if n_remaining else ""
    return f"{progress}{cannot}: {found if better else 'they show no significant difference.'}"

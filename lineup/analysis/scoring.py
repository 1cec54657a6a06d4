"""Scores a backbone's logits against labels, each of which stands for one or several of its classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

TOP_K = 5  # classes kept of each image


@dataclass(frozen=True)
class Scores:
    """What a backbone says of N images, and where it is right.

    An image is scored if it has a label that stands for classes of this backbone, and was computed. Elsewhere the
    booleans are False, and the indices of images that were not computed are -1.

    Attributes:
        top: the classes of the highest probabilities, descending: ``(N, k)`` int32, with k ≤ 5.
        probabilities: their probabilities, ``(N, k)`` float32.
        best: the label of the highest probability among the labels, ``(N,)`` int32; if it is right, the image's own.
        best_probability: its probability, the labels' probabilities adding up to 1: ``(N,)`` float32.
        is_scored: ``(N,)`` bool.
        anywhere: whether the first class is one of the label's, among all classes of the backbone: ``(N,)`` bool.
        anywhere5: the same of the first five.
        among: whether `best` is the image's label, ``(N,)`` bool.
        among5: whether the image's label is among the best five.
    """

    top: np.ndarray
    probabilities: np.ndarray
    best: np.ndarray
    best_probability: np.ndarray
    is_scored: np.ndarray
    anywhere: np.ndarray
    anywhere5: np.ndarray
    among: np.ndarray
    among5: np.ndarray


def score(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], truth: np.ndarray, classes: Sequence[Sequence[int]], n_classes: int
) -> Scores:
    """Score the probabilities of N images. Labels with the same classes, such as *cab* and *taxi*, count as one.

    Args:
        parts: pairs of indices of images ``(n,)`` and their class probabilities ``(n, n_classes)``, in any order; an
            image that is in none was not computed.
        truth: the label of each image, ``(N,)``; -1 if it has none.
        classes: the classes that each label stands for; empty if the backbone lacks it.
        n_classes: the number of classes of the backbone.
    """
    n_images, k = len(truth), min(TOP_K, n_classes)
    membership = np.zeros((n_classes, len(classes)), bool)
    for label, members in enumerate(classes):
        membership[list(members), label] = True
    owner, first = owners(classes, n_classes), dict[tuple[int, ...], int]()  # of the labels with the same classes
    for label, members in enumerate(classes):
        first.setdefault(tuple(members), label)
    labels = np.array([*(first[tuple(members)] for members in classes), -1])[truth]  # (N,)
    known = np.array([label for members, label in first.items() if members], int)
    weights = np.zeros((n_classes, len(known)), np.float32)
    for column, label in enumerate(known.tolist()):
        weights[owner == label, column] = 1
    top, probabilities = np.full((n_images, k), -1, np.int32), np.zeros((n_images, k), np.float32)
    best, best_probability = np.full(n_images, -1, np.int32), np.zeros(n_images, np.float32)
    flags = {name: np.zeros(n_images, bool) for name in ("is_scored", "anywhere", "anywhere5", "among", "among5")}
    for rows, p in parts:
        order = np.argsort(-p, axis=1, kind="stable")[:, :k]  # the order of `classify`
        top[rows], probabilities[rows] = order, np.take_along_axis(p, order, axis=1)
        has_label = np.isin(labels[rows], known)
        flags["is_scored"][rows] = has_label
        if not len(known):
            continue
        right = membership[order, labels[rows][:, None]] & has_label[:, None]  # (n, k)
        flags["anywhere"][rows], flags["anywhere5"][rows] = right[:, 0], right.any(axis=1)
        of_labels = p @ weights  # (n, known labels)
        ranked = known[np.argsort(-of_labels, axis=1, kind="stable")]
        total = of_labels.sum(axis=1)
        best_probability[rows] = of_labels.max(axis=1) / np.where(total > 0, total, 1)
        hits = (ranked[:, :TOP_K] == labels[rows][:, None]) & has_label[:, None]
        best[rows] = np.where(hits[:, 0], truth[rows], ranked[:, 0])
        flags["among"][rows], flags["among5"][rows] = hits[:, 0], hits.any(axis=1)
    return Scores(top, probabilities, best, best_probability, **flags)


def owners(classes: Sequence[Sequence[int]], n_classes: int) -> np.ndarray:
    """Return the label that each class counts for, ``(n_classes,)``; -1 for none.

    Where labels overlap, as *dog* and *beagle*, a class counts for the most specific one, which has the fewest classes;
    of labels with as many, for the first.
    """
    owner = np.full(n_classes, -1)
    for label in sorted(range(len(classes)), key=lambda label: (len(classes[label]), label), reverse=True):
        owner[list(classes[label])] = label
    return owner

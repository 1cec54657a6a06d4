"""Folds of a cross-validation, which keep groups of related images together and the shares of the classes equal."""

from collections.abc import Sequence

import numpy as np

MIN_UNIFORM = 5  # images that look alike
_SEED = 0


class Groups:
    """Groups of images that belong together, directly or through others; each image begins as one of its own.

    Args:
        n_images: the number of images.
    """

    def __init__(self, n_images: int) -> None:
        self._parent = np.arange(n_images)

    def link(self, first: int, others: Sequence[int] | np.ndarray) -> None:
        """Join the groups of an image and of others, by their indices."""
        root, indices = self._root(first), np.asarray(others, np.int64)
        for other in indices[self._parent[indices] != root]:  # most of many are of this group already
            self._parent[self._root(int(other))] = root
            self._parent[other] = root

    @property
    def ids(self) -> np.ndarray:
        """The group of each image, ``(N,)`` int64, from 0."""
        roots = np.array([self._root(image) for image in range(len(self._parent))], np.int64)
        return np.unique(roots, return_inverse=True)[1].astype(np.int64)

    def _root(self, image: int) -> int:
        parent = self._parent
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = int(parent[image])
        return image


def uniform_classes(truth: np.ndarray, alike: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """Return the classes of which most images look alike, though few belong together for certain.

    How they look then says nothing about which of them do: they share a ground or a shape.

    Args:
        truth: the class of each image, ``(N,)``; -1 without one.
        alike: the groups of images that look alike, ``(N,)``.
        certain: the groups of those that belong together for certain, ``(N,)``: parts of the others.
    """
    found = []
    for label in np.unique(truth[truth >= 0]):
        of_class = truth == label
        groups, counts = np.unique(alike[of_class], return_counts=True)
        most = of_class & (alike == groups[counts.argmax()])
        if counts.max() >= MIN_UNIFORM and 2 * counts.max() > of_class.sum() and len(np.unique(certain[most])) > 1:
            found.append(label)
    return np.array(found, np.int64)


def without_uniform(truth: np.ndarray, alike: np.ndarray, certain: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the groups of images that look alike, ``(N,)``; in uniform classes, of those that do for certain.

    Args:
        truth: the class of each image, ``(N,)``.
        alike: the groups, as for `uniform_classes`, and so is `certain`.
        uniform: these classes.
    """
    groups = Groups(len(truth))
    for ids, images in ((alike, np.flatnonzero(~np.isin(truth, uniform))), (certain, np.arange(len(truth)))):
        ordered = images[np.argsort(ids[images], kind="stable")]
        for some in np.split(ordered, np.flatnonzero(np.diff(ids[ordered])) + 1):
            if len(some):
                groups.link(int(some[0]), some)
    return groups.ids


def assign(truth: np.ndarray, groups: np.ndarray, n_folds: int) -> np.ndarray:
    """Return the fold of each image, ``(N,)`` int64.

    Groups are assigned one by one, large ones first, each to the fold that has the smallest share of its classes. The
    order within a size is random, with a fixed seed.

    Args:
        truth: the class of each image, ``(N,)``.
        groups: the group of each image, ``(N,)``: those of a group are in the same fold.
        n_folds: the number of folds.
    """
    n_of_class = np.bincount(truth)
    counts = np.zeros((n_folds, len(n_of_class)))
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    shuffled = np.random.default_rng(_SEED).permutation(len(members))
    found = np.zeros(len(truth), np.int64)
    for index in sorted(shuffled, key=lambda index: -len(members[index])):
        classes, n = np.unique(truth[members[index]], return_counts=True)
        shares = (counts[:, classes] / n_of_class[classes]).sum(axis=1)
        fold = np.lexsort((counts.sum(axis=1), shares.round(9)))[0]
        counts[fold, classes] += n
        found[members[index]] = fold
    return found


def number_of(truth: np.ndarray, groups: np.ndarray, most: int) -> int:
    """Return a number of folds from 2 to `most`: that of the groups of the class that has most of them."""
    pairs = np.unique(np.stack([truth, groups]), axis=1)
    return int(np.clip(np.bincount(pairs[0]).max(initial=0), 2, most))


def part_of(truth: np.ndarray, groups: np.ndarray, images: np.ndarray, share: float) -> np.ndarray:
    """Return a share of some images ``(n,)``, of each class at least one; a larger share contains a smaller one.

    Args:
        truth: the class of each image, ``(N,)``.
        groups: the group of each image, ``(N,)``; groups are taken one after the other.
        images: indices of the images to choose from, ``(n,)``.
        share: 0 to 1.
    """
    ranks = np.random.default_rng(_SEED).permutation(groups.max(initial=0) + 1)
    kept = []
    for label in np.unique(truth[images]):
        of_class = images[truth[images] == label]
        of_class = of_class[np.argsort(ranks[groups[of_class]], kind="stable")]
        kept.append(of_class[: max(1, round(share * len(of_class)))])
    return np.sort(np.concatenate(kept))

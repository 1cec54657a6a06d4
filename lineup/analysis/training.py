"""The report of a training: how good the classifiers of several backbones are, and which one to take."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lineup.analysis.calibration import Reliability, reliability
from lineup.analysis.evaluation import duplicate_notes, n_files
from lineup.analysis.heads import MIN_FOR_REGRESSION
from lineup.analysis.statistics import ALPHA, Interval, mcnemar_mid_p, newcombe_interval, wilson_interval
from lineup.analysis.verdict import Cost, Verdict, verdict
from lineup.analysis.verdict_text import percent
from lineup.images.image_set import ImageSet

LITTLE = 0.04  # of the accuracy: a rise, from twice as many images, that hardly helps


@dataclass(frozen=True)
class Accuracy:
    """A share of correct answers: of classifiers that were fitted to `n_fitted` images, on n others."""

    right: int
    n: int
    n_fitted: int

    @property
    def share(self) -> float | None:
        """The accuracy, 0 to 1; None without an image."""
        return self.right / self.n if self.n else None

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval."""
        return wilson_interval(self.right, self.n)

    @property
    def text(self) -> str:
        """The accuracy in words: ``93% (78 to 98) of 30 images``."""
        if not self.n:
            return "unknown"
        value, low, high = (percent(each, self.n) for each in (self.right / self.n, *self.interval))
        return f"{value}% ({low} to {high}) of {self.n:,} image{'s' * (self.n != 1)}"

    def to_json(self) -> dict[str, Any]:
        """Return the accuracy as the API returns it."""
        return {**asdict(self), "accuracy": self.share, "interval": list(self.interval)}


@dataclass(frozen=True)
class DoubtfulLabel:
    """An image that classifiers that have not seen it take for another class, with confidence.

    Attributes:
        image: its index.
        label: the class that it was given.
        suggested: the class that it looks like.
        probability: of that class.
    """

    image: int
    label: str
    suggested: str
    probability: float


@dataclass(frozen=True)
class NearDuplicates:
    """Two images that look nearly the same and have different labels; `first` and `second` are their indices."""

    first: int
    second: int


@dataclass(frozen=True)
class TrainedBackbone:
    """A backbone with a head for the classes.

    Attributes:
        name: the entry's.
        method: nearest centroid, or logistic regression.
        regularization: C of the logistic regression, chosen by cross-validation; None for centroids.
        temperature: by which logits are divided, fitted out of fold.
        n_features: the number of features of an image.
        probabilities: of the classes, calibrated, by classifiers that have not seen the image or its group:
            ``(N, classes)`` float32; NaN where there are none.
        problems: why images have no features, by index.
        cost: the latency of one image, and the size of the weights file.
        engine: the engine and its precision.
        license: of the weights; empty if not stated.
        curve: the accuracy by the number of images that it was fitted to, ascending; the last is that of all.
        gain: how many images are right only with all images, and only with half of them.
        calibration: how far the probabilities can be trusted; None without any.
        doubtful: labels that look wrong, the most doubtful first.
        held_out: the accuracy on the held-out images of the test split, or else of validation; None without any.
        fit_s: how long the fits took, in seconds.
    """

    name: str
    method: str
    regularization: float | None
    temperature: float
    n_features: int
    probabilities: np.ndarray
    problems: Mapping[int, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    engine: str = ""
    license: str = ""
    curve: tuple[Accuracy, ...] = ()
    gain: tuple[int, int] = (0, 0)
    calibration: Reliability | None = None
    doubtful: tuple[DoubtfulLabel, ...] = ()
    held_out: Accuracy | None = None
    fit_s: float = 0.0

    @property
    def accuracy(self) -> Accuracy:
        """The accuracy out of fold, which estimates that on new images."""
        return self.curve[-1] if self.curve else Accuracy(0, 0, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as the API returns them."""
        return {
            "backbone": self.name,
            "method": self.method,
            "C": self.regularization,
            "temperature": self.temperature,
            "features": self.n_features,
            **self.accuracy.to_json(),
            "held_out": self.held_out and self.held_out.to_json(),
            "curve": [each.to_json() for each in self.curve],
            "ece": self.calibration and self.calibration.ece,
            "forward_ms": self.cost.forward_ms,
            "weights_mb": self.cost.size_mb,
            "engine": self.engine,
            "license": self.license,
            "n_failed": len(self.problems),
            "fit_s": self.fit_s,
        }


@dataclass(frozen=True)
class TrainingReport:
    """What several backbones learn from a set of images.

    Attributes:
        images: the set; those of a test or validation split are held out.
        classes: the labels, in the order of the outputs.
        groups: the group of each image ``(N,)`` int64: those of a group are never on both sides of a fold.
        near_duplicates: pairs of images that look the same and have different labels.
        backbones: those that were trained, in request order.
        left_out: why other backbones were not, by name.
        progress: the share of the work that is done, 0 to 1.
        uniform: the classes of which most images look alike, so that only copies of them are in one group.
    """

    images: ImageSet
    classes: tuple[str, ...]
    groups: np.ndarray
    near_duplicates: tuple[NearDuplicates, ...]
    backbones: tuple[TrainedBackbone, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    progress: float = 1.0
    uniform: tuple[str, ...] = ()

    @cached_property
    def truth(self) -> np.ndarray:
        """The class of each image as an index of `classes`, ``(N,)``; -1 without one."""
        return truth_of(self.images, self.classes)

    @cached_property
    def is_held_out(self) -> np.ndarray:
        """Whether each image is held out, ``(N,)`` bool."""
        return held_out(self.images)

    @cached_property
    def unreadable(self) -> list[int]:
        """The indices of the images that no backbone could read beyond their headers, ascending."""
        return sorted(set.intersection(*(set(each.problems) for each in self.backbones))) if self.backbones else []

    @cached_property
    def is_fitted(self) -> np.ndarray:
        """Whether each image is one to train on, ``(N,)`` bool."""
        return to_fit(self.is_held_out, self._readable_truth, self.groups)

    @property
    def n_dependent(self) -> int:
        """How many more images than groups there are to train on: intervals count them all as independent."""
        return int(self.is_fitted.sum()) - len(np.unique(self.groups[self.is_fitted]))

    @property
    def _readable_truth(self) -> np.ndarray:
        truth = self.truth.copy()
        truth[self.unreadable] = -1
        return truth

    @cached_property
    def verdict(self) -> Verdict:
        """Which backbone to take, by the out-of-fold answers; its sentence says how sure that is."""
        shape = len(self.backbones), len(self.images.images)
        known = np.array([np.isfinite(each.probabilities).all(axis=1) for each in self.backbones], bool).reshape(shape)
        right = [each.probabilities.argmax(axis=1) == self.truth for each in self.backbones]
        names, costs = [each.name for each in self.backbones], [each.cost for each in self.backbones]
        return verdict(names, np.array(right, bool).reshape(shape), known, None, costs)

    @cached_property
    def ordered(self) -> tuple[TrainedBackbone, ...]:
        """The backbones, the recommended one first, then as the verdict ranks them, and those that it does not rank."""
        names = [self.verdict.recommended, *self.verdict.ranking, *(each.name for each in self.backbones)]
        return tuple(sorted(self.backbones, key=lambda each: names.index(each.name)))

    @property
    def best(self) -> TrainedBackbone | None:
        """The backbone that the verdict recommends, or the first one without a verdict; None without any."""
        return next(iter(self.ordered), None)

    @cached_property
    def advice(self) -> list[str]:
        """Sentences on what would help: more images, another backbone, or clearer labels."""
        best = self.best
        if best is None or not best.accuracy.n:
            return []
        advice = [_on_images(best)]
        if doubtful := len(best.doubtful):
            looks = "1 file that looks" if doubtful == 1 else f"{doubtful:,} files that look"
            advice.append(f"Check the label{'s' * (doubtful != 1)} of {looks} like another class.")
        if self.near_duplicates:
            pairs = len(self.near_duplicates)
            count = "A pair of images looks" if pairs == 1 else f"{pairs:,} pairs of images look"
            advice.append(f"{count} nearly the same, with different labels: check which is right.")
        counts = Counter(self.classes[label] for label in self.truth[self.is_fitted])
        if few := [name for name in self.classes if counts[name] < MIN_FOR_REGRESSION]:
            advice.append(f"Fewer than {MIN_FOR_REGRESSION} images: {_some(few, counts)}. More of these help first.")
        return advice

    @cached_property
    def notes(self) -> list[str]:
        """Sentences on what is left out, or cannot be known."""
        images, truth = self.images.images, self.truth
        notes = [f"{name} is left out: {reason}" for name, reason in self.left_out.items()]
        broken = [each["error"] for each in self.images.unreadable]
        if broken := [*broken, *(self.backbones[0].problems[at] for at in self.unreadable)]:
            notes.append(f"{n_files(len(broken))} cannot be read, such as {broken[0]}.")
        notes += duplicate_notes(self.images)
        if n := sum(image.label is None for image in images):
            notes.append(f"{n_files(n)} without a label {'is' if n == 1 else 'are'} left out.")
        if n := int(self.is_held_out.sum()):
            notes.append(f"{n_files(n)} of the splits for tests {'is' if n == 1 else 'are'} held out.")
        if unknown := sorted({images[at].label or "" for at in np.flatnonzero(self.is_held_out & (truth < 0))} - {""}):
            notes.append(f"No image to train on is called {', '.join(unknown[:5])}.")
        fitted, is_related = self.is_fitted, np.isin(self.groups, self.groups[self.is_held_out])
        if n := int((~self.is_held_out & (self._readable_truth >= 0) & ~fitted).sum()):
            which = "is not trained on: it is" if n == 1 else "are not trained on: they are"
            notes.append(f"{n_files(n)} {which} related to held-out ones, or nearly the same.")
        if shared := sorted({self.classes[label] for label in truth[fitted & is_related]}):
            notes.append(f"All images of {', '.join(shared[:5])} look like held-out ones, which thus test little.")
        if n := self.n_dependent:
            notes.append(f"Images that look alike or belong together are tested together: {n:,} more than groups.")
            notes.append("The intervals count them as independent images, and are thus too narrow.")
        if self.uniform:
            names = ", ".join(self.uniform[:5])
            notes.append(f"Most images of {names} look alike, and are tested all the same: others may be harder.")
        pairs = np.unique(np.stack([truth[fitted], self.groups[fitted]]), axis=1)
        lone = np.flatnonzero(np.bincount(pairs[0], minlength=len(self.classes)) < 2)
        if len(lone):
            names = ", ".join(self.classes[each] for each in lone[:5])
            notes.append(f"Too few independent images to test {names}: at least two are needed.")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return the report as the API returns it, without the answers to single images."""
        images, best = self.images.images, self.best
        counts = Counter(self.truth[self.is_fitted].tolist())
        doubtful = [
            {"image": images[each.image].name, "label": each.label, "suggested": each.suggested, "p": each.probability}
            for each in (best.doubtful if best else ())
        ]
        return {
            "name": self.images.name,
            "classes": [{"label": name, "images": counts[index]} for index, name in enumerate(self.classes)],
            "held_out": int(self.is_held_out.sum()),
            "groups": len(np.unique(self.groups)),
            "progress": self.progress,
            "verdict": self.verdict.to_json(),
            "advice": self.advice,
            "backbones": [each.to_json() for each in self.backbones],
            "left_out": dict(self.left_out),
            "doubtful_labels": doubtful,
            "near_duplicates": [[images[each.first].name, images[each.second].name] for each in self.near_duplicates],
            "notes": self.notes,
        }


def classes_of(images: ImageSet) -> tuple[str, ...]:
    """Return the labels of the images to train on, sorted."""
    pairs = zip(images.images, held_out(images), strict=True)
    return tuple(sorted({image.label for image, is_out in pairs if image.label is not None and not is_out}))


def truth_of(images: ImageSet, classes: Sequence[str]) -> np.ndarray:
    """Return the class of each image as an index, ``(N,)``; -1 without one."""
    indices = {label: index for index, label in enumerate(classes)}
    return np.array([indices.get(image.label or "", -1) for image in images.images], np.int64)


def held_out(images: ImageSet) -> np.ndarray:
    """Return whether each image is held out, ``(N,)`` bool: those of splits for tests, unless there are no others."""
    found = np.array([image.split in ("test", "validation") for image in images.images], bool)
    return found & ~found.all()


def to_test(images: ImageSet) -> np.ndarray:
    """Return whether the held-out accuracy is of each image, ``(N,)`` bool: those of the test split, if it is held out.

    Otherwise they are those of the validation split: the accuracy is that of one split, as `evaluate` gives it.
    """
    is_out = held_out(images)
    is_test = is_out & np.array([image.split == "test" for image in images.images], bool)
    return is_test if is_test.any() else is_out


def to_fit(is_held_out: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return which images to train on, ``(N,)`` bool: those that have a class, and are in no group of held-out ones.

    A class whose images are all in such groups keeps them.

    Args:
        is_held_out: ``(N,)`` bool.
        truth: the class of each image, ``(N,)``; -1 without one.
        groups: the group of each image, ``(N,)``.
    """
    known = ~is_held_out & (truth >= 0)
    apart = known & ~np.isin(groups, groups[is_held_out])
    return apart | (known & ~np.isin(truth, truth[apart]))


def doubtful_labels(probabilities: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> tuple[DoubtfulLabel, ...]:
    """Return the labels that look wrong, the most doubtful first.

    This is the rule of confident learning: another class is the most probable one, and at least as probable as it is
    on average for the images that have its label.

    Args:
        probabilities: out of fold, ``(N, classes)``; NaN where there are none.
        truth: the class of each image, ``(N,)``.
        classes: their names.

    References:
        Northcutt, C., Jiang, L., Chuang, I. (2021). Confident learning: estimating uncertainty in dataset labels. JAIR.
    """
    tested = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    p, label = probabilities[tested], truth[tested]
    own = p[np.arange(len(p)), label]
    typical = [own[label == each].mean() if (label == each).any() else np.inf for each in range(len(classes))]
    first = p.argmax(axis=1) if len(p) else label
    highest = p[np.arange(len(p)), first]
    found = np.flatnonzero((first != label) & (highest >= np.array(typical)[first]) & (highest > 0.5))
    ordered = found[np.argsort(own[found] - highest[found], kind="stable")]
    return tuple(
        DoubtfulLabel(int(tested[at]), classes[label[at]], classes[first[at]], float(highest[at])) for at in ordered
    )


def confidence(probabilities: np.ndarray, truth: np.ndarray) -> Reliability | None:
    """Return how far probabilities out of fold ``(N, classes)`` can be trusted; None without any."""
    tested = np.isfinite(probabilities).all(axis=1)
    p = probabilities[tested]
    return reliability(np.minimum(p.max(axis=1), 1.0), p.argmax(axis=1) == truth[tested]) if len(p) else None


def _on_images(best: TrainedBackbone) -> str:
    """Return whether more images would help, by the accuracy with half of them, and the interval of its rise."""
    half, everything = best.curve[-2].share or 0.0, best.accuracy.share or 0.0
    n, (gained, lost) = best.accuracy.n, best.gain
    texts = percent(half, n), percent(everything, n)
    rise = f"with half of the images {best.name} is right on {texts[0]}%, with all on {texts[1]}%"
    # of one or two images a class, half is one: the same, or nearly
    if best.accuracy.right < n and best.curve[-2].n_fitted * 4 > best.accuracy.n_fitted * 3:
        return f"These {n:,} images are too few to tell whether more would help: a class has one or two to learn from."
    if gained > lost and mcnemar_mid_p(gained, lost) <= ALPHA:
        return f"More images would help: {rise}."
    if best.accuracy.right == n:
        return f"All {n:,} images are recognised: more of them would only show how sure that is."
    both = best.accuracy.right - gained
    if (most := newcombe_interval(both, gained, lost, n - both - gained - lost).high) > LITTLE:
        return f"These {n:,} images are too few to tell whether more would help: {rise}."
    points = math.ceil(100 * most)
    within = f"a rise of more than {points} point{'s' * (points > 1)} is ruled out with 95% confidence"
    return f"More images of this kind would hardly help: {rise}; {within}. Another backbone, or clearer labels, might."


def _some(names: Sequence[str], counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} ({counts[name]})" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if names[5:] else shown

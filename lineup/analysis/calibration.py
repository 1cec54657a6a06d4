"""How far probabilities can be trusted: reliability curve, expected calibration error, and temperature.

Probabilities of different backbones are not comparable as they are: some are trained to be unsure. One temperature T
per backbone, softmax(logits / T), makes up for most of it and does not change which class is first.

Reference:
    Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017). On calibration of modern neural networks. ICML.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lineup.analysis.statistics import Interval, wilson_interval
from lineup.results import Activation

N_BINS = 15  # as in Guo et al.
MIN_IMAGES = 20  # half of them fit one number
TEMPERATURES = (0.02, 50.0)  # limits of the search
_TOLERANCE = 1e-4  # of log T
_MAX_INVERSE = 1e6  # 1/T of logits that are nearly equal
_CHUNK_NUMBERS = 1 << 18  # logits that are computed at once: a few arrays of 1 MB, which a cache holds
_NEVER = np.float32(-1e30)  # logit of a class that is not right: finite, as 0 · ∞ is not a number


@dataclass(frozen=True)
class Bin:
    """The images whose confidence is above `low` and at most `high`; None where there are none."""

    low: float
    high: float
    n_images: int
    confidence: float | None  # mean
    accuracy: float | None
    interval: Interval | None  # Wilson's 95% interval of the accuracy


@dataclass(frozen=True)
class Reliability:
    """The reliability curve, and the expected calibration error.

    Attributes:
        bins: of equal width, from 0 to 1.
        ece: mean of |accuracy − confidence| over the bins, weighted by their images, 0 to 1.
        confidence: mean over all images.
        accuracy: the share of correct answers.
    """

    bins: tuple[Bin, ...]
    n_images: int
    ece: float
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """A backbone's temperature, and its effect on images on which it was not fitted.

    Attributes:
        temperature: None if none was fitted; `note` says why.
        n_fitted: number of images on which it was fitted.
        before: on the other half, or without a temperature on all images; None without images.
        after: on the other half, with the temperature.
        note: why there is no temperature, or no curve; empty if there is.
    """

    temperature: float | None = None
    n_fitted: int = 0
    before: Reliability | None = None
    after: Reliability | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as the API returns them, without the curves: those on the images of `before`."""
        before, after = self.before, self.after
        return {
            "images": before.n_images if before else 0,
            "ece": before.ece if before else None,
            "confidence": before.confidence if before else None,
            "accuracy": before.accuracy if before else None,
            "temperature": self.temperature,
            "fitted_on": self.n_fitted,
            "ece_with_temperature": after.ece if after else None,
            "note": self.note,
        }


def reliability(confidences: np.ndarray, correct: np.ndarray, n_bins: int = N_BINS) -> Reliability:
    """Return the reliability curve of at least one image.

    Args:
        confidences: ``(images,)``, the probabilities of the answers.
        correct: ``(images,)`` bool.
        n_bins: number of bins of equal width.

    Raises:
        ValueError: when there is no image, or a confidence is not in 0 to 1.
    """
    values, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=bool)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("confidences: expected at least one, of 0 to 1")
    indices = np.clip(np.ceil(values * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    counts = np.bincount(indices, minlength=n_bins)
    sums, rights = (np.bincount(indices, weights, n_bins) for weights in (values, right.astype(np.float64)))
    bins = tuple(
        Bin(i / n_bins, (i + 1) / n_bins, n, *_bin(n, float(sums[i]), round(rights[i])))
        for i, n in enumerate(counts.tolist())
    )
    ece = float(np.abs(rights - sums).sum() / len(values))
    return Reliability(bins, len(values), ece, float(values.mean()), float(right.mean()))


def _bin(n: int, confidence_sum: float, right: int) -> tuple[float | None, float | None, Interval | None]:
    return (confidence_sum / n, right / n, wilson_interval(right, n)) if n else (None, None, None)


def halves(labels: np.ndarray, hashes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Split images into two halves with the same share of each label, up to one image.

    The order of the images does not matter: within a label, they are sorted by the hash of their content.

    Args:
        labels: ``(images,)`` int.
        hashes: of the images' content, each once.

    Returns:
        The indices of both halves; the first has one more if the number is odd.
    """
    order = np.lexsort((np.asarray(hashes, dtype=np.str_), labels)) if len(labels) else np.zeros(0, dtype=np.int64)
    return order[::2], order[1::2]


def calibrate(
    logits: np.ndarray,
    labels: np.ndarray,
    hashes: Sequence[str],
    classes_of_label: np.ndarray | None = None,
    activation: Activation = "softmax",
) -> Calibration:
    """Fit a temperature on half of the labelled images, and report its effect on the other half.

    The confidence is the probability of the first class, and the answer is correct if that is a class of the label.

    Args:
        logits: ``(images, classes)`` float32; an array, or a `numpy.memmap`, which is read a few rows at a time.
        labels: ``(images,)`` int; a class index, or an index into `classes_of_label`.
        hashes: of the images' content, each once.
        classes_of_label: ``(labels, classes)`` bool, which classes are right for a label, at least one for each label
            that occurs; None if a label is a class.
        activation: of the head. With sigmoid, the classes are independent and there is no temperature. One output for
            two classes is softmax of the logits 0 and z.

    Raises:
        ValueError: when the shapes do not match, or a label has no class.
    """
    if not len(logits) == len(labels) == len(hashes) or np.ndim(logits) != 2:
        raise ValueError(f"logits: expected (N, classes) for {len(labels)} labels; got {np.shape(logits)}")
    if classes_of_label is not None and not classes_of_label[np.unique(labels)].any(axis=1).all():
        raise ValueError("classes_of_label: expected a class for each label that occurs; leave those images out")
    if activation == "sigmoid":
        return Calibration(note="its classes are independent of each other, so one temperature does not apply")
    if logits.shape[1] < 2:
        return Calibration(note="it has one class, whose probability is always 1")
    data = _Labelled(logits, np.asarray(labels), classes_of_label)
    everything = np.arange(len(labels))
    if len(labels) < MIN_IMAGES:
        note = f"a temperature is fitted on at least {MIN_IMAGES} labelled images, and there are {len(labels)}"
        return Calibration(before=data.reliability(everything) if len(labels) else None, note=note)
    fitted, reported = (np.sort(half) for half in halves(data.labels, hashes))  # a file is read from front to back
    temperature = data.best_temperature(fitted)
    if temperature is None:
        note = "the labels of half of the images set no limit to the temperature, as when all or none are right"
        return Calibration(before=data.reliability(everything), note=note)
    before, after = data.reliability(reported), data.reliability(reported, temperature)
    return Calibration(temperature, len(fitted), before, after)


def smoothed_temperature(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return a temperature for at least one image, and the mean negative log-likelihood with it, in nats.

    Unlike that of `calibrate` it exists for few images, and where all are right: as in Platt (1999), the target is
    (n + 1) / (n + 2) for the label, with the rest divided among all classes. The loss is convex in 1/T.

    Args:
        logits: ``(images, classes)``.
        labels: ``(images,)`` int.
    """
    z = logits - logits.max(axis=1, keepdims=True)
    n, rest = len(z), 1 / (len(z) + 2)
    target = (1 - rest) * z[np.arange(n), labels] + rest * z.mean(axis=1)  # the logit that is expected

    def slope(inverse: float) -> float:
        weights = np.exp(z * inverse)
        return float(((weights * z).sum(axis=1) / weights.sum(axis=1) - target).sum())

    low, high = 0.0, 1.0
    while slope(high) < 0 and high < _MAX_INVERSE:
        low, high = high, high * 4
    while high - low > _TOLERANCE * high and high > 1 / _MAX_INVERSE:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / high, float((np.log(np.exp(z * high).sum(axis=1)) - target * high).mean())


@dataclass(frozen=True)
class _Labelled:
    """Logits and labels, computed in chunks of rows."""

    logits: np.ndarray
    labels: np.ndarray
    classes_of_label: np.ndarray | None

    def chunks(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield some of the images and their logits, minus that of the first class: ``(n, classes)`` float32."""
        n_rows = max(_CHUNK_NUMBERS // self.logits.shape[1], 1)
        for start in range(0, len(indices), n_rows):
            chunk = indices[start : start + n_rows]
            z = np.asarray(self.logits[chunk], dtype=np.float32)
            yield chunk, z - z.max(axis=1, keepdims=True)

    def of_label(self, chunk: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the logits of the right classes only, ``(n, any)`` float32."""
        labels = self.labels[chunk]
        if self.classes_of_label is None:
            return np.take_along_axis(z, labels[:, None], axis=1)
        return np.where(self.classes_of_label[labels], z, _NEVER)

    def correct(self, indices: np.ndarray) -> np.ndarray:
        """Return whether the first class is right, ``(n,)`` bool."""
        top = np.concatenate([z.argmax(axis=1) for _, z in self.chunks(indices)])
        labels = self.labels[indices]
        return top == labels if self.classes_of_label is None else self.classes_of_label[labels, top]

    def reliability(self, indices: np.ndarray, temperature: float = 1.0) -> Reliability:
        sums = [_exp(z, temperature).sum(axis=1, dtype=np.float64) for _, z in self.chunks(indices)]
        return reliability(1 / np.maximum(np.concatenate(sums), 1.0), self.correct(indices))

    def slope(self, indices: np.ndarray, log_temperature: float) -> float:
        """Return the derivative of the summed negative log-likelihood by 1/T.

        It is the mean logit under softmax, minus that under softmax over the right classes alone.
        """
        total, temperature = 0.0, math.exp(log_temperature)
        for chunk, z in self.chunks(indices):
            total += float((_mean(z, temperature) - _mean(self.of_label(chunk, z), temperature)).sum())
        return total

    def best_temperature(self, indices: np.ndarray) -> float | None:
        """Return the temperature with the least negative log-likelihood; None if it is 0, or beyond the limits.

        For labels that are classes the likelihood is convex in 1/T, so that the slope has at most one root, which lies
        between temperatures with slopes of opposite sign. For labels of several classes this finds a minimum.
        """
        if self.correct(indices).all():
            return None  # the lower the temperature, the better
        low, low_slope = 0.0, self.slope(indices, 0.0)  # of log T
        step = math.copysign(math.log(2), low_slope)
        high, high_slope = low + step, self.slope(indices, low + step)
        while low_slope * high_slope >= 0:  # both are 0 if all logits are equal
            low, low_slope = high, high_slope
            high += step
            if not TEMPERATURES[0] <= math.exp(high) <= TEMPERATURES[1]:
                return None
            high_slope = self.slope(indices, high)
        while abs(high - low) > _TOLERANCE and high_slope != low_slope:  # regula falsi, with the Illinois modification
            middle = high - high_slope * (high - low) / (high_slope - low_slope)
            slope = self.slope(indices, middle)
            if slope * high_slope < 0:
                low, low_slope = high, high_slope
            else:
                low_slope /= 2
            moved, high, high_slope = abs(middle - high), middle, slope
            if moved < _TOLERANCE:
                break
        return math.exp(high)


def _exp(z: np.ndarray, temperature: float) -> np.ndarray:
    return np.exp(z / np.float32(temperature))


def _mean(z: np.ndarray, temperature: float) -> np.ndarray:
    """Return the mean of z under softmax(z / T), ``(n,)`` float64."""
    weights = _exp(z - z.max(axis=1, keepdims=True), temperature)
    return np.einsum("nc,nc->n", weights, z, dtype=np.float64) / weights.sum(axis=1, dtype=np.float64)

"""Heads: linear classifiers on the features of a backbone that stays as it is.

With fewer than MIN_FOR_REGRESSION images a class the head is the nearest centroid, which needs numpy only; with more it
is scikit-learn's logistic regression, whose classes weigh the same however many images they have. Both are fitted to
standardised features, and are linear in them: with the standardisation, and with a temperature that is fitted out of
fold, they fold into one weight and one bias.

The variance of a feature is averaged with that of all: one that a few images excite would outweigh all others. On 26
photographs of four classes, three of each to train on, centroids are right on 79% of the others, and on 59% without.

The regression is fitted in the space that the images span, of at most as many dimensions as there are images: its
penalty does not change with a rotation, so that the classifier is the same, in a fraction of the time.

References:
    Kornblith, S., Shlens, J., Le, Q. V. (2019). Do better ImageNet models transfer better? CVPR.
    Snell, J., Swersky, K., Zemel, R. (2017). Prototypical networks for few-shot learning. NeurIPS.
    Platt, J. (1999). Probabilistic outputs for support vector machines: the smoothed targets of the temperature.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from lineup.analysis import folds
from lineup.analysis.calibration import smoothed_temperature
from lineup.errors import LineupError

MIN_FOR_REGRESSION = 10  # images a class, on average
MAX_FOLDS = 5
REGULARIZATIONS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C: the inverse of the strength of the penalty
LARGE = 1e9  # images × dimensions × classes: a fit takes seconds, so that fewer are tried
SHARES = (0.25, 0.5)  # of the images, on the learning curve
REGRESSION, CENTROIDS = "logistic regression", "nearest centroid"
_TOLERANCE, _FINE_TOLERANCE = 1e-4, 1e-8  # of the gradient: of fits that are compared, and of the final one

Check = Callable[[], None]  # called between fits; raises to stop them


@dataclass(frozen=True)
class Head:
    """A linear classifier on features x: the probabilities are softmax(weight x + bias).

    Attributes:
        weight: ``(classes, features)`` float32, with standardisation and temperature.
        bias: ``(classes,)`` float32.
        method: nearest centroid, or logistic regression.
        regularization: C of the regression; None for centroids.
        temperature: by which the logits of the classifier were divided.
    """

    weight: np.ndarray
    bias: np.ndarray
    method: str
    regularization: float | None
    temperature: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes for features ``(N, features)``, as ``(N, classes)`` float32."""
        return softmax(features.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias)


@dataclass(frozen=True)
class CrossValidated:
    """A head that is fitted to all images, and what heads say of images that they have not seen.

    Attributes:
        head: the head.
        probabilities: calibrated, out of fold: ``(N, classes)`` float32; NaN where the other folds lack the class of
            the image.
        curve: the number of images of a fit, and whether each image is right ``(N,)`` bool, for each of SHARES.
        n_fitted: the mean number of images in a fit of `probabilities`.
    """

    head: Head
    probabilities: np.ndarray
    curve: tuple[tuple[int, np.ndarray], ...]
    n_fitted: int


def cross_validated(
    features: np.ndarray, truth: np.ndarray, groups: np.ndarray, n_classes: int, check: Check = lambda: None
) -> CrossValidated:
    """Fit a head, and estimate how good it is by cross-validation.

    Nothing about an image is used for its own prediction: neither to standardise, nor to fit, nor to choose C and the
    temperature, which are those with the least negative log-likelihood on the other folds.

    Args:
        features: ``(N, D)`` float32, finite.
        truth: the class of each image ``(N,)``; each class has at least one.
        groups: the group of each image ``(N,)``: images that are much alike must not be on both sides of a fold.
        n_classes: the number of classes, at least 2.
        check: called between fits; raises to stop them.

    Raises:
        LineupError: when scikit-learn is needed and not installed.
    """
    method = method_of(len(truth), n_classes)
    is_large = len(truth) * min(features.shape) * n_classes > LARGE and method == REGRESSION
    candidates = (REGULARIZATIONS[1:4] if is_large else REGULARIZATIONS) if method == REGRESSION else (None,)
    n_folds = folds.number_of(truth, groups, 3 if is_large else MAX_FOLDS)
    fold = folds.assign(truth, groups, n_folds)
    parts = [(np.flatnonzero(fold != each), np.flatnonzero(fold == each)) for each in range(n_folds)]
    parts = [(fitted, tested) for fitted, tested in parts if len(fitted) and len(tested)]  # none for a single group

    def logits_of(images: Sequence[np.ndarray], tried: Sequence[float | None]) -> np.ndarray:
        """Return logits out of fold ``(len(tried), N, classes)`` of classifiers that are fitted to these images."""
        logits = np.full((len(tried), len(truth), n_classes), np.nan)
        for fitted, (_, tested) in zip(images, parts, strict=True):
            for row, fit in enumerate(_fits(features[fitted], truth[fitted], n_classes, tried, check)):
                logits[row, tested] = fit.logits(features[tested], truth[tested])
        return logits

    with _one_thread_if(not is_large):
        logits = logits_of([fitted for fitted, _ in parts], candidates)
        probabilities = np.full(logits.shape[1:], np.nan, np.float32)
        tested = np.isfinite(logits[0]).all(axis=1)
        for each in range(n_folds):
            index, temperature = _best(logits, truth, tested & (fold != each))
            rows = np.flatnonzero(tested & (fold == each))
            probabilities[rows] = softmax(logits[index, rows] / temperature)
        index, temperature = _best(logits, truth, tested)
        curve = []
        for share in SHARES:
            images = [folds.part_of(truth, groups, fitted, share) for fitted, _ in parts]
            [smaller] = logits_of(images, candidates[index : index + 1])
            right = np.isfinite(smaller).all(axis=1) & (np.nan_to_num(smaller, nan=-np.inf).argmax(axis=1) == truth)
            curve.append((_mean_length(images), right))
        [fit] = _fits(features, truth, n_classes, candidates[index : index + 1], check, _FINE_TOLERANCE)
    n_fitted = _mean_length([fitted for fitted, _ in parts])
    return CrossValidated(fit.folded(method, candidates[index], temperature), probabilities, tuple(curve), n_fitted)


def _mean_length(arrays: Sequence[np.ndarray]) -> int:
    return round(sum(map(len, arrays)) / max(len(arrays), 1))


def method_of(n_images: int, n_classes: int) -> str:
    """Return the kind of head for so many images."""
    return REGRESSION if n_images >= MIN_FOR_REGRESSION * n_classes else CENTROIDS


def require_for(method: str) -> None:
    """Check that what a kind of head needs is installed.

    Raises:
        LineupError: when it is not.
    """
    if method == REGRESSION and importlib.util.find_spec("sklearn") is None:
        expected = f"scikit-learn for {MIN_FOR_REGRESSION} or more images a class"
        remedy = "pip install -r requirements-train.txt, or use fewer images"
        raise LineupError("training", expected, "it is not installed", remedy)


def warm_up(n_images: int, n_classes: int) -> None:
    """Import what fits the head for so many images, which takes seconds."""
    if method_of(n_images, n_classes) == REGRESSION:
        importlib.import_module("sklearn.linear_model")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities ``(N, classes)`` float32."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


@dataclass(frozen=True)
class _Fit:
    """A classifier of features (x − mean) · scale; the rows of classes that no image had are NaN."""

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Return logits ``(N, classes)``; NaN for images of a class that it does not know, or if it knows only one."""
        logits = (features - self.mean) * self.scale @ self.weight.T + self.bias
        known = np.isfinite(self.bias)
        # a class that it does not know is as improbable as the most improbable one
        if known.sum() < 2:  # it has nothing to choose from: its only class would always be right
            return np.full_like(logits, np.nan)
        logits = np.where(known, logits, np.nanmin(logits, axis=1, keepdims=True))
        logits[~known[truth]] = np.nan
        return logits

    def folded(self, method: str, regularization: float | None, temperature: float) -> Head:
        """Return the same classifier of features as they are."""
        weight, bias = self.weight * self.scale, self.bias - self.weight @ (self.mean * self.scale)
        weight, bias = weight - weight.mean(axis=0), bias - bias.mean()  # softmax ignores what all classes share
        folded = (weight / temperature).astype(np.float32), (bias / temperature).astype(np.float32)
        return Head(*folded, method, regularization, temperature)


def _fits(
    features: np.ndarray,
    truth: np.ndarray,
    n_classes: int,
    regularizations: Sequence[float | None],
    check: Check,
    tolerance: float = _TOLERANCE,
) -> Iterator[_Fit]:
    """Yield a classifier for each C; None for centroids."""
    x = features.astype(np.float64)
    mean, variance = x.mean(axis=0), x.var(axis=0)
    shrunk = variance + variance.mean()
    scale = 1 / np.sqrt(np.where(shrunk > 0, shrunk, np.inf))
    z = (x - mean) * scale
    present = np.unique(truth)
    weight, bias = np.full((n_classes, z.shape[1]), np.nan), np.full(n_classes, np.nan)
    if regularizations[0] is None or len(present) < 2:
        check()
        for label in present:
            weight[label] = z[truth == label].mean(axis=0)
            bias[label] = -weight[label] @ weight[label] / 2
        for _ in regularizations:
            yield _Fit(mean, scale, weight, bias)
        return
    coordinates, basis = _rotated(z)
    for rotated, intercept in _regressions(coordinates, truth, regularizations, check, tolerance):
        weight[present] = rotated if basis is None else rotated @ basis.T
        bias[present] = intercept
        yield _Fit(mean, scale, weight.copy(), bias.copy())


def _rotated(z: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows in an orthonormal basis of what they span ``(N, r)``, and the basis ``(D, r)``; None for none."""
    if z.shape[1] <= len(z):
        return z, None
    values, vectors = np.linalg.eigh(z @ z.T)
    kept = values > values.max(initial=0) * 1e-12
    if not kept.any():  # all images are equal
        return np.zeros((len(z), 1)), np.zeros((z.shape[1], 1))
    lengths = np.sqrt(values[kept])
    return vectors[:, kept] * lengths, z.T @ (vectors[:, kept] / lengths)


def _regressions(
    x: np.ndarray, truth: np.ndarray, regularizations: Sequence[float | None], check: Check, tolerance: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the weights and biases of the classes that occur, for each C; a fit begins where the last one ended."""
    require_for(REGRESSION)
    if x.size * len(np.unique(truth)) > LARGE and tolerance > _FINE_TOLERANCE:
        x = x.astype(np.float32)  # fits that are compared take half of the time
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        solver="newton-cg", class_weight="balanced", max_iter=2000, tol=tolerance, warm_start=True
    )
    for regularization in regularizations:
        check()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is nearly there, and is tested out of fold
            model.set_params(C=regularization).fit(x, truth)
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:  # of two classes: the logit of the second one
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        yield weight, bias


def _best(logits: np.ndarray, truth: np.ndarray, images: np.ndarray) -> tuple[int, float]:
    """Return the index of the C, and the temperature, with the least negative log-likelihood of some images."""
    if not images.any():
        return len(logits) // 2, 1.0
    found = [smoothed_temperature(each[images], truth[images]) for each in logits]
    index = min(range(len(found)), key=lambda index: found[index][1])
    return index, found[index][0]


@contextmanager
def _one_thread_if(is_small: bool) -> Iterator[None]:
    """Compute small matrices on one thread: more would wait for each other, and requests for them."""
    if not is_small or importlib.util.find_spec("threadpoolctl") is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield

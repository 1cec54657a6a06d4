"""Statistics of paired proportions: intervals, tests, and numbers of images.

A pair of backbones and the same n images make a table of four counts: ``both`` right, ``b`` only the first, ``c``
only the second, and ``neither``. All functions are exact or stable for n from 0 to a million.

References:
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
    Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on
        paired data. Statistics in Medicine 17, 2635–2650.
    Fagerland, M. W., Lydersen, S., Laake, P. (2013). The McNemar test for binary matched-pairs data: mid-p and
        asymptotic are better than exact conditional. BMC Medical Research Methodology 13:91.
    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

ALPHA = 0.05
POWER = 0.8
_Z = NormalDist().inv_cdf(1 - ALPHA / 2)  # 1.96


class Interval(NamedTuple):
    """A confidence interval of 95%; its limits are proportions, or differences of proportions."""

    low: float
    high: float


def wilson_interval(right: int, n: int) -> Interval:
    """Return Wilson's score interval of the proportion ``right / n``; 0 to 1 for n = 0.

    Its limits are the roots p of ``(right/n − p)² = z² p (1 − p) / n``. Unlike those of a bootstrap, they are no
    single point when all are right: 50 of 50 have 0.93 to 1.

    Raises:
        ValueError: unless 0 ≤ right ≤ n.
    """
    right, n = int(right), int(n)
    if not 0 <= right <= n:
        raise ValueError(f"right: expected 0 to {n}; got {right}")
    if n == 0:
        return Interval(0.0, 1.0)
    z2 = _Z * _Z
    half_width = _Z * math.sqrt(right * (n - right) / n + z2 / 4)
    low, high = ((right + z2 / 2 + sign * half_width) / (n + z2) for sign in (-1, 1))
    return Interval(max(low, 0.0) if right else 0.0, min(high, 1.0) if right < n else 1.0)


def mcnemar_mid_p(b: int, c: int) -> float:
    """Return the two-sided mid-p value of McNemar's test that neither of two backbones is right more often.

    With X binomial(b + c, ½) and m = min(b, c), it is ``2 P(X < m) + P(X = m)``; for b = c it is ``1 − P(X = m) / 2``,
    and 1 where there is nothing to compare, b + c = 0.

    Args:
        b: number of images on which only the first is right.
        c: number of images on which only the second is right.

    Raises:
        ValueError: when a count is negative.
    """
    b, c = int(b), int(c)
    if min(b, c) < 0:
        raise ValueError(f"b and c: expected counts; got {b} and {c}")
    n, m = b + c, min(b, c)
    if n == 0:
        return 1.0
    log_point = math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1) - n * math.log(2)
    point = math.exp(log_point)  # P(X = m)
    if b == c:
        return 1 - point / 2
    steps = np.arange(m, dtype=np.float64)
    below = float(np.cumprod((m - steps) / (n - m + 1 + steps)).sum())  # P(X < m) / P(X = m), from m − 1 down to 0
    return min(1.0, point * (1 + 2 * below))


def newcombe_interval(both: int, b: int, c: int, neither: int) -> Interval:
    """Return Newcombe's interval of the difference of two paired proportions, ``(b − c) / n``; −1 to 1 for n = 0.

    This is method 10 of Newcombe (1998): Wilson's intervals of both proportions, combined with a correlation φ that
    has a continuity correction where it is positive. It is not adjusted for multiple comparisons.

    Args:
        both: number of images on which both are right.
        b: number of images on which only the first is right.
        c: number of images on which only the second is right.
        neither: number of images on which none is right.

    Raises:
        ValueError: when a count is negative.
    """
    both, b, c, neither = map(int, (both, b, c, neither))
    if min(both, b, c, neither) < 0:
        raise ValueError(f"the table: expected counts; got {both}, {b}, {c} and {neither}")
    n, first, second = both + b + c + neither, both + b, both + c
    if n == 0:
        return Interval(-1.0, 1.0)
    margins = first * (n - first) * second * (n - second)
    covariance: float = both * neither - b * c
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    phi = covariance / math.sqrt(margins) if margins else 0.0
    (low1, high1), (low2, high2) = wilson_interval(first, n), wilson_interval(second, n)
    p1, p2, difference = first / n, second / n, (b - c) / n
    below = _combined(p1 - low1, high2 - p2, phi)
    above = _combined(high1 - p1, p2 - low2, phi)
    return Interval(max(difference - below, -1.0), min(difference + above, 1.0))


def _combined(x: float, y: float, phi: float) -> float:
    """Return the length of the sum of two deviations with correlation −φ."""
    return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p values adjusted by Holm's step-down method, ``(m,)`` float64, in the order given.

    The adjusted value of the i-th smallest, from 0, is the maximum of ``(m − j) p_j`` for j ≤ i, at most 1. Rejecting
    those of at most α keeps the probability of any false rejection at most α, whatever their dependence.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def images_needed(b: int, c: int, n: int, n_pairs: int = 1) -> int | None:
    """Return how many images in all would make a difference significant, if the observed one is real.

    This is ``(z₁ + z₂)² · (b + c)/n ÷ ((b − c)/n)²``, rounded up, for a level of 5% and a power of 80%. With quantiles
    of two decimals, as in tables, the factor is 7.84 for one pair.

    Args:
        b: number of images on which only the first is right.
        c: number of images on which only the second is right.
        n: number of images that both answered.
        n_pairs: number of pairs among which the level is divided.

    Returns:
        A number of images; None where no difference was observed, b = c, so that no number is enough.
    """
    if b == c or n == 0:
        return None
    z = round(NormalDist().inv_cdf(1 - ALPHA / 2 / n_pairs), 2) + round(NormalDist().inv_cdf(POWER), 2)
    return math.ceil(round(z * z * int(n) * (int(b) + int(c)) / (int(b) - int(c)) ** 2, 6))

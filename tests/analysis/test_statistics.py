"""Intervals, tests and numbers of images, beside published examples and scipy's and statsmodels' figures."""

import math
from functools import cache
from itertools import product

import numpy as np
import pytest

from lineup.analysis import pairs
from lineup.analysis.statistics import holm, images_needed, mcnemar_mid_p, newcombe_interval, wilson_interval

# scipy 1.17.1: binomtest(right, n).proportion_ci(method="wilson"). The first four are in table I, method 3, of Newcombe
# (1998), Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, with four digits.
WILSON = [
    (81, 263, 0.2552885198782742, 0.36620957698280004),
    (15, 148, 0.06238639953073629, 0.16048724172330803),
    (0, 20, 0.0, 0.16112515805281935),
    (1, 29, 0.006113214292762667, 0.17175521879320282),
    (45, 50, 0.7863976856252034, 0.9565242350681095),
    (50, 50, 0.9286524008666412, 1.0),
    (1, 1, 0.20654931437723745, 1.0),
    (1, 1_000_000, 1.765245767453709e-07, 5.664911804311442e-06),
    (999_999, 1_000_000, 0.9999943350881957, 0.9999998234754233),
    (500_000, 1_000_000, 0.4990200198900048, 0.5009799801099952),
]

# scipy 1.17.1: 2 binom.cdf(m, n, 0.5) − binom.pmf(m, n, 0.5), or 1 − binom.pmf(m, n, 0.5) / 2 for b = c. (1, 7) is the
# example of Fagerland et al. (2013), and (6, 16) is in the tests of the R package contingencytables, with 0.034690.
MID_P = [
    (1, 7, 0.0390625),
    (6, 16, 0.03468966484069824),
    (25, 2, 3.0323863029479947e-06),
    (45, 23, 0.007620521855025692),
    (6, 1, 0.0703125),
    (0, 1, 0.5),
    (3, 3, 0.84375),
    (0, 40, 9.09494701772929e-13),
    (300, 280, 0.4067070370494937),
    (10, 90, 1.697747536691666e-17),
    (0, 1000, 9.332636185032603e-302),
    (100_000, 101_000, 0.025714478917620322),
    (499_000, 501_000, 0.04550031788737068),
    (500_000, 500_000, 0.9996010578193342),
]


@pytest.mark.parametrize(("right", "n", "low", "high"), WILSON)
def test_wilson_interval_is_that_of_scipy(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), rel=1e-9)


def test_wilson_interval_of_no_image_is_everything():
    assert wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="right: expected 0 to 3; got 4"):
        wilson_interval(4, 3)


def test_wilson_interval_contains_the_proportion_and_is_symmetric():
    for n in range(1, 40):
        for right in range(n + 1):
            low, high = wilson_interval(right, n)
            assert 0 <= low <= right / n <= high <= 1
            assert wilson_interval(n - right, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("b", "c", "p"), MID_P)
def test_mid_p_is_that_of_scipy(b, c, p):
    assert mcnemar_mid_p(b, c) == pytest.approx(p, rel=2e-8)
    assert mcnemar_mid_p(c, b) == mcnemar_mid_p(b, c)


def test_mid_p_is_its_definition_in_exact_integers():
    for b, c in product(range(25), repeat=2):
        n, m = b + c, min(b, c)
        point = math.comb(n, m)
        tails = 2 * sum(math.comb(n, x) for x in range(m)) + point if b != c else 2**n - point / 2
        assert mcnemar_mid_p(b, c) == pytest.approx(tails / 2**n if n else 1, rel=1e-12)


def test_mid_p_falls_as_one_side_gains():
    p = np.array([[mcnemar_mid_p(b, c) for b in range(30)] for c in range(30)])
    for c in range(30):
        assert (np.diff(p[c, c:]) < 0).all()
    with pytest.raises(ValueError, match="expected counts"):
        mcnemar_mid_p(-1, 3)


# Newcombe (1998), Improved confidence intervals for the difference between binomial proportions based on paired data,
# table III, method 10, but (1, 97, 1, 1), whose lower limit of 0.873672 is printed as 0.8736. (59, 6, 16, 80) is in the
# tests of the R package contingencytables.
NEWCOMBE = [
    ((36, 12, 2, 0), 0.0569, 0.3404),
    ((20, 12, 2, 16), 0.0562, 0.3292),
    ((18, 12, 2, 18), 0.0562, 0.3290),
    ((36, 14, 0, 0), 0.1528, 0.4167),
    ((35, 14, 0, 1), 0.1461, 0.4175),
    ((18, 14, 0, 18), 0.1441, 0.3963),
    ((2, 97, 1, 0), 0.8721, 0.9854),
    ((0, 29, 1, 0), 0.6666, 0.9882),
    ((2, 98, 0, 0), 0.9178, 0.9945),
    ((1, 98, 0, 1), 0.9171, 0.9916),
    ((0, 30, 0, 0), 0.8395, 1.0),
    ((54, 0, 0, 0), -0.0664, 0.0664),
    ((53, 0, 0, 1), -0.0729, 0.0729),
    ((30, 0, 0, 24), -0.0358, 0.0358),
    ((27, 0, 0, 27), -0.0351, 0.0351),
    ((59, 6, 16, 80), -0.1186, -0.0046),
]


@pytest.mark.parametrize(("table", "low", "high"), NEWCOMBE)
def test_newcombe_interval_is_that_of_published_tables(table, low, high):
    assert newcombe_interval(*table) == pytest.approx((low, high), abs=5.1e-5)


def test_newcombe_interval_is_antisymmetric_and_contains_the_difference():
    for both, b, c, neither in product(range(5), repeat=4):
        low, high = newcombe_interval(both, b, c, neither)
        n = both + b + c + neither
        assert -1 <= low <= (b - c) / max(n, 1) <= high <= 1
        assert newcombe_interval(both, c, b, neither) == pytest.approx((-high, -low), abs=1e-12)


def test_newcombe_interval_of_a_million_images_is_the_normal_one():
    low, high = newcombe_interval(880_000, 30_000, 29_000, 61_000)
    half = 1.959964 * math.sqrt(59_000 - 1_000**2 / 1e6) / 1e6
    assert (low, high) == pytest.approx((0.001 - half, 0.001 + half), rel=2e-3)
    assert newcombe_interval(0, 0, 0, 0) == (-1, 1)


# statsmodels 0.15.0: multipletests(p, method="holm"). The first list is a worked example of Wikipedia's article on the
# method, in which the hypotheses 1 and 4 are rejected.
HOLM = [
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    ([0.5, 0.5, 0.001], [1.0, 1.0, 0.003]),
    ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
    ([0.0001, 0.9, 0.04, 0.04, 0.013, 0.2], [0.0006, 0.9, 0.16, 0.16, 0.065, 0.4]),
    ([0.02], [0.02]),
    ([], []),
]


@pytest.mark.parametrize(("p", "adjusted"), HOLM)
def test_holm_adjusts_as_statsmodels_does(p, adjusted):
    assert holm(p).tolist() == pytest.approx(adjusted, rel=1e-12)


@pytest.mark.parametrize(
    ("b", "c", "n", "needed"),
    [(6, 1, 50, 110), (45, 23, 1000, 1102), (1, 0, 1, 8), (3, 3, 50, None), (0, 0, 50, None), (0, 0, 0, None)],
)
def test_images_needed_is_the_formula_of_80_percent_power(b, c, n, needed):
    assert images_needed(b, c, n) == images_needed(c, b, n) == needed


def test_images_needed_is_more_with_more_pairs():
    assert [images_needed(6, 1, 50, n_pairs) for n_pairs in (1, 3, 15)] == [110, 147, 201]


def test_images_needed_are_enough_four_times_in_five():
    rng = np.random.default_rng(18)
    n = images_needed(9, 4, 100)
    tables = rng.multinomial(n, [0.09, 0.04, 0.87], size=2000)
    decided = np.mean([mcnemar_mid_p(b, c) <= 0.05 for b, c, _ in tables])
    assert decided == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("k", [2, 4, 6])
def test_equal_backbones_differ_significantly_in_five_percent_at_most(k, monkeypatch):
    monkeypatch.setattr(pairs, "mcnemar_mid_p", cache(mcnemar_mid_p))
    monkeypatch.setattr(pairs, "images_needed", cache(images_needed))
    rng, names, n_images = np.random.default_rng(18), [str(i) for i in range(k)], 120
    false_alarms = 0
    for _ in range(2000):
        difficulty = rng.normal(-1.2, 1.2, n_images)  # the same images are hard for all of them
        correct = difficulty + rng.normal(0, 1, (k, n_images)) < 0
        counts = pairs.paired_counts(correct, np.ones_like(correct))
        false_alarms += any(pair.decided for pair in pairs.compare(names, counts, accuracies_known=False))
    assert 20 <= false_alarms <= 100  # of 2,000: at most the nominal 5%, but not a test that never alarms

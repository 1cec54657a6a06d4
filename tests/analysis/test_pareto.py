"""The Pareto front: what no other point dominates."""

import numpy as np

from lineup.analysis.pareto import pareto_front


def test_front_is_what_no_other_point_dominates():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [tuple(point) for point in rng.integers(0, 4, (6, 2)).tolist()]
        expected = [
            (cost, gain)
            for cost, gain in points
            if not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        ]
        assert [points[index] for index in pareto_front(points)] == sorted(expected)


def test_equal_points_are_all_on_the_front():
    assert pareto_front([(1, 5), (2, 9), (1, 5)]) == [0, 2, 1]
    assert pareto_front([]) == []


def test_points_without_a_finite_cost_are_not_on_the_front():
    assert pareto_front([(float("nan"), 99), (float("inf"), 98), (3, 80), (1, 70)]) == [3, 2]

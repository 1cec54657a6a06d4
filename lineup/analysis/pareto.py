"""The Pareto front of cost and gain, such as milliseconds and accuracy."""

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the Pareto-optimal points (cost, gain), the cheapest first.

    A point is dominated by one that costs no more and gains no less, and is strictly better in one of the two. Points
    with a number that is not finite are left out.
    """
    front: list[int] = []
    finite = [index for index, point in enumerate(points) if all(map(math.isfinite, point))]
    for index in sorted(finite, key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front

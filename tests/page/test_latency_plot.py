"""Plots of accuracy against latency: axes, labels that do not overlap, and whiskers."""

import itertools
import math

import pytest

from lineup.page import plot


def ran(name, ms, accuracy=None, parameters=None, whisker=None):
    """Return the point of a backbone; `whisker` is the half of its length, in percent."""
    point = {"backbone": name, "ms": ms, "accuracy": accuracy, "parameters": (parameters or 0) / 1e6, "selected": False}
    return point | ({"low": accuracy - whisker, "high": accuracy + whisker} if whisker else {})


def chart(points) -> dict:
    return plot.latency_plot(points, "accuracy, %", "parameters", "million parameters").to_dict()


def axes(*rows) -> tuple[dict, dict]:
    """Return the encodings of the time axis and the accuracy axis."""
    [dots] = [layer["encoding"] for layer in chart(rows)["layer"] if layer["mark"]["type"] == "circle"]
    return dots["x"], dots["y"]


@pytest.mark.parametrize("accuracies", [[58.092], [58.092] * 3, [58.092, 58.1], [0.1], [99.99], [58.092, 84.3]])
@pytest.mark.parametrize("times", [[9.31], [9.31, 9.31, 9.31], [9.31, 9.32], [0.02], [12_345.6], [1.2, 880.0]])
def test_axes_end_on_round_numbers_beyond_the_dots(times, accuracies):
    rows = [ran(f"b{i}", ms, accuracy) for i, ms in enumerate(times) for accuracy in accuracies]
    x, y = axes(*rows)
    low, high = x["scale"]["domain"]
    assert low < min(times) <= max(times) < high
    assert {low, high} <= set(x["axis"]["values"])
    assert len(x["axis"]["values"]) >= 3
    assert all(f"{tick:.0e}"[0] in "125" and float(f"{tick:.0e}") == tick for tick in x["axis"]["values"])
    low, high = y["scale"]["domain"]
    assert low < min(accuracies) <= max(accuracies) < high
    assert (low, high) == (int(low), int(high))
    assert high - max(accuracies) >= plot.MIN_MARGIN <= min(accuracies) - low
    assert (x["axis"]["format"], y["axis"]["format"]) == ("~g", "d")  # "58", neither "58.092000" nor "6e+1"


def boxes(drawn: dict, width_px: float) -> dict[str, tuple[float, float, float, float]]:
    """Return the bounding boxes of the labels at a width: left, right, top, bottom, in pixels."""
    positions = {}
    for layer in drawn["layer"]:
        if layer["mark"]["type"] != "text":
            continue
        encoding = layer["encoding"]
        for point in layer["data"]["values"]:
            low, high = encoding["x"]["scale"]["domain"]
            x = math.log(point["ms"] / low) / math.log(high / low) * width_px
            low, high = encoding["y"]["scale"]["domain"]
            middle = (high - point["level"]) / (high - low) * plot.HEIGHT_PX
            width = 6.2 * len(point["backbone"])
            left = x - {"left": 0, "center": width / 2, "right": width}[layer["mark"]["align"]]
            positions[point["backbone"]] = left, left + width, middle - 6, middle + 6
    return positions


def dots_of(drawn: dict, width_px: float) -> dict[str, tuple[float, float, float]]:
    """Return x, y and radius of each circle, in pixels, as Vega draws it."""
    positions = {}
    for layer in [layer for layer in drawn["layer"] if layer["mark"]["type"] == "circle"]:
        encoding = layer["encoding"]
        (left, right), (low, high) = encoding["x"]["scale"]["domain"], encoding["y"]["scale"]["domain"]
        (_, max_parameters), (min_area, max_area) = (
            encoding["size"]["scale"]["domain"],
            encoding["size"]["scale"]["range"],
        )
        for point in layer["data"]["values"]:
            x = math.log(point["ms"] / left) / math.log(right / left) * width_px
            y = (high - point["accuracy"]) / (high - low) * plot.HEIGHT_PX
            size = min_area + (max_area - min_area) * point["parameters"] / max_parameters
            positions[point["backbone"]] = x, y, math.sqrt(size) / 2
    return positions


SAME = [ran(f"torchvision/same_as_{name}", 9.31, 58.092, 5_000_000) for name in "abcdef"]
CLOSE = [ran(f"efficientnet_lite{i}_of_mine", 9 + 0.2 * i, 74 + 0.1 * i, 5_000_000 * i) for i in range(8)]
UNPUBLISHED = [ran(f"my_own_network_{i}", 9.0 + 0.01 * i, None, 300_000_000) for i in range(6)]


@pytest.mark.parametrize("rows", [SAME, CLOSE, UNPUBLISHED, CLOSE + UNPUBLISHED], ids=["same", "close", "own", "both"])
@pytest.mark.parametrize("width_px", [560, 640, 700, 1050, 1100])
def test_labels_do_not_overlap_and_stay_inside(rows, width_px):
    positions = boxes(chart(rows), width_px)
    assert len(positions) == len(rows)
    dots = dots_of(chart(rows), width_px)
    for (one, a), (other, b) in itertools.combinations(positions.items(), 2):
        assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2], (one, other)
    for name, (x, y, radius) in dots.items():
        for other, (left, right, top, bottom) in positions.items():
            assert x + radius <= left or right <= x - radius or y + radius <= top or bottom <= y - radius, (name, other)
    assert all(left >= -1 and right <= width_px + 1 for left, right, _, _ in positions.values())
    assert all(top >= 0 and bottom <= plot.HEIGHT_PX for _, _, top, bottom in positions.values())


def test_overlong_labels_stay_inside():
    rows = [ran("a_very_long_name_" * 12 + str(i), 9.3, 58.1) for i in range(40)]
    positions = boxes(chart(rows), 700)
    assert all(top >= 0 and bottom <= plot.HEIGHT_PX for _, _, top, bottom in positions.values())
    assert len({top for _, _, top, _ in positions.values()}) > 10  # spread over the available rows

"""Means and standard deviations that are refused, with the numbers that were probably meant, and those that are not."""

import pytest

from lineup.config import normalization

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
IMAGENET = "mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"
GRAY = "mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]"
MEANT = [
    ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], f"write {IMAGENET} (divided by 255)"),
    ([127.5] * 3, [127.5] * 3, f"write {GRAY}"),
    ([123.68, 116.78, 103.94], [1, 1, 1], "mean: [0.485, 0.458, 0.4076], std: [0.003922, 0.003922, 0.003922]"),
    ([123.675, 116.28, 103.53], STD, f"write {IMAGENET}"),
    (MEAN, [58.395, 57.12, 57.375], f"write {IMAGENET}"),
    ([48.5, 45.6, 40.6], [22.9, 22.4, 22.5], f"or {IMAGENET} (divided by 100)"),
    ([50] * 3, [50] * 3, f"or {GRAY} (divided by 100)"),
    ([-0.485, -0.456, -0.406], STD, f"write {IMAGENET}"),
    (MEAN, [-0.229, -0.224, -0.225], f"write {IMAGENET}"),
    ([-123.675, -116.28, -103.53], [58.395, 57.12, 57.375], f"write {IMAGENET}"),
    ([-2.1179, -2.0357, -1.8044], [4.3668, 4.4643, 4.4444], f"write {IMAGENET}"),
    ([-1] * 3, [2] * 3, f"write {GRAY}"),
    (MEAN, [4.3668, 4.4643, 4.4444], f"write {IMAGENET}"),
    (STD, MEAN, f"write {IMAGENET}"),
    ([0.247, 0.2435, 0.2616], [0.4914, 0.4822, 0.4465], "write mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435,"),
    ([58.395, 57.12, 57.375], [123.675, 116.28, 103.53], f"write {IMAGENET}"),
    ([0, 0, 0], [255, 255, 255], "write mean: [0, 0, 0], std: [1, 1, 1]"),
    (None, [58.395, 57.12, 57.375], "write std: [0.229, 0.224, 0.225]"),
    ([123.675, 116.28, 103.53], None, "write mean: [0.485, 0.456, 0.406]"),
    (MEAN, [0.2, 0, 0.2], "write a std from 0.001"),
]


@pytest.mark.parametrize(("mean", "std", "meant"), MEANT)
def test_other_ranges_are_refused_with_what_was_meant(mean, std, meant):
    problem = normalization.problem(mean, std)
    assert problem is not None
    assert meant in problem[1]


VALID = [
    (MEAN, STD),
    ([0.5] * 3, [0.5] * 3),
    ([0] * 3, [1] * 3),
    ([0] * 3, [0.5] * 3),
    ([0] * 3, [1 / 255] * 3),
    (MEAN, [1, 1, 1]),
    (MEAN, [1 / 255] * 3),
    ([0.1307] * 3, [0.3081] * 3),  # of handwritten digits, which are mostly black
    ([0.9] * 3, [0.2] * 3),
    ([0.5] * 3, [0.25, 0.25, 1]),
    ([0.45] * 1, [0.22] * 1),
    (MEAN, None),
    (None, STD),
    (None, None),
]


@pytest.mark.parametrize(("mean", "std"), VALID)
def test_usual_normalizations_are_valid(mean, std):
    assert normalization.problem(mean, std) is None


def test_unusual_range_of_the_input_is_said():
    (note,) = normalization.unusual_range([0, 0, 0], [1 / 255] * 3)
    assert "from 0 to 255" in note
    for mean, std in ((MEAN, STD), ([0] * 3, [1] * 3), ([0.5] * 3, [0.5] * 3)):
        assert list(normalization.unusual_range(mean, std)) == []


@pytest.mark.parametrize(
    ("mean", "std"), [([104, 117, 123], [1, 1, 1]), ([0.406, 0.456, 0.485], [0.225, 0.224, 0.229])]
)
def test_mean_in_the_order_of_bgr_is_refused(mean, std):
    got, remedy = normalization.problem(mean, std)
    assert "in the order blue, green, red" in got
    assert "weight.flip(1)" in remedy

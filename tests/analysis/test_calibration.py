import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest

from lineup.analysis.calibration import TEMPERATURES, calibrate, halves, reliability
from lineup.analysis.statistics import wilson_interval


def hashes(count):
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def drawn(n_images, n_classes, scale, seed=0):
    """Return logits whose best temperature is `scale`, and labels drawn from what they mean at that temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n_images, n_classes))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # softmax, by the Gumbel trick
    return (scale * logits).astype(np.float32), labels


def example():
    """Return 300 logits ``(300, 5)`` and labels; the reference figures below are of these."""
    rng = np.random.default_rng(7)
    logits, labels = rng.normal(0, 1, (300, 5)).astype("f4"), rng.integers(0, 5, 300)
    logits[np.arange(300), labels] += rng.normal(1.5, 2, 300).astype("f4")
    return logits * np.float32(3), labels


def test_reliability_has_counts_means_and_intervals():
    result = reliability(np.array([0.05, 0.1, 0.15, 0.9, 1.0]), np.array([False, True, False, True, True]), n_bins=10)
    low, middle, *empty, ninth, last = result.bins
    assert (low.n_images, low.confidence, low.accuracy) == (2, pytest.approx(0.075), 0.5)  # 0.1 is in the first bin
    assert low.interval == wilson_interval(1, 2)
    assert (middle.n_images, middle.accuracy, ninth.n_images, last.n_images, last.high) == (1, 0, 1, 1, 1)
    assert {(each.n_images, each.confidence, each.accuracy, each.interval) for each in empty} == {(0, None, None, None)}
    assert result.ece == pytest.approx((2 * 0.425 + 0.15 + 0.1 + 0) / 5)
    assert (result.accuracy, result.confidence) == (0.6, pytest.approx(0.44))


def test_ece_is_its_definition():
    rng = np.random.default_rng(3)
    confidences, correct = rng.random(500), rng.random(500) < 0.6
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
    assert reliability(confidences, correct).ece == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("confidences", [[], [1.2], [-0.1], [float("nan")]])
def test_reliability_refuses_what_is_no_confidence(confidences):
    with pytest.raises(ValueError, match="confidences: expected at least one, of 0 to 1"):
        reliability(np.array(confidences), np.ones(len(confidences), dtype=bool))


def doubled(logits, labels):
    """Return each image twice, next to each other in the split, so that both halves are the same images."""
    keys = [f"{number:06}" for number in range(2 * len(labels))]
    return np.repeat(logits, 2, axis=0), np.repeat(labels, 2), keys


def test_temperature_is_that_of_scipy():
    # scipy 1.17.1: minimize_scalar of the mean of logsumexp(z / T) − z[label] / T
    logits, labels, keys = doubled(*example())
    result = calibrate(logits, labels, keys)
    assert result.temperature == pytest.approx(3.975311644713262, rel=2e-4)


def test_temperature_for_labels_of_several_classes_is_that_of_scipy():
    logits, classes = example()
    groups = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], dtype=bool)
    logits, labels, keys = doubled(logits, np.array([0, 0, 1, 1, 2])[classes])
    result = calibrate(logits, labels, keys, groups)
    assert result.temperature == pytest.approx(3.1701409618807133, rel=2e-4)
    right = groups[labels, logits.argmax(axis=1)]
    assert result.before.accuracy == pytest.approx(right.mean())


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0, 20.0])
def test_temperature_is_recovered_and_calibrates_the_other_half(scale):
    result = calibrate(*drawn(6000, 10, scale), hashes(6000))
    assert result.temperature == pytest.approx(scale, rel=0.06)
    assert result.after.ece < 0.04  # of 3,000 images, the noise alone is 0.03
    assert result.after.accuracy == result.before.accuracy  # the order of classes stays
    assert (result.n_fitted, result.after.n_images, result.note) == (3000, 3000, "")


def test_order_of_images_changes_nothing():
    (logits, labels), keys = drawn(301, 6, 2.0), hashes(301)
    expected = calibrate(logits, labels, keys)
    order = np.random.default_rng(5).permutation(301)
    result = calibrate(logits[order], labels[order], [keys[i] for i in order])
    assert result.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert result.after.ece == pytest.approx(expected.after.ece, rel=1e-3)
    assert result.n_fitted == expected.n_fitted == 151


def test_halves_share_labels_and_no_image():
    labels, keys = np.repeat([0, 1, 2], [11, 4, 20]), hashes(35)
    first, second = halves(labels, keys)
    assert sorted([*first, *second]) == list(range(35))
    assert abs(np.bincount(labels[first]) - np.bincount(labels[second])).max() <= 1
    order = np.random.default_rng(0).permutation(35)
    again, _ = halves(labels[order], [keys[i] for i in order])
    assert sorted(order[again]) == sorted(first)
    assert sorted(first) != sorted(range(0, 35, 2))
    assert [len(half) for half in halves(np.zeros(0, dtype=int), [])] == [0, 0]


@pytest.mark.parametrize(
    ("logits", "labels", "note"),
    [
        (np.eye(3)[np.arange(30) % 3] * 5, np.arange(30) % 3, "set no limit to the temperature"),  # all right
        (np.eye(3)[np.arange(30) % 3] * 5, (np.arange(30) + 1) % 3, "set no limit to the temperature"),  # all wrong
        (np.zeros((30, 3)), np.arange(30) % 3, "set no limit to the temperature"),  # sure of nothing
        (np.eye(3)[np.arange(19) % 3], np.arange(19) % 3, "on at least 20 labelled images, and there are 19"),
        (np.zeros((1, 3)), np.array([0]), "and there are 1"),
        (np.zeros((30, 1)), np.zeros(30, dtype=int), "it has one class"),
    ],
)
def test_what_cannot_be_fitted_has_a_note_and_no_temperature(logits, labels, note):
    result = calibrate(logits.astype(np.float32), labels, hashes(len(labels)))
    assert result.temperature is result.after is None
    assert note in result.note
    assert (result.before is None) == (logits.shape[1] == 1)


def test_no_image_has_no_curve():
    assert calibrate(np.zeros((0, 3), np.float32), np.zeros(0, dtype=int), []).before is None


def test_sigmoid_heads_have_no_temperature():
    result = calibrate(*drawn(100, 4, 1.0), hashes(100), activation="sigmoid")
    assert (result.temperature, result.before) == (None, None)
    assert "independent" in result.note


def test_extreme_logits_stay_finite():
    logits, labels = drawn(400, 5, 12.0)
    logits[0] = [3e4, -3e4, 0, 0, 0]
    result = calibrate(logits, labels, hashes(400))
    assert np.isfinite([result.temperature, result.before.ece, result.after.ece]).all()
    assert TEMPERATURES[0] <= result.temperature <= TEMPERATURES[1]


def test_logits_are_read_from_a_file_in_chunks(tmp_path):
    logits, labels = drawn(900, 700, 2.0)  # more than two chunks
    on_disk = np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float32, logits.shape)
    on_disk[:] = logits
    read = []

    class Recorded:
        shape, ndim = logits.shape, 2

        def __len__(self):
            return len(on_disk)

        def __getitem__(self, rows):
            read.append(len(rows))
            return on_disk[rows]

    assert calibrate(Recorded(), labels, hashes(900)) == calibrate(logits, labels, hashes(900))
    assert max(read) * 700 <= 1 << 18 < 900 * 700


def test_wrong_shapes_are_refused():
    logits, labels = drawn(30, 4, 1.0)
    with pytest.raises(ValueError, match=r"expected \(N, classes\) for 30 labels; got \(29, 4\)"):
        calibrate(logits[1:], labels, hashes(30))
    with pytest.raises(ValueError, match="expected a class for each label"):
        calibrate(logits, labels, hashes(30), np.eye(4, dtype=bool) & (np.arange(4) < 3))


def test_calibration_is_json():
    result = calibrate(*drawn(60, 3, 2.0), hashes(60))
    assert json.loads(json.dumps(result.to_json(), allow_nan=False)) == {
        "images": 30,
        "ece": result.before.ece,
        "confidence": result.before.confidence,
        "accuracy": result.before.accuracy,
        "temperature": result.temperature,
        "fitted_on": 30,
        "ece_with_temperature": result.after.ece,
        "note": "",
    }
    assert calibrate(np.zeros((0, 3), np.float32), np.zeros(0, dtype=int), []).to_json()["ece"] is None

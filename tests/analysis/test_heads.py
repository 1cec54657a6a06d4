"""Heads on features: compared with scikit-learn by hand, honest out of fold, and folded without loss."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lineup.analysis import folds, heads
from lineup.errors import LineupError


def drawn(n, n_classes, dim=64, distance=0.4, seed=0, counts=None):
    """Return features ``(n, dim)`` that are not negative, as those after a ReLU, and classes."""
    draw = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_classes), counts) if counts else np.arange(n) % n_classes
    centres = draw.normal(size=(n_classes, dim)) * distance
    features = draw.normal(size=(len(truth), dim)) * draw.uniform(0.2, 3, dim) + centres[truth] + 1
    return np.maximum(features, 0).astype(np.float32), truth


def accuracy(found, truth):
    tested = np.isfinite(found.probabilities).all(axis=1)
    return (found.probabilities.argmax(axis=1) == truth)[tested].mean()


@pytest.mark.parametrize(("n", "n_classes", "dim"), [(80, 2, 200), (90, 3, 20), (120, 3, 300)])
def test_folded_head_has_the_probabilities_of_scikit_learn(n, n_classes, dim):
    features, truth = drawn(n, n_classes, dim)
    head = heads.cross_validated(features, truth, np.arange(n), n_classes).head
    variance = features.astype(np.float64).var(axis=0)
    z = (features - features.astype(np.float64).mean(axis=0)) / np.sqrt(variance + variance.mean())
    model = LogisticRegression(C=head.regularization, class_weight="balanced", max_iter=10_000, tol=1e-9).fit(z, truth)
    logits = model.decision_function(z)
    logits = np.stack([-logits / 2, logits / 2], axis=1) if n_classes == 2 else logits
    expected = heads.softmax(logits / head.temperature)
    np.testing.assert_allclose(head.probabilities(features), expected, atol=1e-5)


def test_nearest_centroid_needs_numpy_only(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    features, truth = drawn(18, 3)
    head = heads.cross_validated(features, truth, np.arange(18), 3).head
    variance = features.astype(np.float64).var(axis=0)
    z = features / np.sqrt(variance + variance.mean())
    centroids = np.stack([z[truth == label].mean(axis=0) for label in range(3)])
    distances = ((z[:, None] - centroids) ** 2).sum(axis=2)
    assert (head.method, head.regularization) == ("nearest centroid", None)
    np.testing.assert_array_equal(head.probabilities(features).argmax(axis=1), distances.argmin(axis=1))


def test_missing_scikit_learn_is_one_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    features, truth = drawn(30, 3)
    with pytest.raises(LineupError, match=r"scikit-learn.*not installed; pip install -r requirements-train\.txt"):
        heads.cross_validated(features, truth, np.arange(30), 3)


@pytest.mark.parametrize("n", [24, 150])
def test_shuffled_labels_have_the_accuracy_of_chance(n):
    rights, total = 0, 0
    for seed in range(4):
        features, truth = drawn(n, 3, dim=200, distance=1.0, seed=seed)
        truth = np.random.default_rng(seed).permutation(truth)
        found = heads.cross_validated(features, truth, np.arange(n), 3)
        rights, total = rights + accuracy(found, truth) * n, total + n
    assert abs(rights / total - 1 / 3) < 3 * np.sqrt(2 / 9 / total)


def test_large_fits_have_the_accuracy_and_the_head_of_others(monkeypatch):
    features, truth = drawn(150, 3, dim=60)
    folds_of = folds.number_of
    monkeypatch.setattr(folds, "number_of", lambda truth, groups, most: folds_of(truth, groups, 3))
    monkeypatch.setattr(heads, "REGULARIZATIONS", heads.REGULARIZATIONS[1:4])
    usual = heads.cross_validated(features, truth, np.arange(150), 3)
    monkeypatch.setattr(heads, "LARGE", 1)
    monkeypatch.setattr(heads, "REGULARIZATIONS", (None, *heads.REGULARIZATIONS))
    large = heads.cross_validated(features, truth, np.arange(150), 3)
    np.testing.assert_allclose(large.probabilities, usual.probabilities, atol=0.01)
    assert (large.head.regularization, large.head.weight.dtype) == (usual.head.regularization, np.float32)


def test_copies_in_one_group_do_not_leak():
    features, truth = drawn(60, 3, dim=200, distance=0)
    copies, labels, groups = np.tile(features, (2, 1)), np.tile(truth, 2), np.tile(np.arange(60), 2)
    kept_together = accuracy(heads.cross_validated(copies, labels, groups, 3), labels)
    apart = accuracy(heads.cross_validated(copies, labels, np.arange(120), 3), labels)
    assert kept_together < 0.55
    assert apart > 0.6


def test_rare_class_of_an_unbalanced_set_is_recognised():
    features, truth = drawn(0, 3, dim=40, distance=0.9, counts=[150, 150, 8])
    found = heads.cross_validated(features, truth, np.arange(308), 3)
    assert (found.probabilities[truth == 2].argmax(axis=1) == 2).mean() >= 0.7


def test_probabilities_out_of_fold_are_calibrated():
    features, truth = drawn(300, 3, dim=80, distance=0.25)
    found = heads.cross_validated(features, truth, np.arange(300), 3)
    assert abs(found.probabilities.max(axis=1).mean() - accuracy(found, truth)) < 0.06


def test_class_of_one_group_is_not_tested():
    features, truth = drawn(30, 3)
    groups = np.where(truth == 0, 100, np.arange(30))
    found = heads.cross_validated(features, truth, groups, 3)
    tested = np.isfinite(found.probabilities).all(axis=1)
    assert not tested[truth == 0].any()
    assert tested[truth != 0].all()
    assert np.isfinite(found.head.weight).all()


@pytest.mark.parametrize("n", [8, 24])
def test_images_of_a_single_group_have_a_head_and_no_accuracy(n):
    features, truth = drawn(n, 2)
    found = heads.cross_validated(features, truth, np.zeros(n, np.int64), 2)
    assert np.isfinite(found.head.weight).all()
    assert np.isnan(found.probabilities).all()
    assert (found.n_fitted, [count for count, _ in found.curve]) == (0, [0, 0])


@pytest.mark.parametrize("n", [16, 40])
def test_head_that_knows_a_single_class_tests_nothing(n):
    features, truth = drawn(n, 2, distance=0)
    groups = np.where(truth == 0, 100, np.arange(n) % 8)  # no other image of class 0 is left for its fold
    found = heads.cross_validated(features, truth, groups, 2)
    fold = folds.assign(truth, groups, folds.number_of(truth, groups, heads.MAX_FOLDS))
    beside = fold == fold[0]
    assert np.unique(truth[beside]).tolist() == [0, 1]
    assert np.isnan(found.probabilities[beside]).all()


@pytest.mark.parametrize("counts", [[1, 1], [1, 2, 1], [2, 2], [1, 30]])
def test_few_images_still_have_a_head(counts):
    features, truth = drawn(0, len(counts), counts=counts)
    head = heads.cross_validated(features, truth, np.arange(len(truth)), len(counts)).head
    assert np.isfinite(head.weight).all()
    assert (head.probabilities(features).argmax(axis=1) == truth).all()


def test_constant_features_do_not_matter():
    features, truth = drawn(30, 3)
    features[:, :5] = 7
    with_constants = heads.cross_validated(np.zeros_like(features), truth, np.arange(30), 3)
    assert np.isfinite(with_constants.head.weight).all()
    assert np.isfinite(heads.cross_validated(features, truth, np.arange(30), 3).head.weight).all()


def test_fits_stop_when_they_are_cancelled():
    features, truth = drawn(60, 3)

    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        heads.cross_validated(features, truth, np.arange(60), 3, check)


def test_folds_keep_groups_together_and_classes_balanced():
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    groups = np.arange(100) // 2
    fold = folds.assign(truth, groups, 5)
    assert all(len(set(fold[groups == group])) == 1 for group in range(50))
    counts = np.stack([np.bincount(truth[fold == each], minlength=3) for each in range(5)])
    assert np.abs(counts - [10, 6, 4]).max() <= 2


def test_related_images_are_one_group():
    groups = folds.Groups(6)
    for first, others in ((0, [1]), (1, [2]), (4, np.array([5]))):
        groups.link(first, others)
    assert groups.ids.tolist() == [0, 0, 0, 1, 2, 2]


def groups_without_uniform(truth, alike, certain):
    arrays = np.array(truth), np.array(alike), np.array(certain)
    uniform = folds.uniform_classes(*arrays)
    return uniform.tolist(), folds.without_uniform(*arrays, uniform).tolist()


def test_class_whose_images_all_look_alike_has_groups_of_copies_only():
    truth, alike = [0] * 6 + [1] * 4, [0] * 6 + [1, 1, 2, 3]
    assert groups_without_uniform(truth, alike, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]) == ([0], [0, 0, 1, 2, 3, 4, 5, 5, 6, 7])
    assert groups_without_uniform(truth, alike, alike) == ([], alike)  # a group that is certain stays


def test_few_images_that_look_alike_stay_one_group():
    assert groups_without_uniform([0] * 10, [0] * 4 + [1, 2, 3, 4, 5, 6], range(10))[1].count(0) == 4


def test_smaller_share_is_a_part_of_a_larger_one():
    truth, groups, images = np.arange(40) % 4, np.arange(40), np.arange(2, 40)
    half, quarter = (folds.part_of(truth, groups, images, share) for share in (0.5, 0.25))
    assert set(quarter) < set(half) < set(images)
    assert set(truth[quarter]) == {0, 1, 2, 3}

"""Scores of logits against labels that stand for several classes."""

import numpy as np
import pytest

from lineup.analysis.scoring import score

CLASSES = [[0, 1], [2], []]  # a dog of two kinds, a cat, and a label that the backbone lacks


def scored(p, truth, classes=CLASSES, rows=None):
    p, truth = np.array(p, np.float64), np.array(truth)
    return score([(np.arange(len(p)) if rows is None else np.array(rows), p)], truth, classes, p.shape[1])


def test_any_class_of_the_label_is_right():
    scores = scored([[0.1, 0.6, 0.1, 0.2], [0.1, 0.2, 0.1, 0.6], [0.1, 0.2, 0.6, 0.1]], [0, 0, 0])
    assert scores.anywhere.tolist() == [True, False, False]
    assert scores.anywhere5.tolist() == [True, True, True]
    assert scores.is_scored.all()


def test_among_the_labels_their_classes_probabilities_add_up():
    scores = scored([[0.2, 0.2, 0.3, 0.3], [0.1, 0.1, 0.3, 0.5]], [0, 0])
    assert scores.best.tolist() == [0, 1]
    assert scores.among.tolist() == [True, False]
    assert scores.best_probability == pytest.approx([0.4 / 0.7, 0.3 / 0.5])
    assert scores.anywhere.tolist() == [False, False]


def test_an_image_whose_label_the_backbone_lacks_is_not_scored():
    scores = scored([[0.7, 0.1, 0.1, 0.1]] * 3, [2, -1, 0])
    assert scores.is_scored.tolist() == [False, False, True]
    assert scores.anywhere.tolist() == scores.among.tolist() == [False, False, True]


def test_an_image_that_was_not_computed_has_no_answer():
    scores = scored([[0.7, 0.1, 0.1, 0.1]], [0, 0, 1], rows=[1])
    assert scores.top[:, 0].tolist() == [-1, 0, -1]
    assert scores.is_scored.tolist() == [False, True, False]
    assert scores.best.tolist() == [-1, 0, -1]


def test_a_class_of_two_labels_counts_for_the_most_specific():
    dog, beagle = [0, 1, 2], [1]
    scores = scored([[0.2, 0.5, 0.2, 0.1], [0.5, 0.2, 0.2, 0.1]], [1, 0], [dog, beagle])
    assert scores.best.tolist() == [1, 0]
    assert scores.anywhere.all()


def test_labels_of_the_same_classes_count_as_one():
    cab, taxi, dog = [3], [3], [0, 1]
    scores = scored([[0.2, 0.2, 0.0, 0.6], [0.2, 0.2, 0.0, 0.6], [0.5, 0.2, 0.1, 0.2]], [0, 1, 1], [cab, taxi, dog])
    assert scores.best.tolist() == [0, 1, 2]  # where it is right, the image's own
    assert scores.among.tolist() == scores.anywhere.tolist() == [True, True, False]
    assert scores.best_probability == pytest.approx([0.6, 0.6, 0.7 / 0.9])


def test_without_labels_there_are_answers_only():
    scores = scored([[0.1, 0.6, 0.1, 0.2]], [-1], [])
    assert scores.top[0].tolist() == [1, 3, 0, 2]
    assert scores.probabilities[0] == pytest.approx([0.6, 0.2, 0.1, 0.1])
    assert not scores.is_scored.any()


def test_equal_probabilities_keep_the_order_of_the_classes():
    assert scored([[0.25] * 4], [0]).top[0].tolist() == [0, 1, 2, 3]


def test_scores_equal_a_loop_over_random_probabilities():
    rng = np.random.default_rng(0)
    p, truth = rng.dirichlet(np.ones(30), 200), rng.integers(-1, 4, 200)
    classes = [[1, 2, 3], [10], [20, 21], []]
    scores = scored(p, truth, classes)
    for row, label in enumerate(truth):
        has_label = label >= 0 and bool(classes[label])
        assert scores.is_scored[row] == has_label
        assert scores.anywhere[row] == (has_label and int(p[row].argmax()) in classes[label])
        sums = [p[row, members].sum() for members in classes[:3]]
        assert scores.among[row] == (has_label and int(np.argmax(sums)) == label)
        top5 = np.argsort(-p[row])[:5]
        assert scores.anywhere5[row] == (has_label and bool({*top5.tolist()} & {*classes[label]}))

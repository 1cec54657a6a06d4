import numpy as np
import pytest

from lineup.analysis.confusion import NO_ANSWER, OTHER, confusion
from lineup.analysis.statistics import wilson_interval

NAMES = ["bird", "bear", "cat", "castle"]
LABELS = np.array(
    [int(digit) for digit in "230312213011210000030230111303330121222032311300120310233310"]
)  # random, fixed
ANSWERS = np.array([
    *(0, 3, 0, 3, 1, 2, 1, 1, 3, 3, 1, -1, 2, 1, -1, 0, 0, 0, 0, -1, 0, 3, 3, 3, 1, -1, 1, 3, 3, 0),
    *(1, 3, 0, 1, 2, -1, 3, 2, 2, 0, 3, 1, 3, -1, 2, -1, 2, -1, 2, 2, 0, 3, 1, 0, 2, 1, 3, 3, 1, 0),
])  # fmt: skip

# scikit-learn 1.9.1: confusion_matrix(LABELS, ANSWERS, labels=[0, 1, 2, 3, -1]), without the row of -1, and
# precision_recall_fscore_support(LABELS, ANSWERS, labels=[0, 1, 2, 3]).
MATRIX = [[11, 0, 1, 3, 2], [0, 9, 2, 0, 4], [1, 2, 7, 2, 0], [1, 2, 0, 11, 2]]
PRECISION = [0.8461538461538461, 0.6923076923076923, 0.7, 0.6875]
RECALL = [0.6470588235294118, 0.6, 0.5833333333333334, 0.6875]
F1 = [0.7333333333333333, 0.6428571428571429, 0.6363636363636364, 0.6875]
SUPPORT = [17, 15, 12, 16]


def test_figures_are_those_of_scikit_learn():
    result = confusion(NAMES, LABELS, ANSWERS)
    assert result.matrix.tolist() == MATRIX
    assert [each.precision for each in result.classes] == pytest.approx(PRECISION, rel=1e-15)
    assert [each.recall for each in result.classes] == pytest.approx(RECALL, rel=1e-15)
    assert [each.f1 for each in result.classes] == pytest.approx(F1, rel=1e-15)
    assert [each.support for each in result.classes] == SUPPORT
    assert result.classes[0].recall_interval == wilson_interval(11, 17)
    assert result.classes[0].precision_interval == wilson_interval(11, 13)


def test_most_frequent_errors_are_first():
    result = confusion(NAMES, LABELS, ANSWERS)
    assert result.most_confused(2) == [("bear", None, 4), ("bird", "castle", 3)]
    assert len(result.most_confused(99)) == 11  # what never happens is no error
    assert result.matrix.tolist() == MATRIX


def test_a_backbone_is_not_blamed_for_labels_it_lacks():
    lacking = confusion(NAMES, LABELS, ANSWERS, unknown=[1])
    without = confusion(NAMES, LABELS[LABELS != 1], ANSWERS[LABELS != 1])
    assert lacking.counts == without.counts
    bear = lacking.classes[1]
    assert (bear.is_known, bear.n_left_out, bear.support, bear.recall) == (False, 15, 0, None)
    assert [each.precision for each in lacking.classes] == [each.precision for each in without.classes]


def test_images_without_an_answer_are_counted_apart():
    result = confusion(["a", "b"], np.array([0, 0, 1, 1]), np.array([0, NO_ANSWER, OTHER, NO_ANSWER]), unknown=[1])
    assert (result.n_unanswered, result.counts) == (1, ((1, 0, 0), (0, 0, 0)))
    assert result.classes[1].n_left_out == 2


def test_undefined_figures_are_none():
    result = confusion(["a", "b"], np.array([0]), np.array([OTHER]))
    a, b = result.classes
    assert (a.precision, a.precision_interval, a.recall, a.f1) == (None, (0, 1), 0, 0)
    assert (b.precision, b.recall, b.f1, b.recall_interval) == (None, None, None, (0, 1))
    nothing = np.zeros(0, dtype=int)
    assert confusion(["a"], nothing, nothing).counts == ((0, 0),)
    assert confusion([], nothing, nothing).most_confused(3) == []


def test_wrong_indices_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2,\)"):
        confusion(["a"], np.array([0, 0]), np.array([0]))
    for labels, answers in (([1], [0]), ([-1], [0]), ([0], [1]), ([0], [-3])):
        with pytest.raises(ValueError, match="expected indices below 1"):
            confusion(["a"], np.array(labels), np.array(answers))

import json
from itertools import combinations

import numpy as np
import pytest

from lineup.analysis.statistics import holm, mcnemar_mid_p, newcombe_interval, wilson_interval
from lineup.analysis.verdict import Cost, cheapest, verdict
from lineup.analysis.verdict_text import about, cost_text, percent

BIG, SMALL = Cost(12, 21.4), Cost(5.2, 9.8)


def answers(both, only_first, only_second, neither):
    """Return the correctness of two backbones, ``(2, images)`` bool."""
    counts = [both, only_first, only_second, neither]
    return np.repeat([[True, True, False, False], [True, False, True, False]], counts, axis=1)


def correlated(accuracies, n_images, seed=0):
    rng = np.random.default_rng(seed)
    difficulty = rng.random(n_images)
    rows = [np.where(rng.random(n_images) < 0.5, difficulty, rng.random(n_images)) < each for each in accuracies]
    return np.array(rows)


def sentence(*table):
    return verdict("XY", answers(*table), costs=[BIG, SMALL]).sentence


def test_fifty_images_are_too_few_for_a_small_difference():
    result = verdict("XY", answers(40, 6, 1, 3), costs=[BIG, SMALL])
    assert result.sentence == (
        "X is right on 46 of 50 (92%, 81 to 97), Y on 41 (82%, 69 to 90); on 7 only one of them is right, too few to "
        "tell: about 60 more images would, if the difference is real. Here X takes 12 ms and 21 MB, Y 5.2 ms and "
        "9.8 MB. Take Y, the fastest of the 2 that are not shown to be worse than another."
    )
    assert (result.ranking, result.not_worse, result.recommended) == (("X", "Y"), ("X", "Y"), "Y")
    assert result.pairs[0].better is result.pairs[0].worse is None
    assert (result.pairs[0].images_needed, result.pairs[0].more_images) == (110, 60)


def test_the_better_one_is_recommended_whatever_it_costs():
    result = verdict("YX", answers(65, 5, 25, 5), costs=[SMALL, BIG])
    assert (result.ranking, result.not_worse, result.recommended) == (("X", "Y"), ("X",), "X")
    assert (result.pairs[0].better, result.pairs[0].worse, result.pairs[0].more_images) == ("X", "Y", None)
    assert result.sentence == (
        "X is right on 90 of 100 (90%, 83 to 94), Y on 70 (70%, 60 to 78); on 30 only one of them is right, X on 25 of "
        "these, so X is significantly better (p = 0.00019). Here X takes 12 ms and 21 MB, Y 5.2 ms and 9.8 MB. Take X."
    )


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ((40, 3, 3, 4), "on 6 only one of them is right, each on 3, so these show no difference."),
        ((50, 0, 0, 0), "X on 50 (100%, 93 to 100); they are right on the same images, so these show no difference"),
        ((0, 0, 0, 7), "X on 0 (0%, 0 to 35); they are right on the same images"),
        ((1, 0, 0, 0), "Y is right on 1 of 1 (100%, 21 to 100), X on 1"),
        ((0, 1, 0, 0), "on 1 only one of them is right, too few to tell: about 7 more images would"),
        ((0, 0, 6, 0), "on 6 only one of them is right, Y on all of these, so Y is significantly better (p = 0.016)."),
        ((999_000, 900, 50, 50), "X is right on 999,900 of 1,000,000 (99.99%, 99.99 to 99.99)"),
        ((860, 45, 23, 72), "X is right on 905 of 1,000 (90.5%, 88.5 to 92.2), Y on 883 (88.3%, 86.2 to 90.1)"),
        ((0, 0, 0, 0), "No image has both an answer and a label, so nothing can be said."),
    ],
)
def test_sentence_on_two_backbones(table, part):
    assert part in sentence(*table)


def test_one_backbone_has_an_accuracy_and_no_rival():
    result = verdict(["X"], answers(40, 6, 1, 3)[:1], costs=[BIG])
    assert result.sentence == "X is right on 46 of 50 (92%, 81 to 97). Here X takes 12 ms and 21 MB."
    assert (result.pairs, result.recommended) == ((), "X")


def test_no_backbone_and_no_image_are_said():
    assert verdict([], np.zeros((0, 5), dtype=bool)).sentence == "No backbone was evaluated."
    result = verdict(["X", "Y", "Z"], np.zeros((3, 0), dtype=bool))
    assert (result.recommended, result.ranking, len(result.pairs)) == (None, (), 3)
    assert not any(pair.decided for pair in result.pairs)


def test_figures_are_those_of_the_statistics():
    names, correct = list("ABCDE"), correlated([0.9, 0.85, 0.6, 0.5, 0.88], 150)
    result = verdict(names, correct)
    rows = dict(zip(names, correct, strict=True))
    for score in result.scores:
        assert score.right == rows[score.backbone].sum()
        assert score.interval == wilson_interval(score.right, 150)
    assert [result.scores[names.index(name)].right for name in result.ranking] == sorted(correct.sum(1), reverse=True)
    assert {frozenset((pair.first, pair.second)) for pair in result.pairs} == set(
        map(frozenset, combinations(names, 2))
    )
    adjusted = holm([pair.mid_p for pair in result.pairs])
    for pair, p in zip(result.pairs, adjusted, strict=True):
        first, second = rows[pair.first], rows[pair.second]
        b, c = int((first & ~second).sum()), int((second & ~first).sum())
        assert (pair.only_first, pair.only_second, pair.n_images) == (b, c, 150)
        assert pair.difference == (b - c) / 150
        assert pair.decided or pair.more_images is None or pair.more_images > 0
        assert (pair.mid_p, pair.adjusted_p) == (mcnemar_mid_p(b, c), p)
        assert pair.decided == (p <= 0.05)
        both, neither = int((first & second).sum()), int((~first & ~second).sum())
        assert pair.unadjusted_interval == newcombe_interval(both, b, c, neither)
        assert b >= c  # the better-ranked one is first
    assert set(result.not_worse) == set(names) - {pair.worse for pair in result.pairs}


def test_all_pairs_decide_and_not_one_alone():
    correct = np.vstack([answers(40, 7, 1, 2), answers(40, 1, 7, 2)[1:] & False])
    assert verdict("XY", correct[:2]).pairs[0].decided
    three = np.vstack([answers(40, 7, 1, 2), answers(40, 1, 6, 3)[:1]])
    pair = next(pair for pair in verdict("XYZ", three).pairs if {pair.first, pair.second} == {"X", "Y"})
    assert pair.mid_p <= 0.05 < pair.adjusted_p
    assert not pair.decided
    assert pair.images_needed > 100  # more than for one pair alone


def test_order_of_backbones_and_images_changes_nothing():
    names, correct = list("ABCD"), correlated([0.9, 0.8, 0.6, 0.3], 80, seed=3)
    costs = [Cost(ms, 1) for ms in (9, 2, 3, 1)]
    expected = verdict(names, correct, costs=costs)
    rng = np.random.default_rng(1)
    for _ in range(5):
        order, images = rng.permutation(4), rng.permutation(80)
        result = verdict([names[i] for i in order], correct[order][:, images], costs=[costs[i] for i in order])
        assert (result.sentence, result.pairs) == (expected.sentence, expected.pairs)


def test_several_backbones_are_worse_only_where_that_is_significant():
    names = ["resnet18", "mobilenet", "lite0"]
    result = verdict(names, correlated([0.9, 0.85, 0.3], 100), costs=[Cost(30, 40), Cost(10, 20), Cost(1, 1)])
    assert "mobilenet is not significantly worse than resnet18; on " in result.sentence
    assert "only one of resnet18 and mobilenet is right, too few to tell: about " in result.sentence
    assert "lite0 is significantly worse than resnet18." in result.sentence
    assert result.recommended == "mobilenet"
    assert result.sentence.endswith("Take mobilenet, the fastest of the 2 that are not shown to be worse than another.")


def test_many_backbones_are_counted_and_the_recommended_one_named():
    names = [f"net{i}" for i in range(8)]
    result = verdict(names, correlated([0.9] * 8, 60), costs=[Cost(20 - i, 5) for i in range(8)])
    assert result.recommended == "net7"
    assert "No two of the 8 differ significantly; on " in result.sentence
    assert ", and 5 others on " in result.sentence
    assert "net7" in result.sentence.split(". ")[0]


def test_equal_answers_of_several_backbones_are_said():
    assert "All 3 are right on the same images" in verdict("XYZ", np.ones((3, 9), dtype=bool)).sentence


def test_a_backbone_that_fails_halfway_is_compared_on_common_images():
    correct, answered = correlated([0.9, 0.8, 0.95], 50), np.ones((3, 50), dtype=bool)
    answered[2, 30:] = False
    result = verdict("XYZ", correct, answered)
    assert result.ranking == verdict("XY", correct[:2]).ranking
    assert (result.scores[2].n_images, result.scores[2].n_unanswered) == (30, 20)
    assert [pair.n_images for pair in result.pairs if "Z" in (pair.first, pair.second)] == [30, 30]
    assert "Z is not ranked: it did not answer 20 images; of the 30 images of both, " in result.sentence
    assert result.recommended != "Z"
    ignored = correct.copy()
    ignored[2, 30:] = ~ignored[2, 30:]
    assert verdict("XYZ", ignored, answered) == result


def test_a_backbone_that_answers_nothing_costs_the_others_no_certainty():
    correct, answered = answers(40, 7, 1, 2), np.ones((3, 50), dtype=bool)
    answered[2] = False
    result = verdict("XYZ", np.vstack([correct, correct[:1]]), answered)
    assert result.pairs[0].adjusted_p == result.pairs[0].mid_p
    assert [pair.adjusted_p for pair in result.pairs[1:]] == [1, 1]
    assert "Z is not ranked: it did not answer 50 images." in result.sentence


def test_backbones_that_all_miss_some_image_are_ranked_on_the_rest():
    answered = ~np.eye(2, 50, dtype=bool)
    result = verdict("XY", answers(40, 6, 1, 3), answered)
    assert [score.n_images for score in result.ranked] == [48, 48]
    assert result.sentence.startswith("On the 48 images that can be scored for all of them, X is right on 44 of 48")


def test_a_missing_label_is_said_and_not_counted_as_wrong():
    correct, known = answers(40, 6, 1, 3), np.ones((2, 50), dtype=bool)
    known[1, -3:] = False
    result = verdict("XY", correct, known=known)
    assert [(score.right, score.n_images, score.n_unknown) for score in result.scores] == [(46, 50, 0), (41, 47, 3)]
    assert result.sentence.startswith("On the 47 images that can be scored for all of them, X is right on 46 of 47")
    assert "Y has no class for the labels of 3 images, which are not counted as wrong." in result.sentence


def test_ranked_backbones_are_compared_on_common_images():
    known = np.ones((3, 50), dtype=bool)
    known[2, :5] = False
    result = verdict("XYZ", correlated([0.9, 0.8, 0.7], 50), known=known)
    assert [pair.n_images for pair in result.pairs] == [45, 45, 45]


def test_a_backbone_without_most_labels_does_not_take_them_from_others():
    correct, known = correlated([0.9, 0.8, 0.9], 100), np.ones((3, 100), dtype=bool)
    known[2, 10:] = False
    result = verdict("XYZ", correct, known=known)
    assert [score.n_images for score in result.ranked] == [100, 100]
    part = "Z is not ranked: it has no class for the labels of 90 images, which are not counted as wrong; of the 10"
    assert part in result.sentence


def test_backbones_without_common_labels_are_not_ranked():
    known = np.repeat([[True, False], [False, True]], 10, axis=1)
    result = verdict("XY", np.ones((2, 20), dtype=bool), known=known)
    assert (result.ranking, result.recommended) == ((), None)
    assert result.sentence.startswith("No image can be scored for all backbones, so they are not ranked.")


def test_unknown_costs_recommend_the_first_and_say_so():
    result = verdict("XY", answers(40, 6, 1, 3))
    assert result.recommended == "X"
    assert "Take X, or another of the 2 that are not shown to be worse than another: their costs" in result.sentence


@pytest.mark.parametrize(
    ("costs", "name"),
    [
        ([Cost(5, 9), Cost(5, 8)], "Y"),
        ([Cost(5, 9), Cost(4, 99)], "Y"),
        ([Cost(None, 1), Cost(99, None)], "Y"),
        ([Cost(5, None), Cost(5, 9)], "Y"),
        ([Cost(5, 9), Cost(5, 9)], "X"),
        ([Cost(), Cost()], "X"),
    ],
)
def test_the_cheapest_is_by_ms_then_mb(costs, name):
    assert cheapest("XY", dict(zip("XY", costs, strict=True))) == name
    assert verdict("XY", answers(40, 3, 3, 4), costs=costs).recommended == name


def test_verdict_is_json():
    result = verdict("XY", answers(40, 6, 1, 3), costs=[BIG, SMALL])
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["pairs"][0]["unadjusted_interval"] == pytest.approx(list(newcombe_interval(40, 6, 1, 3)))
    assert values["pairs"][0]["more_images"] == 60
    assert values["scores"][0]["accuracy"] == 0.92
    assert values["scores"][1]["cost"] == {"forward_ms": 5.2, "size_mb": 9.8}
    json.dumps(verdict("XY", np.zeros((2, 0))).to_json(), allow_nan=False)


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2, 50\); got \(2, 3\)"):
        verdict("XY", answers(40, 6, 1, 3), np.ones((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="names: expected each once"):
        verdict("XX", answers(40, 6, 1, 3))


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [(1, 50, "100"), (0, 50, "0"), (0.9965, 50, "99.7"), (0.0004, 50, "0.04"), (0.92, 50, "92"), (0.5, 1000, "50.0")],
)
def test_only_all_and_none_are_100_and_0_percent(value, n, text):
    assert percent(value, n) == text


def test_estimates_and_costs_are_rounded():
    assert [about(number) for number in (1, 60, 63, 101, 1102, 123_456)] == ["1", "60", "63", "110", "1,200", "130,000"]
    costs = (Cost(12.4, 9.84), Cost(1234), Cost(size_mb=46.8), Cost())
    assert list(map(cost_text, costs)) == ["12 ms and 9.8 MB", "1,234 ms", "47 MB", ""]

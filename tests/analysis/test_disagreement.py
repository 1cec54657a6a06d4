from itertools import product

import numpy as np
import pytest

from lineup.analysis.disagreement import (
    NO_ANSWER,
    agreement_matrix,
    answer_codes,
    labelling_order,
    labelling_verdict,
    n_differing_pairs,
)
from lineup.analysis.verdict import Cost, verdict
from lineup.registry.labels import Label

NAMES = ["A", "B", "C"]


def random_codes(n_images, k=3, n_classes=4, seed=0, missing=0.0):
    """Return answers of backbones that mostly agree, and the true class of each image."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n_images)
    guesses = rng.integers(0, n_classes, (k, n_images))
    accuracies = np.linspace(0.9, 0.6, k)[:, None]
    codes = np.where(rng.random((k, n_images)) < accuracies, truth, guesses)
    return np.where(rng.random((k, n_images)) < missing, NO_ANSWER, codes), truth


def decisions(pairs):
    return {
        (pair.first, pair.second): (pair.only_first, pair.only_second, pair.mid_p, pair.adjusted_p, pair.better)
        for pair in pairs
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_labels_of_differing_images_give_the_verdict_of_all_labels(seed, missing):
    codes, truth = random_codes(120, k=2 + seed % 3, seed=seed, missing=missing)
    names = list("ABCD")[: len(codes)]
    truth[::7] = 99  # the right answer is none of them
    all_images = labelling_verdict(names, codes, {image: {truth[image]} for image in range(120)})
    differing = labelling_order(codes)
    assert 0 < len(differing) < 120
    some = labelling_verdict(names, codes, {image: {truth[image]} - {99} for image in differing})
    assert decisions(some.pairs) == decisions(all_images.pairs)
    assert (some.settled, some.n_remaining, some.not_worse) == (True, 0, all_images.not_worse)
    if not missing:
        full = verdict(names, codes == truth)
        expected = {}
        for pair in full.pairs:
            turned = pair.first > pair.second
            b, c = (pair.only_second, pair.only_first) if turned else (pair.only_first, pair.only_second)
            names_in_order = tuple(sorted((pair.first, pair.second)))
            expected[names_in_order] = (b, c, pair.mid_p, pair.adjusted_p, pair.better)
        assert decisions(some.pairs) == expected
        assert set(some.not_worse) == set(full.not_worse)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_settled_is_what_no_remaining_label_can_change(rate):
    codes = np.vstack([np.zeros(16, dtype=int), np.ones(16, dtype=int)])  # they differ on all images
    n_settled = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        done = 13 + seed % 3
        right = {image: {int(rng.random() < rate)} for image in range(done)}
        partial = labelling_verdict(["A", "B"], codes, right)
        outcomes = set()
        for rest in product([{0}, {1}, set()], repeat=16 - done):
            complete = labelling_verdict(["A", "B"], codes, right | dict(enumerate(rest, start=done)))
            outcomes.add(complete.pairs[0].better)
        assert partial.settled == (len(outcomes) == 1)
        assert partial.settled == (partial.recommended is not None)
        if partial.settled:
            n_settled += 1
            assert outcomes == {partial.pairs[0].better}
    assert 0 < n_settled < 20


def test_progress_is_said():
    codes = np.vstack([np.zeros(20, dtype=int), np.repeat([0, 1], [5, 15])])
    none = labelling_verdict(["A", "B"], codes, {})
    assert none.sentence == "0 of 15 images where they differ are labelled: label 15 more."
    three = labelling_verdict(["A", "B"], codes, {5: {0}, 6: {0}, 7: {1}, 0: {0}})
    assert three.sentence == "3 of 15 images where they differ are labelled: label 12 more."
    assert (three.n_labelled, three.n_remaining, three.settled) == (3, 12, False)
    right = {image: {0} for image in range(5, 19)}
    sure = labelling_verdict(["A", "B"], codes, right)
    assert sure.sentence == (
        "14 of 15 images where they differ are labelled, and the other 1 cannot change the verdict: A is better than "
        "B. Take A."
    )
    even = {image: {image % 2} for image in range(5, 20)}
    same = labelling_verdict(["A", "B"], codes, even, [Cost(9, 1), Cost(3, 1)])
    assert same.sentence == (
        "15 of 15 images where they differ are labelled: they show no significant difference. Take B, the fastest of "
        "the 2 that are not shown to be worse than another."
    )
    assert same.recommended == "B"


def test_neither_is_a_label_and_counts_for_no_backbone():
    codes = np.array([[0, 0], [1, 1]])
    result = labelling_verdict(["A", "B"], codes, {0: set(), 1: {0, 1}})
    assert (result.pairs[0].only_first, result.pairs[0].only_second, result.n_remaining) == (0, 0, 0)


def test_equal_answers_need_no_label():
    result = labelling_verdict(NAMES, np.zeros((3, 9), dtype=int), {})
    assert result.sentence == "The backbones give the same answers on all images, so no label can show a difference."
    assert (result.settled, result.recommended, result.n_remaining) == (True, None, 0)


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match="codes: expected"):
        labelling_verdict(["A", "B"], np.zeros((2, 3), dtype=int), {3: {0}})
    with pytest.raises(ValueError, match="codes: expected"):
        labelling_verdict(["A"], np.zeros((2, 3), dtype=int), {})


def test_most_informative_images_are_labelled_first():
    codes = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 1], [0, 1, 2, 0, NO_ANSWER]])
    confidences = np.array([[0.9, 0.3, 0.3, 0.9, 0.8], [0.9, 0.4, 0.3, 0.9, 0.2], [0.9, 0.2, 0.3, 0.9, 0.99]])
    assert n_differing_pairs(codes).tolist() == [0, 2, 3, 0, 1]
    assert labelling_order(codes).tolist() == [2, 1, 4]
    two = codes[:2]
    assert labelling_order(two).tolist() == [1, 2, 4]
    assert labelling_order(two, confidences[:2]).tolist() == [4, 1, 2]  # an answer that is missing has no confidence


def test_agreement_is_the_share_of_common_images():
    codes = np.array([[0, 1, 2, NO_ANSWER], [0, 1, 1, 1], [NO_ANSWER] * 4])
    expected = [[1, 2 / 3, np.nan], [2 / 3, 1, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(agreement_matrix(codes), expected)


def test_same_classes_of_different_label_sets_have_the_same_code():
    bird, machine = Label("n02012849", "crane"), Label("n03126707", "crane")
    tench, plain, described = Label("n01440764", "tench"), Label(None, "Tench"), Label("n01440764", "Tinca tinca")
    codes = answer_codes([[tench, bird, None], [plain, machine, plain], [described, Label(None, "crane"), bird]])
    assert codes[0, 0] == codes[1, 0] == codes[2, 0] == codes[1, 2]
    assert len(set(codes[:, 1])) == 3  # a crane without an id is neither the bird nor the machine
    assert (codes[0, 1], codes[0, 2]) == (codes[2, 2], NO_ANSWER)
    assert answer_codes([[], []]).shape == (2, 0)

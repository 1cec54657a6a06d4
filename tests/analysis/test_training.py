"""The report of a training: its verdict, what would help, and labels that look wrong."""

from dataclasses import replace

import numpy as np
import pytest

from lineup.analysis import training
from lineup.analysis.training import Accuracy, NearDuplicates, TrainedBackbone, TrainingReport
from lineup.analysis.verdict import Cost
from lineup.images.image_set import EvaluatedImage, ImageSet


def image_set(labels, splits=None, **parts):
    splits = splits or [""] * len(labels)
    images = tuple(
        EvaluatedImage(f"{i}.jpg", f"{label}/{i}.jpg", label, split, f"{i:064}")
        for i, (label, split) in enumerate(zip(labels, splits, strict=True))
    )
    return ImageSet("zoo", images, **parts)


def probabilities(truth, wrong=(), n_classes=2):
    p = np.full((len(truth), n_classes), 0.1 / (n_classes - 1), np.float32)
    p[np.arange(len(truth)), truth] = 0.9
    p[list(wrong)] = np.roll(p[list(wrong)], 1, axis=1)
    return p


def backbone(name, truth, wrong=(), half=(), **parts):
    p, n = probabilities(truth, wrong), len(truth)
    right, both = n - len(wrong), len(set(wrong) & set(half))
    curve = Accuracy(n - len(half), n, n // 2), Accuracy(right, n, n)
    gain = len(half) - both, len(wrong) - both
    return TrainedBackbone(name, "nearest centroid", None, 1.0, 8, p, curve=curve, gain=gain, **parts)


def report(labels, *backbones, **parts):
    images = image_set(labels)
    return TrainingReport(images, ("cat", "dog"), np.arange(len(labels)), parts.pop("near", ()), backbones, **parts)


LABELS = ["cat", "dog"] * 60
TRUTH = np.arange(120) % 2


def test_verdict_is_paired_over_the_same_images():
    found = report(LABELS, backbone("a", TRUTH, wrong=range(40)), backbone("b", TRUTH, wrong=range(5)))
    assert found.verdict.recommended == "b"
    assert found.verdict.pairs[0].decided
    assert found.best.name == "b"


def test_recommended_backbone_comes_first_and_those_that_are_not_ranked_last():
    costs = {name: Cost(ms) for name, ms in {"dear": 9.0, "cheap": 1.0, "bad": 1.0}.items()}
    unfinished = backbone("unfinished", TRUTH)
    unfinished.probabilities[:100] = np.nan
    wrong = {"bad": range(60), "dear": range(3), "cheap": range(4)}
    found = report(LABELS, unfinished, *(backbone(name, TRUTH, wrong[name], cost=costs[name]) for name in wrong))
    assert found.verdict.ranking == ("dear", "cheap", "bad")
    assert [each.name for each in found.ordered] == ["cheap", "dear", "bad", "unfinished"]
    assert found.best is found.ordered[0]


@pytest.mark.parametrize(
    ("wrong", "half", "n", "sentence"),
    [
        (range(5), range(40), 120, "More images would help"),
        (range(100), range(100), 1000, "More images of this kind would hardly help"),
        (range(20), range(20, 40), 120, "These 120 images are too few to tell"),
        (range(30), range(30), 120, "More images of this kind would hardly help"),
        ((), range(1), 120, "All 120 images are recognised"),
        (range(3), range(4), 20, "These 20 images are too few to tell"),
    ],
)
def test_learning_curve_says_whether_more_images_help(wrong, half, n, sentence):
    found = report((LABELS * 9)[:n], backbone("a", np.arange(n) % 2, wrong, half))
    assert found.advice[0].startswith(sentence)


def test_sentence_that_more_would_hardly_help_says_what_is_ruled_out():
    found = report(LABELS * 9, backbone("a", np.arange(1080) % 2, range(100), range(100)))
    assert "; a rise of more than 1 point is ruled out with 95% confidence." in found.advice[0]


def test_half_of_one_image_a_class_says_nothing_about_more():
    trained = backbone("a", TRUTH, wrong=range(60), half=range(60))
    curve = Accuracy(60, 120, 60), Accuracy(60, 120, 60)
    [sentence, *_] = report(LABELS, replace(trained, curve=curve)).advice
    assert sentence.startswith("These 120 images are too few to tell whether more would help: a class has one or two")


def test_swapped_labels_are_found_most_doubtful_first():
    p = probabilities(TRUTH, wrong=(3, 8))
    p[8] = [0.05, 0.95] if TRUTH[8] == 0 else [0.95, 0.05]
    doubtful = training.doubtful_labels(p, TRUTH, ("cat", "dog"))
    assert [each.image for each in doubtful] == [8, 3]
    assert (doubtful[0].label, doubtful[0].suggested) == ("cat", "dog")


def test_images_that_are_not_tested_are_not_doubtful():
    p = probabilities(TRUTH, wrong=(3,))
    p[3] = np.nan
    assert training.doubtful_labels(p, TRUTH, ("cat", "dog")) == ()
    assert training.doubtful_labels(np.full_like(p, np.nan), TRUTH, ("cat", "dog")) == ()


def test_splits_for_tests_are_held_out_unless_there_are_no_others():
    assert training.held_out(image_set(["a", "b", "a"], ["train", "test", "validation"])).tolist() == [0, 1, 1]
    assert training.held_out(image_set(["a", "b"], ["test", "test"])).tolist() == [0, 0]
    assert training.classes_of(image_set(["a", "b", "c"], ["train", "train", "test"])) == ("a", "b")


def test_class_that_is_all_in_held_out_groups_keeps_its_images():
    images = image_set(["cat", "cat", "dog", "dog", "dog"], ["test", "", "test", "", ""])
    found = TrainingReport(images, ("cat", "dog"), np.array([0, 0, 1, 1, 2]), (), ())
    assert found.is_fitted.tolist() == [False, True, False, False, True]
    notes = "\n".join(found.notes)
    assert "1 file is not trained on: it is related to held-out ones, or nearly the same." in notes
    assert "All images of cat look like held-out ones, which thus test little." in notes


def test_accuracy_of_held_out_images_is_that_of_one_split():
    both = image_set(["a", "b", "a", "b"], ["train", "train", "test", "validation"])
    assert training.to_test(both).tolist() == [False, False, True, False]
    assert training.to_test(image_set(["a", "b", "a"], ["", "", "validation"])).tolist() == [False, False, True]
    assert not training.to_test(image_set(["a", "b"], ["test", "test"])).any()


def test_images_that_no_backbone_can_read_are_not_counted():
    cut = {0: "cut off", 3: "cut off"}
    found = report(LABELS, backbone("a", TRUTH, problems=cut), backbone("b", TRUTH, problems={**cut, 5: "a b"}))
    assert found.is_fitted.sum() == 118
    assert [each["images"] for each in found.to_json()["classes"]] == [59, 59]
    assert found.notes == ["2 files cannot be read, such as cut off."]


def test_report_without_backbones_can_be_shown():
    found = report(LABELS)
    assert found.best is None
    assert found.advice == []
    assert found.to_json()["verdict"]["recommended"] is None


def test_near_duplicates_of_two_classes_are_named():
    found = report(LABELS, backbone("a", TRUTH), near=(NearDuplicates(0, 1),))
    assert "A pair of images looks nearly the same, with different labels: check which is right." in found.advice
    assert found.to_json()["near_duplicates"] == [["cat/0.jpg", "dog/1.jpg"]]


def test_class_of_one_group_cannot_be_tested():
    found = TrainingReport(image_set(["cat", "cat", "dog", "dog"]), ("cat", "dog"), np.array([0, 0, 1, 2]), (), ())
    assert "Too few independent images to test cat: at least two are needed." in found.notes
    assert "The intervals count them as independent images, and are thus too narrow." in found.notes
    assert "The intervals count them as independent images, and are thus too narrow." not in report(LABELS).notes


def test_accuracy_has_wilsons_interval():
    assert Accuracy(45, 50, 40).text == "90% (79 to 96) of 50 images"
    assert Accuracy(0, 0, 0).text == "unknown"

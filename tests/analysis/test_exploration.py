"""Which images of a report come first, and which labels a backbone takes for which."""

import numpy as np
import pytest

from lineup.analysis import exploration
from lineup.analysis.evaluation import EvaluatedBackbone, Report, truth_of
from lineup.analysis.exploration import Filter
from lineup.analysis.label_mapping import match
from lineup.analysis.scoring import score
from lineup.errors import LineupError
from lineup.images.image_set import EvaluatedImage, ImageSet
from lineup.registry.labels import from_names

NAMES = ["cat", "dog", "owl", "ball"]
LABELS = ["cat", "dog", "owl", "cat", None]


def made(probabilities, labels=LABELS, scoring="among", names=NAMES):
    """Return the report of backbones a, b … with the probabilities of each image."""
    images = tuple(EvaluatedImage(f"{i}.jpg", f"{i}.jpg", label, "", f"{i:064}") for i, label in enumerate(labels))
    collected, label_set = ImageSet("set", images), from_names(names, "test")
    backbones = "abcdef"[: len(probabilities)]
    matches = match(collected.labels, dict.fromkeys(backbones, label_set))
    truth, found = truth_of(collected, matches), []
    for name, p in zip(backbones, probabilities, strict=True):
        values = np.array(p, float)
        rows = np.flatnonzero(values.sum(axis=1))  # zeros: not computed
        scores = score([(rows, values[rows])], truth, [each.classes[name] for each in matches], len(names))
        found.append(EvaluatedBackbone(name, label_set, scores, {}))
    return Report(collected, tuple(matches), tuple(found), scoring=scoring)


A = [[0.9, 0.1, 0, 0], [0.2, 0.7, 0.1, 0], [0.8, 0.1, 0.1, 0], [0.3, 0.2, 0.1, 0.4], [0.5, 0.2, 0.2, 0.1]]
B = [[0.8, 0.2, 0, 0], [0.6, 0.3, 0.1, 0], [0.9, 0.1, 0.0, 0], [0.1, 0.6, 0.1, 0.2], [0.5, 0.2, 0.2, 0.1]]


@pytest.mark.parametrize(
    ("wanted", "images"),
    [
        (Filter(), [1, 3, 2, 0, 4]),
        (Filter("differ"), [1, 3]),
        (Filter("only", "a", "b"), [1, 3]),
        (Filter("only", "b", "a"), []),
        (Filter("only", "a", "nope"), []),
        (Filter("all wrong"), [2]),
        (Filter("label", label="cat"), [3, 0]),
        (Filter("label", label="nope"), []),
        (Filter("cell", "b", label="dog", answer="cat"), [1]),
        (Filter("cell", "a", label="dog", answer="cat"), []),
        (Filter("cell", "nope", label="dog", answer="cat"), []),
    ],
)
def test_filters_select_images_disagreements_first(wanted, images):
    assert exploration.select(made([A, B]), wanted) == images


def test_least_sure_images_are_ranked_within_each_backbone():
    # b is surer of everything, so that its confidences alone would decide
    sure = [[0.99, 0.01, 0, 0], [0.98, 0.02, 0, 0], [0.97, 0.03, 0, 0]]
    unsure = [[0.3, 0.3, 0.2, 0.2], [0.5, 0.2, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]]
    assert exploration.select(made([sure, unsure], ["cat"] * 3), Filter("least sure"))[0] == 2


def test_all_classes_count_in_the_confusion_of_all_classes():
    report = made([A], scoring="anywhere")
    assert exploration.confusion_of(report, report.backbones[0]).counts == ((1, 0, 0, 1), (0, 1, 0, 0), (1, 0, 0, 0))
    assert exploration.select(report, Filter("cell", "a", label="cat", answer="")) == [3]


def test_images_without_answers_are_in_no_cell():
    report = made([[A[0], [0] * 4, *A[2:]]])
    found = exploration.confusion_of(report, report.backbones[0])
    assert found.counts == ((2, 0, 0, 0), (0, 0, 0, 0), (1, 0, 0, 0))
    assert found.n_unanswered == 1


def test_labels_that_are_not_scored_are_left_out_of_the_confusion():
    report = made([A], ["cat", "zzz", "owl", "cat", None])
    assert exploration.confusion_of(report, report.backbones[0]).labels == ("cat", "owl")


def test_labels_with_the_most_errors_are_kept_in_order():
    report = made([B])
    found = exploration.confusion_of(report, report.backbones[0])
    assert exploration.most_confused_labels(found, 2) == [0, 1]


def test_unknown_filter_is_an_error():
    with pytest.raises(LineupError, match="expected one of all, differ"):
        exploration.filter_of("everything")


def test_values_that_are_no_text_select_nothing():
    assert exploration.filter_of("label", label=["cat"]) == Filter("label")

"""A report: its figures, what is said of the set, and its JSON."""

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
from test_exploration import A, B, made

from lineup.analysis.evaluation import scoring_of
from lineup.analysis.statistics import wilson_interval
from lineup.analysis.verdict import Cost
from lineup.errors import LineupError

C = [[0.9, 0.1, 0, 0], [0] * 4, [0.8, 0.1, 0.1, 0], [0.3, 0.2, 0.1, 0.4], [0.5, 0.2, 0.2, 0.1]]


def of_set(report, **values):
    return replace(report, images=replace(report.images, **values))


def test_accuracy_is_of_the_images_that_are_scored():
    backbone = made([A]).backbones[0]
    assert astuple(backbone.accuracy("among")) == (3, 4, 0.75, *wilson_interval(3, 4))  # the fifth has no label
    assert astuple(backbone.accuracy("anywhere"))[:3] == (2, 4, 0.5)
    assert astuple(backbone.accuracy("anywhere", 5))[:3] == (4, 4, 1)
    assert astuple(made([A], [None] * 5).backbones[0].accuracy("among")) == (0, 0, None, 0, 1)


def test_verdict_is_of_the_scoring_and_its_costs():
    report = made([A, B])
    report = replace(
        report,
        backbones=tuple(replace(each, cost=Cost(ms, 1)) for each, ms in zip(report.backbones, (9, 2), strict=True)),
    )
    assert [(score.right, score.n_images) for score in report.verdict.scores] == [(3, 4), (1, 4)]
    assert report.verdict.recommended == "b"
    assert [score.right for score in replace(report, scoring="anywhere").verdict.scores] == [2, 1]


def test_missing_answers_are_not_wrong():
    score = made([A, C]).verdict.scores[1]
    assert (score.right, score.n_images, score.n_unanswered) == (2, 3, 1)
    assert made([A, C]).n_differing == 0
    assert made([A, C]).codes.tolist() == [[0, 1, 0, 2, 0], [0, -1, 0, 2, 0]]


def test_labels_that_no_backbone_has_are_not_unanswered():
    report = made([A, C], ["cat", "zzz", "owl", "cat", None])
    assert [(score.n_images, score.n_unanswered) for score in report.verdict.scores] == [(3, 0), (3, 0)]
    assert report.truth.tolist() == [0, -1, 1, 0, -1]


def test_left_out_files_are_counted_in_sentences():
    one = of_set(
        made([A]),
        unreadable=({"error": "x.jpg: it is damaged"},),
        duplicates=(("1.jpg", "2.jpg"),),
        conflicts=({"files": ["a.jpg", "b.jpg", "c.jpg"], "labels": ["cat", "dog"]},),
    )
    assert one.notes == [
        "1 file cannot be read, such as x.jpg: it is damaged.",
        "1 file repeats another, and is left out.",
        "1 file left out as noise in the labels: a.jpg and b.jpg are the same image.",
        "1 file without a label is not scored.",
    ]
    more = of_set(made([A]), unreadable=({"error": "x"},) * 2000, duplicates=(("1", "2", "3"), ("4", "5")))
    assert more.notes[:2] == ["2,000 files cannot be read, such as x.", "3 files repeat another, and are left out."]


def test_image_that_no_backbone_decodes_is_a_file_that_cannot_be_read():
    report = made([A, C])
    first, second = report.backbones
    both = replace(first, problems={1: "1.jpg: cut off", 2: "busy"}), replace(second, problems={1: "1.jpg: cut off"})
    assert replace(report, backbones=both).notes[0] == "1 file cannot be read, such as 1.jpg: cut off."
    assert not [note for note in replace(report, backbones=(first, both[1])).notes if "read" in note]


def test_splits_are_counted_if_there_are_several():
    report = made([A])
    images = [replace(image, split="train" if at else "test") for at, image in enumerate(report.images.images)]
    [note] = [note for note in of_set(report, images=tuple(images)).notes if "splits" in note]
    assert (
        note
        == "All splits are evaluated (1 of test, 4 of train); a backbone that was trained on one of them is favoured."
    )
    assert not [note for note in of_set(report, images=tuple(images[1:])).notes if "splits" in note]


def test_labels_that_a_backbone_lacks_are_named():
    names = [f"thing {at}" for at in range(8)]
    report = made([np.eye(8)], names, names=names)
    lacking = [replace(match, classes={"a": match.classes["a"], "b": ()}) for match in report.matches]
    report = replace(
        report, matches=tuple(lacking), backbones=(*report.backbones, replace(report.backbones[0], name="b"))
    )
    assert report.notes == ["b has no class for thing 0, thing 1, thing 2, thing 3, thing 4 and 3 more."]
    assert replace(report, left_out={"c": "it is busy"}).notes[-1] == "c is left out: it is busy"


def test_one_label_makes_every_answer_among_the_labels_right():
    report = made([A], ["cat"] * 5)
    assert "Only one label is scored" in report.notes[0]
    assert replace(report, scoring="anywhere").notes == []


def test_labels_of_the_same_classes_count_as_one():
    report = made([A], ["cat", "dog", "owl", "cats", None])
    assert report.notes[0] == "cat and cats mean the same classes, and count as one label."
    assert astuple(report.backbones[0].accuracy("among"))[:2] == (3, 4)
    assert "Only one label is scored" in made([A], ["cat", "cats", "cat", "cat", "cats"]).notes[1]


def test_report_is_json():
    values = json.loads(json.dumps(made([A, C]).to_json(), allow_nan=False))
    assert values["images"] == {
        "evaluated": 5,
        "labelled": 4,
        "splits": {},
        "unreadable": [],
        "duplicates": [],
        "conflicts": [],
    }
    assert [label["images"] for label in values["labels"]] == [2, 1, 1]
    assert values["backbones"][0]["top1_among"] == {
        "right": 3,
        "images": 4,
        "accuracy": 0.75,
        "low": pytest.approx(wilson_interval(3, 4).low),
        "high": pytest.approx(wilson_interval(3, 4).high),
    }
    assert (values["agreement"], values["n_differing"], values["progress"]) == ([[1, 1], [1, 1]], 0, 1)
    nothing = made([A, [[0] * 4] * 5], [None] * 5).to_json()
    assert (nothing["verdict"], nothing["agreement"][0][1]) == (None, None)
    assert made([], []).to_json()["backbones"] == []


def test_unknown_scoring_is_an_error():
    assert [scoring_of(each) for each in ("among", "anywhere")] == ["among", "anywhere"]
    with pytest.raises(LineupError, match="expected among or anywhere; got 'best'"):
        scoring_of("best")
    with pytest.raises(LineupError):
        scoring_of(None)

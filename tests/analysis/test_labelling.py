"""Labels that are given one by one: their log, the next image, and the verdict."""

import pytest
from test_exploration import made

from lineup.analysis import labelling
from lineup.errors import LineupError

A = [[0.9, 0.1, 0, 0], [0.2, 0.7, 0.1, 0], [0.8, 0.1, 0.1, 0]]
B = [[0.8, 0.2, 0, 0], [0.6, 0.3, 0.1, 0], [0.1, 0.1, 0.7, 0.1]]
FIRST, SECOND = f"{2:064}", f"{1:064}"  # the hashes of the images that differ, in their order


@pytest.fixture
def report():
    return made([A, B], [None] * 3)


def after(report, *steps):
    return labelling.session(report, labelling.replay(steps))


def test_only_images_that_differ_are_to_be_labelled(report):
    session = after(report)
    assert (session.image, session.following, session.verdict.n_differing) == (2, 1, 2)
    assert [choice.label.name for choice in session.choices] == ["cat", "owl"]


def test_verdict_counts_each_label(report):
    session = after(report, {"image": FIRST, "right": ["owl"]}, {"image": SECOND, "right": ["cat"]})
    assert session.image is None
    [pair] = session.verdict.pairs
    assert (pair.only_first, pair.only_second) == (0, 2)


def test_neither_and_several_are_labels_too(report):
    session = after(report, {"image": FIRST, "right": []}, {"image": SECOND, "right": ["cat", "dog"]})
    assert session.verdict.n_labelled == 2
    [pair] = session.verdict.pairs
    assert (pair.only_first, pair.only_second) == (0, 0)


def test_undo_takes_back_one_step_after_another(report):
    steps = [{"image": FIRST, "right": ["owl"]}, {"image": SECOND, "later": True}, {"undo": True}, {"undo": True}]
    assert after(report, *steps[:3]).image == 1
    assert after(report, *steps).image == 2
    assert after(report, *steps).n_steps == 0
    assert after(report, *steps, {"undo": True}).n_steps == 0


def test_image_for_later_comes_last(report):
    assert after(report, {"image": FIRST, "later": True}).image == 1
    session = after(report, {"image": FIRST, "later": True}, {"image": SECOND, "right": []})
    assert (session.image, session.n_later) == (2, 1)
    assert after(report, {"image": FIRST, "later": True}, {"image": SECOND, "later": True}).image == 2


@pytest.mark.parametrize(
    ("action", "image", "keys"),
    [
        ("label", 0, ["cat"]),  # the backbones agree
        ("label", 3, ["cat"]),
        ("label", -1, ["cat"]),
        ("label", "2", ["cat"]),
        ("label", None, ["cat"]),
        ("label", 2, ["dog"]),  # no backbone says so
        ("label", 2, "cat"),
        ("label", 2, [["cat"]]),
        ("label", 2, None),
        ("delete", 2, []),
        ("undo", 3, []),  # there is nothing to undo
    ],
)
def test_steps_that_make_no_sense_are_errors(report, action, image, keys):
    with pytest.raises(LineupError):
        labelling.step(report, labelling.Labels(), action, image, keys)


def test_steps_are_what_is_replayed(report):
    labels = labelling.Labels()
    assert labelling.step(report, labels, "label", 2, ["owl"]) == {"image": FIRST, "right": ["owl"]}
    assert labelling.step(report, labels, "later", 2, None) == {"image": FIRST, "later": True}
    assert labelling.step(report, labelling.Labels(n_steps=1), "undo", None, None) == {"undo": True}

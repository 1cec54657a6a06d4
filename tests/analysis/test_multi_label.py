"""Answers whose classes are independent of each other, in sentences and in the verdict."""

import dataclasses

import pytest
from test_agreement import town

from lineup.analysis import multi_label
from lineup.analysis.agreement import Vote, agreement
from lineup.results import Prediction


def finds(backbone, *names):
    vote = town(backbone)
    above = tuple(Prediction(index, None, name, 0.9) for index, name in enumerate(names))
    return Vote(dataclasses.replace(vote.answer, activation="sigmoid", above_half=above), vote.labels)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), "No class is above 50%."),
        (("cat",), "Above 50%: cat."),
        (("cat", "dog", "owl"), "Above 50%: cat, dog and owl."),
        (tuple("abcdefgh"), "Above 50%: a, b, c, d, e and 3 more."),
    ],
)
def test_sentence_lists_some_classes_above_half(names, text):
    answer = finds("a", *names).answer
    assert (
        multi_label.sentence(answer) == f"{text} Each class has a probability of its own; together they are not 100%."
    )
    single = dataclasses.replace(answer, predictions=answer.predictions[:1])
    assert multi_label.sentence(single) == text


def test_exclusive_classes_have_no_sentence():
    assert multi_label.sentence(town("a").answer) == ""


def test_independent_classes_have_no_vote():
    verdict = agreement([town("a"), finds("b", "maze", "barn"), town("c")])
    assert verdict.sentence == (
        "Both say traffic light. b finds maze and barn above 50%; it may find several, so it has no vote."
    )
    assert (verdict.multi_label, verdict.not_comparable, verdict.dissenting) == (("b",), (), ())
    assert verdict.majority.backbones == ("a", "c")


def test_independent_classes_alone_are_listed():
    verdict = agreement([finds("a"), finds("b", *"wxyz")])
    assert verdict.sentence == (
        "a finds no class above 50%; it may find several, so it has no vote. "
        "b finds 4 classes above 50%; it may find several, so it has no vote."
    )
    assert (verdict.majority, verdict.groups) == (None, ())
    many = agreement([finds(name) for name in "abcd"])
    assert many.sentence == "4 backbones may find several classes at once, so they have no vote."

import pytest

from lineup.config import Entry
from lineup.errors import BackboneError
from lineup.registry import activation


def entry(**keys):
    return Entry.model_validate({"backbone": "resnet18", **keys})


@pytest.mark.parametrize(
    ("of_entry", "num_outputs", "problem_type", "expected"),
    [
        (None, 5, None, "softmax"),
        (None, 1, None, "sigmoid"),
        (None, 5, "single_label_classification", "softmax"),
        (None, 5, "multi_label_classification", "sigmoid"),
        (None, 1, "multi_label_classification", "sigmoid"),
        ("softmax", 5, "multi_label_classification", "softmax"),
        ("sigmoid", 5, "single_label_classification", "sigmoid"),
        ("sigmoid", 5, "regression", "sigmoid"),
        ("sigmoid", 5, "no such type", "sigmoid"),
        (None, 0, "regression", "softmax"),  # only features are computed
    ],
)
def test_entry_precedes_the_problem_type_and_the_number_of_outputs(of_entry, num_outputs, problem_type, expected):
    given = entry(activation=of_entry) if of_entry else entry()
    assert activation.resolve(given, num_outputs, problem_type)[0] == expected


def test_inferred_sigmoid_is_noted_and_a_stated_one_is_not():
    assert activation.resolve(entry(activation="sigmoid"), 1)[1] == ()
    assert "one output" in activation.resolve(entry(), 1)[1][0]
    assert "problem_type: multi_label" in activation.resolve(entry(), 3, "multi_label_classification")[1][0]
    assert activation.resolve(entry(), 3)[1] == ()


@pytest.mark.parametrize(
    ("of_entry", "num_outputs", "problem_type", "got"),
    [
        ("softmax", 1, None, "the head has one, and `activation: softmax` would"),
        (None, 1, "single_label_classification", "`problem_type: single_label_classification` in config.json would"),
        (None, 5, "regression", "config.json says regression"),
        (None, 1, "regression", "config.json says regression"),
        (None, 5, "multilabel", "config.json has 'multilabel'"),
        (None, 5, ["multi_label_classification"], "config.json has"),
    ],
)
def test_activation_that_would_answer_wrongly_is_an_error(of_entry, num_outputs, problem_type, got):
    given = entry(activation=of_entry) if of_entry else entry()
    with pytest.raises(BackboneError) as caught:
        activation.resolve(given, num_outputs, problem_type)
    assert got in caught.value.got
    assert "activation: s" in caught.value.remedy

"""How often users corrected a backbone."""

from lineup.analysis.corrections import correction_rates
from lineup.analysis.statistics import wilson_interval


def test_rates_are_of_each_backbone_and_of_each_class_most_corrected_first():
    answers = [("b", "owl", True), ("a", "jay", False), ("a", "wren", True), ("a", "wren", False), ("a", "owl", True)]
    rates = correction_rates([*answers, ("a", "wren", True)])
    assert [(rate.backbone, rate.label, rate.n, rate.n_corrected) for rate in rates] == [
        ("a", "", 5, 3), ("a", "wren", 3, 2), ("a", "owl", 1, 1), ("a", "jay", 1, 0),
        ("b", "", 1, 1), ("b", "owl", 1, 1),
    ]  # fmt: skip
    assert rates[0].share == 0.6
    assert rates[0].interval == wilson_interval(3, 5)


def test_no_answers_have_no_rates():
    assert correction_rates([]) == []


def test_answer_without_a_class_counts_once():
    [rate] = correction_rates([("a", "", True)])
    assert (rate.n, rate.n_corrected) == (1, 1)

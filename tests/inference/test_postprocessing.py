"""Batches of outputs, and what they mean."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from planning import plan

from lineup.errors import BackboneError
from lineup.inference.backbone_state import Loaded
from lineup.inference.execution import Output
from lineup.inference.postprocessing import AnswerOptions, checked, classifications
from lineup.results import StageTimings

LOGITS = np.float32([[3, 2, 1], [0, 5, 0], [1, 1, 4]])


@pytest.fixture
def loaded(fakes):
    return Loaded(plan("fake:a"), None, "cpu", None)


def answers(loaded, logits, n_images, scores=None):
    options = AnswerOptions(top_k=2, max_k=3, scores=scores)
    return classifications(loaded, Output(logits, "torch", 1.0), n_images, options, StageTimings(1, 2, 3))


def test_batch_of_logits_gives_the_answer_of_each_image(loaded):
    together = answers(loaded, LOGITS, 3)
    assert [answer.predictions[0].label for answer in together] == ["cat", "dog", "owl"]
    assert together == [answers(loaded, LOGITS[index : index + 1], 1)[0] for index in range(3)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [("softmax", [0.665241, 0.244728, 0.090031]), ("sigmoid", [0.952574, 0.880797, 0.731059]), ("none", [3, 2, 1])],
)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_request_decides_the_function_of_the_logits(loaded, activation, scores, expected):
    loaded = replace(loaded, plan=replace(loaded.plan, activation=activation))
    [answer] = answers(loaded, LOGITS[:1], 1, scores)
    assert [prediction.probability for prediction in answer.predictions] == pytest.approx(expected, abs=1e-6)
    assert answer.activation == scores


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (3, 2), (9,), (3, 3, 1)])
def test_wrong_number_of_rows_or_classes_is_an_error(loaded, shape):
    with pytest.raises(BackboneError, match=r"fake:a: expected logits of shape \(3, 3\), one per class; got shape"):
        answers(loaded, np.zeros(shape, np.float32), 3)


def test_features_have_the_dimension_of_the_plan_and_are_finite(loaded):
    features = replace(loaded.plan, output="features", embedding=SimpleNamespace(dim=3))
    assert checked(features, LOGITS, 3) is LOGITS
    with pytest.raises(BackboneError, match=r"expected features of shape \(2, 3\); got shape \(3, 3\)"):
        checked(features, LOGITS, 2)
    with pytest.raises(BackboneError, match="expected finite numbers"):
        checked(features, np.where(LOGITS > 4, np.inf, LOGITS), 3)

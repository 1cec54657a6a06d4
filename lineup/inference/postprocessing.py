"""Turns logits into labelled probabilities."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineup.engines.engine import probabilities
from lineup.errors import BackboneError
from lineup.inference.backbone_state import Loaded
from lineup.inference.execution import Output
from lineup.inference.queue import PAGE
from lineup.results import Classification, Prediction, ScoreFunction, StageTimings

if TYPE_CHECKING:
    from lineup.registry import Plan


@dataclass(frozen=True)
class AnswerOptions:
    """What the answers to a request have.

    Attributes:
        top_k: number of classes that are asked for.
        max_k: number of classes in the answer, if that is more.
        scores: the function of the logits; the activation of the head if None.
        model_input: whether to encode the input of the network as JPEG.
        client: the kind of clients that the request is from; they take turns.
    """

    top_k: int = 1
    max_k: int = 0
    scores: ScoreFunction | None = None
    model_input: bool = True
    client: str = PAGE

    @property
    def count(self) -> int:
        """The number of classes in the answer."""
        return max(self.top_k, self.max_k)


DEFAULT_OPTIONS = AnswerOptions()


def checked(plan: "Plan", outputs: np.ndarray, n_images: int) -> np.ndarray:
    """Return the outputs of a batch if they are what the plan says: logits, or features, of each image.

    Raises:
        BackboneError: when the shape is not ``(N, outputs)`` or ``(N, embedding_dim)``, or a number is not finite.
    """
    logits, length = plan.output == "classes", plan.output_dim
    if outputs.shape != (n_images, length):
        expected = f"{'logits' if logits else 'features'} of shape ({n_images}, {length})"
        expected += ", one per class" if logits and length == plan.num_classes else ""
        raise BackboneError(plan.name, expected, f"got shape {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise BackboneError(
            plan.name,
            "finite numbers",
            "got NaN or infinity",
            "check its weights: a download may be damaged, and a training may have diverged",
        )
    return outputs


def class_logits(plan: "Plan", outputs: np.ndarray) -> np.ndarray:
    """Return a logit for each class ``(N, classes)``: one output for two classes is the logit of the second."""
    return np.hstack([-outputs, outputs]) if outputs.shape[1] < plan.num_classes else outputs


def classifications(
    loaded: Loaded, output: Output, n_images: int, options: AnswerOptions, milliseconds: StageTimings
) -> list[Classification]:
    """Return the answer for each of N images that a forward pass on their batch means.

    Raises:
        BackboneError: as `checked` does.
    """
    plan, logits = loaded.plan, checked(loaded.plan, output.logits, n_images)  # (N, outputs)
    activation, rows = options.scores or plan.activation, class_logits(plan, logits)  # (N, classes)
    if activation != "none":
        rows = probabilities(rows, activation)
    return [_classification(loaded, output.engine, row, activation, options, milliseconds) for row in rows]


def _classification(
    loaded: Loaded,
    engine: str,
    scores: np.ndarray,
    activation: ScoreFunction,
    options: AnswerOptions,
    milliseconds: StageTimings,
) -> Classification:
    """Return the answer that scores ``(classes,)``, the results of an activation, mean."""
    plan = loaded.plan
    labels, names, notes = plan.labels.labels, plan.labels.display_names, plan.notes
    if not plan.labels.named:
        notes += ("the classes of these weights have no names here, only numbers",)
    if options.top_k > len(labels):
        notes += (f"top_k {options.top_k} is more than there are classes: all {len(labels)} are listed",)
    order = np.argsort(-scores, kind="stable")
    first, second = scores[order[0]], scores[order[1]] if len(order) > 1 else 0.0
    independent = activation == "sigmoid" and plan.num_outputs in (None, plan.num_classes)
    n_above = int((scores > 0.5).sum()) if independent else 0
    ranked = tuple(
        Prediction(int(i), labels[i].id, names[i], float(scores[i]), labels[i].description)
        for i in order[: max(options.count, n_above)]
    )
    return Classification(
        backbone=plan.name,
        predictions=ranked[: options.count],
        input_size=plan.transform.input_size,
        engine=engine,
        device=loaded.device,
        milliseconds=milliseconds,
        label_set=plan.labels.origin,
        license=plan.license,
        margin=0.0 if independent or activation == "none" else float(first - second),
        activation=activation,
        above_half=ranked[:n_above] if independent else None,
        notes=notes,
    )

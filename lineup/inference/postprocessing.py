"""Turns logits into labelled probabilities."""

import numpy as np

from lineup.engines.engine import softmax
from lineup.errors import BackboneError
from lineup.inference.backbone_state import Loaded
from lineup.results import Classification, Prediction, StageTimings


def classification(
    name: str, loaded: Loaded, engine: str, logits: np.ndarray, top_k: int, max_k: int, milliseconds: StageTimings
) -> Classification:
    """Return the answer that logits ``(1, classes)`` of the named engine mean.

    Raises:
        BackboneError: when their shape does not match the labels, or one is not finite.
    """
    plan = loaded.plan
    labels, names = plan.labels.labels, plan.labels.display_names
    if logits.shape != (1, len(labels)):
        raise BackboneError(name, f"logits of shape (1, {len(labels)}), one per class", f"got shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise BackboneError(name, "finite numbers", "got NaN or infinity", "download its weights again")
    probabilities = softmax(logits)[0]  # (classes,)
    notes = plan.notes
    if not plan.labels.named:
        notes += ("the classes of these weights have no names here, only numbers",)
    if top_k > len(labels):
        notes += (f"top_k {top_k} is more than there are classes: all {len(labels)} are listed",)
    order = np.argsort(-probabilities, kind="stable")
    first, second = probabilities[order[0]], probabilities[order[1]] if len(order) > 1 else 0.0
    return Classification(
        backbone=name,
        predictions=tuple(
            Prediction(int(i), labels[i].id, names[i], float(probabilities[i]), labels[i].description)
            for i in order[: max(top_k, max_k)]
        ),
        input_size=plan.transform.input_size,
        engine=engine,
        device=loaded.device,
        milliseconds=milliseconds,
        label_set=plan.labels.origin,
        license=plan.license,
        margin=float(first - second),
        notes=notes,
    )

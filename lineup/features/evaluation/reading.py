"""Makes the report of an evaluation from what it has computed so far."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lineup.analysis.calibration import Calibration, calibrate
from lineup.analysis.evaluation import EvaluatedBackbone, Report, Scoring, truth_of
from lineup.analysis.label_mapping import Meaning, fitting, match
from lineup.analysis.scoring import Scores, score
from lineup.analysis.verdict import Cost
from lineup.engines.engine import probabilities
from lineup.features.evaluation import recording
from lineup.features.evaluation.recording import RunBackbone
from lineup.features.evaluation.run import Evaluations
from lineup.images.image_set import ImageSet

_MULTI_LABEL = "any number of its classes may be true of an image, so there is no single right answer to compare"


def report(
    evaluations: Evaluations, evaluation: str, chosen: Mapping[str, Meaning] | None = None, scoring: Scoring = "among"
) -> Report:
    """Return the report of an evaluation, which may still be running; the last ones are kept.

    Args:
        evaluations: has it.
        evaluation: its id.
        chosen: meanings of labels, as for `label_mapping.match`; by default those that were chosen on the page.
        scoring: what counts as right in the verdict.

    Raises:
        LineupError: when there is no such evaluation, or `chosen` does not fit it.
    """
    meanings = json.dumps(evaluations.chosen(evaluation) if chosen is None else dict(chosen))
    return _report(evaluations, evaluation, meanings, chosen is None, scoring, evaluations.status(evaluation).done)


@functools.lru_cache(maxsize=8)
def _report(
    evaluations: Evaluations, evaluation: str, chosen: str, only_fitting: bool, scoring: Scoring, n_done: int
) -> Report:
    return replace(_scored(evaluations, evaluation, chosen, only_fitting, n_done), scoring=scoring)


@functools.lru_cache(maxsize=4)
def _scored(evaluations: Evaluations, evaluation: str, chosen: str, only_fitting: bool, n_done: int) -> Report:
    folder, status = evaluations.folder(evaluation), evaluations.status(evaluation)
    images, names = ImageSet.read(folder), list(status.settings["backbones"])
    done = evaluations.progress(evaluation)
    known = {name: recording.read_backbone(folder, index) for index, name in enumerate(names)}
    compared = {name: each for name, each in known.items() if each and each.is_exclusive}
    label_sets, meanings = {name: each.labels for name, each in compared.items()}, json.loads(chosen)
    matches = match(images.labels, label_sets, fitting(label_sets, meanings)[0] if only_fitting else meanings)
    truth, left_out, found = truth_of(images, matches), dict[str, str](), list[EvaluatedBackbone]()
    for index, name in enumerate(names):
        if (backbone := compared.get(name)) is None:
            first = next(iter(done[index].problems.values()), "it has not begun")
            left_out[name] = _MULTI_LABEL if known[name] else first.removeprefix(f"{name}: ")
            continue
        classes = [each.classes[name] for each in matches]
        parts = (
            (rows, probabilities(logits, backbone.activation))
            for rows, logits in recording.read_logits(folder, index, done[index].rows, len(backbone.labels))
        )
        scores = score(parts, truth, classes, len(backbone.labels))
        calibration = _calibration(folder, index, done[index].rows, backbone, scores, truth, classes, images)
        cost = Cost(backbone.forward_ms, backbone.weights_mb)
        details = backbone.engine, backbone.license, backbone.notes, calibration
        found.append(EvaluatedBackbone(name, backbone.labels, scores, done[index].problems, cost, *details))
    progress = status.done / status.total if status.total else 1.0
    return Report(images, tuple(matches), tuple(found), left_out, progress=progress)


def _calibration(
    folder: Path,
    index: int,
    rows: Sequence[int],
    backbone: RunBackbone,
    scores: Scores,
    truth: np.ndarray,
    classes: Sequence[Sequence[int]],
    images: ImageSet,
) -> Calibration | None:
    """Return the calibration of a backbone on the images that are scored; None without one."""
    if not scores.is_scored.any():
        return None
    scored = np.flatnonzero(scores.is_scored[rows])  # rows of the file
    logits = recording.mapped_logits(folder, index, len(rows), len(backbone.labels))
    membership = np.zeros((len(classes), len(backbone.labels)), bool)
    for label, members in enumerate(classes):
        membership[label, list(members)] = True
    at = np.asarray(rows)[scored]  # images
    hashes = [images.images[image].sha256 for image in at]
    some = logits if len(scored) == len(rows) else logits[scored]
    if backbone.activation == "sigmoid":  # one output for two classes, -z and z: softmax takes half of each
        some = some / 2
    return calibrate(some, truth[at], hashes, membership)

"""Renders what there is to look at in a report: images, confusion matrix, reliability, and the plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lineup.analysis import exploration
from lineup.analysis.evaluation import EvaluatedBackbone, Report
from lineup.analysis.labelling import Session
from lineup.features.evaluation.html import render

N_MATRIX = 25  # labels in a confusion matrix


def shots(report: Report, evaluation: str, indices: Sequence[int], n_shown: int, title: str) -> str:
    """Render the first of some images, with every backbone's answer."""
    images = [_shot(report, int(index)) for index in indices[:n_shown]]
    return render("gallery.html", evaluation=evaluation, images=images, n_images=len(indices), title=title)


def _shot(report: Report, index: int) -> dict[str, Any]:
    image = report.images.images[index]
    answers = [_answer(report, backbone, index) for backbone in report.backbones]
    return {"index": index, "name": image.name, "label": image.label, "answers": answers}


def _answer(report: Report, backbone: EvaluatedBackbone, index: int) -> dict[str, Any]:
    scores = backbone.scores
    label, scored = backbone.answer(index), bool(scores.is_scored[index])
    among = report.scoring == "among" and scored
    first = best = {"answer": label.name if label else "", "probability": float(scores.probabilities[index, 0])}
    if among:
        name = report.matches[scores.best[index]].label
        best = {"answer": name, "probability": float(scores.best_probability[index])}
    return {
        "backbone": backbone.name,
        "problem": "" if label else backbone.problems.get(index, "it has not answered yet"),
        **best,
        "first": first if among else None,
        "right": bool(getattr(scores, report.scoring)[index]) if scored else None,
    }


def labelling(report: Report, evaluation: str, session: Session, problem: str = "") -> str:
    """Render the image to label, its answers, and the verdict so far."""
    image = None if session.image is None else report.images.images[session.image].name
    return render("labelling.html", evaluation=evaluation, session=session, image=image, problem=problem)


def confusion(report: Report, name: str) -> str:
    """Render the confusion matrix and the figures of each label, of the backbone of a name or else the first."""
    backbone = next((each for each in report.backbones if each.name == name), report.backbones[0])
    found = exploration.confusion_of(report, backbone)
    matrix, rows = found.matrix, exploration.most_confused_labels(found, N_MATRIX)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    columns = [*rows, *[len(found.labels)] * bool(matrix[:, -1].any())]
    values = {"columns": [(*found.labels, "")[column] for column in columns], "most": found.most_confused(5)}
    cells = [(found.labels[row], [(int(matrix[row, at]), float(shares[row, at])) for at in columns]) for row in rows]
    figures = sorted(found.classes, key=lambda each: (not each.is_known, each.recall if each.support else 2))
    return render("confusion.html", backbone=backbone.name, found=found, cells=cells, figures=figures, **values)


def reliability(report: Report) -> str:
    """Render the reliability curve of each backbone, and the effect of its temperature."""
    return render("reliability.html", backbones=[each for each in report.backbones if each.calibration])


def points(report: Report) -> list[dict[str, Any]]:
    """Return the points of the plot of accuracy against latency: those of the backbones that were measured."""
    found = []
    for backbone in report.backbones:
        top1 = backbone.accuracy(report.scoring)
        if backbone.cost.forward_ms is None or top1.accuracy is None:
            continue
        point = {"backbone": backbone.name, "ms": backbone.cost.forward_ms, "MB": backbone.cost.size_mb or 0.0}
        percents = {"accuracy": 100 * top1.accuracy, "low": 100 * top1.low, "high": 100 * top1.high}
        found.append({**point, **percents, "selected": backbone.name == report.verdict.recommended})
    return found


def plot(report: Report) -> Any:
    """Return the plot; None without a backbone that was measured and scored."""
    from lineup.page.plot import latency_plot  # altair is slow to import

    return latency_plot(points(report), "right answers, %, with 95% intervals", "MB", "MB of weights")

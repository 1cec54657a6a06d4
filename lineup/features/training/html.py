"""Renders the page of trainings: classes, the verdict, the trial, and what there is to take away."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineup.analysis.training import TrainedBackbone, TrainingReport
from lineup.analysis.verdict_text import percent
from lineup.features.training import card
from lineup.features.training.jobs import KEEP_DAYS
from lineup.images.labelled_folder import folder_name
from lineup.page.folder_uploads import KEEP_S
from lineup.page.html import status_box
from lineup.page.image_classes import HASH_DIGITS, Collection
from lineup.page.templates import renderer

IMAGES_PATH, ANSWER_PATH = "classes/images", "classes/answer"  # of the routes
N_DOUBTFUL = 12  # labels that look wrong, and near duplicates
render = renderer(Path(__file__).parent / "templates")


def kept(is_on_zerogpu: bool) -> str:
    """Return a sentence on who sees the images, and how long they are kept."""
    text = f"Only this tab sees them; they are deleted {KEEP_S // 3600} hours after you last use it."
    return f"{text} This Space's disk is not kept when it restarts: download the result." if is_on_zerogpu else text


def left_out(notes: Sequence[str]) -> str:
    """Render why files were left out; empty if none was."""
    if not notes:
        return ""
    more = [f"and {len(notes) - 5} more"] * (len(notes) > 5)
    return status_box("notice", f"{len(notes)} file{'s are' if len(notes) > 1 else ' is'} left out", *notes[:5], *more)


def start(collection: Collection, names: Sequence[str]) -> tuple[str, str]:
    """Return the text of the button that trains, and what is missing before it can be used; empty if nothing is."""
    missing = ""
    if len(collection.filled) < 2:
        missing = "Add images to at least two classes: five of each are a start, ten are good."
    elif not names:
        missing = "Select at least one backbone."
    n = sum(len(each.images) for each in collection.filled)
    verb = "Train again" if collection.training else "Train"
    return (verb if missing else f"{verb} on {n:,} images of {len(collection.filled)} classes"), missing


def deleted() -> str:
    """Render that a training was deleted by its age."""
    kept = f"It is kept for {KEEP_DAYS * 24} hours after its last result. Your images are still here: train again."
    return status_box("notice", "The training has been deleted", kept)


def trial(training: str, report: TrainingReport, name: str) -> str:
    """Render the field in which an image, or the camera, is tried with a trained backbone."""
    names = [each.name for each in report.backbones]
    return render("trial.html", path=ANSWER_PATH, training=training, backbones=names, best=name, labels=report.classes)


def verdict(report: TrainingReport, collection: Collection, number: int = 0) -> str:
    """Render the verdict, the figures of each backbone, what would help, and the labels that look wrong.

    Args:
        report: of the training.
        collection: the classes as they are now.
        number: the browser renders it again whenever it changes: a correction may have been refused.
    """
    best = report.best
    keys = {image: each.key for each in collection.classes for image in each.images}
    names = {each.name: each.key for each in collection.classes}
    images = [_image(image.sha256, image.name, collection, keys) for image in report.images.images]
    doubtful = [
        {**images[each.image], "label": each.label, "suggested": each.suggested, "probability": each.probability}
        | {"key": keys.get(images[each.image]["hash"], ""), "target": names.get(each.suggested, "")}
        for each in (best.doubtful if best else ())[:N_DOUBTFUL]
    ]
    pairs = [
        [{**images[index], "label": report.images.images[index].label} for index in (pair.first, pair.second)]
        for pair in report.near_duplicates[:N_DOUBTFUL]
    ]
    curve = best.curve if best and len(best.curve) > 1 else ()
    values = {"report": report, "rows": rows(report), "best": best, "curve": curve, "number": number}
    return render("training_verdict.html", doubtful=doubtful, pairs=pairs, **values)


def _image(sha256: str, name: str, collection: Collection, keys: dict[str, str]) -> dict[str, Any]:
    """Return what shows an image; its `key` is that of its class, or empty if it was removed since."""
    image = sha256[:HASH_DIGITS]
    return {"hash": image, "name": name, "source": f"classes/{collection.id}/thumbnail/{image}", "key": keys.get(image)}


def rows(report: TrainingReport) -> list[dict[str, Any]]:
    """Return the cells of the table of backbones, the best first."""
    scores = {score.backbone: score for score in report.verdict.scores}
    return [_row(each, scores[each.name]) for each in report.ordered]


def _row(backbone: TrainedBackbone, score: Any) -> dict[str, Any]:
    n, cost, held_out = score.n_images, backbone.cost, backbone.held_out
    return {
        "backbone": backbone.name,
        "right": f"{score.right:,} of {n:,}",
        "accuracy": f"{percent(score.accuracy, n)}%, {percent(score.interval.low, n)} to "
        f"{percent(score.interval.high, n)}"
        if n
        else "–",
        "share": score.accuracy,
        "low": score.interval.low if n else None,
        "high": score.interval.high,
        "held_out": f"{held_out.right:,} of {held_out.n:,}" if held_out else "–",
        "ms": "–" if cost.forward_ms is None else f"{cost.forward_ms:.1f}",
        "mb": "–" if cost.size_mb is None else f"{cost.size_mb:.1f}",
        "method": backbone.method,
    }


def take_away(training: str, backbone: str, name: str, python: str = "") -> str:
    """Render the link to the folder of a name, and the lines that use it.

    Raises:
        LineupError: when the name is empty.
    """
    name = name.strip()
    folder = folder_name(name)
    quoted, repo = shlex.quote(folder), re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-.") or "my-classes"
    texts = {
        f"The line for config.yaml: unzip {folder}.zip beside it": card.config_line(folder),
        "Push it to the Hub": f"unzip {quoted}.zip\nhf upload me/{repo} {quoted}",
        "Plain Python": python,
    }
    return render("take_away.html", training=training, backbone=backbone, typed=name, folder=folder, texts=texts)


def added(name: str) -> str:
    """Render that a backbone was added to the page."""
    return render("added.html", entry=name)

"""Labels of the images on which backbones differ, given one by one: which image is next, and the verdict so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lineup.analysis import disagreement
from lineup.analysis.disagreement import LabellingVerdict
from lineup.analysis.evaluation import Report
from lineup.errors import LineupError
from lineup.registry.labels import Label


@dataclass(frozen=True)
class Choice:
    """A distinct answer to an image; `code` is its number in `Report.codes`, and `label` that of a backbone."""

    code: int
    label: Label

    @property
    def key(self) -> str:
        """What names the answer wherever it is kept."""
        return key(self.label)


def key(label: Label) -> str:
    """Return what names a class: its id, or its name without one."""
    return label.id or label.name


@dataclass(frozen=True)
class Labels:
    """What was said of images, by the hashes of their content.

    Attributes:
        right: the keys of the right answers; none for *neither*.
        later: the images that were put off, the first one first.
        n_steps: the number of steps that can be undone.
    """

    right: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    later: tuple[str, ...] = ()
    n_steps: int = 0


def replay(steps: Iterable[Mapping[str, Any]]) -> Labels:
    """Return what a log of steps says: ``{"image", "right"}``, ``{"image", "later"}`` or ``{"undo"}``."""
    kept: list[Mapping[str, Any]] = []
    for step in steps:
        if step.get("undo"):
            kept = kept[:-1]
        else:
            kept.append(step)
    right = {step["image"]: tuple(step["right"]) for step in kept if "right" in step}
    put_off = dict.fromkeys(reversed([step["image"] for step in kept if step.get("later")]))  # its last time counts
    return Labels(right, tuple(reversed(put_off)), len(kept))


def choices(report: Report, image: int) -> list[Choice]:
    """Return the distinct answers to an image, by name: their order does not tell which backbone gave them."""
    found: dict[int, Label] = {}
    for code, backbone in zip(report.codes[:, image].tolist(), report.backbones, strict=True):
        if label := backbone.answer(image):
            known = found.setdefault(code, label)
            found[code] = label if label.id and not known.id else known
    return sorted((Choice(*each) for each in found.items()), key=lambda choice: choice.label.name.casefold())


@dataclass(frozen=True)
class Session:
    """The state of the labelling.

    Attributes:
        image: the index of the image to label; None if all are labelled.
        choices: its distinct answers.
        verdict: what the labels so far say.
        n_steps: the number of steps that can be undone.
        n_later: how many images were put off, and are not labelled yet.
        following: the image after it, if there is one.
    """

    image: int | None
    choices: tuple[Choice, ...]
    verdict: LabellingVerdict
    n_steps: int
    n_later: int
    following: int | None


def session(report: Report, labels: Labels) -> Session:
    """Return the state of the labelling of a report's images on which backbones differ."""
    hashes = [image.sha256 for image in report.images.images]
    confidences = np.array([backbone.scores.probabilities[:, 0] for backbone in report.backbones])
    order = [int(index) for index in disagreement.labelling_order(report.codes, confidences)]
    right = {
        image: _codes(report, image, labels.right[hashes[image]]) for image in order if hashes[image] in labels.right
    }
    names, costs = [each.name for each in report.backbones], [each.cost for each in report.backbones]
    verdict = disagreement.labelling_verdict(names, report.codes, right, costs)
    rest = {hashes[image]: image for image in order if image not in right}
    later = [rest.pop(each) for each in labels.later if each in rest]
    image, following = [*rest.values(), *later, None, None][:2]
    shown = () if image is None else tuple(choices(report, image))
    return Session(image, shown, verdict, labels.n_steps, len(later), following)


def _codes(report: Report, image: int, keys: tuple[str, ...]) -> list[int]:
    pairs = zip(report.codes[:, image].tolist(), report.backbones, strict=True)
    return [code for code, backbone in pairs if (label := backbone.answer(image)) and key(label) in keys]


def step(report: Report, labels: Labels, action: object, image: object, keys: object) -> dict[str, Any]:
    """Return the step of an action: label, later or undo.

    Args:
        report: of the images.
        labels: so far.
        action: what is to be done.
        image: the index of an image on which backbones differ, or anything for undo.
        keys: of the right answers, which are answers to this image.

    Raises:
        LineupError: when the action, the image or an answer does not exist.
    """
    if action == "undo" and labels.n_steps:
        return {"undo": True}
    n_differing = disagreement.n_differing_pairs(report.codes)
    if not isinstance(image, int) or not 0 <= image < len(n_differing) or not n_differing[image]:
        raise LineupError(
            "image", "an image on which backbones differ", f"got {str(image)[:20]!r}", "open the page again"
        )
    sha256 = report.images.images[image].sha256
    if action == "later":
        return {"image": sha256, "later": True}
    known = [key(label) for backbone in report.backbones if (label := backbone.answer(image))]
    if action != "label" or not isinstance(keys, list) or not all(each in known for each in keys):
        raise LineupError("label", "answers to this image", f"got {str(keys)[:60]!r}", "open the page again")
    return {"image": sha256, "right": keys}

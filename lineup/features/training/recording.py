"""What a training has computed, in the folder of its job: related images, and a head for each backbone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lineup.analysis import training
from lineup.analysis.heads import CrossValidated, Head
from lineup.analysis.training import Accuracy, NearDuplicates, TrainedBackbone
from lineup.analysis.verdict import Cost
from lineup.errors import writing_errors
from lineup.hub import atomic_write

_RELATED = "related.json"


@dataclass(frozen=True)
class Related:
    """Which images belong together: the group of each, and pairs of different labels that look the same.

    `uniform` has the classes of which most images look alike, so that only copies belong together.
    """

    groups: list[int]
    near_duplicates: list[tuple[int, int]]
    uniform: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it to the folder of a job."""
        atomic_write.write_text(folder / _RELATED, json.dumps(asdict(self)))


def read_related(folder: Path) -> Related | None:
    """Read what `Related.write` wrote; None if it has not begun."""
    path = folder / _RELATED
    return Related(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@dataclass(frozen=True)
class Recorded:
    """A head of a backbone, as it is kept; the attributes are as of `TrainedBackbone`."""

    name: str
    cost: Cost
    engine: str
    license: str
    fit_s: float
    n_fitted: int
    curve: list[int] = field(default_factory=list)  # images of a fit
    held_out: tuple[int, int, int] | None = None  # right, of so many, of a head that was fitted to so many


def write(folder: Path, index: int, recorded: Recorded, fitted: CrossValidated, images: np.ndarray, n: int) -> None:
    """Write the head of a backbone; the one file appears whole or not at all.

    Args:
        folder: the job's.
        index: the backbone's.
        recorded: its figures.
        fitted: its head, and what is known of the images that were used.
        images: their indices.
        n: the number of all images.

    Raises:
        LineupError: when the disk is full.
    """
    head = fitted.head
    probabilities = np.full((n, fitted.probabilities.shape[1]), np.nan, np.float32)
    probabilities[images] = fitted.probabilities
    curve = np.zeros((len(fitted.curve), n), bool)
    for row, (_, right) in enumerate(fitted.curve):
        curve[row, images] = right
    text = json.dumps(asdict(recorded) | {"curve": [count for count, _ in fitted.curve]})
    body = BytesIO()
    np.savez(
        body,
        text=np.array(text),
        method=np.array(head.method),
        regularization=np.array(head.regularization or np.nan),
        temperature=np.array(head.temperature),
        weight=head.weight,
        bias=head.bias,
        probabilities=probabilities,
        right=curve,
    )
    with writing_errors("training", "its heads on disk", "free some space, and resume it"):
        atomic_write.write_bytes(_path(folder, index), body.getvalue())


def read_head(folder: Path, index: int) -> Head | None:
    """Read the head of a backbone; None if there is none."""
    if not _path(folder, index).is_file():
        return None
    with np.load(_path(folder, index)) as data:
        regularization = float(data["regularization"])
        known = None if np.isnan(regularization) else regularization
        return Head(data["weight"], data["bias"], str(data["method"]), known, float(data["temperature"]))


def read_backbone(
    folder: Path, index: int, truth: np.ndarray, classes: Sequence[str], problems: Mapping[int, str]
) -> TrainedBackbone | None:
    """Read what is known of a backbone; None if it has no head."""
    if (head := read_head(folder, index)) is None:
        return None
    with np.load(_path(folder, index)) as data:
        recorded: dict[str, Any] = json.loads(str(data["text"]))
        probabilities, right = data["probabilities"], data["right"]
    tested = np.isfinite(probabilities).all(axis=1)
    is_right, n, n_fitted = tested & (probabilities.argmax(axis=1) == truth), int(tested.sum()), recorded["n_fitted"]
    rights = zip(recorded["curve"], right & tested, strict=True)
    curve = [Accuracy(int(some.sum()), n, count) for count, some in rights]
    half = right[-1] & tested
    return TrainedBackbone(
        name=recorded["name"],
        method=head.method,
        regularization=head.regularization,
        temperature=head.temperature,
        n_features=head.weight.shape[1],
        probabilities=probabilities,
        problems=problems,
        cost=Cost(**recorded["cost"]),
        engine=recorded["engine"],
        license=recorded["license"],
        curve=(*curve, Accuracy(int(is_right.sum()), n, n_fitted)),
        gain=(int((is_right & ~half).sum()), int((half & ~is_right).sum())),
        calibration=training.confidence(probabilities, truth),
        doubtful=training.doubtful_labels(probabilities, truth, classes),
        held_out=Accuracy(*recorded["held_out"]) if recorded["held_out"] else None,
        fit_s=recorded["fit_s"],
    )


def near_duplicates(related: Related | None) -> tuple[NearDuplicates, ...]:
    """Return the pairs of images that look the same and have different labels."""
    return tuple(NearDuplicates(*pair) for pair in (related.near_duplicates if related else ()))


@dataclass
class Progress:
    """What a backbone is done with: the images, why some have no features, and why it has no head."""

    images: set[int] = field(default_factory=set)
    problems: dict[int, str] = field(default_factory=dict)
    problem: str = ""


def progress(results: Iterator[dict[str, Any]], n_backbones: int) -> list[Progress]:
    """Return the progress of each backbone from the results of the job."""
    found = [Progress() for _ in range(n_backbones)]
    for result in results:
        backbone, at, problem = found[result["backbone"]], result.get("image"), result.get("problem", "")
        if at is None:
            backbone.problem = problem
            continue
        backbone.images.add(at)
        if problem:
            backbone.problems[at] = problem
    return found


def _path(folder: Path, index: int) -> Path:
    return folder / f"head-{index}.npz"

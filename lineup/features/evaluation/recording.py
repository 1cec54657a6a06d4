"""What an evaluation has computed, in the folder of its job: logits by backbone, and what each backbone is."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lineup.errors import writing_errors
from lineup.hub import atomic_write
from lineup.registry.labels import Label, LabelSet
from lineup.results import Activation

_ROWS = 512  # logits that are read at once


@dataclass(frozen=True)
class RunBackbone:
    """A backbone of an evaluation.

    Attributes:
        name: the entry's.
        labels: in the order of the logits.
        activation: turns the logits into probabilities.
        is_exclusive: whether one class is true of each image; otherwise any number may be.
        forward_ms: median latency of a forward pass with one image, in milliseconds; None if none succeeded.
        weights_mb: size of the weights file in millions of bytes; None if there is none.
        engine: the name of the engine, and its precision.
        fingerprint: of what decides the logits; empty if unknown.
        license: of the weights; empty if not stated.
        notes: caveats about its predictions.
    """

    name: str
    labels: LabelSet
    activation: Activation
    is_exclusive: bool
    forward_ms: float | None
    weights_mb: float | None
    engine: str
    fingerprint: str = ""
    license: str = ""
    notes: tuple[str, ...] = ()

    def write(self, folder: Path, index: int) -> None:
        """Write the description as that of a backbone of a job."""
        atomic_write.write_text(folder / f"backbone-{index}.json", json.dumps(asdict(self)))


def read_backbone(folder: Path, index: int) -> RunBackbone | None:
    """Read what `RunBackbone.write` wrote; None if the backbone has not begun."""
    path = folder / f"backbone-{index}.json"
    if not path.is_file():
        return None
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    stored = data.pop("labels")
    labels = tuple(Label(**label) for label in stored.pop("labels"))
    return RunBackbone(labels=LabelSet(labels, **stored), **{**data, "notes": tuple(data["notes"])})


@dataclass
class Progress:
    """The images that a backbone is done with.

    Attributes:
        rows: the index of each image that has logits, in the order of the rows.
        problems: why others have none, by index.
    """

    rows: list[int]
    problems: dict[int, str]

    @property
    def done(self) -> set[int]:
        return {*self.rows, *self.problems}


def progress(results: Iterator[dict[str, Any]], n_backbones: int) -> list[Progress]:
    """Return the progress of each backbone from the results of the job."""
    found = [Progress([], {}) for _ in range(n_backbones)]
    for result in results:
        backbone = found[result["backbone"]]
        if problem := result.get("problem"):
            backbone.problems[result["image"]] = problem
        else:
            backbone.rows.append(result["image"])
    return found


class LogitsWriter:
    """Appends logits ``(n, classes)`` float32 to the file of a backbone; a context manager.

    Args:
        folder: the job's.
        index: the backbone's.
        n_rows: the rows that are recorded: later ones in the file were not, and are overwritten.
        n_classes: the length of a row.
    """

    def __init__(self, folder: Path, index: int, n_rows: int, n_classes: int) -> None:
        self._file: BinaryIO = _path(folder, index).open("ab")
        self._file.truncate(n_rows * n_classes * 4)

    def append(self, logits: np.ndarray) -> None:
        """Write rows.

        Raises:
            LineupError: when the disk is full.
        """
        with writing_errors("evaluation", "its answers on disk", "free some space, and resume it"):
            self._file.write(np.ascontiguousarray(logits, np.float32).tobytes())
            self._file.flush()

    def __enter__(self) -> "LogitsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_logits(
    folder: Path, index: int, rows: Sequence[int], n_classes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the logits of a backbone in parts: indices of images ``(n,)``, and ``(n, classes)`` float32."""
    if not rows:
        return
    with _path(folder, index).open("rb") as file:
        for start in range(0, len(rows), _ROWS):
            images = np.array(rows[start : start + _ROWS])
            data = file.read(len(images) * n_classes * 4)
            yield images, np.frombuffer(data, np.float32).reshape(len(images), n_classes)


def mapped_logits(folder: Path, index: int, n_rows: int, n_classes: int) -> np.ndarray:
    """Return the logits of a backbone as a memory map of its file: ``(n_rows, classes)`` float32, at least one row."""
    return np.memmap(_path(folder, index), np.float32, "r", shape=(n_rows, n_classes))


def _path(folder: Path, index: int) -> Path:
    return folder / f"logits-{index}.f32"

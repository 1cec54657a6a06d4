"""Keeps the labels that are given on the page, in the folder of an evaluation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineup.analysis import labelling
from lineup.analysis.evaluation import Report
from lineup.analysis.labelling import Labels
from lineup.errors import writing_errors

_FILE = "labels.jsonl"


def read(folder: Path) -> Labels:
    """Return the labels in the folder of an evaluation; the part of a line that a killed process wrote is ignored."""
    path = folder / _FILE
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return labelling.replay(json.loads(line) for line in lines if line.strip())


def append(folder: Path, step: Mapping[str, Any]) -> None:
    """Append a step, as of `labelling.step`.

    Raises:
        LineupError: when it cannot be written.
    """
    failed = writing_errors("label", "to keep it", "free some space, and label it again")
    with failed, (folder / _FILE).open("ab") as file:
        file.write(json.dumps(step).encode() + b"\n")


def labelled(report: Report, folder: Path) -> dict[int, str]:
    """Return the labels that were given in the folder of an evaluation, by image; of several the first."""
    right, found = read(folder).right, dict[int, str]()
    for index, image in enumerate(report.images.images):
        keys = right.get(image.sha256, ())
        names = [each.label.name for each in labelling.choices(report, index) if each.key in keys] if keys else []
        found |= {index: names[0]} if names else {}
    return found

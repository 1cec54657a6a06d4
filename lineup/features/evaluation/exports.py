"""What an evaluation gives to take away: predictions, the report, the images that differ, and lines for the config."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from lineup.analysis import disagreement
from lineup.analysis.evaluation import EvaluatedBackbone, Report, Scoring
from lineup.analysis.label_mapping import Match, Meaning
from lineup.config import Config
from lineup.errors import LineupError, writing_errors
from lineup.features.evaluation import html
from lineup.formatting import csv_text
from lineup.hub import atomic_write
from lineup.images import remote_folder
from lineup.images.labelled_folder import folder_name

UNLABELLED = "unlabelled"


def predictions(report: Report) -> Iterator[dict[str, Any]]:
    """Yield a row for each image and backbone: the answer with its probabilities, or why there is none."""
    for index, image in enumerate(report.images.images):
        for backbone in report.backbones:
            yield {"image": image.name, "label": image.label or "", **_answer(report, backbone, index)}


def _answer(report: Report, backbone: EvaluatedBackbone, image: int) -> dict[str, Any]:
    scores, names = backbone.scores, backbone.labels.display_names
    row: dict[str, Any] = {"backbone": backbone.name}
    for place in range(scores.top.shape[1]):
        index = int(scores.top[image, place])
        known = index >= 0
        row |= {
            f"label_{place + 1}": names[index] if known else "",
            f"id_{place + 1}": (backbone.labels.labels[index].id or "") if known else "",
            f"probability_{place + 1}": round(float(scores.probabilities[image, place]), 6) if known else None,
        }
    best, scored = int(scores.best[image]), bool(scores.is_scored[image])
    return row | {
        "best_of_labels": report.matches[best].label if best >= 0 else "",
        "right_among": bool(scores.among[image]) if scored else None,
        "right_anywhere": bool(scores.anywhere[image]) if scored else None,
        "forward_ms": backbone.cost.forward_ms and round(backbone.cost.forward_ms, 3),
        "problem": backbone.problems.get(image, ""),
    }


def mapping_yaml(matches: tuple[Match, ...]) -> str:
    """Return the meanings of labels as `mapping.yaml`, to be corrected and passed on."""
    head = (
        "# What each label means: a WordNet id (with everything below it), names of classes, or null to leave it out.\n"
    )
    lines = [head]
    for each in matches:
        meaning: Any = each.meaning[0] if len(each.meaning) == 1 else list(each.meaning) or None
        # JSON is YAML, whatever signs a label has
        line = ": ".join(json.dumps(part, ensure_ascii=False) for part in (each.label, meaning))
        counts = [f"{sense.n_classes} class{'es' * (sense.n_classes != 1)}" for sense in each.senses]
        hints = [f"{sense.id} {sense.name} ({count})" for sense, count in zip(each.senses, counts, strict=True)]
        hints = hints or [f"nearest: {', '.join(each.nearest)}"] * bool(each.nearest)
        note = {"ambiguous": "choose: ", "unmatched": "no class; "}.get(each.state, "")
        comment = f"  # {note}{'; '.join(hints)}" if hints else ""
        # an ambiguous label is asked about again until it is chosen
        lines.append(f"{'# ' if each.state in ('ambiguous', 'unmatched') else ''}{line}{comment}\n")
    return "".join(lines)


def read_mapping(path: Path) -> dict[str, Meaning]:
    """Read a `mapping.yaml`.

    Raises:
        LineupError: when it cannot be read, or is no mapping of labels to meanings.
    """
    expected = "labels, each with a WordNet id, names of classes, or null"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LineupError(str(path), expected, str(error).splitlines()[0], "check the file") from error
    if not isinstance(data, dict):
        raise LineupError(str(path), expected, f"got a {type(data).__name__}", "write `label: meaning` lines")
    for label, meaning in data.items():
        parts = meaning if isinstance(meaning, list) else [meaning]
        if not isinstance(label, str) or not all(part is None or isinstance(part, str) for part in parts):
            raise LineupError(f"{path}: {label}", expected, f"got {meaning!r}"[:100], "put it into quotes")
    return data


def config_lines(config: Config, backbone: str) -> str:
    """Return the entry of a backbone as lines of config.yaml; empty if it is not in the config."""
    entry = next((entry for entry in config.backbones if entry.name == backbone), None)
    if entry is None:
        return ""
    data = entry.model_dump(exclude_defaults=True, exclude_none=True, mode="json")
    return yaml.safe_dump({"default": backbone, "backbones": [data]}, allow_unicode=True, sort_keys=False)


def command(
    source: str,
    backbones: list[str],
    mapping: bool,
    scoring: Scoring = "among",
    split: str = "",
    cluster: str = "",
) -> str:
    """Return the command that repeats the evaluation."""
    parts = ["python", "-m", "lineup", "evaluate", source, *["--split", split] * bool(split)]
    parts += [part for name in backbones for part in ("--backbone", name)]
    parts += ["--cluster", cluster] * bool(cluster)
    parts += ["--scoring", scoring] * (scoring != "among")
    return shlex.join(parts + ["--mapping", "mapping.yaml"] * mapping)


def differing(report: Report) -> dict[int, str]:
    """Return the images on which backbones differ, those to label first at the start, and their labels by index."""
    confidences = np.array([backbone.scores.probabilities[:, 0] for backbone in report.backbones])
    confidences = confidences.reshape(report.codes.shape)  # also without backbones
    order = disagreement.labelling_order(report.codes, confidences)
    return {int(index): report.images.images[index].label or UNLABELLED for index in order}


def imagefolder(report: Report, labels: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Yield the place of each image in an imagefolder, and the path of its file; `labels` has theirs by index."""
    for index, label in labels.items():
        image = report.images.images[index]
        name = f"{image.sha256[:32]}{PurePosixPath(image.name).suffix.lower()}"
        yield f"{folder_name(label)}/{name}", image.path


def texts(report: Report, repeat: str, config: Config) -> dict[str, Callable[[], str]]:
    """Return what makes the text of each file, by its name."""
    recommended = report.verdict.recommended if report.is_labelled else None
    return {
        "report.html": lambda: html.document(report, repeat, config_lines(config, recommended or "")),
        "report.json": lambda: json.dumps(report.to_json(), indent=2, ensure_ascii=False),
        "predictions.csv": lambda: csv_text(list(predictions(report))),
        "predictions.json": lambda: json.dumps(list(predictions(report)), indent=1, ensure_ascii=False),
        "mapping.yaml": lambda: mapping_yaml(report.matches),
    }


def write_all(report: Report, folder: Path, repeat: str, config: Config) -> list[Path]:
    """Write everything to a folder, and return the files.

    Raises:
        LineupError: when they cannot be written.
    """
    files = texts(report, repeat, config)
    with writing_errors(str(folder), "a folder for the report", "check it and the disk"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            atomic_write.write_text(folder / name, text())
        shutil.rmtree(folder / "differing", ignore_errors=True)
        for name, path in imagefolder(report, differing(report)):
            (folder / "differing" / name).parent.mkdir(parents=True, exist_ok=True)
            if "://" in path:
                (folder / "differing" / name).write_bytes(remote_folder.read_file(path))
            else:
                shutil.copyfile(path, folder / "differing" / name)
    return [folder / name for name in files]

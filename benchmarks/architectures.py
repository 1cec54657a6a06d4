"""Builds every architecture of timm and torchvision through the registry, and lets each answer on a picture.

Writes architectures.csv, a row each, and ARCHITECTURES.md: how many work, and why the rest is refused.
Weights are random, so nothing is downloaded. Above `--most` parameters an architecture is only planned,
on the meta device. Takes an hour or two on two cores:

    python benchmarks/architectures.py
"""

import argparse
import csv
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from lineup import registry  # noqa: E402
from lineup.config import Entry  # noqa: E402
from lineup.engine import TorchEngine  # noqa: E402
from lineup.errors import LineupError  # noqa: E402

COLUMNS = ("backbone", "works", "parameters", "height", "width", "forward_ms", "why")
LABELS = ["yes", "no"]


def main() -> None:
    """Try all names, or those that contain a word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=float, default=1.5e9, help="parameters above which one is only planned")
    parser.add_argument("--only", default="", help="try only names with this in them, and write nothing")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    picture = Image.effect_noise((640, 480), 80).convert("RGB")
    rows = []
    for name in _names():
        if arguments.only not in name:
            continue
        rows.append(_try(name, picture, arguments.most))
        print(*rows[-1], sep="\t", flush=True)
        gc.collect()
    if not arguments.only:
        _write(rows)


def _names() -> Iterator[str]:
    yield from timm.list_models()
    yield from (f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))


def _try(name: str, picture: Image.Image, most: float) -> tuple[object, ...]:
    context = registry.Context(HERE, lambda file: HERE)
    works, why = "yes", ""
    try:
        plan = registry.plan(Entry.model_validate({"backbone": name, "pretrained": False}), context)
    except LineupError as error:
        works, why = "with labels", str(error)
        try:
            plan = registry.plan(
                Entry.model_validate({"backbone": name, "pretrained": False, "labels": LABELS}), context
            )
        except LineupError as refusal:
            return name, "no", "", "", "", "", str(refusal)
    height, width = plan.transform.input_size
    size = (plan.parameters, height, width)
    if plan.parameters > most:
        return name, "planned", *size, "", f"more than {most:.2g} parameters: not built here"
    try:
        engine = TorchEngine(registry.build(plan, None).network, "cpu")
        batch = plan.transform(picture)
        started = time.perf_counter()
        logits = engine(batch)
        took = (time.perf_counter() - started) * 1e3
    except Exception as error:  # the table is to tell of every one
        return name, "no", *size, "", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if logits.shape != (1, plan.num_classes) or not np.isfinite(logits).all():
        return name, "no", *size, "", f"gave {logits.shape} or numbers that are not finite"
    return name, works, *size, f"{took:.0f}", why


def _write(rows: list[tuple[object, ...]]) -> None:
    with (HERE / "architectures.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    libraries = (("timm", False), ("torchvision", True))
    lines = [
        "# Which architectures work",
        "",
        "Each was built with random weights through Lineup's registry and answered on a picture, or was refused.",
        "Made by `python benchmarks/architectures.py` with "
        f"timm {timm.__version__}, torchvision {torchvision.__version__} and torch {torch.__version__};",
        "architectures.csv has a row for each.",
        "",
        "| library | architectures | work | work once given `labels` | only planned (too large) | refused |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for library, prefixed in libraries:
        mine = [row for row in rows if str(row[0]).startswith("torchvision/") == prefixed]
        count = Counter(row[1] for row in mine)
        cells = [len(mine), count["yes"], count["with labels"], count["planned"], count["no"]]
        lines.append(f"| {library} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    lines += ["", "## Refused", "", "| backbone | why |", "|---|---|"]
    lines += [f"| {row[0]} | {str(row[-1]).replace('|', '/')} |" for row in rows if row[1] == "no"]
    (HERE / "ARCHITECTURES.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

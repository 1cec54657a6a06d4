"""Builds every architecture of timm and torchvision through the registry, and lets each answer on an image.

Writes architectures.csv, a row each, and ARCHITECTURES.md: how many work, and why the rest is refused.
Weights are random, so nothing is downloaded. Above `--most` parameters an architecture is only planned,
on the meta device. Takes an hour or two on two cores, and goes on where it was stopped; to start anew,
remove architectures.csv:

    python benchmarks/architectures.py
"""

import argparse
import csv
import gc
import logging
import sys
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

from lineup import registry
from lineup.config import Entry
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import LineupError

COLUMNS = ("backbone", "works", "parameters", "height", "width", "why")
LABELS = ["yes", "no"]
TABLE = HERE / "architectures.csv"


def main() -> None:
    """Try all names, or those that contain a word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=float, default=1.5e9, help="parameters above which one is only planned")
    parser.add_argument("--only", default="", help="try only names with this in them, and write nothing")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    image = Image.effect_noise((640, 480), 80).convert("RGB")
    _draw_quickly()
    rows = [] if arguments.only else _done(arguments.most)
    done = {row[0] for row in rows}
    planned = [_plan(name) for name in _names() if arguments.only in name and name not in done]
    planned.sort(key=lambda found: found[2].parameters if found[2] else 0)  # the small ones first
    while planned:
        rows.append(_try(*planned.pop(0), image, arguments.most))
        print(*rows[-1], sep="\t", flush=True)
        if not arguments.only:
            _append(rows[-1])
        gc.collect()
    if not arguments.only:
        _summarise(rows, arguments.most)


def _draw_quickly() -> None:
    """Let weights be drawn from one block of random numbers: drawing each takes longer than all the rest."""
    block = torch.rand(1 << 20)

    def uniform_(tensor: torch.Tensor, low: float = 0.0, high: float = 1.0, **_: object) -> torch.Tensor:
        if tensor.is_meta:
            return tensor
        with torch.no_grad():
            flat = block.repeat(-(-tensor.numel() // block.numel()))[: tensor.numel()]
            return tensor.copy_((flat * (high - low) + low).view(tensor.shape))

    def normal_(tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, **_: object) -> torch.Tensor:
        return uniform_(tensor, mean - 1.73 * std, mean + 1.73 * std)  # of the same variance

    torch.Tensor.uniform_, torch.Tensor.normal_ = uniform_, normal_
    torch.Tensor.erfinv_ = lambda tensor: tensor  # what makes a truncated normal of a uniform draw


def _done(most: float) -> list[tuple[object, ...]]:
    """Return the rows of an earlier run, but those that were too large for it and are not for this one."""
    if not TABLE.exists():
        _append(COLUMNS)
    with TABLE.open(newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    return [row for row in rows if row[1] != "planned" or float(row[2]) > most]


def _append(row: tuple[object, ...]) -> None:
    with TABLE.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def _names() -> Iterator[str]:
    yield from timm.list_models()
    yield from (f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))


def _plan(name: str) -> tuple[str, str, registry.Plan | None, str]:
    """Plan an architecture with random weights: its name, whether it works, its plan, and why not."""
    context, why = registry.Context(HERE, lambda file: HERE), ""
    for works, more in (("yes", {}), ("with labels", {"labels": LABELS})):
        try:
            entry = Entry.model_validate({"backbone": name, "pretrained": False, **more})
            return name, works, registry.plan(entry, context), why
        except LineupError as error:
            why = str(error)
    return name, "no", None, why


def _try(
    name: str, works: str, plan: registry.Plan | None, why: str, image: Image.Image, most: float
) -> tuple[object, ...]:
    """Let an architecture answer on an image; return its row of the table."""
    if plan is None:
        return name, works, "", "", "", why
    size = (plan.parameters, *plan.transform.input_size)
    if plan.parameters > most:
        return name, "planned", *size, f"more than {most:.2g} parameters: not built here"
    try:
        engine = TorchEngine(registry.build(plan, None), "cpu")
        logits = engine(plan.transform(image))
    except Exception as error:  # the table is to tell of every one
        return name, "no", *size, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if logits.shape != (1, plan.num_classes):
        return name, "no", *size, f"gives features of shape {logits.shape}, not a number for each class"
    if not np.isfinite(logits).all():
        return name, "no", *size, "gave numbers that are not finite"
    return name, works, *size, why


def _summarise(rows: list[tuple[object, ...]], most: float) -> None:
    libraries = (("timm", False), ("torchvision", True))
    order = {name: place for place, name in enumerate(_names())}
    rows.sort(key=lambda row: order[str(row[0])])
    with TABLE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    lines = [
        "# Which architectures work",
        "",
        "Each was built with random weights through Lineup's registry and answered on an image, or was refused.",
        "Made by `python benchmarks/architectures.py` with "
        f"timm {timm.__version__}, torchvision {torchvision.__version__} and torch {torch.__version__};",
        f"up to {most / 1e9:g} billion parameters each was run, above that only planned on the meta device. "
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

"""Builds every architecture of timm and torchvision through the registry, and classifies an image with each.

Writes one row per architecture to architectures.csv, and the counts and the reasons of failures to ARCHITECTURES.md.
Weights are random, so nothing is downloaded. Architectures with more than `--max-parameters` are only planned, on
the meta device. A run takes one to two hours on two cores, and resumes where the last one was interrupted; delete
architectures.csv to start over:

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

COLUMNS = ("backbone", "works", "parameters", "height", "width", "reason")
LABELS = ["yes", "no"]
TABLE = HERE / "architectures.csv"


def main() -> None:
    """Check all architectures, or those whose names contain a string."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-parameters", type=float, default=1.5e9, help="larger architectures are only planned")
    parser.add_argument("--only", default="", help="check only names that contain this string; writes no file")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    image = Image.effect_noise((640, 480), 80).convert("RGB")
    _speed_up_random_init()
    rows = [] if arguments.only else _read_rows(arguments.max_parameters)
    done = {row[0] for row in rows}
    planned = [_plan(name) for name in _names() if arguments.only in name and name not in done]
    planned.sort(key=lambda item: item[2].parameters if item[2] else 0)  # smallest first
    while planned:
        rows.append(_check(*planned.pop(0), image, arguments.max_parameters))
        print(*rows[-1], sep="\t", flush=True)
        if not arguments.only:
            _append(rows[-1])
        gc.collect()
    if not arguments.only:
        _summarise(rows, arguments.max_parameters)


def _speed_up_random_init() -> None:
    """Initialise weights by repeating one block of random numbers: generating new ones dominates the run time."""
    block = torch.rand(1 << 20)

    def uniform_(tensor: torch.Tensor, low: float = 0.0, high: float = 1.0, **_: object) -> torch.Tensor:
        if tensor.is_meta:
            return tensor
        with torch.no_grad():
            flat = block.repeat(-(-tensor.numel() // block.numel()))[: tensor.numel()]
            return tensor.copy_((flat * (high - low) + low).view(tensor.shape))

    def normal_(tensor: torch.Tensor, mean: float = 0.0, std: float = 1.0, **_: object) -> torch.Tensor:
        return uniform_(tensor, mean - 1.73 * std, mean + 1.73 * std)  # a uniform distribution of the same variance

    torch.Tensor.uniform_, torch.Tensor.normal_ = uniform_, normal_
    torch.Tensor.erfinv_ = lambda tensor: tensor  # turns uniform samples into a truncated normal distribution


def _read_rows(max_parameters: float) -> list[tuple[object, ...]]:
    """Return the rows of an earlier run, without those it only planned and this run can build."""
    if not TABLE.exists():
        _append(COLUMNS)
    with TABLE.open(newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    return [row for row in rows if row[1] != "planned" or float(row[2]) > max_parameters]


def _append(row: tuple[object, ...]) -> None:
    with TABLE.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def _names() -> Iterator[str]:
    yield from timm.list_models()
    yield from (f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))


def _plan(name: str) -> tuple[str, str, registry.Plan | None, str]:
    """Plan an architecture with random weights; return its name, whether it works, its plan, and the last error."""
    context, reason = registry.Context(HERE, lambda file: HERE), ""
    for works, options in (("yes", {}), ("with labels", {"labels": LABELS})):
        try:
            entry = Entry.model_validate({"backbone": name, "pretrained": False, **options})
            return name, works, registry.plan(entry, context), reason
        except LineupError as error:
            reason = str(error)
    return name, "no", None, reason


def _check(
    name: str, works: str, plan: registry.Plan | None, reason: str, image: Image.Image, max_parameters: float
) -> tuple[object, ...]:
    """Build an architecture, classify an image, and return its row of the table."""
    if plan is None:
        return name, works, "", "", "", reason
    size = (plan.parameters, *plan.transform.input_size)
    if plan.parameters > max_parameters:
        return name, "planned", *size, f"more than {max_parameters:.2g} parameters: not built"
    try:
        engine = TorchEngine(registry.build(plan, None), "cpu")
        logits = engine(plan.transform(image))
    except Exception as error:  # failures belong in the table
        return name, "no", *size, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if logits.shape != (1, plan.num_classes):
        return name, "no", *size, f"returns features of shape {logits.shape} instead of logits"
    if not np.isfinite(logits).all():
        return name, "no", *size, "returns logits that are not finite"
    return name, works, *size, reason


def _summarise(rows: list[tuple[object, ...]], max_parameters: float) -> None:
    libraries = (("timm", False), ("torchvision", True))
    order = {name: index for index, name in enumerate(_names())}
    rows.sort(key=lambda row: order[str(row[0])])
    with TABLE.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    lines = [
        "# Supported architectures",
        "",
        "Written by `python benchmarks/architectures.py` with "
        f"timm {timm.__version__}, torchvision {torchvision.__version__} and torch {torch.__version__}.",
        "Each architecture was built with random weights through Lineup's registry and classified an image; those with "
        f"more than {max_parameters / 1e9:g} billion parameters were only planned, on the meta device.",
        "architectures.csv has one row per architecture.",
        "",
        "| library | architectures | work | work with `labels` | only planned (too large) | unsupported |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for library, prefixed in libraries:
        selected = [row for row in rows if str(row[0]).startswith("torchvision/") == prefixed]
        count = Counter(row[1] for row in selected)
        cells = [len(selected), count["yes"], count["with labels"], count["planned"], count["no"]]
        lines.append(f"| {library} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    lines += ["", "## Unsupported", "", "| backbone | reason |", "|---|---|"]
    lines += [f"| {row[0]} | {str(row[-1]).replace('|', '/')} |" for row in rows if row[1] == "no"]
    (HERE / "ARCHITECTURES.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

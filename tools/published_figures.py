"""Extracts the figures that Lineup shows from timm's published results to lineup/registry/published.csv.

FOLDER contains the files named below, unchanged from the folder `results` of timm's repository:

    python tools/published_figures.py FOLDER
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lineup.registry.published import FIGURES, SOURCE  # noqa: E402

ACCURACIES = {  # figure → file and column
    "imagenet_top1": ("results-imagenet.csv", "top1"),
    "imagenet_top5": ("results-imagenet.csv", "top5"),
    "real_top1": ("results-imagenet-real.csv", "top1"),
    "v2_top1": ("results-imagenetv2-matched-frequency.csv", "top1"),
    "a_top1": ("results-imagenet-a.csv", "top1"),
    "r_top1": ("results-imagenet-r.csv", "top1"),
    "sketch_top1": ("results-sketch.csv", "top1"),
}
COSTS = (
    "benchmark-infer-fp32-nchw-pt240-cpu-i7_12700h-dynamo.csv",
    "benchmark-infer-amp-nchw-pt291-cu128-4090.csv",  # the newer one
)
# The newer file counts some networks after fusing their parallel branches (mobileone_s0: 0.28 GMACs instead of
# 1.09), as its lower parameter counts show. Lineup runs them unfused. These are in no other file:
COUNTED_FUSED = ("fastvit_mci3", "fastvit_mci4", "ghostnetv3_", "shvit_")

Rows = dict[tuple[str, int], dict[str, float]]


def main() -> None:
    """Read timm's files and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder with timm's files")
    parser.add_argument(
        "--to", type=Path, default=ROOT / "lineup" / "registry" / "published.csv", help="the file to write"
    )
    arguments = parser.parse_args()
    rows = _accuracies(arguments.folder) | _costs(arguments.folder)
    with arguments.to.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {SOURCE}\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["model", "size_px", *FIGURES])
        for (model, size), figures in sorted(rows.items()):
            table.writerow([model, size, *(f"{figures[key]:.10g}" if key in figures else "" for key in FIGURES)])
    print(f"{arguments.to}: {len(rows)} rows, {arguments.to.stat().st_size} bytes")


def _accuracies(folder: Path) -> Rows:
    rows: Rows = {}
    for figure, (name, column) in ACCURACIES.items():
        for model, size, value in _column(folder / name, "img_size", column):
            rows.setdefault((model, size), {})[figure] = value
    # Without an accuracy on ImageNet itself the model's head is untrained, and its other accuracies are chance.
    return {key: figures for key, figures in rows.items() if "imagenet_top1" in figures}


def _costs(folder: Path) -> Rows:
    """Return the GMACs of each architecture; these files list architectures without weight tags.

    Where the two files disagree, the larger count is right: fusing branches only removes operations, and where the
    newer count is larger by 1% (tnt), timm has fixed the architecture since.
    """
    rows: Rows = {}
    for name in COSTS:
        for model, size, value in _column(folder / name, "infer_img_size", "infer_gmacs"):
            if not model.startswith(COUNTED_FUSED):
                gmacs = rows.setdefault((model, size), {"gmacs": value})
                gmacs["gmacs"] = max(gmacs["gmacs"], value)
    return rows


def _column(path: Path, size: str, column: str) -> Iterator[tuple[str, int, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["model"], int(row[size]), float(row[column].replace(",", ""))  # "1,013.01"


if __name__ == "__main__":
    main()

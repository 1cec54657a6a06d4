"""Published figures of pretrained backbones: accuracies, and GMACs per forward pass."""

import csv
from functools import cache
from pathlib import Path

SOURCE = "Figures published by timm: https://github.com/huggingface/pytorch-image-models/tree/main/results"

FIGURES = {  # also the columns of published.csv; the accuracies are in percent
    "imagenet_top1": "ImageNet top-1",
    "imagenet_top5": "ImageNet top-5",
    "real_top1": "ImageNet-ReaL top-1",
    "v2_top1": "ImageNet-V2 top-1",
    "a_top1": "ImageNet-A top-1",
    "r_top1": "ImageNet-R top-1",
    "sketch_top1": "ImageNet-Sketch top-1",
    "gmacs": "GMACs",
}


def published(model: str, input_size: tuple[int, int]) -> dict[str, float]:
    """Return the figures published for a timm model at an input size (height, width); empty if there are none.

    Accuracies are those of exactly this tag and size: resnet18.a1_in1k gains 1.7 points from 224 px to 288. GMACs do
    not depend on the weights: they are those of the architecture, which is the name up to its first dot.
    """
    height, width = input_size
    if height != width:
        return {}  # figures are published for square inputs only
    architecture = model.partition(".")[0]
    return _rows().get((model, height), {}) | _rows().get((architecture, height), {})


@cache
def _rows() -> dict[tuple[str, int], dict[str, float]]:
    """Read published.csv: rows with a tag contain accuracies, rows without one GMACs."""
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {
            (row["model"], int(row["size_px"])): {key: float(row[key]) for key in FIGURES if row[key]} for row in rows
        }

"""Writes what the bundled backbones answer on the examples: bundled/answers.csv, the reference of the tests.

Only timm, torch and Pillow compute here, in float32 on the CPU: none of Lineup's own code, so that a mistake in its
preprocessing cannot be in the reference, too.

    python bundled/answers.py
"""

import csv
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, resolve_data_config
from torch import nn

HERE = Path(__file__).parent
BACKBONES = ("efficientnet_lite0", "efficientnet_lite2")
EXAMPLES = sorted((HERE.parent / "examples").glob("*.jpg"))
TOP = 5

Transform = Callable[[Image.Image], torch.Tensor]


def main() -> None:
    """Write a row for each backbone, example and rank."""
    with (HERE / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["backbone", "example", "rank", "id", "probability"])
        for backbone in BACKBONES:
            network, transform = load(backbone)
            for example in EXAMPLES:
                for rank, (synset, probability) in enumerate(answer(network, transform, example), start=1):
                    table.writerow([backbone, example.stem, rank, synset, f"{probability:.6f}"])


def load(backbone: str, **changes: object) -> tuple[nn.Module, Transform]:
    """Return a bundled network and its transform; `changes` replace parts of the transform's own settings."""
    network = timm.create_model(f"local-dir:{HERE / backbone}", pretrained=True).eval()
    return network, create_transform(**{**resolve_data_config({}, model=network), **changes})


@torch.inference_mode()
def probabilities(network: nn.Module, transform: Transform, path: Path) -> torch.Tensor:
    """Return an image's probabilities, ``(1000,)`` float32."""
    with Image.open(path) as image:
        batch = transform(image.convert("RGB")).unsqueeze(0)  # (1, 3, H, W)
    return network(batch).softmax(dim=1)[0]


def answer(network: nn.Module, transform: Transform, path: Path) -> list[tuple[str, float]]:
    """Return the WordNet ids and the probabilities of an image's five most probable classes."""
    top = probabilities(network, transform, path).topk(TOP)
    synsets = ImageNetInfo("imagenet-1k").label_names()
    return [(synsets[index], float(value)) for value, index in zip(top.values, top.indices, strict=True)]


if __name__ == "__main__":
    main()

"""The reference predictions of the bundled backbones, bundled/answers.csv, and the classes of the examples."""

import csv
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
BACKBONES = ("efficientnet_lite0", "efficientnet_lite2")
EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))
CLASSES = {  # example → WordNet id
    "castle": "n02980441",
    "coffee": "n07920052",
    "giant_panda": "n02510455",
    "hen": "n01514859",
    "koala": "n01882714",
    "macaw": "n01818515",
    "polar_bear": "n02134084",
    "red_panda": "n02509815",
    "stupa": "n04346328",
    "viaduct": "n04532670",
}
WITHOUT_CLASS = ("kingfisher", "owl")  # not a class of ImageNet-1k
_SHORT_NAMES = {"coffee": "espresso", "polar_bear": "ice bear", "red_panda": "lesser panda"}

Answer = list[tuple[str, float]]  # WordNet ids and probabilities, the most probable first


def label_of(example: str) -> str:
    """Return the first name that WordNet has for an example's class, as the page shows it."""
    return _SHORT_NAMES.get(example, example.replace("_", " "))


def read_answers() -> dict[str, dict[str, Answer]]:
    """Return backbone → example → its five most probable classes, as plain timm computes them."""
    answers: dict[str, dict[str, Answer]] = defaultdict(dict)
    with (ROOT / "bundled" / "answers.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            ranked = answers[row["backbone"]].setdefault(row["example"], [])
            assert int(row["rank"]) == len(ranked) + 1, row
            ranked.append((row["id"], float(row["probability"])))
    return dict(answers)

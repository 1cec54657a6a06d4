"""Measures what the short cuts cost: decoding a JPEG only in part, and computing in bfloat16.

The bundled backbones answer on drawings that they were not trained on, and `torchvision/squeezenet1_0`, if its
weights are where torchvision keeps its downloads, on random crops of the photographs in a folder of yours:

    python benchmarks/accuracy.py --photos FOLDER > benchmarks/ACCURACY.md
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bundled")]

from draw import CLASSES, draw  # noqa: E402

from lineup import config, document  # noqa: E402
from lineup.answering import DECODED  # noqa: E402
from lineup.engine import TorchEngine, softmax  # noqa: E402
from lineup.pictures import open_picture  # noqa: E402
from lineup.pool import Loaded, Pool  # noqa: E402

EACH = 10  # drawings of each class
CROPS = 30  # of each photograph
ENTRIES = """
engine: torch
device: {device}
precision: float32
backbones:
  - {{name: tiny_resnet, backbone: "local-dir:bundled/tiny_resnet"}}
  - {{name: tiny_vit, backbone: "local-dir:bundled/tiny_vit"}}
  - {{name: squeezenet1_0 at 96 px, backbone: torchvision/squeezenet1_0, input_size: 96}}
  - {{name: squeezenet1_0, backbone: torchvision/squeezenet1_0}}
"""
INTRODUCTION = f"""\
# What the short cuts cost

Printed by `python benchmarks/accuracy.py --photos FOLDER`. Each row compares answers with those of the whole picture in
float32. A JPEG decoded in part keeps {DECODED} times the pixels that the transform resizes to; saving it once more
(quality 85) shows how much an answer changes for no good reason. Drawings are of `bundled/draw.py`, 1024 px, not
trained on; photographs are random crops.
"""
Answers = np.ndarray  # (pictures, classes) probabilities


@dataclass(frozen=True)
class Row:
    """How the answers of a short cut differ from those without it."""

    what: str
    pictures: int
    same_top1: float
    largest: float
    median: float
    right: str = ""

    def __str__(self) -> str:
        differ = f"probabilities differ by {self.largest:.4f} at most, {self.median:.5f} at the median"
        return f"- {self.what}: {self.pictures} pictures, same top-1 on {self.same_top1:.2%}; {differ}{self.right}"


def main() -> None:
    """Measure, and print a row for each backbone and short cut."""
    parser = argparse.ArgumentParser(description="Measure what the short cuts cost.")
    parser.add_argument("--photos", type=Path, help="a folder of photographs, 500 pixels or more on the shorter side")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default) or cuda")
    arguments = parser.parse_args()
    photos = arguments.photos
    pool = Pool(config.build(document.parse(ENTRIES.format(device=arguments.device), "benchmark"), ROOT))
    print(INTRODUCTION)
    with tempfile.TemporaryDirectory() as folder:
        drawings = list(_drawings(Path(folder), pool.get("tiny_resnet")))
        for name in ("tiny_resnet", "tiny_vit"):
            measure(pool.get(name), [path for path, _ in drawings], [wordnet_id for _, wordnet_id in drawings])
        if photos:
            print(f"\nPhotographs: {', '.join(sorted(photo.stem for photo in photos.iterdir()))}.\n")
            crops = list(_crops(photos, Path(folder)))
            for name in pool.names[2:]:
                measure(pool.get(name), crops)


def measure(loaded: Loaded, pictures: list[Path], labels: list[str] | None = None) -> None:
    """Print what each short cut changes in a backbone's answers."""
    transform, engine = loaded.plan.transform, loaded.engine
    assert isinstance(engine, TorchEngine)
    enough = DECODED * transform.resized_px
    whole = [transform(open_picture(path)) for path in pictures]
    smaller = [open_picture(path, enough_px=enough).size != Image.open(path).size for path in pictures]
    parts = [transform(open_picture(path, enough_px=enough)) for path in pictures]
    exact = _answers(engine, whole)
    right = _right(loaded, labels)
    if share := sum(smaller) / len(smaller):
        print(_row(f"{loaded.plan.name}, decoded in part ({share:.0%} of them)", exact, _answers(engine, parts), right))
    again = [transform(_saved_again(path)) for path in pictures]
    print(_row(f"{loaded.plan.name}, decoded whole but saved once more first", exact, _answers(engine, again), right))
    rounded = TorchEngine(engine.network, loaded.device, "bfloat16")
    told = f"{loaded.plan.name}, in bfloat16 (median of the first probabilities: {np.median(exact.max(axis=1)):.2f})"
    print(_row(told, exact, _answers(rounded, whole), right), flush=True)


def _answers(engine: TorchEngine, batches: list[np.ndarray]) -> Answers:
    return softmax(np.concatenate([engine(batch.copy()) for batch in batches]))


def _right(loaded: Loaded, labels: list[str] | None) -> Callable[[Answers], float] | None:
    if labels is None:
        return None
    ids = [label.id for label in loaded.plan.labels.labels]
    truth = np.array([ids.index(each) for each in labels])
    return lambda answers: float((answers.argmax(axis=1) == truth).mean())


def _row(what: str, exact: Answers, found: Answers, right: Callable[[Answers], float] | None) -> Row:
    differ = np.abs(exact - found).max(axis=1)  # (pictures,)
    told = f"; right: {right(exact):.2%} without, {right(found):.2%} with" if right else ""
    same = float((exact.argmax(axis=1) == found.argmax(axis=1)).mean())
    return Row(what, len(exact), same, float(differ.max()), float(np.median(differ)), told)


def _saved_again(path: Path) -> Image.Image:
    """Return a picture after one more lossy saving: what an answer changes by for no good reason."""
    buffer = BytesIO()
    open_picture(path).save(buffer, "JPEG", quality=85)
    return Image.open(buffer)


def _drawings(folder: Path, loaded: Loaded) -> Iterator[tuple[Path, str]]:
    """Draw what a bundled backbone knows, and say the WordNet id of each picture."""
    known = {label.id for label in loaded.plan.labels.labels}
    for kind, (wordnet_id, _) in CLASSES.items():
        for number in range(EACH if wordnet_id in known else 0):
            path = folder / f"{kind}-{number}.jpg"
            draw(kind, random.Random(f"accuracy {kind} {number}"), 1024).save(path, quality=90)
            yield path, wordnet_id


def _crops(photos: Path, folder: Path) -> Iterator[Path]:
    chosen = random.Random(0)
    for photo in sorted(photos.iterdir()):
        picture = open_picture(photo)
        for number in range(CROPS):
            side = chosen.randint(448, min(picture.size))
            left, top = chosen.randint(0, picture.width - side), chosen.randint(0, picture.height - side)
            path = folder / f"{photo.stem}-{number}.jpg"
            picture.crop((left, top, left + side, top + side)).save(path, quality=90)
            yield path


if __name__ == "__main__":
    main()

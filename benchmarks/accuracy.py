"""Measures what the short cuts cost: decoding a JPEG only in part, and computing in bfloat16.

The bundled backbones answer on random crops of the photographs in a folder. At their own size hardly any photograph is
large enough to be decoded in part, so they also answer at 128 pixels:

    python benchmarks/accuracy.py > benchmarks/ACCURACY.md
    python benchmarks/accuracy.py --images FOLDER
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lineup import config
from lineup.config import yaml_source
from lineup.engines.engine import softmax
from lineup.engines.torch_engine import TorchEngine
from lineup.images.formats import SUFFIXES
from lineup.images.reading import open_image
from lineup.inference.backbone_state import Loaded
from lineup.inference.pool import Pool
from lineup.inference.preprocessing import DECODE_SCALE

CROPS = 30  # of each photograph
SMALLEST_PX = 448  # of a crop's side, unless the photograph is smaller
ENTRIES = """
engine: torch
device: {device}
precision: float32
backbones:
  - {{name: efficientnet_lite0, backbone: "local-dir:bundled/efficientnet_lite0"}}
  - {{name: efficientnet_lite2, backbone: "local-dir:bundled/efficientnet_lite2"}}
  - {{name: efficientnet_lite0 at 128 px, backbone: "local-dir:bundled/efficientnet_lite0", input_size: 128}}
  - {{name: efficientnet_lite2 at 128 px, backbone: "local-dir:bundled/efficientnet_lite2", input_size: 128}}
"""
INTRODUCTION = f"""\
# What the short cuts cost

Printed by `python benchmarks/accuracy.py`. Each row compares answers with those of the whole image in float32. A JPEG
decoded in part keeps at least {DECODE_SCALE} times the pixels that the transform resizes to; its row counts only
the crops that were large enough for that. Saving an image once more (quality 85) shows how much an answer changes for
no good reason. At 128 px these networks are too sure (most of their first probabilities round to 1), so look at the
top-1 and the largest difference there, not at the median.
"""
Answers = np.ndarray  # (images, classes) probabilities


@dataclass(frozen=True)
class Row:
    """How the answers of a short cut differ from those without it."""

    what: str
    images: int
    same_top1: float
    largest: float
    median: float

    def __str__(self) -> str:
        differ = f"probabilities differ by {self.largest:.4f} at most, {self.median:.5f} at the median"
        return f"- {self.what}: {self.images} images, same top-1 on {self.same_top1:.2%}; {differ}"


def main() -> None:
    """Measure, and print a row for each backbone and short cut."""
    parser = argparse.ArgumentParser(description="Measure what the short cuts cost.")
    parser.add_argument("--images", type=Path, default=ROOT / "examples", help="a folder of photographs")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default) or cuda")
    arguments = parser.parse_args()
    photos = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        parser.error(f"--images: expected images in {arguments.images}; there are none")
    pool = Pool(config.build(yaml_source.parse(ENTRIES.format(device=arguments.device), "benchmark"), ROOT))
    print(INTRODUCTION)
    print(f"{CROPS} random crops of each of: {', '.join(photo.stem for photo in photos)}; on {arguments.device}.\n")
    with tempfile.TemporaryDirectory() as folder:
        crops = list(_crops(photos, Path(folder)))
        for name in pool.names:
            measure(pool.get(name), crops)


def measure(loaded: Loaded, images: list[Path]) -> None:
    """Print what each short cut changes in a backbone's answers."""
    transform, engine = loaded.plan.transform, loaded.engine
    assert isinstance(engine, TorchEngine)
    name, enough = loaded.plan.name, DECODE_SCALE * transform.resize_px
    whole = [transform(open_image(path)) for path in images]
    exact = _answers(engine, whole)
    parts = {index: open_image(path, min_side_px=enough) for index, path in enumerate(images)}
    smaller = [index for index, part in parts.items() if part.size != Image.open(images[index]).size]
    if smaller:
        found = _answers(engine, [transform(parts[index]) for index in smaller])
        print(_row(f"{name}, decoded in part", exact[smaller], found))
    again = [transform(_saved_again(path)) for path in images]
    print(_row(f"{name}, decoded whole but saved once more first", exact, _answers(engine, again)))
    rounded = TorchEngine(engine.network, loaded.device, "bfloat16")
    title = f"{name}, in bfloat16 (median of the first probabilities: {np.median(exact.max(axis=1)):.2f})"
    print(_row(title, exact, _answers(rounded, whole)), flush=True)


def _answers(engine: TorchEngine, batches: list[np.ndarray]) -> Answers:
    return softmax(np.concatenate([engine(batch.copy()) for batch in batches]))


def _row(what: str, exact: Answers, found: Answers) -> Row:
    differ = np.abs(exact - found).max(axis=1)  # (images,)
    same = float((exact.argmax(axis=1) == found.argmax(axis=1)).mean())
    return Row(what, len(exact), same, float(differ.max()), float(np.median(differ)))


def _saved_again(path: Path) -> Image.Image:
    """Return an image after one more lossy saving: what an answer changes by for no good reason."""
    buffer = BytesIO()
    open_image(path).save(buffer, "JPEG", quality=85)
    return Image.open(buffer)


def _crops(photos: list[Path], folder: Path) -> Iterator[Path]:
    """Save random square crops of each photograph, the same ones each time."""
    chosen = random.Random(0)
    for photo in photos:
        image = open_image(photo)
        for number in range(CROPS):
            side = chosen.randint(min(SMALLEST_PX, *image.size), min(image.size))
            left, top = chosen.randint(0, image.width - side), chosen.randint(0, image.height - side)
            path = folder / f"{photo.stem}-{number}.jpg"
            image.crop((left, top, left + side, top + side)).save(path, quality=90)
            yield path


if __name__ == "__main__":
    main()

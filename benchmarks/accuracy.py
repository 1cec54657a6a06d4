"""Measures how reduced-size JPEG decoding and bfloat16 change the answers.

Classifies random crops of the photographs in a folder with the bundled backbones. At their own input size hardly any
crop is large enough to be decoded at a reduced size, so they are also run with an input size of 128 pixels:

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
from lineup.inference.preprocessing import DECODE_SCALE, decode_side_px

CROPS = 30  # per photograph
MIN_CROP_PX = 448  # side of a crop, unless the photograph is smaller
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
# Effect of reduced-size JPEG decoding and bfloat16

Printed by `python benchmarks/accuracy.py`. Each row compares answers with those for the image decoded at full size, in
float32. A JPEG decoded at a reduced size keeps at least {DECODE_SCALE} times the pixels that the transform resizes to;
its row counts only the crops that are large enough. Re-encoding an image (JPEG, quality 85) is the baseline: it shows
how much irrelevant compression noise changes the answers. At 128 px these networks are overconfident (most top-1
probabilities round to 1): compare the top-1 labels and the largest difference there, not the median.
"""
Answers = np.ndarray  # (images, classes) probabilities


@dataclass(frozen=True)
class Row:
    """Differences between the answers of a variant and the reference answers."""

    variant: str
    images: int
    top1_agreement: float
    max_difference: float
    median_difference: float

    def __str__(self) -> str:
        differences = f"probabilities differ by at most {self.max_difference:.4f} (median {self.median_difference:.5f})"
        return f"- {self.variant}: {self.images} images, same top-1 on {self.top1_agreement:.2%}; {differences}"


def main() -> None:
    """Print a row for each backbone and variant."""
    parser = argparse.ArgumentParser(
        description="Measure how reduced-size JPEG decoding and bfloat16 change the answers."
    )
    parser.add_argument("--images", type=Path, default=ROOT / "examples", help="a folder of photographs")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    arguments = parser.parse_args()
    photos = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        parser.error(f"--images: expected images in {arguments.images}; got none")
    pool = Pool(config.build(yaml_source.parse(ENTRIES.format(device=arguments.device), "benchmark"), ROOT))
    print(INTRODUCTION)
    print(f"{CROPS} random crops of each of {', '.join(photo.stem for photo in photos)}; on {arguments.device}.\n")
    with tempfile.TemporaryDirectory() as folder:
        crops = list(_crops(photos, Path(folder)))
        for name in pool.names:
            measure(pool.get(name), crops)


def measure(loaded: Loaded, images: list[Path]) -> None:
    """Print how each variant changes the answers of a backbone."""
    transform, engine = loaded.plan.transform, loaded.engine
    assert isinstance(engine, TorchEngine)
    name, min_side_px = loaded.plan.name, decode_side_px(transform)
    batches = [transform(open_image(path)) for path in images]
    reference = _answers(engine, batches)
    decoded = [open_image(path, min_side_px=min_side_px) for path in images]
    reduced = [index for index, path in enumerate(images) if decoded[index].size != Image.open(path).size]
    if reduced:
        answers = _answers(engine, [transform(decoded[index]) for index in reduced])
        print(_row(f"{name}, decoded at a reduced size", reference[reduced], answers))
    reencoded = [transform(_reencoded(path)) for path in images]
    print(_row(f"{name}, re-encoded, decoded at full size", reference, _answers(engine, reencoded)))
    bfloat16 = TorchEngine(engine.network, loaded.device, "bfloat16")
    variant = f"{name}, in bfloat16 (median top-1 probability: {np.median(reference.max(axis=1)):.2f})"
    print(_row(variant, reference, _answers(bfloat16, batches)), flush=True)


def _answers(engine: TorchEngine, batches: list[np.ndarray]) -> Answers:
    return softmax(np.concatenate([engine(batch.copy()) for batch in batches]))


def _row(variant: str, reference: Answers, answers: Answers) -> Row:
    differences = np.abs(reference - answers).max(axis=1)  # (images,)
    agreement = float((reference.argmax(axis=1) == answers.argmax(axis=1)).mean())
    return Row(variant, len(reference), agreement, float(differences.max()), float(np.median(differences)))


def _reencoded(path: Path) -> Image.Image:
    """Return an image after another lossy compression."""
    buffer = BytesIO()
    open_image(path).save(buffer, "JPEG", quality=85)
    return Image.open(buffer)


def _crops(photos: list[Path], folder: Path) -> Iterator[Path]:
    """Save random square crops of each photograph, reproducible across runs."""
    rng = random.Random(0)
    for photo in photos:
        image = open_image(photo)
        for number in range(CROPS):
            side = rng.randint(min(MIN_CROP_PX, *image.size), min(image.size))
            left, top = rng.randint(0, image.width - side), rng.randint(0, image.height - side)
            path = folder / f"{photo.stem}-{number}.jpg"
            image.crop((left, top, left + side, top + side)).save(path, quality=90)
            yield path


if __name__ == "__main__":
    main()

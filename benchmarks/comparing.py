"""Measures what a comparison costs beside the answers it is made of, and when its first card is there.

Five small backbones with random weights answer on one photograph-sized image, each alone and all in one
comparison, in turns, so that noise hits both. Prints medians:

    python benchmarks/comparing.py
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from lineup import config
from lineup.config import yaml_source
from lineup.service import Service

FAST = ("mobilenetv3_small_050", "lcnet_050", "tinynet_e", "mobilenetv3_small_100", "mobilenetv4_conv_small")
ROUNDS = 15


def main() -> None:
    """Measure in turns, and print what was measured."""
    entries = [f"{{name: {name}, backbone: {name}, pretrained: false}}" for name in FAST]
    service = Service(config.build(yaml_source.parse(f"backbones: [{', '.join(entries)}]", "config.yaml"), HERE))
    with tempfile.TemporaryDirectory() as folder:
        image = str(Path(folder) / "image.jpg")
        Image.effect_noise((1600, 1200), 80).convert("RGB").resize((1600, 1200)).save(image, quality=90)
        for name in FAST:
            service.classify(image, name)  # loads it, and warms it up
        alone, together, first, forward, decode = [], [], [], [], []
        for _ in range(ROUNDS):
            answers = [service.classify(image, name) for name in FAST]
            forward.append(sum(answer.milliseconds.forward for answer in answers))
            decode.append(statistics.median(answer.milliseconds.decode for answer in answers))
            alone.append(sum(answer.milliseconds.preprocess + answer.milliseconds.forward for answer in answers))
            together.append(_took(lambda: service.compare(image, FAST)))
            first.append(_took(lambda: next(service.answers(image, FAST))))
    measured = {
        "forward passes, alone, summed": forward,
        "transforms and forward passes, alone, summed": alone,
        "one decode": decode,
        "the comparison": together,
        "its first answer": first,
    }
    for what, took in measured.items():
        print(f"{what}: {statistics.median(took):.1f} ms")
    for what, parts in ("forward passes", forward), ("transforms and forward passes", alone):
        ratio = [(whole - one) / part for whole, one, part in zip(together, decode, parts, strict=True)]
        print(f"(comparison - decode) / {what}: {statistics.median(ratio):.2f}")


def _took(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    found = call()
    assert found
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()

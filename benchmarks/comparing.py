"""Measures the overhead of a comparison over its single answers, and the time to its first answer.

Classifies a photograph-sized image with five small backbones with random weights, separately and in one comparison,
alternately, so that noise affects both. Prints medians:

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

BACKBONES = ("mobilenetv3_small_050", "lcnet_050", "tinynet_e", "mobilenetv3_small_100", "mobilenetv4_conv_small")
ROUNDS = 15


def main() -> None:
    """Measure, and print the medians."""
    entries = [f"{{name: {name}, backbone: {name}, pretrained: false}}" for name in BACKBONES]
    service = Service(config.build(yaml_source.parse(f"backbones: [{', '.join(entries)}]", "config.yaml"), HERE))
    with tempfile.TemporaryDirectory() as folder:
        image = str(Path(folder) / "image.jpg")
        Image.effect_noise((1600, 1200), 80).convert("RGB").resize((1600, 1200)).save(image, quality=90)
        for name in BACKBONES:
            service.classify(image, name)  # loading and warm-up
        separate, comparison, first, forward, decode = [], [], [], [], []
        for _ in range(ROUNDS):
            answers = [service.classify(image, name) for name in BACKBONES]
            forward.append(sum(answer.milliseconds.forward for answer in answers))
            decode.append(statistics.median(answer.milliseconds.decode for answer in answers))
            separate.append(sum(answer.milliseconds.preprocess + answer.milliseconds.forward for answer in answers))
            comparison.append(_time_ms(lambda: service.compare(image, BACKBONES)))
            first.append(_time_ms(lambda: next(service.answers(image, BACKBONES))))
    measured = {
        "separate forward passes, sum": forward,
        "separate transforms and forward passes, sum": separate,
        "decode": decode,
        "comparison": comparison,
        "first answer of the comparison": first,
    }
    for name, times in measured.items():
        print(f"{name}: {statistics.median(times):.1f} ms")
    for name, sums in ("forward passes", forward), ("transforms and forward passes", separate):
        ratios = [(total - one) / part for total, one, part in zip(comparison, decode, sums, strict=True)]
        print(f"(comparison - decode) / {name}: {statistics.median(ratios):.2f}")


def _time_ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    result = call()
    assert result
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()

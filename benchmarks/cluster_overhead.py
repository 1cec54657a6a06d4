"""Compare one request at a time through the cluster with the same work done here, and batches with single images.

    .venv/bin/python benchmarks/cluster_overhead.py [--rounds 200]

Starts a cluster of its own on this machine. Decoding counts on both sides; the image is a JPEG of 1024 × 768 pixels.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from drawing import draw
from ray_cluster import ray_cluster

from lineup import config
from lineup.config import yaml_source
from lineup.service import Service

NETWORKS = ("test_resnet", "resnet18")
BATCHES = (1, 2, 4, 8)


def text(more: str = "") -> str:
    names = ", ".join(f"{{backbone: {name}, pretrained: false}}" for name in NETWORKS)
    return f"backbones: [{names}]\nengine: torch\nprecision: float32\n{more}"


def service(content: str, folder: Path) -> Service:
    return Service(config.build(yaml_source.parse(content, "config.yaml"), folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, ray_cluster() as cluster:
        folder = Path(name)
        image = draw(folder / "image.jpg", size=(1024, 768))
        content = text(f"cluster: {{address: '{cluster.address}', replicas: {{max: 1}}}}\n")
        cluster.call("deploy", content, str(folder))
        here, there = service(text(), folder), service(content, folder)
        for backbone in NETWORKS:
            elapsed = {"here": list[float](), "there": list[float]()}
            for each in (here, there):
                each.classify(image, backbone)
            for _ in range(rounds):  # alternately: what else the machine does concerns both
                for side, each in (("here", here), ("there", there)):
                    started = time.perf_counter()
                    each.classify(image, backbone)
                    elapsed[side].append((time.perf_counter() - started) * 1e3)
            p50 = {side: statistics.median(each) for side, each in elapsed.items()}
            p95 = {side: sorted(each)[int(len(each) * 0.95)] for side, each in elapsed.items()}
            print(
                f"{backbone}: here p50 {p50['here']:.1f} ms, p95 {p95['here']:.1f} ms; "
                f"there p50 {p50['there']:.1f} ms, p95 {p95['there']:.1f} ms; +{p50['there'] - p50['here']:.1f} ms"
            )
            with here.pinned(backbone) as pinned:
                for size in BATCHES:
                    pinned.outputs([image] * size)
                    batch = [pinned.prepared(image)] * size
                    import numpy as np

                    joined = np.concatenate(batch)
                    runs = [pinned.forward(joined).forward_ms for _ in range(20)]
                    print(f"{backbone}: batch of {size}: {statistics.median(runs) / size:.2f} ms an image")


if __name__ == "__main__":
    main()

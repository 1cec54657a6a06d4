"""Folders of small images with a tiny network, computed on a Ray cluster of this process."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from networks import seeded_timm
from PIL import Image
from programs import module

NAMES = ["tench", "goldfish", "cock", "hen", "owl"]
SIZE = 32


def require_ray() -> None:
    """Skip the test if Ray is not installed; fail instead under CI."""
    module("ray", "requirements-cluster.txt")


@contextmanager
def cluster(folder: Path, **env: str) -> Iterator[str]:
    """Start a Ray cluster that this process is connected to; yield its address. Its workers have this environment."""
    require_ray()
    import ray

    from lineup.inference.cluster import folder_pass

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PYTHONPATH": str(Path(__file__).parents[2]), "RAY_TMPDIR": str(folder), **env}.items():
            patch.setenv(name, value)
        with folder_pass.connected("local"):
            yield ray.get_runtime_context().gcs_address


def write_images(folder: Path, count: int) -> Path:
    """Write small images into three folders, which are their labels."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / NAMES[number % 3] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE, SIZE)).save(path)
    return folder


def write_config(folder: Path, names: tuple[str, ...] = ("mine",), **more: object) -> Path:
    """Write a tiny network, and a config with it under these names."""
    import torch

    torch.save(seeded_timm("test_resnet", num_classes=len(NAMES)).state_dict(), folder / "w.pth")
    entry = {"backbone": "test_resnet", "checkpoint": "w.pth", "labels": NAMES, "input_size": SIZE}
    config = {"engine": "torch", "precision": "float32", "device": "cpu", **more}
    config["backbones"] = [{"name": name, **entry} for name in names]
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    return folder / "config.yaml"


def parts(answers: Path) -> dict[Path, tuple[int, int]]:
    """Return the Parquet files with their times and sizes."""
    found = sorted(answers.rglob("part-*.parquet"))
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def rows(answers: Path) -> list[dict[str, object]]:
    """Return all rows of the Parquet files."""
    from pyarrow import parquet

    return [row for path in parts(answers) for row in parquet.read_table(path, partitioning=None).to_pylist()]


def counts(answers: Path) -> Counter[tuple[str, str]]:
    """Return how many rows there are by image and backbone."""
    return Counter((str(row["image"]), str(row["backbone"])) for row in rows(answers))


def local_logits(config: Path, folder: Path) -> dict[str, np.ndarray]:
    """Return the logits of each image, computed without a cluster."""
    from lineup import config as configs
    from lineup.inference import batches
    from lineup.service import Service

    paths = sorted(path for path in folder.rglob("*.jpg"))
    service, found = Service(configs.load(config)), dict[str, np.ndarray]()
    with service.pinned("mine") as backbone:
        for batch in batches.compute(backbone, [os.fspath(path) for path in paths], service.background_turn, 1.0):
            for at, row in enumerate(batch.outputs):
                found[paths[batch.start + at].relative_to(folder).as_posix()] = row
    return found

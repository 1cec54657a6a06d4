"""A source `fake:` for replicas: networks that answer by the image, and sleep or hang when told so.

``fake:NAME`` has three classes, and logits that depend on the name and on the image. The folder of the config controls
it, as replicas are other processes: a file ``NAME.sleep`` has the seconds that a forward pass takes, and while
``NAME.hang`` exists, one begins that never returns.
"""

import threading
import time
import zlib
from pathlib import Path

import numpy as np

from lineup.inference.cluster.replica import Replica


def plan(entry, context):
    import torch

    from lineup.registry import Plan, Transform
    from lineup.registry.labels import from_names

    name, folder = entry.spec.target, Path(context.folder)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    weights = torch.from_numpy(rng.standard_normal((3 * 16 * 16, 3)))

    class Network(torch.nn.Module):
        def forward(self, batch):
            if (folder / f"{name}.hang").exists():
                threading.Event().wait()
            if (slow := folder / f"{name}.sleep").exists():
                time.sleep(float(slow.read_text()))
            # In float64: sums of float32 depend on the number of threads, by more than tests allow at logits of 20.
            return (batch.flatten(1).double() @ weights).float()

    def pixels(image):
        small = np.asarray(image.convert("RGB").resize((16, 16)), np.float32)
        return torch.from_numpy(small.transpose(2, 0, 1) / 255)

    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=name,
        parameters=0,
        labels=from_names(["cat", "dog", "owl"], "fakes"),
        transform=Transform(pixels, (16, 16), (0, 0, 0), (1, 1, 1)),
        weights=None,
        make=lambda path: Network(),
    )


class FakeReplica(Replica):
    """A replica with the source."""

    def __init__(self, settings, cpus):
        from lineup import registry

        registry.SOURCES["fake"] = plan
        super().__init__(settings, cpus)

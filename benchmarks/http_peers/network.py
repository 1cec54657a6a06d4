"""What every peer serves: the same converted network, after the same preprocessing; free of torch.

The environment variable PEER_NETWORK names a folder with `model.xml` (OpenVINO) and `transform.json`, which rest.py
writes; PEER_THREADS is the number of cores of each worker process.
"""

import json
import os
import sys
from io import BytesIO
from pathlib import Path

sys.modules["openvino_telemetry"] = None  # importing OpenVINO would send telemetry to Intel

import numpy as np
import openvino
from PIL import Image

TOP_K = 3


class Network:
    """A network that runs on PEER_THREADS cores, one image at a time, with the least latency."""

    def __init__(self) -> None:
        folder = Path(os.environ["PEER_NETWORK"])
        self._steps = json.loads((folder / "transform.json").read_text())
        self._mean, self._std = (np.array(self._steps[key], np.float32) for key in ("mean", "std"))
        threads = int(os.environ["PEER_THREADS"])
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)
        self._request = compiled.create_infer_request()

    def prepared(self, content: bytes) -> np.ndarray:
        """Decode and resize an image, crop its middle, and normalise it: float32 ``(1, 3, H, W)``."""
        image = Image.open(BytesIO(content)).convert("RGB")
        return self.transformed(image)

    def transformed(self, image: Image.Image) -> np.ndarray:
        """Do the same with an image that is decoded."""
        side, crop = self._steps["resize"], self._steps["crop"]
        scale = side / min(image.size)
        size = tuple(side if length == min(image.size) else int(length * scale) for length in image.size)
        resized = image.resize(size, Image.Resampling[self._steps["interpolation"].upper()])
        left, top = (round((length - crop) / 2) for length in resized.size)
        pixels = np.asarray(resized.crop((left, top, left + crop, top + crop)), np.float32)
        pixels = (pixels / np.float32(255) - self._mean) / self._std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])

    def answer(self, batch: np.ndarray) -> list[dict[str, object]]:
        """Return the most probable classes of a batch of one image."""
        logits = self._request.infer([batch], share_inputs=True)[0][0]
        exponentials = np.exp(logits - logits.max())
        scores = exponentials / exponentials.sum()
        best = np.argsort(-scores)[:TOP_K]
        return [{"label": f"class {index}", "score": float(scores[index])} for index in best]

"""Runs a network in PyTorch."""

from typing import TYPE_CHECKING

import numpy as np

from lineup.engines.engine import EngineType, Precision

if TYPE_CHECKING:
    from torch import nn


class TorchEngine:
    """Runs a network in eager mode.

    Args:
        network: is moved to the device and set to evaluation mode.
        device: cpu, cuda or mps.
        precision: ``auto`` means bfloat16 on a GPU that supports it, float32 elsewhere.
    """

    name = "torch"
    batch_memory_bytes = 0  # the network takes batches as it is
    is_concurrent = False  # one forward pass takes all cores

    def __init__(self, network: "nn.Module", device: str, precision: Precision = "float32") -> None:
        import torch

        wide = device == "cuda" and precision == "auto" and torch.cuda.is_bf16_supported(including_emulation=False)
        self._bfloat16 = wide or precision == "bfloat16"
        self._exact = device == "cuda" and precision == "float32"
        self.hint = "bf16" if self._bfloat16 else "tf32" if device == "cuda" and not self._exact else "f32"
        # convolutions on a GPU are faster in NHWC layout
        self._layout = torch.channels_last if device == "cuda" else torch.contiguous_format
        self._device = device
        network.to(device).eval().requires_grad_(False)
        self.network = network.to(memory_format=self._layout) if device == "cuda" else network

    def prepare_batches(self) -> None:
        """Do nothing."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        import torch

        if self._exact:  # TF32's 10 bits differ from float32 by up to 0.0002 in a probability
            torch.backends.cudnn.allow_tf32 = False
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
            pixels = torch.from_numpy(batch).to(self._device).contiguous(memory_format=self._layout)
            logits: torch.Tensor = self.network(pixels)
            return logits.float().cpu().numpy()  # (N, classes)


ENGINE = EngineType(
    "torch", build=lambda network, plan, path, device, precision: TorchEngine(network, device, precision)
)

"""Runs a network on a batch. To everything above, an engine is a function of plain arrays."""

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import nn


class Engine(Protocol):
    """Turns a batch ``(N, 3, H, W)`` float32 into logits ``(N, classes)`` float32."""

    name: str

    def __call__(self, batch: np.ndarray) -> np.ndarray: ...


class TorchEngine:
    """Runs a network as it is, in float32."""

    name = "torch"

    def __init__(self, network: "nn.Module", device: str) -> None:
        self._network = network.to(device).eval().requires_grad_(False)
        self._device = device

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            logits: torch.Tensor = self._network(torch.from_numpy(batch).to(self._device))
            return logits.float().cpu().numpy()  # (N, classes)

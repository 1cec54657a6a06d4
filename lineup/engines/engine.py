"""Runs a network on a batch. To everything above, an engine is a function of plain arrays."""

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    pass

Precision = Literal["auto", "float32", "bfloat16"]


class Engine(Protocol):
    """Turns a batch ``(N, 3, H, W)`` float32 into logits ``(N, classes)`` float32."""

    name: str

    def __call__(self, batch: np.ndarray) -> np.ndarray: ...


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits ``(N, classes)`` into probabilities that sum to 1 in each row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return raised / raised.sum(axis=1, keepdims=True)

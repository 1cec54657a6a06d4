"""What an inference engine is: a function of plain arrays, and how one is built."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from lineup.config import Activation

if TYPE_CHECKING:
    from torch import nn

    from lineup.registry import Plan

Precision = Literal["auto", "float32", "bfloat16"]


class Engine(Protocol):
    """Turns a batch ``(N, C, H, W)`` float32 of any size into logits or features ``(N, outputs)`` float32. Thread-safe.

    Attributes:
        name: its name in the config and in answers.
        hint: the precision that it computes in: f32, tf32 or bf16.
        batch_memory_bytes: memory that the first batch of several images takes, and that is freed with the engine.
    """

    name: str
    hint: str
    batch_memory_bytes: int

    @property
    def is_concurrent(self) -> bool:
        """Tell whether images are computed at the same time when several threads ask for them."""
        ...

    def prepare_batches(self) -> None:
        """Do what the first batch of several images would do first; afterwards `is_concurrent` may be true."""

    def __call__(self, batch: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class EngineType:
    """One entry of ENGINES.

    Attributes:
        name: its name in the config and in answers.
        build: takes the network, its plan, its weights file or None, the device and the precision, and returns an
            engine; raises BackboneError. The network may be computing at the same time.
        applies: tells whether the engine is meant for a plan on a device (cpu, cuda or mps).
        unavailable: returns why it cannot run on this machine with a precision, or an empty string.
        cached: takes the plan, its weights file or None, and the precision; returns an engine that an earlier
            process built, or None.
        converts: whether `build` takes a core for seconds, and keeps nothing of the network.
    """

    name: str
    build: "Callable[[nn.Module, Plan, Path | None, str, Precision], Engine]"
    applies: "Callable[[Plan, str], bool]" = lambda plan, device: True
    unavailable: Callable[[Precision], str] = lambda precision: ""
    cached: "Callable[[Plan, Path | None, Precision], Engine | None]" = lambda plan, path, precision: None
    converts: bool = False


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits ``(N, classes)`` into probabilities that sum to 1 in each row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return raised / raised.sum(axis=1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities, each independent of the others."""
    return np.exp(-np.logaddexp(0, -logits, dtype=np.float64))  # finite for any logit


def probabilities(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Turn logits ``(N, outputs)`` into probabilities of the same shape, as float64."""
    return softmax(logits) if activation == "softmax" else sigmoid(logits)

"""Decides once, at start, where backbones run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lineup.errors import BackboneError


@dataclass(frozen=True)
class Runtime:
    """Where backbones run.

    On ZeroGPU a GPU is lent for the length of one decorated call: backbones are loaded and moved
    to it at start, on the main thread, before the page is served, and none is loaded afterwards.
    Anywhere else the page comes first, and backbones load in the background.
    """

    zerogpu: bool
    device: str  # cpu, cuda or mps


def on_zerogpu() -> bool:
    """Tell whether this is a Space on ZeroGPU; asks the environment only, as `spaces` itself does."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def choose(device: str) -> Runtime:
    """Choose where to run; imports torch unless the answer is known without it.

    Args:
        device: the config's wish: auto, cpu, cuda or mps.

    Raises:
        BackboneError: when the wished device is not there.
    """
    if on_zerogpu():
        return Runtime(zerogpu=True, device="cuda")
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return Runtime(zerogpu=False, device=next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[device]:
        raise BackboneError(
            f"device: expected {device} on this machine; torch finds none; write `device: auto` in the config"
        )
    return Runtime(zerogpu=False, device=device)


def on_lent_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of plain arrays so that on ZeroGPU it runs where the GPU is."""
    if not on_zerogpu():
        return function
    import spaces

    return spaces.GPU(function)

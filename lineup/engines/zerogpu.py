"""What is different on a Space that runs on ZeroGPU."""

import os
from collections.abc import Callable
from typing import Any


def on_zerogpu() -> bool:
    """Tell whether this is a Space on ZeroGPU; asks the environment only, as `spaces` itself does."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu_worker(function: Callable[..., Any], duration_s: Callable[..., int]) -> Callable[..., Any]:
    """Wrap a function of plain arrays so that on ZeroGPU it runs where the GPU is.

    Args:
        function: what to run.
        duration_s: takes the same arguments; for so long a GPU is asked for. It is taken from the visitor's quota
            only as it is used, but whoever has less left is refused.
    """
    if not on_zerogpu():
        return function
    import spaces

    return spaces.GPU(function, duration=duration_s)

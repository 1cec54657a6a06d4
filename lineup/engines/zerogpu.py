"""ZeroGPU: Spaces whose GPU is attached to a worker process for the length of one call."""

import os
from collections.abc import Callable
from typing import Any


def on_zerogpu() -> bool:
    """Tell whether this is a Space on ZeroGPU; asks the environment only, as `spaces` itself does."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu_worker(function: Callable[..., Any], duration_s: Callable[..., int]) -> Callable[..., Any]:
    """Wrap a function of plain arrays so that it runs in a worker process with a GPU.

    Args:
        function: the function to run.
        duration_s: takes the same arguments, and returns for how long to request a GPU. The user's quota is charged
            for the time used, but a user with less quota than this is refused.
    """
    import spaces

    return spaces.GPU(function, duration=duration_s)

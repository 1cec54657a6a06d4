"""Decides once, at start, where backbones run."""

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from lineup.engines.zerogpu import on_zerogpu
from lineup.errors import BackboneError

_M_ARENA_MAX = -8  # of glibc's malloc.h


@dataclass(frozen=True)
class Runtime:
    """Where backbones run.

    On ZeroGPU a GPU is lent for the length of one decorated call: backbones are loaded and moved
    to it at start, on the main thread, before the page is served, and none is loaded afterwards.
    Anywhere else the page comes first, and backbones load in the background.
    """

    zerogpu: bool
    device: str  # cpu, cuda or mps


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

    torch.set_num_threads(cores())  # it counts the machine's, of which a container may have a share
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return Runtime(zerogpu=False, device=next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[device]:
        raise BackboneError(
            "device", f"{device} on this machine", "torch finds none", "write `device: auto` in the config"
        )
    return Runtime(zerogpu=False, device=device)


def cores() -> int:
    """Return how many cores this process may use: a container's share, not the machine's number."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        there = min(there, max(1, round(int(quota) / int(period))))
    wished = os.environ.get("OMP_NUM_THREADS", "")  # whoever starts us may want fewer
    return min(there, int(wished)) if wished.isdigit() and int(wished) else there


def memory_bytes(device: str) -> int:
    """Return how much memory backbones may find on a device: a GPU's, or a container's share of the machine's."""
    import psutil

    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[1])

    there = psutil.virtual_memory().total
    share = _cgroup("memory.max") or _cgroup("memory/memory.limit_in_bytes")  # version 2, version 1
    return min(there, int(share)) if share.isdigit() else int(there)


def _cgroup(name: str) -> str:
    """Return what a container was given of something; empty where nobody says."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""


def share_heaps() -> None:
    """Let all threads use two heaps: glibc gives each its own, and what one has freed no other can use."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_ARENA_MAX, 2)


def give_back_memory() -> None:
    """Return freed memory to the system: the C library, and torch on a GPU, would keep it for later."""
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # musl has none, but neither has it wheels of torch

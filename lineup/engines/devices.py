"""Devices, cores and memory of the machine or its container."""

import ctypes
import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from lineup.errors import BackboneError

NICENESS = 4  # of threads that compute answers: the event loop, which refuses and sends, comes first
_M_ARENA_MAX = -8  # of glibc's malloc.h


def choose(device: str) -> str:
    """Return the device to run on: cpu, cuda or mps. Imports torch.

    Args:
        device: the config's `device`: auto, cpu, cuda or mps.

    Raises:
        BackboneError: when this machine does not have the device.
    """
    import torch

    torch.set_num_threads(cores())  # torch counts the machine's cores, of which a container may have a share
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        raise BackboneError(
            "device", f"{device} on this machine", "torch finds none", "write `device: auto` in the config"
        )
    return device


def cores() -> int:
    """Return the number of cores this process may use: a container's share, not the machine's count."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (quota := _cgroup("cpu.max")):  # version 2; the others are of version 1
        quota = f"{_cgroup('cpu/cpu.cfs_quota_us')} {_cgroup('cpu/cpu.cfs_period_us')}"
    quota, _, period = quota.partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, max(1, round(int(quota) / int(period))))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(count, int(limit)) if limit.isdigit() and int(limit) else count


def memory_bytes(device: str) -> int:
    """Return the memory of a device: a GPU's, or the machine's or its container's share of it."""
    import psutil

    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[1])

    total = psutil.virtual_memory().total
    share = _cgroup("memory.max") or _cgroup("memory/memory.limit_in_bytes")  # version 2, version 1
    return min(total, int(share)) if share.isdigit() else int(total)


def _cgroup(name: str) -> str:
    """Return the contents of a control group's file, or an empty string."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""


def limit_malloc_arenas() -> None:
    """Limit glibc to two heaps: it gives each thread its own, and memory freed in one is not available to others."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_ARENA_MAX, 2)


def lower_priority(niceness: int = NICENESS) -> None:
    """Lower the priority of the current thread, where the system has one for each."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def collect_garbage() -> None:
    """Collect garbage, and leave out what is in use now from later automatic collections, until the next call.

    Traversing the objects of imported libraries stops all threads for 0.4 s, every few seconds under load.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Return freed memory to the system, which the C library and torch's GPU allocator would keep."""
    collect_garbage()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # musl does not have it, but there are no wheels of torch for musl

"""The choice of a device, and a container's share of the machine's cores and memory."""

import gc
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest
import torch

from lineup.engines import devices
from lineup.errors import BackboneError

GB = 1 << 30


@pytest.fixture
def machine(monkeypatch):
    """Fake a machine of 8 cores and 64 GB; return the files of its control group, by name."""
    files: dict[str, str] = {}
    monkeypatch.setattr(devices, "_cgroup", lambda name: files.get(name, ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return files


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("", 8), ("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 8)],
)
def test_cores_is_the_containers_share(machine, quota, cores):
    machine["cpu.max"] = quota
    assert devices.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("", 8), ("-1", 8), ("200000", 2), ("150000", 2), ("10000", 1)])
def test_cores_is_the_containers_share_with_version_1(machine, quota, cores):
    machine |= {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}
    assert devices.cores() == cores


@pytest.mark.parametrize(("limit", "cores"), [("1", 1), ("4", 4), ("99", 8), ("0", 8), ("many", 8)])
def test_omp_num_threads_limits_the_cores(machine, monkeypatch, limit, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert devices.cores() == cores


@pytest.mark.parametrize(
    ("name", "share", "expected"),
    [
        ("memory.max", "max", 64 * GB),
        ("memory.max", str(16 * GB), 16 * GB),
        ("memory/memory.limit_in_bytes", str(2 * GB), 2 * GB),
        ("memory/memory.limit_in_bytes", str((1 << 63) - 4096), 64 * GB),  # version 1's value for no limit
    ],
)
def test_memory_bytes_is_the_containers_share(machine, name, share, expected):
    machine[name] = share
    assert devices.memory_bytes("cpu") == expected


def test_torch_uses_one_thread_per_core_of_the_share(machine, monkeypatch):
    threads = []
    machine["cpu.max"] = "300000 100000"
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert devices.choose("cpu") == "cpu"
    assert threads == [3]


def test_missing_device_is_rejected(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match="expected cuda on this machine; torch finds none; write `device: auto`"):
        devices.choose("cuda")


def test_garbage_is_collected_although_it_was_in_use_at_the_last_call():
    class Node:
        pass

    node = Node()
    node.itself = node  # only a garbage collection frees it
    alive = weakref.ref(node)
    devices.collect_garbage()
    assert gc.get_freeze_count() > 0  # automatic collections do not traverse what is in use
    del node
    gc.collect()
    assert alive() is not None
    devices.collect_garbage()
    assert alive() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has a priority for each thread")
def test_priority_is_that_of_the_thread_alone():
    def lowered():
        devices.lower_priority(7)
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lowered).result() == max(7, before)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before

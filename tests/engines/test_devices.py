"""Where backbones run, and how much of the machine is ours: containers are given a share of it."""

import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from lineup.engines import devices
from lineup.errors import BackboneError

GB = 1 << 30


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine of 8 cores and 64 GB, and return what its container is given."""
    given: dict[str, str] = {}
    monkeypatch.setattr(devices, "_cgroup", lambda name: given.get(name, ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return given


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("", 8), ("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 8)],
)
def test_a_containers_share_of_the_cores_counts(machine, quota, cores):
    machine["cpu.max"] = quota
    assert devices.cores() == cores


@pytest.mark.parametrize(("wished", "cores"), [("1", 1), ("4", 4), ("99", 8), ("0", 8), ("many", 8)])
def test_whoever_starts_us_may_want_fewer_cores(machine, monkeypatch, wished, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", wished)
    assert devices.cores() == cores


@pytest.mark.parametrize(
    ("name", "share", "there"),
    [
        ("memory.max", "max", 64 * GB),
        ("memory.max", str(16 * GB), 16 * GB),
        ("memory/memory.limit_in_bytes", str(2 * GB), 2 * GB),
        ("memory/memory.limit_in_bytes", str((1 << 63) - 4096), 64 * GB),  # version 1 says none like this
    ],
)
def test_a_containers_share_of_the_memory_counts(machine, name, share, there):
    machine[name] = share
    assert devices.memory_bytes("cpu") == there


def test_torch_uses_as_many_threads_as_there_are_cores_for_us(machine, monkeypatch):
    threads = []
    machine["cpu.max"] = "300000 100000"
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert devices.choose("cpu") == "cpu"
    assert threads == [3]


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackboneError, match="expected cuda on this machine; torch finds none; write `device: auto`"):
        devices.choose("cuda")

"""What the processes of a cluster on this machine use: CPU seconds and memory, by what they do."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

FRONT, BROKER, REPLICAS, CONTROLLER, RAYLET, OTHERS = GROUPS = (
    "front",
    "broker",
    "replicas",
    "Serve's controller",
    "raylet and GCS",
    "Ray's other processes",
)
_TITLES = {
    "inference.cluster.broker": BROKER,
    "ServeReplica": REPLICAS,
    "ServeController": CONTROLLER,
    "gcs_server": RAYLET,
    "raylet/raylet": RAYLET,
}


@dataclass(frozen=True)
class Usage:
    """CPU seconds of processes since they started, by their ids, and the group of each."""

    seconds: dict[int, float] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)

    def since(self, before: "Usage") -> dict[str, float]:
        """Return the CPU seconds that each group has used since an earlier look."""
        found = dict.fromkeys(GROUPS, 0.0)
        for pid, seconds in self.seconds.items():
            found[self.groups[pid]] += seconds - before.seconds.get(pid, 0.0)
        return found


@dataclass(frozen=True)
class Processes:
    """The processes of a front and a cluster.

    Attributes:
        front: the process that answers visitors, or this one.
        host: the process that has started the cluster; it is no part of it.
    """

    front: int
    host: int

    def _each(self) -> Iterable[tuple[psutil.Process, str]]:
        front = psutil.Process(self.front)
        yield front, FRONT
        for child in front.children(recursive=True):
            if _group(child) == BROKER:
                yield child, BROKER
        for child in psutil.Process(self.host).children(recursive=True):
            yield child, _group(child)

    def usage(self) -> Usage:
        """Return the CPU seconds of each so far."""
        usage = Usage()
        for process, group in self._each():
            with suppress(psutil.Error):
                times = process.cpu_times()
                usage.seconds[process.pid], usage.groups[process.pid] = times.user + times.system, group
        return usage

    def pss_mb(self) -> dict[str, list[float]]:
        """Return the memory of each process, with its share of what it shares, by group."""
        found: dict[str, list[float]] = {group: [] for group in GROUPS}
        for process, group in self._each():
            with suppress(psutil.Error):
                found[group].append(process.memory_full_info().pss / 2**20)
        return found


def _group(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return next((group for title, group in _TITLES.items() if title in line), OTHERS)
    return OTHERS

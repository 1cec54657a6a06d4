"""Where forward passes run: in this process, or on ZeroGPU. Chosen once, by `choose`."""

import hashlib
import logging
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lineup.config import Config
from lineup.engines import devices, zerogpu
from lineup.errors import BackboneError, BusyError, LineupError, brief
from lineup.inference.planning import Elsewhere
from lineup.inference.pool import Pool
from lineup.inference.preprocessing import timed
from lineup.inference.queue import Cancelled, ComputeQueue
from lineup.inference.watchdog import Watchdog

if TYPE_CHECKING:
    from lineup.engines.engine import Engine
    from lineup.inference.cluster.link import Link

_log = logging.getLogger(__name__)

MAX_HANGING = 2  # timed-out forward passes that still run, before the server reports that it is not ready
MAX_CACHED_OUTPUTS = 256  # of ZeroGPU; FIFO eviction
GPU_START_S, GPU_BYTES_PER_S = 10, 1e9  # of a ZeroGPU worker: start, and lowest rate of moving weights to the GPU
GPU_IMAGE_S, MAX_GPU_S = 0.1, 60  # of a large network, for each image of a batch · the longest request for a GPU
GPU_BATCH = 256  # images of a job in each call: its start takes seconds


@dataclass(frozen=True)
class Output:
    """The result of a forward pass.

    Attributes:
        logits: of shape ``(N, classes)``; features ``(N, embedding_dim)`` if the plan's output is features.
        engine: the name of the engine.
        forward_ms: latency of the engine, in milliseconds.
        cached: whether it was computed for an earlier request.
    """

    logits: np.ndarray
    engine: str
    forward_ms: float
    cached: bool = False


class Execution(Protocol):
    """How the backbones of a pool compute."""

    pool: Pool
    cluster: "Link | None"  # the connection to the cluster that computes some of them
    loads_on_demand: bool  # otherwise all are loaded by `start`, before the page is served

    def start(self) -> None:
        """Load what has to be loaded before the page is served."""

    def turn(
        self,
        cancelled: Cancelled,
        on_wait: Callable[[], None],
        client: str,
        prepare: Callable[[], object] = lambda: None,
        is_alone: bool = True,
    ) -> AbstractContextManager[None]:
        """Wait until a request may compute; see `ComputeQueue.turn`."""

    def background_turn(self, cancelled: Cancelled) -> AbstractContextManager[None]:
        """Wait until a job may compute a slice, which requests overtake; raise ClientDisconnected."""

    def forward(self, name: str, engine: "Engine", batch: np.ndarray) -> Output:
        """Run the engine of a backbone on a batch ``(N, C, H, W)``; raise ForwardTimeout."""

    def min_batch(self, name: str, engine: "Engine") -> int:
        """Return how many images a job computes at least in one forward pass, however long it takes."""

    def failure(self, name: str, error: Exception) -> LineupError:
        """Return the error to report when a forward pass raised an unexpected one."""

    @property
    def mean_compute_s(self) -> float:
        """Return a moving average of how long a request computes, divided by the number of those that do so at once."""

    @property
    def has_waiting(self) -> bool:
        """Tell whether a request waits for its turn."""

    @property
    def problem(self) -> str:
        """Return why the server is not ready, or an empty string."""


class LocalExecution:
    """Computes in this process: one forward pass at a time, which uses all cores, or one on each; with a timeout.

    Args:
        config: returns the current config.
        elsewhere: decides which backbones another process computes instead; see `Planner`.
    """

    loads_on_demand = True

    def __init__(self, config: Callable[[], Config], elsewhere: Elsewhere | None = None) -> None:
        self.cluster: Link | None = None
        self.pool = Pool(config, devices.choose, elsewhere=elsewhere)
        cores = devices.cores()  # once: it reads files
        self._queue = ComputeQueue(lambda: config().limits.queue_size, lambda: cores)
        self._watchdog = Watchdog(lambda: config().limits.forward_timeout_s, self.pool.mark_timed_out)

    def start(self) -> None:
        """Do nothing: backbones are loaded on demand."""

    def turn(
        self,
        cancelled: Cancelled,
        on_wait: Callable[[], None],
        client: str,
        prepare: Callable[[], object] = lambda: None,
        is_alone: bool = True,
    ) -> AbstractContextManager[None]:
        return self._queue.turn(cancelled, on_wait, client, prepare, is_alone)

    def background_turn(self, cancelled: Cancelled) -> AbstractContextManager[None]:
        return self._queue.background_turn(cancelled)

    def forward(self, name: str, engine: "Engine", batch: np.ndarray) -> Output:
        return self._watchdog.run(name, partial(_run, engine, batch), len(batch))

    def min_batch(self, name: str, engine: "Engine") -> int:
        return 1

    def failure(self, name: str, error: Exception) -> LineupError:
        _log.error("%s cannot answer", name, exc_info=error)
        return BackboneError(name, "an answer", brief(error), "see the log")

    @property
    def mean_compute_s(self) -> float:
        return self._queue.mean_compute_s

    @property
    def has_waiting(self) -> bool:
        return self._queue.n_waiting > 0

    @property
    def hanging(self) -> int:
        """Return the number of backbones with forward passes that have timed out and are still running."""
        return self._watchdog.hanging

    @property
    def problem(self) -> str:
        if (hanging := self.hanging) < MAX_HANGING:
            return ""
        return f"{hanging} forward passes timed out and are still running; restart the server"


class ZeroGPUExecution:
    """Computes in ZeroGPU's worker processes, each with a GPU for the length of one call.

    Backbones are loaded to the GPU on the main thread before the page is served. Requests wait for a GPU in the Hub's
    own queue, and each call has the Hub's timeout. A backbone that is added afterwards runs on the CPU.
    """

    loads_on_demand = False
    cluster: "Link | None" = None
    problem = ""
    mean_compute_s = 0.1
    has_waiting = False  # they wait in the Hub's queue

    def __init__(self, config: Callable[[], Config]) -> None:
        self.pool = Pool(config, lambda device: "cpu" if self._started else "cuda", on_demand=False)
        self._started = False
        self._cpu = threading.Lock()  # one forward pass at a time on the CPU
        self._engines: dict[str, Engine] = {}  # a forked worker reads it without a lock
        self._outputs: dict[tuple[str, bytes], Output] = {}
        self._lock = threading.Lock()  # guards evictions
        self._on_gpu: Callable[[str, np.ndarray], Output] = zerogpu.on_gpu_worker(self._forward, self._duration_s)

    def start(self) -> None:
        for name in self.pool.names:
            if loaded := self.pool.load_here(name):
                self._engines[name] = loaded.engine
        self._started = True

    def turn(
        self,
        cancelled: Cancelled,
        on_wait: Callable[[], None],
        client: str,
        prepare: Callable[[], object] = lambda: None,
        is_alone: bool = True,
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def background_turn(self, cancelled: Cancelled) -> AbstractContextManager[None]:
        return nullcontext()

    def forward(self, name: str, engine: "Engine", batch: np.ndarray) -> Output:
        """Run a backbone, or return a cached output: the same image costs a user's quota once."""
        if engine is not self._engines.get(name):  # it was loaded after the start
            with self._cpu:
                return _run(engine, batch)
        if len(batch) > 1:  # of a job, which keeps its results
            return self._on_gpu(name, batch)
        key = name, hashlib.sha256(batch.tobytes()).digest()
        if output := self._outputs.get(key):
            return replace(output, cached=True)
        output = self._on_gpu(name, batch)
        with self._lock:
            self._outputs[key] = output
            if len(self._outputs) > MAX_CACHED_OUTPUTS:
                self._outputs.pop(next(iter(self._outputs)))
        return output

    def _forward(self, name: str, batch: np.ndarray) -> Output:
        return _run(self._engines[name], batch)

    def _duration_s(self, name: str, batch: np.ndarray) -> int:
        """Return for how long to request a GPU: the weights of all backbones may have to be moved to it first."""
        parameters = sum(status.parameters or 0 for status in self.pool.statuses() if status.status == "ready")
        compute_s = (len(batch) - 1) * GPU_IMAGE_S
        return min(MAX_GPU_S, GPU_START_S + math.ceil(parameters * 4 / GPU_BYTES_PER_S + compute_s))

    def min_batch(self, name: str, engine: "Engine") -> int:
        return GPU_BATCH if engine is self._engines.get(name) else 1

    def failure(self, name: str, error: Exception) -> LineupError:
        """Report that there is no GPU: no quota, none in time, or the worker failed."""
        _log.warning("%s cannot answer", name, exc_info=error)
        return BusyError(name, "a ZeroGPU worker", brief(error), "try again later")


def _run(engine: "Engine", batch: np.ndarray) -> Output:
    logits, forward_ms = timed(partial(engine, batch))
    return Output(logits, engine.name, forward_ms)


def choose(config: Callable[[], Config]) -> Execution:
    """Return how backbones compute on this machine, or on a cluster; `config` returns the current config."""
    if config().cluster:
        from lineup.inference.cluster import client

        moved = client.Elsewhere(config())
        execution = LocalExecution(config, moved)
        execution.cluster = moved.link
        return execution
    return ZeroGPUExecution(config) if zerogpu.on_zerogpu() else LocalExecution(config)

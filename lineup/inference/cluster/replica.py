"""A process of the cluster that answers, as one machine does: with an engine, a pool, a queue and limits of its own."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lineup.config import Config
from lineup.engines import devices
from lineup.errors import BusyError, LineupError
from lineup.images.image_bytes import ImageBytes
from lineup.inference.cluster.settings import Settings, check_files, check_same, digest
from lineup.inference.execution import LocalExecution
from lineup.inference.memory_budget import MEMORY_SHARE
from lineup.inference.postprocessing import checked
from lineup.inference.preprocessing import PreparedImage, jpeg
from lineup.inference.queue import PAGE, Cancelled
from lineup.registry.remote import RemoteOutput
from lineup.results import StageTimings

if TYPE_CHECKING:
    from lineup.inference.backbone_state import Loaded
    from lineup.inference.cluster.messages import Ask
    from lineup.inference.pool import Pin

_log = logging.getLogger(__name__)
T = TypeVar("T")

_POLL_S = 0.25  # how often a request that waits for a load checks whether it is still wanted
_RATE_S = 60  # answers per second are counted over so long
_THREADS = 32  # requests that wait for loads, or whose forward pass hangs, keep theirs


class Held:
    """A backbone that a replica has loaded or is loading. Serve calls `__del__` when another one takes its place."""

    def __init__(self, name: str, unload: Callable[[str], None]) -> None:
        self._name, self._unload = name, unload

    def __del__(self) -> None:
        self._unload(self._name)


class Replica:
    """Answers for the backbones of one config.

    `deployment` makes a class of it with a method `held`, by which Serve counts and replaces backbones.

    Args:
        settings: the config.
        cpus: how many cores it was given.
    """

    def __init__(self, settings: Settings, cpus: float) -> None:
        config = _within(settings.of_replica(), cpus)
        self._config, self.node = config, socket.gethostname()
        self._entries = {entry.name: entry for entry in config.backbones}
        self._digests = {name: digest(config, entry) for name, entry in self._entries.items()}
        self._execution = LocalExecution(lambda: config)
        self._pool = self._execution.pool
        self._threads = ThreadPoolExecutor(_THREADS, "request")
        self.loads, self.loaded = Counter[str](), list[str]()  # how often each was loaded · those that are, in order
        self.answers, self.failures, self.ongoing = 0, 0, 0
        self._answered_at, self._started = deque[float](), time.monotonic()
        self._lock = threading.Lock()
        devices.limit_malloc_arenas()
        self._import_libraries()

    def _import_libraries(self) -> None:
        """Import what the first load needs, before Serve sends requests: it would hold this process for seconds."""
        import torch  # noqa: F401

        self._pool.probe(self._config.default_name, offline=True)

    async def held(self, name: str) -> Held:
        """Make place for a backbone."""
        raise NotImplementedError

    def hold(self, name: str) -> Held:
        """Begin to load a backbone."""
        with self._lock:
            self.loads[name] += 1
            self.loaded.append(name)
        return Held(name, self._unload)

    def _unload(self, name: str) -> None:
        with self._lock:
            if name not in self.loaded:  # twice, by Serve and by Python
                return
            self.loaded.remove(name)
            self._pool.remove(name)  # running requests still finish on it
            self._pool.add(self._entries[name])  # it is loaded again when needed

    async def load(self, ask: "Ask") -> str | LineupError:
        """Load a backbone; return the name of its engine, or why it cannot run."""
        return await self._answer(ask, lambda pin, cancelled: self._wait(ask, pin, cancelled).engine.name)

    async def output(self, image: bytes, ask: "Ask") -> RemoteOutput | LineupError:
        """Compute an image file; an error is a value, so that it comes through Ray as it is."""
        return await self._answer(ask, partial(self._output, image, ask))

    async def _answer(self, ask: "Ask", call: "Callable[[Pin, Cancelled], T]") -> T | LineupError:
        unwanted = threading.Event()
        self.ongoing += 1
        try:
            if ask.name in self._entries:
                check_same(ask.name, ask.digest, self._digests[ask.name])
                check_files(self._config, self._entries[ask.name], self.node)
                await self.held(ask.name)
            with self._lock:  # before Serve can unload it: nothing is awaited in between
                pin = self._pool.pin(ask.name, ask.kind)
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._threads, call, pin, unwanted.is_set)
            finally:
                pin.release()
            self._count()
            return found
        except LineupError as error:
            self.failures += 1
            return _alone(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.failures += 1
            return _alone(self._execution.failure(ask.name, error))
        finally:
            unwanted.set()  # of a request whose client has gone
            self.ongoing -= 1

    def _wait(self, ask: "Ask", pin: "Pin", cancelled: Cancelled) -> "Loaded":
        """Wait for a load for as long as the request may."""
        until = time.monotonic() + ask.wait_s
        while True:
            try:
                return pin.load.result(_POLL_S)
            except FutureTimeout:
                if pin.load.done():
                    return pin.load.result()
            if cancelled() or time.monotonic() > until:
                got = f"{self.node} is loading it"
                raise BusyError(ask.name, f"it within {ask.wait_s:g} s", got, "try again in some seconds")

    def _output(self, image: bytes, ask: "Ask", pin: "Pin", cancelled: Cancelled) -> RemoteOutput:
        loaded = self._wait(ask, pin, cancelled)
        plan, transform = loaded.plan, loaded.plan.transform
        prepared = PreparedImage(ImageBytes(image, ask.image_name), self._config.limits, lambda: [plan])
        prepare = partial(prepared.batch_for, transform)
        with self._execution.turn(cancelled, prepared.release, PAGE, prepare):
            if problem := pin.problem():
                raise problem
            batch, preprocess_ms = prepared.batch_for(transform)
            output = self._execution.forward(ask.name, loaded.engine, batch.copy())
        seen = transform.as_image(batch) if ask.model_input else None
        return RemoteOutput(
            logits=checked(plan, output.logits, 1),
            engine=output.engine,
            device=loaded.device,
            milliseconds=StageTimings(prepared.decode_ms, preprocess_ms, output.forward_ms),
            notes=tuple(prepared.notes),
            min_side_px=prepared.min_side_px,
            model_input_jpeg=jpeg(seen) if seen else b"",
        )

    def _count(self) -> None:
        self.answers += 1
        self._answered_at.append(time.monotonic())

    @property
    def per_second(self) -> float:
        """Answers a second, over the last minute."""
        now = time.monotonic()
        while self._answered_at and self._answered_at[0] < now - _RATE_S:
            self._answered_at.popleft()
        return len(self._answered_at) / max(1.0, min(_RATE_S, now - self._started))

    def check_health(self) -> None:
        """Raise an error once a forward pass hangs: it keeps a core, and Serve replaces this process."""
        if hanging := self._execution.hanging:
            raise RuntimeError(f"{hanging} forward passes timed out and are still running")


def _within(config: Config, cpus: float) -> Config:
    """Return a config whose limits leave the other replicas of this machine their share of its memory."""
    if config.limits.memory_mb:
        return config
    share = MEMORY_SHARE * min(1.0, cpus / (os.cpu_count() or 1))
    memory_mb = max(64, int(devices.memory_bytes("cpu") * share) >> 20)
    return config.model_copy(update={"limits": config.limits.model_copy(update={"memory_mb": memory_mb})})


def _alone(error: LineupError) -> LineupError:
    """Return an error without its causes, whose types another process may not know."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)

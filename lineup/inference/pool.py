"""The pool of loaded backbones: each is loaded once for all requests, and the least recently used are evicted."""

import logging
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lineup.config import Config, Entry
from lineup.engines import devices
from lineup.errors import BackboneError, BusyError, ClientDisconnected, ForwardTimeout, HubError, LineupError, brief
from lineup.inference.backbone_state import BackboneState, BackboneStates, Loaded
from lineup.inference.loading import Loader
from lineup.inference.memory_budget import MemoryBudget
from lineup.inference.planning import Elsewhere
from lineup.inference.queue import Cancelled
from lineup.results import BackboneStatus, Progress

if TYPE_CHECKING:
    from torch import nn

    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0  # a load that failed at the Hub, or for lack of memory, is not retried before
POLL_S = 1.0  # how often a request that waits for a load or a conversion checks its cancel flag


@dataclass(frozen=True)
class Pin:
    """A backbone that is not evicted before `release` is called, which must be once.

    Attributes:
        load: its load.
        settled: waits until it runs on the engine that it will keep, and returns it; raises ClientDisconnected once the
            cancel flag is set.
        problem: returns why it is unavailable, or None.
        reserve_batches: reserves the memory that an engine takes for batches, before its first one; raises
            LineupError when there is none.
        has_free_memory: reserves it if no other backbone has to be evicted for it, and tells whether that is so.
        release: allows its eviction.
        gone: tells that the process that computes it is gone: it is unavailable, and is connected to again later.
    """

    load: "Future[Loaded]"
    settled: Callable[[Cancelled], Loaded]
    problem: Callable[[], LineupError | None]
    reserve_batches: Callable[[Loaded], None]
    has_free_memory: Callable[[Loaded], bool]
    release: Callable[[], None]
    gone: Callable[[Loaded, HubError], None]


class Pool:
    """The backbones of a config, by name. Thread-safe; torch is imported by the first load.

    Args:
        config: returns the current config; its entries are read once, and later ones are added by `add`.
        choose_device: returns the device to load to for the config's `device`.
        on_demand: whether backbones are loaded when needed, retried and evicted; otherwise each is loaded once by
            `load_here`.
        elsewhere: decides which backbones another process computes; see `Planner`.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        choose_device: Callable[[str], str] = devices.choose,
        on_demand: bool = True,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._states = BackboneStates(config().backbones)
        self._changed = threading.Condition()  # guards pins, loads, evictions and removals
        self._on_demand = on_demand
        self._memory = MemoryBudget(self._states.all, self._changed, config) if on_demand else None
        self._loader = Loader(config, choose_device, self._memory, elsewhere)

    @property
    def names(self) -> list[str]:
        return self._states.names

    def entry(self, name: str) -> Entry:
        """Return the entry of a backbone, of the config or added."""
        return self._states.get(name).entry

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of a backbone now."""
        return self._states.get(name).status()

    def statuses(self) -> list[BackboneStatus]:
        """Return what is known of each backbone now, in the config's order."""
        return [state.status() for state in self._states]

    def plan(self, name: str) -> "Plan | None":
        """Return the plan of a backbone, or None before its first probe or load."""
        return self._states.get(name).plan

    def problem(self, name: str) -> LineupError | None:
        """Return why a backbone is unavailable, or None."""
        return self._states.get(name).problem

    def start(self, name: str, output: "OutputKind" = "classes") -> "Future[Loaded]":
        """Begin to load a backbone in the background, unless it is loaded or loading.

        Args:
            name: the entry's.
            output: what its network returns; the one for features is loaded beside the one for classes.
        """
        with self._changed:
            state = self._states.get(name, output)
            state.used_at = time.monotonic()
            if state.load is None or self._may_retry(state):
                state.load, state.progress, state.probe_problem = Future(), Progress("starting"), None
                state.settled.clear()
                try:
                    threading.Thread(target=self._load, args=(state,), name=f"load {name}", daemon=True).start()
                except RuntimeError as error:  # the system's limit of threads
                    state.load = None
                    raise BusyError(name, "a thread to load it", brief(error), "try again later") from None
            return state.load

    def pin(self, name: str, output: "OutputKind" = "classes") -> Pin:
        """Begin to load a backbone as `start` does, and prevent its eviction."""
        with self._changed:
            load, state = self.start(name, output), self._states.get(name, output)
            state.pins += 1
            return _pin(load, state, self._memory, self._changed, partial(self._unpin, state))

    @contextmanager
    def network(self, name: str) -> "Iterator[nn.Module]":
        """Yield a backbone's torch network in evaluation mode, for gradients with respect to images or activations.

        It may be the network that the engine computes with: use it within a turn of the queue, and leave no hooks.
        A network that the engine does not have in memory is built from its weights within the memory budget, and
        stays until others need its memory.

        Raises:
            LineupError: when the backbone cannot be loaded, or there is no memory for its network.
        """
        with self._changed:
            pin, state = self.pin(name), self._states.get(name)
            state.network_users += 1
        try:
            yield self._loader.network(state, pin.load.result())
        finally:
            with self._changed:
                state.network_users -= 1
            pin.release()

    def add(self, entry: Entry) -> None:
        """Add a backbone.

        Raises:
            BackboneError: when there is one of that name.
        """
        with self._changed:
            self._states.add(entry)

    def remove(self, name: str) -> None:
        """Remove a backbone, and free its memory as soon as running requests have finished.

        Raises:
            BackboneError: when there is no such backbone.
        """
        with self._changed:
            self._states.remove(name)

    def mark_timed_out(self, name: str, error: ForwardTimeout) -> Callable[[], None]:
        """Make a backbone unavailable whose forward pass still runs; return a function that undoes it."""
        with self._changed:
            if name not in self._states:  # it was removed meanwhile
                return lambda: None
            state = self._states.get(name)
            state.pins, state.timeout_error = state.pins + 1, error

        def mark_returned() -> None:
            state.timeout_error = None
            self._unpin(state)

        return mark_returned

    def get(self, name: str, output: "OutputKind" = "classes") -> Loaded:
        """Return a backbone, and wait for its load.

        Raises:
            LineupError: when it cannot be loaded.
        """
        return self.start(name, output).result()

    def load_here(self, name: str) -> Loaded | None:
        """Load a backbone on this thread, as ZeroGPU requires; None if that fails, which is final."""
        state = self._states.get(name)
        state.load = load = Future[Loaded]()
        self._load(state)
        return None if load.exception() else load.result()

    def probe(self, name: str, offline: bool = False) -> None:
        """Find out what an entry is and whether its weights are available, without loading it.

        A failure becomes its status.

        Args:
            name: the entry's.
            offline: send no request; sizes may stay unknown.
        """
        state = self._states.get(name)
        try:
            self._loader.probe(state, offline)
            state.probe_problem = None
            with self._changed:
                if self._may_retry(state):  # a load failed, but the server responds now
                    state.load = None
        except LineupError as error:
            with self._changed:
                if not state.is_loaded:  # loaded weights are cached: the server is not needed
                    state.probe_problem = error.at(name)

    def _unpin(self, state: BackboneState) -> None:
        with self._changed:
            state.pins -= 1
            self._states.forget_unused()
            self._changed.notify_all()

    def _may_retry(self, state: BackboneState) -> bool:
        may_retry = (self._on_demand or state.is_remote) and state.may_succeed_later
        return may_retry and time.monotonic() - state.failed_at > RETRY_AFTER_S

    def _load(self, state: BackboneState) -> None:
        """Load a backbone, publish it, and replace its engine by the preferred one afterwards."""
        try:
            self._load_and_convert(state)
        finally:
            state.settled.set()

    def _load_and_convert(self, state: BackboneState) -> None:
        load = state.load
        assert load
        try:
            loaded = self._loader.load(state)
        except BaseException as error:
            self._fail(state, load, error)
            return
        _log.info("%s is ready on %s with %s", state.entry.name, loaded.device, loaded.engine.name)
        state.probe_problem = None  # of a probe that ran meanwhile
        load.set_result(loaded)
        if loaded.remote:  # there is nothing to convert
            return
        published = weakref.ref(load)
        del load, loaded  # it may be evicted before its turn to be converted: keep no reference to its memory
        with self._loader.converting:
            with self._changed:
                unchanged = state.load is not None and state.load is published()
                if not unchanged or self._states.is_removed(state):  # it was evicted or removed
                    self._states.forget_unused()
                    return
                state.pins += 1
            try:
                if preferred := self._loader.build_preferred(state):
                    self._replace(state, preferred)
            finally:
                self._unpin(state)
        devices.release_memory()  # of the first engine's copy, and of what was imported

    def _replace(self, state: BackboneState, loaded: Loaded) -> None:
        with self._changed:
            state.load, state.engine_note = _done(loaded), ""  # running requests finish on the old engine
        _log.info("%s runs on %s from now on", state.entry.name, loaded.engine.name)

    def _fail(self, state: BackboneState, load: "Future[Loaded]", error: BaseException) -> None:
        with self._changed:
            state.failed_at, state.memory_bytes = time.monotonic(), 0
            self._states.forget_unused()
            self._changed.notify_all()
        if isinstance(error, LineupError):
            _free_frames(error)
            error = error.at(state.entry.name)
            _log.warning("%s", error)
        else:
            _log.error("cannot load %s", state.entry.name, exc_info=error)
            error = BackboneError(state.entry.name, "to load", "it failed unexpectedly", "see the log")
        load.set_exception(error)


def _pin(
    load: "Future[Loaded]",
    state: BackboneState,
    memory: MemoryBudget | None,
    changed: threading.Condition,
    release: Callable[[], None],
) -> Pin:
    return Pin(
        load,
        settled=partial(_settled, state),
        problem=lambda: state.problem,
        reserve_batches=partial(_reserve_batches, memory, state),
        has_free_memory=partial(_has_free_memory, memory, state),
        release=release,
        gone=partial(_gone, changed, state),
    )


def _settled(state: BackboneState, cancelled: Cancelled) -> Loaded:
    """Wait until no conversion will replace the engine of a pinned backbone."""
    while not state.settled.wait(POLL_S):
        if cancelled():
            raise ClientDisconnected
    assert state.load  # it is pinned
    return state.load.result()


def _has_free_memory(memory: MemoryBudget | None, state: BackboneState, loaded: Loaded) -> bool:
    return memory is not None and memory.reserves_free_batches(state, loaded)


def _reserve_batches(memory: MemoryBudget | None, state: BackboneState, loaded: Loaded) -> None:
    if memory:
        memory.reserve_batches(state, loaded)


def _gone(changed: threading.Condition, state: BackboneState, loaded: Loaded, error: HubError) -> None:
    """Make a remote backbone unavailable, as a load that failed at the Hub, unless it is connected again already."""
    with changed:
        if state.is_loaded and state.load and state.load.result() is loaded:
            kept, failed = error.at(state.entry.name), Future[Loaded]()
            kept.__cause__ = None  # its frames have the image
            failed.set_exception(kept)
            state.load, state.failed_at, state.plan_incomplete = failed, time.monotonic(), True


def _done(loaded: Loaded) -> "Future[Loaded]":
    future = Future[Loaded]()
    future.set_result(loaded)
    return future


def _free_frames(error: BaseException) -> None:
    """Clear the frames of an error and its causes: it is kept, and a frame may hold a network."""
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__

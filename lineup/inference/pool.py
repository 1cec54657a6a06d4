"""The pool of loaded backbones: each is loaded once for all requests, and the least recently used are evicted."""

import logging
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from lineup.config import Config
from lineup.engines import devices
from lineup.errors import BackboneError, BusyError, ForwardTimeout, HubError, LineupError, brief, did_you_mean
from lineup.inference.backbone_state import BackboneState, Loaded
from lineup.inference.loading import Loader
from lineup.inference.memory_budget import MemoryBudget
from lineup.results import BackboneStatus, Progress

if TYPE_CHECKING:
    from lineup.registry import Plan

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0  # a load that failed at the Hub, or for lack of memory, is not retried before


class Pool:
    """The backbones of a config, by name. Thread-safe; torch is imported by the first load.

    Args:
        config: the config.
        choose_device: returns the device to load to for the config's `device`.
        on_demand: whether backbones are loaded when needed, retried and evicted; otherwise each is loaded once by
            `load_here`.
    """

    def __init__(
        self, config: Config, choose_device: Callable[[str], str] = devices.choose, on_demand: bool = True
    ) -> None:
        self._states = {entry.name: BackboneState(entry) for entry in config.backbones}
        self._changed = threading.Condition()  # guards pins, loads and evictions
        self._on_demand = on_demand
        memory = MemoryBudget(self._states.values(), self._changed, config.limits.memory_mb)
        self._loader = Loader(config, choose_device, memory if on_demand else None)

    @property
    def names(self) -> list[str]:
        return list(self._states)

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of a backbone now."""
        return self._state(name).status()

    def statuses(self) -> list[BackboneStatus]:
        """Return what is known of each backbone now, in the config's order."""
        return [state.status() for state in self._states.values()]

    def plan(self, name: str) -> "Plan | None":
        """Return the plan of a backbone, or None before its first probe or load."""
        return self._state(name).plan

    def problem(self, name: str) -> LineupError | None:
        """Return why a backbone is unavailable, or None."""
        return self._state(name).problem

    def start(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone in the background, unless it is loaded or loading."""
        state = self._state(name)
        with self._changed:
            state.used_at = time.monotonic()
            if state.load is None or self._may_retry(state):
                state.load, state.progress, state.probe_problem = Future(), Progress("starting"), None
                try:
                    threading.Thread(target=self._load, args=(state,), name=f"load {name}", daemon=True).start()
                except RuntimeError as error:  # the system's limit of threads
                    state.load = None
                    raise BusyError(name, "a thread to load it", brief(error), "try again later") from None
            return state.load

    def pin(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone, and prevent its eviction until `unpin`."""
        with self._changed:
            load = self.start(name)
            self._state(name).pins += 1
            return load

    def unpin(self, name: str) -> None:
        """Undo one `pin`."""
        with self._changed:
            self._state(name).pins -= 1
            self._changed.notify_all()

    def mark_timed_out(self, name: str, error: ForwardTimeout) -> None:
        """Make a backbone unavailable until `mark_returned`; the running forward pass still uses its memory."""
        self.pin(name)
        self._state(name).timeout_error = error

    def mark_returned(self, name: str) -> None:
        """Make a backbone available again whose timed-out forward pass has finished."""
        self._state(name).timeout_error = None
        self.unpin(name)

    def get(self, name: str) -> Loaded:
        """Return a backbone, and wait for its load.

        Raises:
            LineupError: when it cannot be loaded.
        """
        return self.start(name).result()

    def load_here(self, name: str) -> Loaded | None:
        """Load a backbone on this thread, as ZeroGPU requires; None if that fails, which is final."""
        state = self._state(name)
        load: Future[Loaded] = Future()
        state.load = load
        self._load(state)
        return None if load.exception() else load.result()

    def probe(self, name: str, offline: bool = False) -> None:
        """Find out what an entry is and whether its weights are available, without loading it.

        A failure becomes its status.

        Args:
            name: the entry's.
            offline: send no request; sizes may stay unknown.
        """
        state = self._state(name)
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

    def _state(self, name: str) -> BackboneState:
        if name not in self._states:
            hint = did_you_mean(name, self.names) or f"use one of: {', '.join(self.names)}"
            raise BackboneError("backbone", "a name of the line-up", f"got {name[:100]!r}", hint)
        return self._states[name]

    def _may_retry(self, state: BackboneState) -> bool:
        load = state.load
        failed = load is not None and load.done() and isinstance(load.exception(), HubError | BusyError)
        return self._on_demand and failed and time.monotonic() - state.failed_at > RETRY_AFTER_S

    def _load(self, state: BackboneState) -> None:
        """Load a backbone, publish it, and replace its engine by the preferred one afterwards."""
        load = state.load
        assert load
        try:
            loaded, path = self._loader.load(state)
        except BaseException as error:
            self._fail(state, load, error)
            return
        _log.info("%s is ready on %s with %s", state.entry.name, loaded.device, loaded.engine.name)
        state.probe_problem = None  # of a probe that ran meanwhile
        load.set_result(loaded)
        published = weakref.ref(load)
        del load, loaded  # it may be evicted before its turn to be converted: keep no reference to its memory
        with self._loader.converting:
            with self._changed:
                if state.load is None or state.load is not published():
                    return
                state.pins += 1
            try:
                preferred = self._loader.build_preferred(state, state.load.result(), path)
                if preferred:
                    self._replace(state, preferred)
            finally:
                self.unpin(state.entry.name)
        if preferred:
            devices.release_memory()  # of the first engine's copy

    def _replace(self, state: BackboneState, loaded: Loaded) -> None:
        done: Future[Loaded] = Future()
        done.set_result(loaded)
        with self._changed:
            state.load, state.engine_note = done, ""  # running requests finish on the old engine
        _log.info("%s runs on %s from now on", state.entry.name, loaded.engine.name)

    def _fail(self, state: BackboneState, load: "Future[Loaded]", error: BaseException) -> None:
        with self._changed:
            state.failed_at, state.memory_bytes = time.monotonic(), 0
            self._changed.notify_all()
        if isinstance(error, LineupError):
            _free_frames(error)
            error = error.at(state.entry.name)
            _log.warning("%s", error)
        else:
            _log.error("cannot load %s", state.entry.name, exc_info=error)
            error = BackboneError(state.entry.name, "to load", f"got {type(error).__name__}", "see the log")
        load.set_exception(error)


def _free_frames(error: BaseException) -> None:
    """Clear the frames of an error and its causes: it is kept, and a frame may hold a network."""
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__

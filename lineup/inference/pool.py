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
from lineup.errors import BackboneError, BusyError, ForwardTimeout, HubError, LineupError, did_you_mean
from lineup.inference.loading import Loader
from lineup.inference.memory_budget import MemoryBudget
from lineup.inference.slots import Loaded, Slot
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
        self._slots = {entry.name: Slot(entry) for entry in config.backbones}
        self._changed = threading.Condition()  # guards holders, loads and evictions
        self._on_demand = on_demand
        memory = MemoryBudget(self._slots.values(), self._changed, config.limits.memory_mb)
        self._loader = Loader(config, choose_device, memory if on_demand else None)

    @property
    def names(self) -> list[str]:
        return list(self._slots)

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of a backbone now."""
        return self._slot(name).status()

    def statuses(self) -> list[BackboneStatus]:
        """Return what is known of each backbone now, in the config's order."""
        return [slot.status() for slot in self._slots.values()]

    def plan(self, name: str) -> "Plan | None":
        """Return the plan of a backbone, or None before its first probe or load."""
        return self._slot(name).plan

    def problem(self, name: str) -> LineupError | None:
        """Return why a backbone is unavailable, or None."""
        return self._slot(name).problem

    def start(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone in the background, unless it is loaded or loading."""
        slot = self._slot(name)
        with self._changed:
            slot.used_at = time.monotonic()
            if slot.load is None or self._may_retry(slot):
                slot.load, slot.progress, slot.probe_problem = Future(), Progress("starting"), None
                threading.Thread(target=self._load, args=(slot,), name=f"load {name}", daemon=True).start()
            return slot.load

    def hold(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone, and prevent its eviction until `release`."""
        with self._changed:
            self._slot(name).holders += 1
            return self.start(name)

    def release(self, name: str) -> None:
        """Undo one `hold`."""
        with self._changed:
            self._slot(name).holders -= 1
            self._changed.notify_all()

    def mark_hanging(self, name: str, error: ForwardTimeout) -> None:
        """Make a backbone unavailable until `mark_returned`; the running forward pass still uses its memory."""
        self.hold(name)
        self._slot(name).hang = error

    def mark_returned(self, name: str) -> None:
        """Make a backbone available again whose timed-out forward pass has finished."""
        self._slot(name).hang = None
        self.release(name)

    def get(self, name: str) -> Loaded:
        """Return a backbone, and wait for its load.

        Raises:
            LineupError: when it cannot be loaded.
        """
        return self.start(name).result()

    def load_here(self, name: str) -> Loaded | None:
        """Load a backbone on this thread, as ZeroGPU requires; None if that fails, which is final."""
        slot = self._slot(name)
        load: Future[Loaded] = Future()
        slot.load = load
        self._load(slot)
        return None if load.exception() else load.result()

    def probe(self, name: str, offline: bool = False) -> None:
        """Find out what an entry is and whether its weights are available, without loading it.

        A failure becomes its status.

        Args:
            name: the entry's.
            offline: send no request; sizes may stay unknown.
        """
        slot = self._slot(name)
        try:
            self._loader.probe(slot, offline)
            slot.probe_problem = None
            with self._changed:
                if self._may_retry(slot):  # a load failed, but the server responds now
                    slot.load = None
        except LineupError as error:
            slot.probe_problem = error.at(name)

    def _slot(self, name: str) -> Slot:
        if name not in self._slots:
            hint = did_you_mean(name, self.names) or f"use one of: {', '.join(self.names)}"
            raise BackboneError("backbone", "a name of the line-up", f"got {name[:100]!r}", hint)
        return self._slots[name]

    def _may_retry(self, slot: Slot) -> bool:
        load = slot.load
        failed = load is not None and load.done() and isinstance(load.exception(), HubError | BusyError)
        return self._on_demand and failed and time.monotonic() - slot.failed_at > RETRY_AFTER_S

    def _load(self, slot: Slot) -> None:
        """Load a backbone, publish it, and replace its engine by the preferred one afterwards."""
        load = slot.load
        assert load
        try:
            loaded, path = self._loader.load(slot)
        except BaseException as error:
            self._fail(slot, load, error)
            return
        _log.info("%s is ready on %s with %s", slot.entry.name, loaded.device, loaded.engine.name)
        load.set_result(loaded)
        published = weakref.ref(load)
        del load, loaded  # it may be evicted before its turn to be converted: keep no reference to its memory
        with self._loader.converting:
            with self._changed:
                if slot.load is None or slot.load is not published():
                    return
                slot.holders += 1
            try:
                preferred = self._loader.build_preferred(slot, slot.load.result(), path)
                if preferred:
                    self._replace(slot, preferred)
            finally:
                self.release(slot.entry.name)
        if preferred:
            devices.release_memory()  # of the first engine's copy

    def _replace(self, slot: Slot, loaded: Loaded) -> None:
        done: Future[Loaded] = Future()
        done.set_result(loaded)
        with self._changed:
            slot.load, slot.engine_note = done, ""  # running requests finish on the old engine
        _log.info("%s runs on %s from now on", slot.entry.name, loaded.engine.name)

    def _fail(self, slot: Slot, load: "Future[Loaded]", error: BaseException) -> None:
        with self._changed:
            slot.failed_at, slot.memory_bytes = time.monotonic(), 0
            self._changed.notify_all()
        if isinstance(error, LineupError):
            _free_frames(error)
            error = error.at(slot.entry.name)
            _log.warning("%s", error)
        else:
            _log.error("cannot load %s", slot.entry.name, exc_info=error)
            error = BackboneError(slot.entry.name, "to load", f"{type(error).__name__} came", "see the log")
        load.set_exception(error)


def _free_frames(error: BaseException) -> None:
    """Clear the frames of an error and its causes: it is kept, and a frame may hold a network."""
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__

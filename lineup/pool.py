"""Keeps the loaded backbones: each is loaded once, however many ask for it, and only when asked for."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lineup import runtime
from lineup.config import Config, Entry, did_you_mean
from lineup.errors import BackboneError, HubError, LineupError, UnreachableError
from lineup.results import Availability, BackboneStatus, Progress

if TYPE_CHECKING:
    from lineup import weights
    from lineup.engine import Engine
    from lineup.registry import Backbone, Plan

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0  # a load that failed at the Hub is not tried again before
SILENCE_S = 60.0  # nor is a Hub that did not answer asked for sizes


@dataclass(frozen=True)
class Loaded:
    """A backbone that can answer."""

    backbone: "Backbone"
    engine: "Engine"
    device: str


@dataclass
class _Slot:
    entry: Entry
    lock: threading.Lock = field(default_factory=threading.Lock)
    plan: "Plan | None" = None
    load: "Future[Loaded] | None" = None
    failed_at: float = 0.0
    problem: LineupError | None = None  # found while looking, before anybody asked to load
    progress: Progress = field(default_factory=lambda: Progress("waiting"))
    download_bytes: int | None = None


class Pool:
    """The line-up's backbones, by name.

    Methods may be called from any thread. Importing torch is left to the first load.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._slots = {entry.name: _Slot(entry) for entry in config.backbones}

        self._hub_silent_until = 0.0

    @property
    def names(self) -> list[str]:
        return list(self._slots)

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of a backbone now."""
        slot = self._slot(name)
        availability, reason = _availability(slot)
        plan = slot.plan
        return BackboneStatus(
            name=name,
            source=slot.entry.source,
            status=availability,
            reason=reason,
            progress=slot.progress if availability == "loading" else None,
            num_classes=plan.num_classes if plan else None,
            parameters=plan.parameters if plan else None,
            download_bytes=slot.download_bytes,
            license=plan.license or None if plan else None,
            facts=dict(plan.facts) if plan else {},
        )

    def start(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone in the background, unless it is loaded or loading."""
        slot = self._slot(name)
        with slot.lock:
            if slot.load is None or _may_retry(slot):  # on ZeroGPU each slot was filled at start
                slot.load, slot.progress, slot.problem = Future(), Progress("starting"), None
                threading.Thread(target=self._fill, args=(slot,), name=f"load {name}", daemon=True).start()
            return slot.load

    def get(self, name: str) -> Loaded:
        """Return a loaded backbone, waiting for its load.

        Raises:
            BackboneError: when it cannot be had, with the reason.
        """
        return self.start(name).result()

    def load_here(self, name: str) -> None:
        """Load a backbone on this thread, as ZeroGPU wants it; a failure stays until a restart."""
        slot = self._slot(name)
        slot.load = Future()
        self._fill(slot)

    def look(self, name: str, offline: bool = False) -> None:
        """Find out what an entry means and whether it can be had, without loading it.

        A failure is kept as its status. `offline` asks nobody: sizes may stay unknown.
        """
        from lineup import weights

        slot = self._slot(name)
        try:
            plan = self._plan(slot, offline)
            if isinstance(plan.weights, weights.HubFile) and slot.download_bytes is None and not offline:
                with self._listening(plan.weights):
                    slot.download_bytes = weights.download_bytes(plan.weights)
            slot.problem = None
        except LineupError as error:
            slot.problem = _named(error, name)

    def problem(self, name: str) -> LineupError | None:
        """Return why a backbone is unavailable, or None."""
        return _problem(self._slot(name))

    @contextmanager
    def _listening(self, file: "weights.Weights", patient: bool = False) -> Iterator[None]:
        """Remember when the Hub did not answer: waiting for it once for each entry would take minutes."""
        from lineup import weights

        if time.monotonic() < self._hub_silent_until and not patient and not weights.cached(file):
            raise UnreachableError(f"{file}: expected the Hub to answer; it did not a moment ago; try again later")
        try:
            yield
        except UnreachableError:
            if isinstance(file, weights.HubFile):
                self._hub_silent_until = time.monotonic() + SILENCE_S
            raise

    def _slot(self, name: str) -> _Slot:
        if name not in self._slots:
            hint = did_you_mean(name, self.names) or f"; use one of: {', '.join(self.names)}"
            raise BackboneError(f"backbone: expected a name of the line-up; got {name[:100]!r}{hint}")
        return self._slots[name]

    def _plan(self, slot: _Slot, offline: bool = False, patient: bool = False) -> "Plan":
        if slot.plan is None:
            from lineup import registry, weights

            def fetch(file: weights.HubFile) -> Path:
                if not offline:
                    with self._listening(file, patient):
                        return weights.fetch(file, self._config.limits.hub_timeout_s)
                if path := weights.cached(file):
                    return path
                raise UnreachableError(f"{file}: expected to read it; nobody was asked; leave --offline out")

            plan = registry.plan(slot.entry, registry.Context(self._config.folder, fetch))
            slot.plan, slot.download_bytes = plan, plan.download_bytes
        return slot.plan

    def _fill(self, slot: _Slot) -> None:
        assert slot.load
        try:
            loaded = self._load(slot)
            _log.info("%s is ready on %s", slot.entry.name, loaded.device)
            slot.load.set_result(loaded)
        except BaseException as error:  # handed to those who wait
            slot.failed_at = time.monotonic()
            if not isinstance(error, LineupError):
                _log.exception("cannot load %s", slot.entry.name)
                error = BackboneError(f"{slot.entry.name}: expected to load; {type(error).__name__} came; see the log")
            else:
                _log.warning("%s", error)
            slot.load.set_exception(error)

    def _load(self, slot: _Slot) -> Loaded:
        slot.progress = Progress("importing PyTorch")
        from lineup import engine, registry, weights

        def report(done: int, total: int | None) -> None:
            slot.progress = Progress("downloading", done, total)

        device = runtime.choose(self._config.device).device
        slot.progress = Progress("looking up")
        plan = self._plan(slot, patient=True)  # somebody asked for this one: the Hub is asked again
        path = None
        if plan.weights:
            slot.progress = Progress("asking for the weights")
            try:
                with self._listening(plan.weights, patient=True):
                    path = weights.fetch(plan.weights, self._config.limits.hub_timeout_s, report)
            except HubError as error:
                raise _named(error, slot.entry.name) from error.__cause__
            slot.download_bytes = path.stat().st_size
        slot.progress = Progress("building the network")
        backbone = registry.build(plan, path)
        return Loaded(backbone, engine.TorchEngine(backbone.network, device), device)


def _named(error: LineupError, name: str) -> LineupError:
    """Put the entry's name in front of an error that does not say it yet."""
    return error if str(error).startswith(f"{name}:") else type(error)(f"{name}: {error}")


def _problem(slot: _Slot) -> LineupError | None:
    if slot.load is None:
        return slot.problem
    error = slot.load.exception() if slot.load.done() else None
    return error if isinstance(error, LineupError) else None


def _availability(slot: _Slot) -> tuple[Availability, str]:
    if slot.load and not slot.load.done():
        return "loading", ""
    if problem := _problem(slot):
        return "unavailable", str(problem)
    return ("ready" if slot.load else "idle"), ""


def _may_retry(slot: _Slot) -> bool:
    if runtime.on_zerogpu():  # nothing is loaded there once the page is served
        return False
    failed = slot.load is not None and slot.load.done() and isinstance(slot.load.exception(), HubError)
    return failed and time.monotonic() - slot.failed_at > RETRY_AFTER_S

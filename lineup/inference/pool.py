"""Keeps the loaded backbones: each is loaded once, however many ask; when memory is short, the least wanted leaves."""

import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Config, Entry
from lineup.engines import devices, torch_engine, zerogpu
from lineup.errors import (
    BackboneError,
    BusyError,
    ForwardTimeout,
    HubError,
    LineupError,
    UnreachableError,
    did_you_mean,
)
from lineup.hub import files
from lineup.results import Availability, BackboneStatus, Progress

if TYPE_CHECKING:
    from lineup.engines.engine import Engine
    from lineup.registry import Plan

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0  # a load that failed at the Hub, or for want of memory, is not tried again before
BACK_OFF_S = 60.0  # nor is a server that did not answer asked for sizes
MEMORY_TIMEOUT_S = 60.0  # how long a load waits for others to be done with their memory
MEMORY_SHARE = 0.6  # of what there is, when limits.memory_mb does not say
_WORK_BYTES = 64 << 20  # what a backbone needs beside its weights
_PARAMETER_BYTES = (
    12  # 4 in torch's network, 4 in the converted file, 4 in what runs: while it is converted all are there
)


@dataclass(frozen=True)
class Loaded:
    """A backbone that can answer."""

    plan: "Plan"
    engine: "Engine"
    device: str


@dataclass
class _Slot:
    entry: Entry
    plan: "Plan | None" = None
    load: "Future[Loaded] | None" = None
    failed_at: float = 0.0
    problem: LineupError | None = None  # found while looking, before anybody asked to load
    progress: Progress = field(default_factory=lambda: Progress("waiting"))
    download_bytes: int | None = None
    plan_again: bool = False  # a server did not answer while it was made: something may be missing in it
    size_asked: bool = False  # the server has been asked for the file's size, and so whether it has it
    memory_bytes: int = 0  # that it takes, or that its load was promised
    holders: int = 0  # who need it: it does not leave before they are done
    used_at: float = 0.0
    hang: ForwardTimeout | None = None  # while a forward pass has not come back
    engine_note: str = ""  # why it does not run on the engine that it was meant for


class Pool:
    """The line-up's backbones, by name.

    Methods may be called from any thread. Importing torch is left to the first load.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._slots = {entry.name: _Slot(entry) for entry in config.backbones}
        self._changed = threading.Condition()  # guards who holds, loads and leaves
        self._converting = threading.Lock()  # one at a time: a conversion uses a core, and memory
        self._back_off_until: dict[str, float] = {}  # by the server that did not answer

    @property
    def names(self) -> list[str]:
        return list(self._slots)

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of a backbone now."""
        slot = self._slot(name)
        availability, problem, engine = _availability(slot)
        plan = slot.plan
        return BackboneStatus(
            name=name,
            source=slot.entry.source,
            status=availability,
            problem=problem,
            progress=slot.progress if availability == "loading" else None,
            num_classes=plan.num_classes if plan else None,
            parameters=plan.parameters if plan else None,
            download_bytes=slot.download_bytes,
            license=plan.license or None if plan else None,
            facts=dict(plan.facts) if plan else {},
            facts_note=plan.facts_note if plan else "",
            engine=engine,
            engine_note=slot.engine_note if engine else "",
        )

    def plan(self, name: str) -> "Plan | None":
        """Return what is known of a backbone without its weights, once somebody looked or loaded."""
        return self._slot(name).plan

    def start(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone in the background, unless it is loaded or loading."""
        slot = self._slot(name)
        with self._changed:
            slot.used_at = time.monotonic()
            if slot.load is None or _may_retry(slot):  # on ZeroGPU each slot was filled at start
                slot.load, slot.progress, slot.problem = Future(), Progress("starting"), None
                threading.Thread(target=self._fill, args=(slot,), name=f"load {name}", daemon=True).start()
            return slot.load

    def hold(self, name: str) -> "Future[Loaded]":
        """Begin to load a backbone, and keep it from leaving until it is released."""
        with self._changed:
            self._slot(name).holders += 1
            return self.start(name)

    def release(self, name: str) -> None:
        """Let a backbone leave that was held, once nobody else holds it."""
        with self._changed:
            self._slot(name).holders -= 1
            self._changed.notify_all()

    def hangs(self, name: str, error: ForwardTimeout) -> None:
        """Make a backbone unavailable until its forward pass has come back; its memory is in use all the while."""
        self.hold(name)
        self._slot(name).hang = error

    def returned(self, name: str) -> None:
        """Make a backbone available again whose forward pass has come back after all."""
        self._slot(name).hang = None
        self.release(name)

    def get(self, name: str) -> Loaded:
        """Return a loaded backbone, waiting for its load.

        Raises:
            BackboneError: when it cannot be had, with the reason.
        """
        return self.start(name).result()

    def load_here(self, name: str) -> Loaded | None:
        """Load a backbone on this thread, as ZeroGPU wants it; None after a failure, which stays until a restart."""
        slot = self._slot(name)
        load: Future[Loaded] = Future()
        slot.load = load
        self._fill(slot)
        return None if load.exception() else load.result()

    def look(self, name: str, offline: bool = False) -> None:
        """Find out what an entry means and whether it can be had, without loading it.

        A failure is kept as its status. `offline` asks nobody: sizes may stay unknown.
        """
        from lineup.hub import downloads

        slot = self._slot(name)
        try:
            plan = self._plan(slot, offline)
            file = plan.weights
            unknown = not slot.size_asked or _problem(slot) is not None
            if isinstance(file, files.HubFile | files.UrlFile) and unknown and not offline:
                with self._backing_off(
                    file
                ):  # torchvision says how large its files are, but not whether they can be had
                    slot.download_bytes = downloads.download_bytes(file) or slot.download_bytes
                slot.size_asked = True
            slot.problem = None
            with self._changed:
                if _may_retry(slot):  # a load failed, but the server answers now: it can be had
                    slot.load = None
        except LineupError as error:
            slot.problem = error.at(name)

    def problem(self, name: str) -> LineupError | None:
        """Return why a backbone is unavailable, or None."""
        return _problem(self._slot(name))

    @contextmanager
    def _backing_off(self, file: "files.Weights", patient: bool = False) -> Iterator[None]:
        """Remember when a server did not answer: waiting for it once for each entry would take minutes."""
        from lineup.hub import downloads

        server = downloads.server(file)
        if time.monotonic() < self._back_off_until.get(server, 0) and not patient and not downloads.cached(file):
            raise UnreachableError(
                str(file), f"an answer from {server}", "there was none a moment ago", "try again later"
            )
        try:
            yield
        except UnreachableError:
            self._back_off_until[server] = time.monotonic() + BACK_OFF_S
            raise

    def _slot(self, name: str) -> _Slot:
        if name not in self._slots:
            hint = did_you_mean(name, self.names) or f"use one of: {', '.join(self.names)}"
            raise BackboneError("backbone", "a name of the line-up", f"got {name[:100]!r}", hint)
        return self._slots[name]

    def _plan(self, slot: _Slot, offline: bool = False, patient: bool = False) -> "Plan":
        if slot.plan is None or slot.plan_again:
            from lineup import registry
            from lineup.hub import downloads

            def fetch(file: files.HubFile) -> Path:
                if not offline:
                    with self._backing_off(file, patient):
                        return downloads.fetch(file, self._config.limits.hub_timeout_s)
                if path := downloads.cached(file):
                    return path
                raise UnreachableError(str(file), "to read it", "nobody was asked", "leave --offline out")

            def sha256(file: files.HubFile) -> str:
                if (kept := downloads.kept_sha256(file)) or offline:
                    return kept
                try:
                    with self._backing_off(file, patient):
                        found, slot.download_bytes = downloads.ask(file)
                    slot.size_asked = True
                except HubError:  # it is told by whoever looks for the weights
                    slot.plan_again = True
                    return ""
                return found

            slot.plan_again = False
            plan = registry.plan(slot.entry, registry.Context(self._config.folder, fetch, sha256))
            slot.plan, slot.download_bytes = plan, slot.download_bytes or plan.download_bytes
        return slot.plan

    def _fill(self, slot: _Slot) -> None:
        """Load a backbone, hand it to those who wait, and find it a faster engine afterwards."""
        load = slot.load
        assert load
        try:
            loaded, path = self._load(slot)
        except BaseException as error:
            self._fail(slot, load, error)
            return
        _log.info("%s is ready on %s with %s", slot.entry.name, loaded.device, loaded.engine.name)
        load.set_result(loaded)
        mine = weakref.ref(load)
        del load, loaded  # it may leave while others are converted, and nothing of it may stay
        with self._converting:
            with self._changed:
                if slot.load is None or slot.load is not mine():
                    return
                slot.holders += 1
            try:
                swapped = self._swap(slot, slot.load.result(), path)
            finally:
                self.release(slot.entry.name)
        if swapped:
            devices.give_back_memory()  # torch's copy is gone

    def _fail(self, slot: _Slot, load: "Future[Loaded]", error: BaseException) -> None:
        with self._changed:
            slot.failed_at, slot.memory_bytes = time.monotonic(), 0
            self._changed.notify_all()
        if isinstance(error, LineupError):
            error = error.at(slot.entry.name)
            _log.warning("%s", error)
        else:
            _log.error("cannot load %s", slot.entry.name, exc_info=error)
            error = BackboneError(slot.entry.name, "to load", f"{type(error).__name__} came", "see the log")
        load.set_exception(error)

    def _load(self, slot: _Slot) -> tuple[Loaded, Path | None]:
        slot.progress = Progress("importing PyTorch")
        from lineup import registry
        from lineup.engines import openvino_cache
        from lineup.hub import downloads

        def report(done: int, total: int | None) -> None:
            slot.progress = Progress("downloading", done, total)

        device = devices.choose(self._config.device).device
        slot.progress = Progress("looking up")
        plan = self._plan(slot, patient=True)  # somebody asked for this one: the Hub is asked again
        path = None
        if plan.weights:
            slot.progress = Progress("asking for the weights")
            try:
                with self._backing_off(plan.weights, patient=True):
                    path = downloads.fetch(plan.weights, self._config.limits.hub_timeout_s, report)
            except HubError as error:
                raise error.at(slot.entry.name) from error.__cause__
            slot.download_bytes = path.stat().st_size
        if not zerogpu.on_zerogpu():  # there all are loaded, and none leaves
            self._reserve_memory(slot, plan, device)
        slot.engine_note, precision = "", self._config.precision
        if (openvino := openvino_cache.wanted(self._config, device)) and (
            kept := openvino_cache.kept(plan, path, precision)
        ):
            return Loaded(plan, kept, device), path
        slot.progress = Progress("building the network")
        runs = torch_engine.TorchEngine(registry.build(plan, path), device, precision)
        if openvino and self._config.engine == "openvino":
            slot.progress = Progress("converting to OpenVINO")
            with self._converting:
                return Loaded(plan, openvino_cache.convert(runs, plan, path, precision), device), path
        return Loaded(plan, runs, device), path

    def _swap(self, slot: _Slot, loaded: Loaded, path: Path | None) -> bool:
        """Let OpenVINO answer from now on, where torch does; return whether it will."""
        from lineup.engines import openvino_cache

        if not isinstance(loaded.engine, torch_engine.TorchEngine) or not openvino_cache.wanted(
            self._config, loaded.device
        ):
            return False
        slot.engine_note = "answers with torch while it is converted to OpenVINO"
        try:
            faster = openvino_cache.convert(loaded.engine, loaded.plan, path, self._config.precision)
        except Exception as error:  # it answers with torch all the same
            if not isinstance(error, LineupError):
                _log.exception("cannot convert %s", slot.entry.name)
            slot.engine_note = f"stays on torch: {error}"
            _log.info("%s %s", slot.entry.name, slot.engine_note)
            return False
        done: Future[Loaded] = Future()
        done.set_result(replace(loaded, engine=faster))
        with self._changed:
            slot.load, slot.engine_note = done, ""  # who has the old one still answers with it
        _log.info("%s answers with OpenVINO from now on", slot.entry.name)
        return True

    def _reserve_memory(self, slot: _Slot, plan: "Plan", device: str) -> None:
        """Promise a load its memory; for it, who was not wanted for longest leaves first.

        Raises:
            BackboneError: when it needs more than there may ever be.
            BusyError: when others keep theirs for too long.
        """
        most = self._config.limits.memory_mb
        budget = most << 20 if most else int(devices.memory_bytes(device) * MEMORY_SHARE)
        needed, until = plan.parameters * _PARAMETER_BYTES + _WORK_BYTES, time.monotonic() + MEMORY_TIMEOUT_S
        if needed > budget:
            raise BackboneError(
                slot.entry.name,
                f"a backbone that fits into {budget >> 20} MB",
                f"it needs about {needed >> 20} MB",
                "choose a smaller one" + (", or raise limits.memory_mb" if most else ""),
            )
        others = [other for other in self._slots.values() if other is not slot]
        left = False
        with self._changed:
            while sum(other.memory_bytes for other in others) + needed > budget:
                if leaving := min(filter(_may_leave, others), key=lambda other: other.used_at, default=None):
                    _log.info("%s leaves to make room for %s", leaving.entry.name, slot.entry.name)
                    leaving.load, leaving.memory_bytes, left = None, 0, True
                    continue
                slot.progress = Progress("waiting for memory")
                if not self._changed.wait(until - time.monotonic()):
                    raise BusyError(
                        slot.entry.name,
                        f"{needed >> 20} MB for it",
                        "the other backbones are at work and keep theirs",
                        "try again in some seconds",
                    )
            slot.memory_bytes = needed
        if left:
            devices.give_back_memory()


def _problem(slot: _Slot) -> LineupError | None:
    load = slot.load  # it may be changed meanwhile
    if slot.hang:
        return slot.hang
    if load is None:
        return slot.problem
    error = load.exception() if load.done() else None
    return error if isinstance(error, LineupError) else None


def _availability(slot: _Slot) -> tuple[Availability, LineupError | None, str]:
    """Return whether a backbone can answer, why not, and with which engine."""
    load = slot.load  # it may be changed meanwhile
    if load and not load.done():
        return "loading", None, ""
    if problem := _problem(slot):
        return "unavailable", problem, ""
    return ("ready", None, load.result().engine.name) if load else ("idle", None, "")


def _may_leave(slot: _Slot) -> bool:
    return slot.memory_bytes > 0 and not slot.holders and slot.load is not None and slot.load.done()


def _may_retry(slot: _Slot) -> bool:
    if zerogpu.on_zerogpu():  # nothing is loaded there once the page is served
        return False
    failed = slot.load is not None and slot.load.done() and isinstance(slot.load.exception(), HubError | BusyError)
    return failed and time.monotonic() - slot.failed_at > RETRY_AFTER_S

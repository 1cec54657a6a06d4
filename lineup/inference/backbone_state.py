"""The states of the backbones in the pool."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Entry
from lineup.errors import (
    BackboneError,
    BusyError,
    ForwardTimeout,
    HubError,
    LineupError,
    UnknownBackboneError,
    did_you_mean,
)
from lineup.inference.queue import ComputeQueue
from lineup.results import Availability, BackboneStatus, Progress

if TYPE_CHECKING:
    from torch import nn

    from lineup.engines.engine import Engine
    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind
    from lineup.registry.remote import RemoteBackbone


@dataclass(frozen=True)
class Loaded:
    """A backbone that can answer."""

    plan: "Plan"
    engine: "Engine"
    device: str
    path: Path | None  # of the weights; None if they are random
    network: "nn.Module | None" = None  # while an engine has it in memory
    remote: "RemoteBackbone | None" = None  # where another process computes it; then there is no network here
    queue: ComputeQueue | None = None  # of what is sent to that process

    @property
    def computed_by(self) -> str:
        """Return what computes it, in words, and how many requests wait for it; empty if this process does."""
        if self.remote is None:
            return ""
        n_waiting = self.queue.n_waiting if self.queue is not None else 0
        waiting = f"; {n_waiting} request{'s wait' if n_waiting > 1 else ' waits'}" if n_waiting else ""
        return self.remote.where + waiting


@dataclass(eq=False)
class BackboneState:
    """Everything the pool knows about one entry of the config."""

    entry: Entry
    output: "OutputKind" = "classes"
    plan: "Plan | None" = None
    load: "Future[Loaded] | None" = None
    failed_at: float = 0.0  # monotonic time of the last failed load
    probe_problem: LineupError | None = None  # found by a probe, before any load
    progress: Progress = field(default_factory=lambda: Progress("waiting"))
    download_bytes: int | None = None
    plan_incomplete: bool = False  # a server did not respond while the plan was made: make it again
    size_known: bool = False  # the server has confirmed the file and its size
    memory_bytes: int = 0  # in use by the engine, or reserved for its load
    network: "nn.Module | None" = None  # built by `Pool.network`, beside an engine that has none in memory
    network_bytes: int = 0  # in use by `network`, or reserved for it
    batch_bytes: int = 0  # in use by the engine's graph for batches, or reserved for it
    network_users: int = 0  # calls that use `network`: it is freed only while there are none
    pins: int = 0  # requests that use the backbone: it is evicted only while there are none
    used_at: float = 0.0  # monotonic time of the last request, for LRU eviction
    timeout_error: ForwardTimeout | None = None  # while a timed-out forward pass is still running
    engine_note: str = ""  # why it does not run on the preferred engine
    settled: threading.Event = field(default_factory=threading.Event)  # set once no conversion will replace the engine
    planning: threading.Lock = field(default_factory=threading.Lock)  # held while the plan is made
    building: threading.Lock = field(default_factory=threading.Lock)  # held while `network` is built

    @property
    def problem(self) -> LineupError | None:
        """Return why the backbone is unavailable, or None."""
        return self._problem_of(self.load)

    @property
    def evictable(self) -> bool:
        """Tell whether the backbone is loaded, and no request needs it."""
        return self.memory_bytes > 0 and not self.pins and self.load is not None and self.load.done()

    @property
    def network_evictable(self) -> bool:
        """Tell whether `network` can be freed."""
        return self.network is not None and not self.network_users

    @property
    def total_bytes(self) -> int:
        """Return the memory in use by the backbone, or reserved for it."""
        return self.memory_bytes + self.network_bytes + self.batch_bytes

    @property
    def is_loaded(self) -> bool:
        """Tell whether the backbone can answer at once."""
        load = self.load
        return load is not None and load.done() and load.exception() is None

    @property
    def is_remote(self) -> bool:
        """Tell whether another process computes the backbone, as far as its plan is known."""
        return self.plan is not None and self.plan.remote is not None

    @property
    def may_succeed_later(self) -> bool:
        """Tell whether the load has failed for a reason that may be gone later."""
        load = self.load
        return load is not None and load.done() and isinstance(load.exception(), HubError | BusyError)

    def status(self) -> BackboneStatus:
        """Return what is known now."""
        availability, problem, engine, computed_by = self._availability()
        plan = self.plan
        return BackboneStatus(
            name=self.entry.name,
            source=self.entry.source,
            status=availability,
            problem=problem,
            progress=self.progress if availability == "loading" else None,
            num_classes=plan.num_classes if plan else None,
            parameters=plan.parameters if plan else None,
            download_bytes=self.download_bytes,
            license=plan.license or None if plan else None,
            figures=dict(plan.figures) if plan else {},
            figures_note=plan.figures_note if plan else "",
            engine=engine,
            engine_note=self.engine_note if engine else "",
            computed_by=computed_by,
            summary=plan.summary if plan else "",
            notes=plan.notes if plan else (),
            loading_notes=plan.loading_notes if plan else (),
        )

    def _availability(self) -> tuple[Availability, LineupError | None, str, str]:
        load = self.load  # read once: other threads may replace it
        if load and not load.done():
            return "loading", None, "", ""
        if problem := self._problem_of(load):
            return "unavailable", problem, "", ""
        if load is None:
            return "idle", None, "", ""
        loaded = load.result()
        return "ready", None, loaded.engine.name, loaded.computed_by

    def _problem_of(self, load: "Future[Loaded] | None") -> LineupError | None:
        if self.timeout_error:
            return self.timeout_error
        if load is None:
            return self.probe_problem
        error = load.exception() if load.done() else None
        return error if isinstance(error, LineupError) else None


class BackboneStates:
    """The states of a pool's backbones, by name and output.

    Callers hold the pool's lock for changes; other threads may iterate.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        # replaced and never changed, so that other threads can iterate
        self._by_name = {entry.name: BackboneState(entry) for entry in entries}
        self._features: dict[str, BackboneState] = {}  # of those whose features were requested
        self._removed: list[BackboneState] = []  # those that still use memory

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    def __iter__(self) -> Iterator[BackboneState]:
        """Yield the states for classes, in the order of the entries."""
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str, output: "OutputKind" = "classes") -> BackboneState:
        """Return a state; the one for features is created at first use.

        Raises:
            BackboneError: when there is no backbone of that name.
        """
        if name not in self._by_name:
            hint = did_you_mean(name, self.names) or f"use one of: {', '.join(self.names)}"
            raise UnknownBackboneError("backbone", "a name of the line-up", f"got {name[:100]!r}", hint)
        if output == "classes":
            return self._by_name[name]
        if name not in self._features:
            state = BackboneState(self._by_name[name].entry, output)
            self._features = {**self._features, name: state}
        return self._features[name]

    def all(self) -> list[BackboneState]:
        """Return all states that may use memory."""
        return [*self._by_name.values(), *self._features.values(), *self._removed]

    def add(self, entry: Entry) -> None:
        """Add a backbone.

        Raises:
            BackboneError: when there is one of that name.
        """
        if entry.name in self._by_name:
            raise BackboneError(entry.name, "a name that is not in use", "there is one", "choose another `name`")
        self._by_name = {**self._by_name, entry.name: BackboneState(entry)}

    def remove(self, name: str) -> None:
        """Remove a backbone; its memory counts until `forget_unused` finds that nothing uses it.

        Raises:
            BackboneError: when there is no such backbone.
        """
        self._removed += filter(None, (self.get(name), self._features.get(name)))
        self._by_name = {other: kept for other, kept in self._by_name.items() if other != name}
        self._features = {other: kept for other, kept in self._features.items() if other != name}
        self.forget_unused()

    def is_removed(self, state: BackboneState) -> bool:
        return state in self._removed

    def forget_unused(self) -> None:
        """Drop removed backbones that no load and no request uses any more; they are garbage-collected."""
        self._removed = [state for state in self._removed if state.pins or (state.load and not state.load.done())]

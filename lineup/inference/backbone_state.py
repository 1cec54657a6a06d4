"""The state of one backbone in the pool."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Entry
from lineup.errors import ForwardTimeout, LineupError
from lineup.results import Availability, BackboneStatus, Progress

if TYPE_CHECKING:
    from torch import nn

    from lineup.engines.engine import Engine
    from lineup.registry import Plan


@dataclass(frozen=True)
class Loaded:
    """A backbone that can answer."""

    plan: "Plan"
    engine: "Engine"
    device: str
    path: Path | None  # of the weights; None if they are random
    network: "nn.Module | None" = None  # while an engine has it in memory


@dataclass
class BackboneState:
    """Everything the pool knows about one entry of the config."""

    entry: Entry
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
    network_users: int = 0  # calls that use `network`: it is freed only while there are none
    pins: int = 0  # requests that use the backbone: it is evicted only while there are none
    used_at: float = 0.0  # monotonic time of the last request, for LRU eviction
    timeout_error: ForwardTimeout | None = None  # while a timed-out forward pass is still running
    engine_note: str = ""  # why it does not run on the preferred engine
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
        return self.memory_bytes + self.network_bytes

    @property
    def is_loaded(self) -> bool:
        """Tell whether the backbone can answer at once."""
        load = self.load
        return load is not None and load.done() and load.exception() is None

    def status(self) -> BackboneStatus:
        """Return what is known now."""
        availability, problem, engine = self._availability()
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
        )

    def _availability(self) -> tuple[Availability, LineupError | None, str]:
        load = self.load  # read once: other threads may replace it
        if load and not load.done():
            return "loading", None, ""
        if problem := self._problem_of(load):
            return "unavailable", problem, ""
        return ("ready", None, load.result().engine.name) if load else ("idle", None, "")

    def _problem_of(self, load: "Future[Loaded] | None") -> LineupError | None:
        if self.timeout_error:
            return self.timeout_error
        if load is None:
            return self.probe_problem
        error = load.exception() if load.done() else None
        return error if isinstance(error, LineupError) else None

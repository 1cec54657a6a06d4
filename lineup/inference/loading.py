"""Fetches a backbone's weights, and builds its engine."""

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Config
from lineup.engines import choice
from lineup.errors import HubError, LineupError
from lineup.hub import files
from lineup.hub.circuit_breaker import CircuitBreaker
from lineup.inference import remote_calls
from lineup.inference.backbone_state import BackboneState, Loaded
from lineup.inference.memory_budget import MemoryBudget
from lineup.inference.planning import Elsewhere, Planner, require_intact
from lineup.results import Progress

if TYPE_CHECKING:
    from torch import nn

    from lineup.registry import Plan

_log = logging.getLogger(__name__)


class Loader:
    """Loads backbones into states; thread-safe as long as a state is loaded by one thread.

    Args:
        config: returns the current config.
        choose_device: returns the device to load to for the config's `device`.
        memory: the budget, or None where all backbones are loaded and none is evicted.
        elsewhere: decides which backbones another process computes; see `Planner`.

    Attributes:
        plan: returns the plan of a state; see `Planner.plan`.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        choose_device: Callable[[str], str],
        memory: MemoryBudget | None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._config, self._choose_device, self._memory = config, choose_device, memory
        self._breaker = CircuitBreaker()
        self.plan = Planner(config, self._breaker, elsewhere).plan
        # to be held by callers of `build_preferred`: a conversion takes a core and memory
        self.converting = threading.Lock()

    def probe(self, state: BackboneState, offline: bool) -> None:
        """Make the plan, and ask the server whether it has the weights, without downloading them."""
        from lineup.hub import downloads

        plan = self.plan(state, offline)
        if plan.remote:
            if state.problem is not None and not offline:
                plan.remote()  # it connects
            return
        file = plan.weights
        if isinstance(file, files.HubFile | files.UrlFile) and (path := downloads.cached(file)):
            if offline:
                require_intact(file, path)
            elif not downloads.is_intact(file, path):
                note = f"{path} is not the published file, or is cut off: it will be downloaded again"
                state.plan = replace(plan, loading_notes=tuple(dict.fromkeys((*plan.loading_notes, note))))
                state.size_known = False
        unknown = not state.size_known or state.problem is not None
        if isinstance(file, files.HubFile | files.UrlFile) and unknown and not offline:
            with self._breaker.guard(file):  # torchvision knows the size of a file, but not whether it is there
                state.download_bytes = downloads.download_bytes(file) or state.download_bytes
            state.size_known = True

    def load(self, state: BackboneState) -> Loaded:
        """Load a backbone to the engine that can run first.

        Raises:
            LineupError: when that is impossible.
        """
        from lineup import registry

        state.progress = Progress("looking up")
        plan = self.plan(state, force=True)
        if plan.remote:
            return remote_calls.connect(plan, lambda: self._config().limits)
        state.progress = Progress("importing PyTorch")
        device, precision = self._choose_device(self._config().device), self._config().precision
        path = self._fetch(state, plan)
        if self._memory:
            self._memory.reserve(state, plan.parameters, device)
        state.engine_note = ""
        preferred, interim = choice.choose(self._config().engine, plan, device, precision)
        if cached := preferred.cached(plan, path, precision):
            return Loaded(plan, cached, device, path)
        state.progress = Progress("building the network")
        network = registry.build(plan, path)
        first = interim or preferred
        if first.converts:
            state.progress = Progress(f"converting for {first.name}")
        with self.converting if first.converts else nullcontext():
            engine = first.build(network, plan, path, device, precision)
        return Loaded(plan, engine, device, path, None if first.converts else network)

    def build_preferred(self, state: BackboneState) -> Loaded | None:
        """Build the preferred engine of a loaded backbone; None if it runs on it, or the build fails."""
        assert state.load
        loaded = state.load.result()
        preferred, interim = choice.choose(self._config().engine, loaded.plan, loaded.device, self._config().precision)
        if interim is None or loaded.network is None:
            return None
        state.engine_note = f"runs on {loaded.engine.name} while it is converted for {preferred.name}"
        try:
            engine = preferred.build(loaded.network, loaded.plan, loaded.path, loaded.device, self._config().precision)
        except Exception as error:
            if not isinstance(error, LineupError):
                _log.exception("cannot convert %s", state.entry.name)
            state.engine_note = f"stays on {loaded.engine.name}: {error}"
            _log.info("%s %s", state.entry.name, state.engine_note)
            return None
        return replace(loaded, engine=engine, network=None)

    def network(self, state: BackboneState, loaded: Loaded) -> "nn.Module":
        """Return the torch network of a loaded backbone; build it from its weights if its engine has none in memory."""
        if loaded.network is not None:
            return loaded.network
        if loaded.remote is not None:
            raise remote_calls.no_network(loaded.plan)
        with state.building:
            if state.network is None:
                from lineup import registry
                from lineup.hub import downloads

                if self._memory:
                    self._memory.reserve_network(state, loaded.plan.parameters, loaded.device)
                try:
                    path, weights = loaded.path, loaded.plan.weights
                    if path and weights and not downloads.is_intact(weights, path):  # it was changed meanwhile
                        path = self._fetch(state, loaded.plan)
                    network = registry.build(loaded.plan, path)
                except BaseException:
                    state.network_bytes = 0
                    raise
                state.network = network.to(loaded.device).requires_grad_(False)
            return state.network

    def _fetch(self, state: BackboneState, plan: "Plan") -> Path | None:
        """Return the weights file, downloaded if necessary."""
        from lineup.hub import downloads

        def report(done: int, total: int | None) -> None:
            state.progress = Progress("downloading", done, total)

        if not plan.weights:
            return None
        state.progress = Progress("asking for the weights")
        try:
            with self._breaker.guard(plan.weights, force=True):
                path = downloads.fetch(plan.weights, self._config().limits.hub_timeout_s, report)
        except HubError as error:
            raise error.at(state.entry.name) from error.__cause__
        state.download_bytes = path.stat().st_size
        return path
